"""3. XOR: composed of three threshold units, impossible for one, learned by a 2-2-1 net.

    python examples/lecture/03_xor.py --out pictures

(x0 and not x1) or (not x0 and x1) is built as it is written. One unit cannot do it: the inputs
where XOR is true and those where it is not have the same centre. Then 100 nets of two hidden units
learn it at once, one program for all of them, each from initial values of its own.

Sources: Minsky and Papert, "Perceptrons", 1969; Rumelhart, Hinton and Williams, "Learning internal
representations by error propagation", 1986, where XOR is the first problem.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pictures
from checks import step_error
from circuit import Circuit
from common import Arguments, Lesson, apart, certificate, ensemble, fitted, solved

import graphc
from graphc import nn, ops, optim

INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
XOR = np.array([0, 1, 1, 0], np.float32)


def xor(x0: graphc.Node, x1: graphc.Node) -> graphc.Node:
    """(x0 and not x1) or (not x0 and x1), of three units that fire where w.x > t."""
    unit = Circuit().unit  # of the threshold t, then each weight with what it weighs
    only_first = unit(0.5, (1, x0), (-1, x1))
    only_second = unit(0.5, (-1, x0), (1, x1))
    return unit(0.5, (1, only_first), (1, only_second))


def main(arguments: Arguments = None) -> dict[str, object]:
    """Compose, refute, learn: 3,000 steps of 100 nets, or of 10 where quick."""
    lesson = Lesson(__doc__, arguments, needs=["scipy.optimize"])
    x = graphc.input("x", ("batch", 2))
    composed = graphc.compile(xor(x[:, 0], x[:, 1]))
    lesson.inside("Three units in one kernel", composed.kernels["k00"].as_text("loops"))
    (table,) = composed(INPUTS)
    found = "".join(f"{value:.0f}" for value in table)
    lesson.claim("truth table of the three units", found, "0110", (table == XOR).all())
    against = certificate(INPUTS, XOR == 1)
    lesson.claim(
        "certificate against one unit: times (x0, x1, 1) it adds up to 0",
        str(against),
        "1*(01) + 1*(10) - 1*(00) - 1*(11) = 0",
        against is not None
        and not (against @ INPUTS).any()
        and against.sum() == 0
        and (against * (2 * XOR - 1) > 0).all(),
    )
    learn(lesson, 10 if lesson.quick else 100)
    return lesson.finish()


def learn(lesson: Lesson, nets: int) -> None:
    """Train 2-2-1 nets, and count those whose output lies on the right side at all four inputs."""
    graphc.seed(0)
    model = ensemble(nets, 2, 2, 1)
    lesson.equal(f"different nets of {nets} before they learn", apart(model), nets)
    given, wanted = (2 * INPUTS - 1)[:, None], XOR[:, None, None]  # -1 and 1: centred inputs

    def loss(output: Any, target: Any) -> Any:
        return ops.sum(ops.square(output - target)) / 4  # each net its own

    error = step_error(ensemble(nets, 2, 2, 1), given, wanted, loss)
    lesson.at_most("a step beside central differences, relative", error, 1e-6)
    losses = fitted(model, loss, optim.Adam(0.03), given, wanted, 3000) / nets
    learned = solved(model, given, wanted, 0.5)
    ten = int(learned[:10].sum())
    lesson.claim("2-2-1 nets of the first ten that learn it", ten, "at least 9 of 10", ten >= 9)
    lesson.at_least(f"2-2-1 nets of {nets} that learn it", int(learned.sum()), 9 * nets // 10)
    lesson.draw("03_xor.png", lambda figure: draw(figure, model, losses), (8, 2.8))


def draw(figure: Any, model: nn.Module, losses: Any) -> None:
    """The composed units and the first learned net over the plane, and the mean loss."""
    fine = np.linspace(-0.4, 1.4, 91, dtype=np.float32)
    points = np.stack(np.meshgrid(fine, fine), -1).reshape(-1, 2)
    x = graphc.input("x", ("batch", 2))
    learned = model((2 * x - 1)[:, None])[:, 0, 0]
    surfaces = graphc.compile((xor(x[:, 0], x[:, 1]), learned))(points)
    pictures.xor([s.reshape(91, 91) for s in surfaces], XOR, losses, figure)


if __name__ == "__main__":
    main()
