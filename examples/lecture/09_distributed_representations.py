"""9. Distributed representations: the 8-3-8 encoder, and the big yellow Volkswagen.

    python examples/lecture/09_distributed_representations.py --out pictures

Eight inputs, of which one is on, must pass through three hidden units and come out again: the
units have to invent a code. 100 nets with initial values of their own are trained at once, and the
signs of their hidden units are read: a net has found a distributed representation where the eight
codes differ. Then the lecture's example: three features, big, yellow, Volkswagen, tell eight
things apart, for which a local code needs a unit each.

Sources: Ackley, Hinton and Sejnowski, "A learning algorithm for Boltzmann machines", 1985, and
Rumelhart, Hinton and Williams, 1986, for the encoder; Hinton, McClelland and Rumelhart,
"Distributed representations", 1986.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from common import Arguments, Lesson, apart, digits, fitted
from pictures import codes

import graphc
from graphc import nn, ops, optim

FEATURES = ("big", "yellow", "Volkswagen")
OTHERWISE = ("small", "blue", "other make")
DECAY = 1e-3  # of the encoder's weights; it drives the codes into the corners of the cube


def main(arguments: Arguments = None) -> dict[str, object]:
    """100 nets, 3,000 steps; 20 nets where quick."""
    lesson = Lesson(__doc__, arguments)
    encoder(lesson, 20 if lesson.quick else 100)
    volkswagen(lesson)
    return lesson.finish()


def encoder(lesson: Lesson, nets: int) -> None:
    """Train the nets, then count those with eight codes and those that decode all eight."""
    graphc.seed(0)
    encode = nn.Sequential(nn.LinearEnsemble(nets, 8, 3), nn.Tanh())
    decode = nn.LinearEnsemble(nets, 3, 8)
    lesson.equal(f"different nets of {nets} before they learn", apart(encode), nets)
    patterns = np.eye(8, dtype=np.float32)[:, None]
    x = graphc.input("x", patterns.shape)
    which = ops.broadcast_to(ops.arange(8)[:, None], (8, nets))
    (labels,) = graphc.compile(which)()

    def loss(scores: Any, target: Any) -> Any:
        return nets * ops.cross_entropy(ops.moveaxis(scores, 2, 1), target)  # each net its own

    adam = optim.Adam(0.01, weight_decay=DECAY)
    fitted(nn.Sequential(encode, decode), loss, adam, patterns, labels, 3000)

    code = encode(x)
    fires = ops.cast(ops.greater(code, 0.0), "int64")
    number = ops.sum(fires * [4, 2, 1], 2)
    used = ops.any(ops.equal(number[..., None], ops.arange(8)), 0)
    distinct = ops.sum(ops.cast(used, "int64"), 1)
    decoded = ops.all(ops.equal(ops.argmax(decode(code), 2), which), 0)
    program = graphc.compile((distinct, decoded, fires, code))
    lesson.inside("The codes and how many differ", program.as_text("simplified"))
    differing, right, bits, values = program(patterns)
    found = int((differing == 8).sum())
    lesson.claim(
        f"8-3-8 nets of {nets} with 8 distinct codes", found, "at least 95 %", found >= 0.95 * nets
    )
    lesson.equal(f"8-3-8 nets of {nets} that decode all 8", int(right.sum()), nets)
    print("The codes of the first net:", *("".join(map(str, row)) for row in bits[:, 0]), "\n")
    lesson.draw("09_encoder.png", partial(codes, values), (7, 2.8))


def volkswagen(lesson: Lesson) -> None:
    """Three features and the eight things that they tell apart, with a local unit for each."""
    has = digits(3)[:, ::-1]  # big counts 4, yellow 2, Volkswagen 1
    local = ops.cast(ops.equal(ops.matmul(has, [4, 2, 1])[:, None], ops.arange(8)), "int64")
    shared = 3 - ops.sum(ops.cast(ops.not_equal(has[:, None], has[None]), "int64"), 2)
    table, alone, alike = graphc.compile((has, local, shared))()
    for row, unit in zip(table, alone, strict=True):
        words = (FEATURES[i] if on else OTHERWISE[i] for i, on in enumerate(row))
        print("".join(map(str, row)), "local", "".join(map(str, unit)), " ", ", ".join(words))
    print()
    distinct = len({tuple(row) for row in table})
    lesson.claim("values that 3 features tell apart", distinct, "2^3 = 8", distinct == 8)
    lesson.equal("units that a local code needs for them", int(alone.any(0).sum()), 8)
    near = int((alike[7] == 2).sum())
    lesson.equal("things that share two features with a big yellow Volkswagen", near, 3)


if __name__ == "__main__":
    main()
