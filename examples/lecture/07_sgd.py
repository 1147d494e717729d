"""7. Minibatch gradient descent and its relatives: seven ways to use one gradient.

    GRAPHC_DATA_DIR=folder python examples/lecture/07_sgd.py --out pictures

First each optimiser's rule, as graphc compiles it into the training step, is held against the same
rule in numpy: 1,000 steps in float64 from the same weights and minibatches. The reference takes its
gradients from a program of its own, at its own weights, so that an error in the rule would grow.
Then all seven train one net for one pass over MNIST. The rules' sources stand beside them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from common import Arguments, Lesson, loaded
from pictures import curves

import graphc
from graphc import data, nn, ops, optim

OPTIMIZERS = {
    "sgd": lambda: optim.SGD(0.1),
    "momentum": lambda: optim.SGD(0.05, momentum=0.9),
    "nesterov": lambda: optim.SGD(0.05, momentum=0.9, nesterov=True),
    "adagrad": lambda: optim.Adagrad(0.02),
    "windowgrad": lambda: optim.WindowGrad(0.002),
    "adadelta": lambda: optim.Adadelta(1.0, rho=0.95),
    "adam": lambda: optim.Adam(0.002),
}
FLAT = {"x": ("batch", 784)}, {"y": ("batch",)}


def rule(name: str, g: Any, s: list[Any], t: int) -> Any:
    """What to subtract from the weights in step t (from 1); s is the memory, zeros at first."""
    match name:
        case "sgd":
            return 0.1 * g
        case "momentum":  # Polyak 1964
            s[0] = 0.9 * s[0] + g
            return 0.05 * s[0]
        case "nesterov":  # Sutskever et al. 2013, equations 3 and 4, at the point looked ahead to
            s[0] = 0.9 * s[0] + g
            return 0.05 * (g + 0.9 * s[0])
        case "adagrad":  # Duchi, Hazan, Singer 2011
            s[0] = s[0] + g**2
            return 0.02 * g / (np.sqrt(s[0]) + 1e-10)
        case "windowgrad":  # Zeiler 2012, section 3.1; ConvNetJS has it under this name
            s[0] = 0.95 * s[0] + 0.05 * g**2
            return 0.002 * g / np.sqrt(s[0] + 1e-8)
        case "adadelta":  # Zeiler 2012, algorithm 1
            s[0] = 0.95 * s[0] + 0.05 * g**2
            step = g * np.sqrt(s[1] + 1e-6) / np.sqrt(s[0] + 1e-6)
            s[1] = 0.95 * s[1] + 0.05 * step**2
            return step
        case _:  # adam: Kingma, Ba 2015, algorithm 1
            s[0] = 0.9 * s[0] + 0.1 * g
            s[1] = 0.999 * s[1] + 0.001 * g**2
            return 0.002 * (s[0] / (1 - 0.9**t)) / (np.sqrt(s[1] / (1 - 0.999**t)) + 1e-8)


def departure(name: str, images: Any, labels: Any, order: Any) -> float:
    """The largest difference of a weight after all steps, relative to the largest weight."""
    model = nn.Linear(784, 10, bias=False, dtype="float64")
    nn.init.zeros_(model.weight)
    step = graphc.compile_train_step(model, "cross_entropy", OPTIMIZERS[name](), *FLAT, threads=1)
    step.run({"x": images, "y": labels}, order)  # all steps in one native call

    w, x = graphc.input("w", (10, 784), "float64"), graphc.input("x", ("batch", 784), "float64")
    loss = ops.cross_entropy(ops.linear(x, w), graphc.input("y", ("batch",), "int64"))
    gradient = graphc.compile(graphc.grad(loss, [w]), threads=1)
    weights, memory = np.zeros((10, 784)), [np.zeros((10, 784)), np.zeros((10, 784))]
    for t, rows in enumerate(order, start=1):
        (g,) = gradient(w=weights, x=images[rows], y=labels[rows])
        weights = weights - rule(name, g, memory, t)
    return float(np.abs(weights - model.weight.value).max() / np.abs(weights).max())


def trained(name: str, mnist: data.Dataset, order: Any) -> tuple[Any, float]:
    """The loss of every step of a small net, and its accuracy on the test images."""
    graphc.seed(0)  # the same initial weights for all
    model = nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
    step = graphc.compile_train_step(model, "cross_entropy", OPTIMIZERS[name](), *FLAT, threads=1)
    losses = step.run({"x": mnist.x_train, "y": mnist.y_train}, order)["loss"]
    test = graphc.train.compile_eval_step(model, "cross_entropy", *FLAT, metrics=["accuracy"])
    return losses, float(test(x=mnist.x_test, y=mnist.y_test)["accuracy"])


def main(arguments: Arguments = None) -> dict[str, object]:
    """Check the seven rules, then train with them."""
    lesson = Lesson(__doc__, arguments)
    mnist = loaded(data.mnist, flat=True)
    random = np.random.default_rng(0)
    steps, count, least = (100, 6_000, 0.85) if lesson.quick else (1000, 60_000, 0.93)
    order = random.integers(0, 10_000, (steps, 32))
    images, labels = mnist.x_train[:10_000].astype(np.float64), mnist.y_train[:10_000]
    for name in OPTIMIZERS:
        far = departure(name, images, labels, order)
        lesson.claim(f"{name}: {steps} steps beside numpy's", far, "below 1e-12", far < 1e-12)

    order = random.permutation(count).reshape(-1, 20)
    losses = {}
    for name in OPTIMIZERS:
        losses[name], accuracy = trained(name, mnist, order)
        claim = f"{name}: test accuracy after {count:,} examples"
        lesson.at_least(claim, accuracy, least)

    ends = np.arange(100, len(order) + 1, 100)
    lines = {name: (ends, found.reshape(-1, 100).mean(1)) for name, found in losses.items()}
    axes = {"yscale": "log", "xlabel": "step of 20 examples", "ylabel": "loss, mean of 100 steps"}
    lesson.draw("07_sgd.png", partial(curves, lines, **axes), (6, 4))
    layer, rule_of = nn.Linear(3, 1, bias=False), OPTIMIZERS["momentum"]()
    step = graphc.compile_train_step(layer, "mse", rule_of, {"x": ("n", 3)}, {"t": ("n", 1)})
    lesson.inside("Momentum in the graph of a step", step.program.as_text("graph"))
    return lesson.finish()


if __name__ == "__main__":
    main()
