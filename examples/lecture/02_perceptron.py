"""2. The perceptron: Rosenblatt's rule as a scan, an epoch of updates in one native call.

    GRAPHC_DATA_DIR=folder python examples/lecture/02_perceptron.py --out pictures

The rule is not written down here: it is a step down the subgradient of the perceptron loss, which
the differentiator derives inside the scan. Ten perceptrons, one against the rest each, see the
images of Fashion-MNIST in order, and after every epoch their weights are scikit-learn's to the
last bit: with whole pixels every sum of products is a whole number below 2^53, so no order of
summation can matter. Then 1,000 separable sets learn at once, and none makes more mistakes than
Novikoff's theorem allows.

Sources: Rosenblatt, "The perceptron", Psychological Review 65(6), 1958; Novikoff, "On convergence
proofs for perceptrons", 1962; scikit-learn's Perceptron(shuffle=False, tol=None).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from common import Arguments, Lesson, extra, loaded
from pictures import weights

import graphc
from graphc import data, metrics, ops

Nodes = tuple[graphc.Node, graphc.Node]


def rule(carry: Nodes, example: Nodes) -> tuple[Nodes, None]:
    """One online update of perceptrons w (k, n), b (k) by an example x (n), y (k) of -1 and 1."""
    (w, b), (x, y) = carry, example
    score = ops.matmul(w, ops.cast(x, "float64")) + b
    loss = ops.perceptron_loss(score, y, reduction="sum")
    slope_w, slope_b = graphc.grad(loss, [w, b])
    return (w - slope_w, b - slope_b), None


def main(arguments: Arguments = None) -> dict[str, object]:
    """Five epochs of all images, or two of 2,000 where quick."""
    lesson = Lesson(__doc__, arguments)
    subgradient(lesson)
    images(lesson, *((2000, 2) if lesson.quick else (60000, 5)))
    theorem(lesson)
    return lesson.finish()


def subgradient(lesson: Lesson) -> None:
    """The derived step against the rule as Rosenblatt states it: w + y*x where y*score <= 0."""
    w, b = graphc.input("w", (5, 3), "float64"), graphc.input("b", (5,), "float64")
    x, y = graphc.input("x", (3,), "int64"), graphc.input("y", (5,), "float64")
    (stepped, _), _ = rule((w, b), (x, y))
    wrong = ops.where(y * (ops.matmul(w, ops.cast(x, "float64")) + b) <= 0, y, 0.0)
    program = graphc.compile((stepped, w + wrong[:, None] * x))
    lesson.inside("The rule, derived inside the scan", program.as_text("backward"))
    rows = np.array([[2.0, -1, 0], [0, 0, 0], [-2, 1, 0], [1, 1, 1], [1, 1, 1]])
    derived, stated = program(w=rows, b=np.zeros(5), x=[1, 2, 5], y=[1.0, 1, -1, -1, 1])
    moved = int((derived != rows).any(1).sum())  # the scores are 0 0 0 8 8
    claim, holds = "the derived step is Rosenblatt's, at a score of 0 too", moved == 4
    lesson.claim(claim, moved, "4 of 5 move", holds and np.array_equal(derived, stated))


def images(lesson: Lesson, count: int, epochs: int) -> None:
    """One against the rest on Fashion-MNIST, beside scikit-learn after every epoch."""
    fashion = loaded(data.fashion_mnist, flat=True)
    bright = graphc.input("image", ("n", 784))
    pixels = graphc.compile(ops.cast(ops.round(255 * bright), "uint8"))
    (train,), (test,) = pixels(fashion.x_train[:count]), pixels(fashion.x_test)
    labels, wide = fashion.y_train[:count], train.astype(np.float64)  # as scikit-learn wants it

    x, label = graphc.input("x", train.shape, "uint8"), graphc.input("label", (count,), "int64")
    w, b = graphc.parameter("w", (10, 784), "float64"), graphc.parameter("b", (10,), "float64")
    y = 2 * ops.one_hot(label, 10, dtype="float64") - 1
    (w_after, b_after), _ = graphc.scan(rule, (w, b), (x, y))
    epoch = graphc.compile((w_after, b_after), updates={w: w_after, b: b_after})
    seen, answer = graphc.input("seen", ("n", 784), "uint8"), graphc.input("y", ("n",), "int64")
    accuracy = graphc.compile(metrics.accuracy(ops.linear(ops.cast(seen, "float64"), w, b), answer))

    Perceptron = extra("sklearn.linear_model").Perceptron
    theirs, equal = Perceptron(shuffle=False, tol=None), []
    for _ in range(epochs):
        ours = epoch(train, labels)
        theirs.partial_fit(wide, labels, classes=np.arange(10))
        equal.append(np.array_equal(ours[0], theirs.coef_) and (ours[1] == theirs.intercept_).all())
    claim = f"epochs of {count} images after which all weights are scikit-learn's, bit for bit"
    lesson.claim(claim, sum(equal), f"{epochs} of {epochs}", all(equal))
    theirs = Perceptron(shuffle=False, tol=None, max_iter=epochs).fit(wide, labels)
    other = int((theirs.coef_ != ours[0]).sum())
    same = other == 0 and np.array_equal(theirs.intercept_, ours[1])
    lesson.claim("weights that differ from one fit of as many epochs", other, "0 of 7,840", same)
    largest = int(784 * 255 * np.abs(ours[0]).max() + np.abs(ours[1]).max())
    lesson.claim("the largest score that can occur", largest, "below 2^53", largest < 2**53)
    score, right = theirs.score(test, fashion.y_test), float(accuracy(test, fashion.y_test)[0])
    lesson.claim("test accuracy", right, f"{score:.4g}, scikit-learn", abs(score - right) < 1e-7)
    seen_for = dict(zip(fashion.classes, ours[0].reshape(10, 28, 28), strict=True))
    lesson.draw("02_templates.png", partial(weights, seen_for), (7, 1))


def theorem(lesson: Lesson) -> None:
    """1,000 sets of 50 points in 5 dimensions, 200 passes over all of them in one call."""
    sets, points, passes = 1000, 50, 200
    graphc.seed(0)
    truth = ops.normal((sets, 5), dtype="float64")
    truth = truth / ops.norm(truth, axis=1, keepdims=True)
    x = ops.normal((points, sets, 5), dtype="float64")
    side = ops.sign(ops.sum(x * truth, 2))
    x = x + (0.3 * side)[..., None] * truth  # moved apart: a margin of at least 0.3

    def update(carry: Nodes, example: Nodes) -> tuple[Nodes, None]:
        (w, mistakes), (x, y) = carry, example
        loss = ops.perceptron_loss(ops.sum(w * x, 1), y, reduction="sum")
        (slope,) = graphc.grad(loss, [w])
        wrong = ops.any(ops.not_equal(slope, 0.0), 1)
        return (w - slope, mistakes + ops.cast(wrong, "float64")), None

    def one_pass(carry: Nodes, _: None) -> tuple[Nodes, graphc.Node]:
        after, _ = graphc.scan(update, carry, (x, side))
        return after, after[1]

    start = ops.zeros((sets, 5), "float64"), ops.zeros((sets,), "float64")
    (_, mistakes), by_pass = graphc.scan(one_pass, start, length=passes)
    margin = ops.min(ops.abs(ops.sum(x * truth, 2)), 0)
    bound = ops.square(ops.max(ops.norm(x, axis=2), 0) / margin)
    made, allowed, last = graphc.compile((mistakes, bound, ops.sum(mistakes - by_pass[-2])))()
    within = int((made <= allowed).sum())
    claim = "separable sets of 1,000 with no more mistakes than (R/gamma)^2"
    known, holds = f"{sets}, and no mistake in the last pass (Novikoff)", last == 0 < made.min()
    lesson.claim(claim, within, known, within == sets and holds)
    share = float((made / allowed).max())
    lesson.claim("the most mistakes, as a part of the bound", share, "at most 1", share <= 1)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.loglog(allowed, made, ".", markersize=2)
        axes.loglog([1, allowed.max()], [1, allowed.max()], color="black", linewidth=1)
        axes.set(xlabel="$(R/\\gamma)^2$", ylabel="mistakes")

    lesson.draw("02_mistakes.png", draw, (4, 3))


if __name__ == "__main__":
    main()
