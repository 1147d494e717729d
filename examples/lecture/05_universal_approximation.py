"""5. Universal approximation: nets of H steps, nets of H bumps, and nets that learn.

    python examples/lecture/05_universal_approximation.py --out pictures

A net of H steps jumps at i/H to the target's value in the middle of the next piece; a net of bumps
adds one difference of two steps for each piece. No point is farther than 1/(2H) from the middle of
its piece, so the error stays within the modulus of continuity there, whatever the target. One
native call builds the nets for all H and measures them; then tanh nets with H units learn the same
targets.

Sources: Cybenko, "Approximation by superpositions of a sigmoidal function", 1989; the construction
is chapter 4 of Nielsen, "Neural Networks and Deep Learning", 2015.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from common import Arguments, Lesson, ensemble, fitted
from pictures import panels

import graphc
from graphc import nn, ops, optim

TARGETS = {  # by name, each with its modulus of continuity on [0, 1]
    "sin 2πx": (lambda x: ops.sin(2 * np.pi * x), lambda d: 2 * ops.sin(np.pi * d)),
    "x²": (ops.square, lambda d: 2 * d - ops.square(d)),
    "√x": (ops.sqrt, ops.sqrt),
    "|2x - 1|": (lambda x: ops.abs(2 * x - 1), lambda d: 2 * d),
    "∛|x - ½|": (lambda x: ops.pow(ops.abs(x - 0.5), 1 / 3), lambda d: ops.pow(d, 1 / 3)),
    "tanh 20(x - ½)": (lambda x: ops.tanh(20 * (x - 0.5)), lambda d: 2 * ops.tanh(10 * d)),
}
REACH = {"1/H": 1.0, "1/(2H)": 0.5}  # pieces are as wide, points as far from their middles


def targets(x: graphc.Node) -> graphc.Node:
    """The six targets at x (n), as (n, 6)."""
    return ops.stack([target(x) for target, _ in TARGETS.values()], 1)


def constructed(most: int, x: graphc.Node, pieces: graphc.Node) -> tuple[graphc.Node, graphc.Node]:
    """What the net of steps and the net of bumps make of x (n), for as many pieces: (n, 6) each.

    There are `most` units; those beyond the pieces have thresholds above 1, and never fire.
    """
    unit = ops.cast(ops.arange(most + 1), "float64")
    thresholds = ops.where(ops.equal(unit, 0.0), -1.0, unit / pieces)
    fires = ops.step(x[:, None] - thresholds)
    height = targets((unit + 0.5) / pieces)
    jump = ops.concat([height[:1], height[1:-1] - height[:-2]])
    bumps = fires[:, :-1] - fires[:, 1:]
    return ops.matmul(fires[:, :-1], jump), ops.matmul(bumps, height[:-1])


def main(arguments: Arguments = None) -> dict[str, object]:
    """Every H from 2 to 1024, or the powers of 2 where quick."""
    lesson = Lesson(__doc__, arguments)
    sizes = 2.0 ** np.arange(1, 11) if lesson.quick else np.arange(2.0, 1025.0)
    x = graphc.input("x", (2049,), "float64")
    each = graphc.input("sizes", sizes.shape, "float64")

    def measure(_: None, pieces: graphc.Node) -> tuple[None, Any]:
        wanted = targets(x)
        errors = [ops.max(ops.abs(net - wanted), 0) for net in constructed(1024, x, pieces)]
        moduli = [modulus for _, modulus in TARGETS.values()]
        bounds = [ops.stack([m(reach / pieces) for m in moduli]) for reach in REACH.values()]
        return None, (ops.stack(errors), ops.stack(bounds))

    program = graphc.compile(graphc.scan(measure, None, each)[1])
    lesson.inside("One scan over H", program.as_text("graph"))
    error, bounds = program(x=np.linspace(0, 1, 2049), sizes=sizes)
    for net, name in enumerate(("steps", "bumps")):
        for k, reach in enumerate(REACH):
            worst = float((error[:, net] / bounds[:, k]).max())
            text = f"nets of {name}: largest error over the modulus at {reach}, {len(sizes)} H"
            lesson.claim(f"{text}, 6 targets", worst, "at most 1", worst < 1 + 1e-9)
    widths, seeds, steps = ((1, 16), 2, 500) if lesson.quick else ((1, 4, 16, 64), 8, 3000)
    trained = np.stack([learn(h, seeds, steps) for h in widths])
    means = [*map(float, trained.mean(1))]
    for h, before, mean in zip(widths[1:], means, means[1:], strict=False):
        text = f"trained nets of {h} tanh units: largest error, mean over the targets"
        lesson.claim(text, mean, "falls with H", mean < before)
    gain = float((trained[-1] / trained[0]).max())
    text = f"trained, error of {widths[-1]} units over that of 1, the worst target"
    lesson.claim(text, gain, "below 0.75", gain < 0.75)
    dots = np.log2(sizes) % 1 == 0  # the two nets differ by rounding: one a line, one dots
    lines = {
        "modulus at 1/H": (sizes, bounds[:, 0], "k-"),
        "H steps": (sizes, error[:, 0], "C0-"),
        "H bumps": (sizes[dots], error[dots, 1], "C2o"),
        "H tanh units, trained": (widths, trained, "C1o-"),
    }
    labels = ("H", "largest error on [0, 1]")
    lesson.draw("05_approximation.png", partial(panels, TARGETS, lines, labels), (8, 4.8))
    return lesson.finish()


def learn(width: int, seeds: int, steps: int) -> Any:
    """The largest error of trained nets for each target, the median over the seeds: (6,)."""
    graphc.seed(0)
    model = ensemble(6 * seeds, 1, width, 1)
    nn.init.uniform_(model[0].weight, -30, 30)  # as steep as the targets
    nn.init.uniform_(model[0].bias, -15, 15)  # and spread over the interval
    x = np.linspace(0, 1, 129, dtype=np.float32)
    (wanted,) = graphc.compile(targets(graphc.input("x", ("n",))))(x)
    y = np.tile(wanted, seeds)[:, :, None]
    given = (x - 0.5)[:, None, None]

    def loss(output: Any, target: Any) -> Any:
        return ops.sum(ops.mean(ops.square(output - target), 0))  # each net its own

    fitted(model, loss, optim.Adam(optim.OneCycleLR(0.03, steps)), given, y, steps)
    far = ops.max(ops.abs(model(graphc.input("x", given.shape)) - y), (0, 2))
    return np.median(graphc.compile(ops.reshape(far, (seeds, 6)))(given)[0], 0)


if __name__ == "__main__":
    main()
