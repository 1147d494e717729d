"""6. The chain rule and backpropagation: a derivation step by step, and what it costs.

    python examples/lecture/06_backpropagation.py --out pictures

For a net of two tanh units and a sigmoid, every local derivative that graphc derives is printed
beside the textbook's formula, which sympy differentiates by itself; their difference must vanish as
an identity. The chain of them is held to central differences, parameter by parameter, and the
operations of the backward pass are counted for three nets.

Sources: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors",
Nature 323, 1986; that a gradient costs a small multiple of its function is due to Baur and
Strassen, "The complexity of partial derivatives", 1983.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import sympy
from common import Arguments, Lesson
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


def loss(w1: Any, b1: Any, w2: Any, b2: Any, given: Any, wanted: Any) -> graphc.Node:
    """The sum of squares of the net's error."""
    hidden = ops.tanh(given @ w1 + b1)
    return ops.sum(ops.square(ops.sigmoid(hidden @ w2 + b2) - wanted))


def main(arguments: Arguments = None) -> dict[str, object]:
    """The whole of it takes seconds; quick counts one net alone."""
    lesson = Lesson(__doc__, arguments)
    given = graphc.input("x", ("batch", 3), "float64")
    wanted = graphc.input("t", ("batch", 1), "float64")
    parameters = [graphc.parameter(name, shape, "float64") for name, shape in SHAPES.items()]
    derive(lesson, loss(*parameters, given, wanted), parameters)
    differences(lesson, given, wanted)
    costs(lesson)
    return lesson.finish()


def derive(lesson: Lesson, value: graphc.Node, parameters: list[graphc.Node]) -> None:
    """Each step back, from the loss on, beside the textbook's derivative."""
    print("The derivation, last operation first; `grad` flows in, `result` is what was made:\n")
    equal = []
    for node, operand, variable in steps_back(value, parameters):
        textbook = TEXTBOOK[node.op.name]
        (back,) = graphc.vjp(node, operand, graphc.input("grad", node.shape, "float64"))
        known = {"a": a, "b": b, "x": x, "grad": grad, "result": textbook}
        derived = back.op.expr.subs({s: known[s.name] for s in back.op.expr.free_symbols})
        derivative = sympy.diff(textbook, known[variable])
        equal.append(sympy.simplify(derived - grad * derivative) == 0)
        verdict = "equal" if equal[-1] else "OTHER"
        print(f"  {back.op.name:11} {back.op.describe()}")
        print(f"  {'':11} d/d{variable} {textbook} = {derivative}: {verdict}")
    print()
    name = "local derivatives that sympy's derivative of the textbook's formula equals"
    lesson.claim(name, sum(equal), f"{len(equal)} of {len(equal)}", all(equal) and len(equal) > 8)
    program = graphc.compile(graphc.grad(value, parameters))
    lesson.inside("What is left of it to compute", program.as_text("simplified"))


def steps_back(value: graphc.Node, parameters: list[graphc.Node]) -> Iterator[Any]:
    """From the end on: each node, each operand that a parameter is part of, its symbol's name."""
    nodes, moved = [node for node in graphc.Graph((value,)).nodes if node.inputs], set(parameters)
    for node in nodes:
        moved |= {node} if moved & set(node.inputs) else set()
    for node in reversed(nodes):
        for operand, variable in zip(node.inputs, node.op.args, strict=True):
            if operand in moved:
                yield node, operand, variable.name


def differences(lesson: Lesson, given: graphc.Node, wanted: graphc.Node) -> None:
    """The gradient against (f(p + h) - f(p - h)) / 2h for every parameter, in one native call."""
    every, h = graphc.input("every", (11,), "float64"), graphc.input("h", (), "float64")

    def value(numbers: graphc.Node) -> graphc.Node:
        parts = ops.split(numbers, [math.prod(shape) for shape in SHAPES.values()])
        named = map(ops.reshape, parts, SHAPES.values())
        return loss(*named, given, wanted)

    def central(_: None, one: graphc.Node) -> tuple[None, graphc.Node]:
        return None, (value(every + h * one) - value(every - h * one)) / (2 * h)

    _, slopes = graphc.scan(central, None, np.eye(11))
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
        ratio = (both - forward) / forward
        lesson.claim(f"{name}: FLOPs backward over forward", ratio, "at most 3", ratio <= 3)


if __name__ == "__main__":
    main()
