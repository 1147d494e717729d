"""An activation of one's own in six lines: its formula is all that graphc needs.

    python examples/custom_op.py

Shape rule, gradient, loop nest and vector code follow from the formula; nothing else is written.
"""

from __future__ import annotations

import numpy as np
import sympy

import graphc
from graphc import data, nn, ops, optim


@graphc.op
def snake(x, *, a=1):
    """x + sin(a*x)^2 / a, for what is periodic (Ziyin et al., arXiv:2006.08195, equation 3)."""
    return x + sympy.sin(a * x) ** 2 / a


class Snake(nn.Module):
    """The activation as a layer."""

    def forward(self, x: graphc.Node) -> graphc.Node:
        return snake(x, a=2)


inputs = {"x": ("batch", 2)}
graphc.seed(0)
model = nn.Sequential(nn.Linear(2, 32), Snake(), nn.Linear(32, 32), Snake(), nn.Linear(32, 2))


def main() -> float:
    """Print the derived gradient, train two spirals apart, return the accuracy."""
    x = graphc.input("x", ("batch", 8))
    (slope,) = graphc.grad(ops.sum(snake(x, a=2)), [x])
    program = graphc.compile(slope)
    print(program.as_text("simplified"), program.as_text("loops"), sep="\n\n")
    points = np.linspace(-3, 3, 8, dtype=np.float32).reshape(1, 8)
    expected = 1 + 2 * np.sin(2 * points) * np.cos(2 * points)
    np.testing.assert_allclose(program(points)[0], expected, atol=1e-6)

    x, y = data.spiral(1000)
    trainer = graphc.Trainer(model, "cross_entropy", optim.Adam(0.01), metrics=["accuracy"])
    trainer.fit(x, y, batch_size=50, epochs=20, verbose=2)
    return trainer.evaluate(x, y)["accuracy"]


if __name__ == "__main__":
    main()
