"""8. Depth: parity by and/or gates, by a tree of XORs, by threshold units, and learned.

    python examples/lecture/08_parity.py --out pictures

Three circuits for "is the number of ones odd" are built gate by gate, and one compiled kernel
compares them with it at all 2^n inputs. At depth two, and/or gates need 2^(n-1) + 1 of them; a tree
needs 3(n-1) units at depth 2 ceil(log2 n); but n + 1 threshold units do at depth two. So the
exponential gap between shallow and deep is one of and/or gates. Then nets of equally many weights,
with one to four hidden layers, learn the parity of 8 bits from 20 initial values each.

Sources: the gap is due to Hastad, "Almost optimal lower bounds for small depth circuits", 1986, the
threshold units to Minsky and Papert, "Perceptrons", 1969, and Rumelhart, Hinton and Williams, 1986.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from circuit import Circuit
from common import Arguments, Lesson, fitted, timed
from pictures import curves

import graphc
from graphc import nn, ops, optim

NETS = ((1, 32), (2, 14), (3, 11), (4, 9))  # hidden layers and their width: 321 to 375 weights


def tree(circuit: Circuit, bits: list[graphc.Node]) -> graphc.Node:
    """XORs of pairs, and of pairs of those: (x and not y) or (not x and y) by three units each."""
    while len(bits) > 1:
        pairs = []
        for x, y in zip(bits[::2], bits[1::2], strict=False):
            only_x, only_y = circuit.unit(0.5, (1, x), (-1, y)), circuit.unit(0.5, (-1, x), (1, y))
            pairs.append(circuit.unit(0.5, (1, only_x), (1, only_y)))
        bits = pairs + bits[2 * len(pairs) :]
    return bits[0]


def counting(circuit: Circuit, bits: list[graphc.Node]) -> graphc.Node:
    """Unit k fires for k ones or more; the last adds them up with alternating signs."""
    ones = [(1.0, bit) for bit in bits]
    levels = [circuit.unit(k - 0.5, *ones) for k in range(1, len(bits) + 1)]
    return circuit.unit(0.5, *(((-1.0) ** k, level) for k, level in enumerate(levels)))


def gates(n: int) -> tuple[graphc.Node, graphc.Node]:
    """The OR of an AND for every odd input, at all inputs; and how many gates that is.

    An AND of n literals is that of its first and its last ones, so that all ANDs at all inputs,
    2^(2n-1) values, are summed by two products of matrices.
    """
    first, last = n // 2, n - n // 2
    exists = ops.reshape(ops.cast(odd(n), "float32"), (2**last, 2**first))
    fires_last, fires_first = (
        ops.cast(ops.all(ops.equal(digits(k)[:, None], digits(k)[None]), 2), "float32")
        for k in (last, first)
    )
    firing = fires_last @ exists @ fires_first.T
    return ops.reshape(ops.step(firing - 0.5), (2**n,)), ops.sum(exists) + 1


def digits(n: int) -> graphc.Node:
    """The bits of 0 to 2^n - 1, as whole numbers (2^n, n)."""
    return ops.floor_divide(ops.arange(2**n)[:, None], 2 ** np.arange(n)) % 2


def odd(n: int) -> graphc.Node:
    """Whether the number of ones is odd, for 0 to 2^n - 1: where its two halves differ in that."""
    first, last = (ops.sum(digits(k), 1) % 2 for k in (n // 2, n - n // 2))
    return ops.reshape(ops.not_equal(last[:, None], first), (2**n,))


def circuits(n: int) -> Iterator[tuple[str, graphc.Node, Any, int, tuple[int, int]]]:
    """Each circuit: its output at all inputs, its units and depth, and what these should be."""
    yield "and/or gates", *gates(n), 2, (2 ** (n - 1) + 1, 2)
    number = ops.cast(ops.arange(2**n), "float32")
    bits = [ops.floor(number / 2**i) - 2 * ops.floor(number / 2 ** (i + 1)) for i in range(n)]
    deep, flat = Circuit(), Circuit()
    for name, circuit, output, wanted in (
        ("tree of XORs", deep, tree(deep, bits), (3 * (n - 1), 2 * math.ceil(math.log2(n)))),
        ("threshold units", flat, counting(flat, bits), (n + 1, 2)),
    ):
        yield name, output, graphc.constant(circuit.units), circuit.depth[output], wanted


def main(arguments: Arguments = None) -> dict[str, object]:
    """Circuits of 2 to 20 inputs, nets of 1 to 4 hidden layers; of 3 and 8, and 1, where quick."""
    lesson = Lesson(__doc__, arguments)
    inputs = (3, 8) if lesson.quick else range(2, 21)
    most = inputs[-1]
    found: dict[str, list[Any]] = {}
    for n in inputs:
        for name, output, units, depth, wanted in circuits(n):
            differs = ops.not_equal(ops.greater(output, 0.5), odd(n))
            program = graphc.compile((ops.sum(ops.cast(differs, "int64")), units))
            (wrong, count), seconds = timed(program)
            found.setdefault(name, []).append((wrong, seconds, (int(count), depth), wanted))
    lesson.inside("The last circuit, for all its inputs", program.as_text("fused"))
    for name, rows in found.items():
        errors, times, sizes, right = zip(*rows, strict=True)
        claim = f"{name}: wrong outputs at all inputs, n = {inputs[0]} to {most}"
        lesson.claim(claim, int(sum(errors)), 0, not any(errors))
        claim = f"{name}: units and depth at n = {most}, and for each n as they should be"
        lesson.claim(claim, sizes[-1], right[-1], sizes == right)
        claim = f"{name}: seconds for all 2^{most} inputs"
        lesson.claim(claim, times[-1], "< 1", times[-1] < 1)
    for layers, width in NETS[:1] if lesson.quick else NETS:
        seeds, steps = (4, 1200) if lesson.quick else (20, 3000)
        learned, weights = learn(layers, width, seeds, steps)
        claim = f"parity of 8 learned, {layers} hidden of {width}, {weights} weights, {seeds} seeds"
        lesson.claim(claim, learned, f"at least {seeds // 2}", learned >= seeds // 2)
    lines = {name: (inputs, [row[2][0] for row in rows]) for name, rows in found.items()}
    axes = {"yscale": "log", "xlabel": "inputs n", "ylabel": "units"}
    lesson.draw("08_parity.png", partial(curves, lines, **axes), (6, 3))
    return lesson.finish()


def learn(layers: int, width: int, seeds: int, steps: int) -> tuple[int, int]:
    """How many nets get all 256 inputs right after training on them, and their weights."""
    graphc.seed(0)
    sizes = [8, *[width] * layers]
    model = nn.Sequential()
    for fan_in, fan_out in pairwise(sizes):
        model.append(nn.LinearEnsemble(seeds, fan_in, fan_out)).append(nn.Tanh())
    model.append(nn.LinearEnsemble(seeds, width, 1))
    bits, parity = graphc.compile((digits(8), odd(8)))()
    given, wanted = np.float32(2 * bits - 1)[:, None], np.float32(parity)[:, None, None]

    def loss(score: Any, target: Any) -> Any:
        return seeds * ops.bce_with_logits(score, target + 0 * score)  # each net its own

    fitted(model, loss, optim.Adam(0.01), given, wanted, steps)
    (score,) = graphc.compile(model, inputs={"x": given.shape})(given)
    right = ((score > 0) == (wanted > 0.5)).all((0, 2))
    return int(right.sum()), sum(p.size for p in model.parameters()) // seeds


if __name__ == "__main__":
    main()
