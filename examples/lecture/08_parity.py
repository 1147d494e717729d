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
from functools import partial
from itertools import product
from typing import Any

from circuit import Circuit, ands, bits, odd
from common import Arguments, Lesson, apart, digits, ensemble, fitted, solved, timed
from pictures import depth

import graphc
from graphc import ops, optim

NETS = ((1, 32), (2, 14), (3, 11), (4, 9))  # hidden layers and their width: 321 to 375 weights


def gates(n: int) -> tuple[graphc.Node, graphc.Node]:
    """An AND for every way to take an odd number of literals as they are, and the OR of all.

    An AND is the product of those of its last and its first literals: two products of matrices add
    up all of them at all inputs.
    """
    circuit, last, first = Circuit(), n - n // 2, n // 2
    taken = ops.sum(digits(last), 1)[:, None] + ops.sum(digits(first), 1)
    made = ops.cast(taken % 2, "float32")
    firing = circuit.gates(ands(last) @ made @ ands(first).T, ops.sum(made))
    output = circuit.unit(0.5, (1, firing))
    return ops.reshape(output, (2**n,)), circuit.size(output)


def tree(n: int) -> tuple[graphc.Node, graphc.Node]:
    """XORs of pairs, and of pairs of those, three threshold units each."""
    circuit, signals = Circuit(), bits(n)
    while len(signals) > 1:
        pairs = [circuit.xor(x, y) for x, y in zip(signals[::2], signals[1::2], strict=False)]
        signals = pairs + signals[2 * len(pairs) :]
    return signals[0], circuit.size(signals[0])


def counting(n: int) -> tuple[graphc.Node, graphc.Node]:
    """Unit k fires for k ones or more; the last adds them up with alternating signs."""
    circuit, ones = Circuit(), [(1.0, bit) for bit in bits(n)]
    levels = [circuit.unit(k - 0.5, *ones) for k in range(1, n + 1)]
    output = circuit.unit(0.5, *(((-1.0) ** k, level) for k, level in enumerate(levels)))
    return output, circuit.size(output)


CIRCUITS = {  # what each makes of all inputs, with its units and depth; and what these should be
    "and/or gates": (gates, lambda n: (2 ** (n - 1) + 1, 2)),
    "tree of XORs": (tree, lambda n: (3 * (n - 1), 2 * math.ceil(math.log2(n)))),
    "threshold units": (counting, lambda n: (n + 1, 2)),
}


def main(arguments: Arguments = None) -> dict[str, object]:
    """Circuits of 2 to 20 inputs, nets of 1 to 4 hidden layers; where quick, 3 sizes and one."""
    lesson = Lesson(__doc__, arguments)
    inputs = (3, 8, 20) if lesson.quick else range(2, 21)
    found: dict[str, list[Any]] = {name: [] for name in CIRCUITS}
    for n, (name, (built, known)) in product(inputs, CIRCUITS.items()):
        output, size = built(n)
        differs = ops.not_equal(ops.greater(output, 0.5), odd(n))
        program = graphc.compile((ops.sum(differs), size))
        (wrong, size), seconds = timed(program)
        found[name].append((int(wrong), seconds, tuple(map(int, size)), known(n)))
    lesson.inside("The last circuit, for all its inputs", program.as_text("fused"))
    for name, rows in found.items():
        wrong, times, sizes, right = zip(*rows, strict=True)
        claim = f"{name}: wrong outputs at all inputs, n = {inputs[0]} to {inputs[-1]}"
        lesson.equal(claim, sum(wrong), 0)
        claim = f"{name}: units and depth at n = {inputs[-1]}, and for each n as they should be"
        lesson.claim(claim, sizes[-1], right[-1], sizes == right)
        claim = f"{name}: seconds of the processor, the slowest n"
        lesson.claim(claim, max(times), "< 1", max(times) < 1)
    nets, seeds, steps = (NETS[:1], 4, 1200) if lesson.quick else (NETS, 20, 3000)
    often = [learn(lesson, layers, width, seeds, steps) for layers, width in nets]
    if not lesson.quick:
        lesson.at_least("one hidden layer learns it beside the most of all", often[0], max(often))
    units = {name: [size[0] for *_, size, _ in rows] for name, rows in found.items()}
    parts = {f"{k} x {n}": 100 * had / seeds for (k, n), had in zip(nets, often, strict=True)}
    lesson.draw("08_parity.png", partial(depth, inputs, units, parts), (8, 3))
    return lesson.finish()


def learn(lesson: Lesson, layers: int, width: int, seeds: int, steps: int) -> int:
    """How many nets get all 256 inputs right after training on them."""
    graphc.seed(0)
    model = ensemble(seeds, 8, *[width] * layers, 1)
    signs = ops.cast(2 * digits(8) - 1, "float32")[:, None]
    given, wanted = graphc.compile((signs, ops.cast(odd(8), "float32")[:, None, None]))()

    def loss(score: Any, target: Any) -> Any:
        return seeds * ops.bce_with_logits(score, target + 0 * score)  # each net its own

    fitted(model, loss, optim.Adam(0.01), given, wanted, steps)
    lesson.equal(f"{layers} hidden: different nets of {seeds}", apart(model), seeds)
    learned = int(solved(model, given, wanted, 0.0).sum())
    weights = sum(p.size for p in model.parameters()) // seeds
    claim = f"parity of 8 learned, {layers} hidden of {width}, {weights} weights, {seeds} seeds"
    lesson.at_least(claim, learned, seeds // 2)
    return learned


if __name__ == "__main__":
    main()
