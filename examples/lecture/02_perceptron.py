"""2. The perceptron: Rosenblatt's rule as a scan, an epoch of updates in one native call.

    GRAPHC_DATA_DIR=folder python examples/lecture/02_perceptron.py --out pictures

The rule is not written down: it is a step down the subgradient of the perceptron loss, which the
differentiator derives inside the scan. Ten perceptrons, one against the rest each, see the images
of Fashion-MNIST in order; after every epoch their weights are scikit-learn's to the last bit, as
all sums of products with whole pixels are whole numbers below 2^53, exact in any order. Then 1,000
separable sets learn at once, and none makes more mistakes than Novikoff's theorem allows.

Sources: Rosenblatt, "The perceptron", Psychological Review 65(6), 1958; Novikoff, "On convergence
proofs for perceptrons", 1962; scikit-learn's Perceptron(shuffle=False, tol=None).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from common import Arguments, Lesson, extra, first, loaded, separable, whole
from pictures import mistakes_below, weights

import graphc
from graphc import data, metrics, ops


def rule(carry: Any, example: Any) -> tuple[Any, None]:
    """One online update of perceptrons w (k, n), b (k) by an example x (n), y (k) of -1 and 1."""
    (w, b), (x, y) = carry, example
    loss = ops.perceptron_loss(ops.matmul(w, x) + b, y, reduction="sum")
    slope_w, slope_b = graphc.grad(loss, [w, b])
    return (w - slope_w, b - slope_b), None


def main(arguments: Arguments = None) -> dict[str, object]:
    """Five epochs of all images, or two of 2,000 where quick."""
    lesson = Lesson(__doc__, arguments, needs=["sklearn.linear_model"])
    fashion = first(loaded(data.fashion_mnist, flat=True), 2000 if lesson.quick else 60000)
    subgradient(lesson)
    images(lesson, fashion, 2 if lesson.quick else 5)
    theorem(lesson)
    return lesson.finish()


def subgradient(lesson: Lesson) -> None:
    """The derived step against the rule as Rosenblatt states it: w + y*x where y*score <= 0."""
    w, b = graphc.input("w", (5, 3), "float64"), graphc.input("b", (5,), "float64")
    x, y = graphc.input("x", (3,), "float64"), graphc.input("y", (5,), "float64")
    (stepped, _), _ = rule((w, b), (x, y))
    wrong = ops.where(y * (ops.matmul(w, x) + b) <= 0, y, 0.0)
    program = graphc.compile((stepped, w + wrong[:, None] * x))
    lesson.inside("The rule, derived inside the scan", program.as_text("backward"))
    rows = np.array([[2.0, -1, 0], [0, 0, 0], [-2, 1, 0], [1, 1, 1], [1, 1, 1]])
    derived, stated = program(w=rows, b=np.zeros(5), x=[1, 2, 5], y=[1.0, 1, -1, -1, 1])
    moved = int((derived != rows).any(1).sum())  # the scores are 0 0 0 8 8
    holds = moved == 4 and np.array_equal(derived, stated)
    claim = "the derived step is Rosenblatt's, at a score of 0 too"
    lesson.claim(claim, moved, "4 of 5 move", holds)


def images(lesson: Lesson, fashion: data.Dataset, epochs: int) -> None:
    """One against the rest on Fashion-MNIST, beside scikit-learn after every epoch."""
    train, test, labels = whole(fashion.x_train), whole(fashion.x_test), fashion.y_train
    x, label = graphc.input("x", train.shape, "float64"), graphc.input("y", labels.shape, "int64")
    w, b = graphc.parameter("w", (10, 784), "float64"), graphc.parameter("b", (10,), "float64")
    y = 2 * ops.one_hot(label, 10, dtype="float64") - 1
    (w_after, b_after), _ = graphc.scan(rule, (w, b), (x, y))
    epoch = graphc.compile((w_after, b_after), updates={w: w_after, b: b_after})
    seen, answer = graphc.input("seen", ("n", 784), "float64"), graphc.input("y", ("n",), "int64")
    accuracy = graphc.compile(metrics.accuracy(ops.linear(seen, w, b), answer))

    perceptron = partial(extra("sklearn.linear_model").Perceptron, shuffle=False, tol=None)
    theirs, equal = perceptron(), []
    for _ in range(epochs):
        ours = epoch(train, labels)
        theirs.partial_fit(train, labels, classes=np.arange(10))
        equal.append(np.array_equal(ours[0], theirs.coef_) and (ours[1] == theirs.intercept_).all())
    claim = f"epochs of {len(train)} images after which all weights are scikit-learn's, bit for bit"
    lesson.claim(claim, sum(equal), f"{epochs} of {epochs}", all(equal))
    theirs = perceptron(max_iter=epochs).fit(train, labels)
    other = int((theirs.coef_ != ours[0]).sum())
    same = other == 0 and np.array_equal(theirs.intercept_, ours[1])
    lesson.claim("weights that differ from one fit of as many epochs", other, "0 of 7,840", same)
    largest = int(784 * 255 * np.abs(ours[0]).max() + np.abs(ours[1]).max())
    lesson.claim("the largest score that can occur", largest, "below 2^53", largest < 2**53)
    score, right = theirs.score(test, fashion.y_test), float(accuracy(test, fashion.y_test)[0])
    lesson.claim("test accuracy", right, f"{score:.4g}, scikit-learn", abs(score - right) < 1e-7)
    templates = ours[0].reshape(10, 28, 28)
    lesson.draw("02_templates.png", partial(weights, fashion.classes, templates), (8, 1))


def theorem(lesson: Lesson) -> None:
    """1,000 sets of 50 points in 5 dimensions, 200 passes over all of them in one call."""
    graphc.seed(0)
    x, side, margin = separable(sets=1000, points=50)

    def update(w: Any, example: Any) -> tuple[Any, Any]:
        x, y = example
        loss = ops.perceptron_loss(ops.sum(w * x, 1), y, reduction="sum")
        (slope,) = graphc.grad(loss, [w])
        return w - slope, ops.any(ops.not_equal(slope, 0.0), 1)

    def one_pass(w: Any, _: None) -> tuple[Any, Any]:
        w, mistaken = graphc.scan(update, w, (x, side))
        return w, ops.sum(mistaken, 0)

    _, mistakes = graphc.scan(one_pass, ops.zeros((1000, 5), "float64"), length=200)
    allowed = ops.square(ops.max(ops.norm(x, axis=2), 0) / margin)
    made, most, late = graphc.compile((ops.sum(mistakes, 0), allowed, ops.sum(mistakes[-1])))()
    within = made <= most
    claim = "separable sets of 1,000 with no more mistakes than (R/gamma)^2"
    known, holds = "1000, and no mistake in the last pass (Novikoff)", late == 0 < made.min()
    lesson.claim(claim, int(within.sum()), known, within.all() and holds)
    lesson.at_most("the most mistakes, as a part of the bound", float((made / most).max()), 1)
    lesson.draw("02_mistakes.png", partial(mistakes_below, most, made), (4.5, 3))


if __name__ == "__main__":
    main()
