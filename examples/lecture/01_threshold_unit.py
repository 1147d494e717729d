"""1. The McCulloch-Pitts unit: which Boolean functions one threshold unit can compute.

    python examples/lecture/01_threshold_unit.py --out pictures

A unit fires where w.x > t. Units with small whole weights realise all that can be realised: a
compiled kernel makes the truth tables of all of them. What remains is shown to be impossible: a
linear programme finds points where "fires" and "does not fire" contradict each other, and a second
kernel says which functions such a certificate rules out.

Sources: McCulloch and Pitts, "A logical calculus of the ideas immanent in nervous activity", 1943;
the numbers of threshold functions are sequence A000609 of the OEIS (Muroga, 1971).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from common import Arguments, Lesson, certificate
from pictures import two_inputs

import graphc
from graphc import ops

KNOWN = {1: 4, 2: 14, 3: 104, 4: 1882}
LARGEST = {1: 1, 2: 1, 3: 2, 4: 3}  # the largest weight that is needed
Units = dict[int, Any]  # (w, t) by truth table: the number whose bit i is the value at input i
Refuted = list[tuple[Any, Any]]  # certificates, each with the truth tables that it rules out


def main(arguments: Arguments = None) -> dict[str, object]:
    """Count the functions of 1 to 4 inputs, 1 to 3 where quick."""
    lesson = Lesson(__doc__, arguments, needs=["scipy.optimize"])
    for n in (1, 2, 3) if lesson.quick else KNOWN:
        every = 2**2**n
        units = computed(lesson, n)
        refuted = refute(n, np.setdiff1d(np.arange(every), [*units]))
        others = sum(len(tables) for _, tables in refuted)
        claim = f"n = {n}: functions that a unit computes, each with its weights"
        lesson.claim(claim, len(units), f"{KNOWN[n]} of {every}", len(units) == KNOWN[n])
        claim = f"n = {n}: the others, each with a certificate that no unit does"
        found = f"{others}, by {len(refuted)} certificates"
        lesson.claim(claim, found, every - KNOWN[n], len(units) + others == every)
        if n == 2:
            print(*lines(n, units, refuted), "", sep="\n")
            lesson.draw("01_units.png", partial(two_inputs, units, refuted), (9, 3))
        lesson.write(f"01_units_of_{n}.txt", "\n".join(lines(n, units, refuted)))
    return lesson.finish()


def inputs(n: int) -> Any:
    """All inputs of n zeros and ones, (2^n, n)."""
    return np.array(list(product((0, 1), repeat=n)))


def computed(lesson: Lesson, n: int) -> Units:
    """The plainest unit for each truth table that units with small whole weights have."""
    w, t = graphc.input("w", ("unit", n), "int64"), graphc.input("t", ("unit",), "float64")
    fires = ops.greater(ops.matmul(w, inputs(n).T), t[:, None])
    tables = graphc.compile(ops.matmul(ops.cast(fires, "int64"), 2 ** np.arange(2**n)))
    if n == 2:
        lesson.inside("Truth tables of many units at once", tables.as_text("graph"))
    size = LARGEST[n]
    grid = product(*[range(-size, size + 1)] * n, range(-n * size - 1, n * size + 1))
    units = np.array(sorted(grid, key=lambda u: np.abs(u).sum()))  # the plainest first
    weights, thresholds = units[:, :n], units[:, n:] + 0.5
    found, first = np.unique(tables(weights, thresholds[:, 0])[0], return_index=True)
    return dict(zip(found.tolist(), np.hstack((weights, thresholds))[first], strict=True))


def refute(n: int, unknown: Any) -> Refuted:
    """Certificates, until every one of the truth tables is ruled out; fewer, if some are not."""
    table, c = graphc.input("table", ("table",), "int64"), graphc.input("c", (2**n,), "int64")
    true = ops.equal(ops.floor_divide(table[:, None], 2 ** np.arange(2**n)) % 2, 1)
    rules_out = ops.all(ops.logical_or(ops.equal(c, 0), ops.equal(true, c > 0)), 1)
    balance = ops.concat([ops.matmul(c, inputs(n)), ops.sum(c)[None]])
    check = graphc.compile((rules_out, ops.all(ops.equal(balance, 0))))
    refuted: Refuted = []
    while len(unknown):
        against = certificate(inputs(n), unknown[0] // 2 ** np.arange(2**n) % 2 == 1)
        if against is None:
            break  # a unit that is not on the grid: the count is wrong
        ruled_out, valid = check(table=unknown, c=against)
        if not (valid and ruled_out[0]):
            break
        refuted.append((against, unknown[ruled_out]))
        unknown = unknown[~ruled_out]
    return refuted


def lines(n: int, units: Units, refuted: Refuted) -> Iterator[str]:
    """Truth tables, each with where its unit fires; then those that a certificate rules out."""
    for code, (*w, t) in units.items():
        table = "".join(str(code >> i & 1) for i in range(2**n))
        yield f"{table}  {np.array(w, int)}.x > {t}"
    for against, _ in refuted:
        table = "".join("1" if c > 0 else "0" if c < 0 else "?" for c in against)
        yield f"{table}  none: {against} times (x, 1) adds up to 0"


if __name__ == "__main__":
    main()
