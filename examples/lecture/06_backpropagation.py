"""6. The chain rule and backpropagation: a derivation step by step, and what it costs.

    python examples/lecture/06_backpropagation.py --out pictures

For a net of two tanh units and a sigmoid, every local derivative that graphc derives is printed
beside the textbook's formula, which sympy differentiates by itself; their difference must vanish as
an identity. The chain of them is held to central differences, parameter by parameter, and the
operations of the backward pass are counted for three nets.

Sources: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors",
1986; Baur and Strassen, "The complexity of partial derivatives", 1983, for what a gradient costs.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import sympy
from common import Arguments, Lesson, central_differences
from pictures import curves

import graphc
from graphc import nn, ops

a, b, x, grad = sympy.symbols("a b x grad", real=True)
TEXTBOOK = {
    "matmul": a * b,
    "add": a + b,
    "sub": a - b,
    "tanh": (sympy.exp(x) - sympy.exp(-x)) / (sympy.exp(x) + sympy.exp(-x)),
    "sigmoid": 1 / (1 + sympy.exp(-x)),
    "square": x**2,
    "sum": x,
}
SHAPES = {"w1": (3, 2), "b1": (2,), "w2": (2, 1), "b2": (1,)}


def loss(w1: Any, b1: Any, w2: Any, b2: Any) -> graphc.Node:
    """The sum of squares of the net's error."""
    given = graphc.input("x", ("batch", 3), "float64")
    wanted = graphc.input("t", ("batch", 1), "float64")
    hidden = ops.tanh(given @ w1 + b1)
    return ops.sum(ops.square(ops.sigmoid(hidden @ w2 + b2) - wanted))


def main(arguments: Arguments = None) -> dict[str, object]:
    """The whole of it takes seconds; quick counts one net alone."""
    lesson = Lesson(__doc__, arguments)
    derive(lesson)
    differences(lesson)
    costs(lesson)
    return lesson.finish()


def derive(lesson: Lesson) -> None:
    """Each step back, from the loss on, beside the textbook's derivative."""
    parameters = [graphc.parameter(name, shape, "float64") for name, shape in SHAPES.items()]
    gradients = graphc.grad(loss(*parameters), parameters)
    graph = graphc.Graph(gradients[::-1])
    equal = []
    for op in (node.op for node in graph.nodes if ".d" in node.op.name):
        name, variable = op.name.split(".d")  # tanh.dx is the derivative of tanh by its operand x
        known = {"a": a, "b": b, "x": x, "grad": grad, "result": TEXTBOOK[name]}
        derived = op.expr.subs({s: known[s.name] for s in op.expr.free_symbols})
        derivative = sympy.diff(TEXTBOOK[name], known[variable])
        equal.append(sympy.simplify(derived - grad * derivative) == 0)
        print(f"{op.name:10} d/d{variable} {TEXTBOOK[name]} = {derivative}, identical: {equal[-1]}")
    what = "The net, and back: `grad` flows in; the outputs are the gradients by b2, w2, b1, w1"
    lesson.inside(f"\n{what}", str(graph))
    name = "local derivatives that sympy's derivative of the textbook's formula equals"
    lesson.claim(name, sum(equal), f"{len(equal)} of {len(equal)}", all(equal) and len(equal) > 8)
    lesson.inside("What is left of it to compute", graphc.compile(gradients).as_text("simplified"))


def differences(lesson: Lesson) -> None:
    """The gradient against (f(p + h) - f(p - h)) / 2h for every parameter, in one native call."""
    every, h = graphc.input("every", (11,), "float64"), graphc.input("h", (), "float64")

    def value(numbers: graphc.Node) -> graphc.Node:
        return loss(*map(ops.reshape, ops.split(numbers, [6, 2, 2, 1]), SHAPES.values()))

    slopes = central_differences(value, every, h)
    (gradient,) = graphc.grad(value(every), [every])
    error = ops.abs(slopes - gradient) / ops.maximum(ops.abs(slopes), 1e-3)
    program, rng = graphc.compile(ops.max(error)), np.random.default_rng(0)
    point = {"every": rng.standard_normal(11), "x": rng.standard_normal((5, 3))}
    sizes = [1e-5, *10.0 ** -np.arange(1, 12)]
    worst, *errors = (float(program(h=h, t=[[0.1]] * 5, **point)[0]) for h in sizes)
    claim = "largest relative error of 11 gradients against central differences"
    lesson.claim(claim, worst, "below 1e-6", worst < 1e-6)
    lines = {"measured": (sizes[1:], errors), "allowed": (sizes[1:], [1e-6] * 11)}
    axes = {"xscale": "log", "yscale": "log", "xlabel": "step h", "ylabel": "relative error"}
    lesson.draw("06_differences.png", partial(curves, lines, **axes), (4, 3))


def costs(lesson: Lesson) -> None:
    """Operations of the backward pass over those of the forward pass, as counted."""
    deep = [make() for _ in range(10) for make in (partial(nn.Linear, 64, 64), nn.Sigmoid)]
    nets = {
        "784-500-10, tanh": (("batch", 784), [nn.Linear(784, 500), nn.Tanh(), nn.Linear(500, 10)]),
        "ten layers of 64, sigmoid": (("batch", 64), deep),
        "two convolutions": (("batch", 1, 28, 28), [
            nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10),
        ]),
    }  # fmt: skip
    for name, (shape, layers) in list(nets.items())[: 1 if lesson.quick else None]:
        model, rows = nn.Sequential(*layers), graphc.input("x", shape)
        loss = ops.cross_entropy(model(rows), graphc.input("y", ("batch",), "int64"))
        everything = [*(p.node for p in model.parameters()), rows]
        forward = graphc.compile(loss).cost(batch=20).flops
        both = graphc.compile((loss, *graphc.grad(loss, everything))).cost(batch=20).flops
        part = (both - forward) / forward
        lesson.claim(f"{name}: FLOPs backward over forward", part, "1.5 to 3", 1.5 <= part <= 3)


if __name__ == "__main__":
    main()
