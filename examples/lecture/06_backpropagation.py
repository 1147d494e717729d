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

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy
from common import Arguments, Lesson

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


def main(arguments: Arguments = None) -> dict[str, object]:
    """The whole of it takes seconds; quick counts one net alone."""
    lesson = Lesson(__doc__, arguments)
    rng = np.random.default_rng(0)
    given = graphc.input("x", ("batch", 3), "float64")
    wanted = graphc.input("t", ("batch", 1), "float64")
    w1, b1, w2, b2 = (
        graphc.parameter(name, value=rng.standard_normal(shape))
        for name, shape in (("w1", (3, 2)), ("b1", (2,)), ("w2", (2, 1)), ("b2", (1,)))
    )
    hidden = ops.tanh(given @ w1 + b1)
    loss = ops.sum(ops.square(ops.sigmoid(hidden @ w2 + b2) - wanted))
    derive(lesson, loss, [w1, b1, w2, b2])
    data = {"x": rng.standard_normal((5, 3)), "t": rng.random((5, 1))}
    differences(lesson, loss, [w1, b1, w2, b2], data)
    costs(lesson)

    (slope,) = graphc.grad(ops.sum(ops.tanh(given)), [given])
    far, flat = graphc.compile((ops.tanh(given), slope))(np.full((1, 3), 400.0))
    saturated = f"{far[0, 0]:g}, slope {flat[0, 0]:g}"
    lesson.claim("tanh(400)", saturated, "1, slope 0", saturated == "1, slope 0")
    return lesson.finish()


def derive(lesson: Lesson, loss: graphc.Node, parameters: list[graphc.Node]) -> None:
    """Each step back, from the loss on, beside the textbook's derivative."""
    steps = proved = 0
    below = set(parameters)
    print(
        "The derivation, last operation first; `grad` is what flows in, `result` what was made:\n"
    )
    nodes = [node for node in graphc.Graph((loss,)).nodes if node.inputs]
    for node in nodes:
        below |= {node} if below & set(node.inputs) else set()
    for node in reversed(nodes):
        textbook = TEXTBOOK[node.op.name]
        arriving = graphc.input("grad", node.shape, "float64")
        for operand, variable in zip(node.inputs, node.op.args, strict=True):
            if operand not in below:
                continue
            (back,) = graphc.vjp(node, operand, arriving)
            symbol = sympy.Symbol(variable.name, real=True)
            derivative = sympy.diff(textbook, symbol)
            known = {"a": a, "b": b, "x": x, "grad": grad, "result": textbook}
            derived = back.op.expr.subs({s: known[s.name] for s in back.op.expr.free_symbols})
            same = sympy.simplify(derived - grad * derivative) == 0
            steps, proved = steps + 1, proved + same
            print(f"  {back.op.name:11} {back.op.describe()}")
            print(
                f"  {'':11} d/d{symbol} {textbook} = {derivative}: {'equal' if same else 'OTHER'}"
            )
    print()
    name = "local derivatives that sympy's derivative of the textbook's formula equals"
    lesson.claim(name, proved, f"{steps} of {steps}", proved == steps > 8)
    program = graphc.compile(graphc.grad(loss, parameters))
    lesson.inside("What is left of it to compute", program.as_text("simplified"))


def differences(lesson: Lesson, loss: graphc.Node, parameters: list[Any], data: Any) -> None:
    """The gradient against (f(p + h) - f(p - h)) / 2h for every parameter, in float64."""
    value = graphc.compile(loss)
    gradients = graphc.compile(graphc.grad(loss, parameters))(**data)

    def worst(h: float) -> float:
        """The largest relative error with a step of h."""
        errors = []
        for node, gradient in zip(parameters, gradients, strict=True):
            cell = node.op.cell.value
            for place in np.ndindex(cell.shape):
                kept, around = cell[place], []
                for moved in (kept + h, kept - h):
                    cell[place] = moved
                    around.append(value(**data)[0])
                cell[place] = kept
                slope = (around[0] - around[1]) / (2 * h)
                errors.append(abs(slope - gradient[place]) / max(abs(slope), 1e-3))
        return float(max(errors))

    error = worst(1e-5)
    count = sum(node.op.cell.value.size for node in parameters)
    lesson.claim(
        f"largest relative error of {count} gradients against central differences",
        error,
        "below 1e-6",
        error < 1e-6,
    )
    lesson.draw("06_differences.png", lambda figure: draw(figure, worst), (4, 3))


def costs(lesson: Lesson) -> None:
    """Operations of the backward pass over those of the forward pass, as counted."""
    image, flat = ("batch", 1, 28, 28), ("batch", 784)
    nets = {
        "784-500-10, tanh": (flat, [nn.Linear(784, 500), nn.Tanh(), nn.Linear(500, 10)]),
        "ten layers of 64, sigmoid": (
            ("batch", 64),
            [layer for _ in range(10) for layer in (nn.Linear(64, 64), nn.Sigmoid())],
        ),
        "two convolutions": (
            image,
            [
                *(nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2)),
                *(nn.Conv2d(8, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
                nn.Linear(256, 10),
            ],
        ),
    }
    for name, (shape, layers) in list(nets.items())[: 1 if lesson.quick else None]:
        model, rows = nn.Sequential(*layers), graphc.input("x", shape)
        loss = ops.cross_entropy(model(rows), graphc.input("y", ("batch",), "int64"))
        everything = [*(p.node for p in model.parameters()), rows]
        forward = graphc.compile(loss).cost(batch=20).flops
        both = graphc.compile((loss, *graphc.grad(loss, everything))).cost(batch=20).flops
        ratio = (both - forward) / forward
        lesson.claim(f"{name}: FLOPs backward over forward", ratio, "at most 3", ratio <= 3)


def draw(figure: Any, worst: Callable[[float], float]) -> None:
    """The error of central differences: the parabola's h^2, then what rounding leaves, 1/h."""
    steps = 10.0 ** -np.arange(1, 12)
    axes = figure.subplots()
    axes.loglog(steps, [worst(h) for h in steps], "o-")
    axes.axhline(1e-6, color="black", linewidth=1)
    axes.set(xlabel="step h", ylabel="largest relative error")


if __name__ == "__main__":
    main()
