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
from itertools import product
from typing import Any

import numpy as np
from common import Arguments, Lesson, certificate

import graphc
from graphc import ops

KNOWN = {1: 4, 2: 14, 3: 104, 4: 1882}
LARGEST = {1: 1, 2: 1, 3: 2, 4: 3}  # the largest weight that is needed


def main(arguments: Arguments = None) -> dict[str, object]:
    """Count the functions of 1 to 4 inputs, 1 to 3 where quick."""
    lesson = Lesson(__doc__, arguments)
    for n in (1, 2, 3) if lesson.quick else KNOWN:
        units, ruled_out, certificates = explore(lesson, n)
        every = 2**2**n
        lesson.claim(
            f"n = {n}: functions that a unit computes, each with its weights",
            len(units),
            f"{KNOWN[n]} of {every}",
            len(units) == KNOWN[n],
        )
        lesson.claim(
            f"n = {n}: the others, each with a certificate that no unit does",
            len(ruled_out),
            f"{every - KNOWN[n]}, by {len(certificates)} certificates",
            not units.keys() & ruled_out and len(units) + len(ruled_out) == every,
        )
        if n == 2:
            print(*lines(n, units, certificates), "", sep="\n")
            lesson.draw("01_units.png", lambda f, u=units, r=ruled_out: draw(f, u, r), (8, 2.4))
        lesson.write(f"01_units_of_{n}.txt", "\n".join(lines(n, units, certificates)))
    return lesson.finish()


def explore(lesson: Lesson, n: int) -> tuple[dict[int, Any], dict[int, Any], list[Any]]:
    """For each truth table its unit (w, t) or the certificate against one, and all certificates.

    A table is the number whose bit i is the value at the i-th input.
    """
    x = corners(n)
    w, t = graphc.input("w", ("unit", n), "int64"), graphc.input("t", ("unit",), "float64")
    fires = ops.greater(ops.matmul(w, x.T), t[:, None])
    tables = graphc.compile(ops.matmul(ops.cast(fires, "int64"), 2 ** np.arange(2**n)))
    if n == 2:
        lesson.inside("Truth tables of many units at once", tables.as_text("graph"))
    size = LARGEST[n]
    grid = product(*[range(-size, size + 1)] * n, range(-n * size - 1, n * size + 1))
    units = np.array(sorted(grid, key=lambda u: np.abs(u).sum()))  # the plainest first
    found, first = np.unique(tables(units[:, :n], units[:, n] + 0.5)[0], return_index=True)
    realised = {
        int(code): units[row] + np.eye(n + 1)[n] / 2 for code, row in zip(found, first, strict=True)
    }

    table, c = graphc.input("table", ("table",), "int64"), graphc.input("c", (2**n,), "int64")
    true = ops.equal(ops.floor_divide(table[:, None], 2 ** np.arange(2**n)) % 2, 1)
    rules_out = ops.all(ops.logical_or(ops.equal(c, 0), ops.equal(true, c > 0)), 1)
    balance = ops.concat([ops.matmul(c, x), ops.sum(c)[None]])
    check = graphc.compile((rules_out, ops.all(ops.equal(balance, 0))))
    unknown = np.setdiff1d(np.arange(2**2**n), found)
    ruled_out: dict[int, Any] = {}
    certificates: list[Any] = []
    while len(unknown):
        against = certificate(x, unknown[0] // 2 ** np.arange(2**n) % 2 == 1)
        if against is None:
            break  # a unit that is not on the grid: the count is wrong
        refuted, valid = check(table=unknown, c=against)
        if not (valid and refuted[0]):
            break
        certificates.append(against)
        ruled_out |= {int(code): against for code in unknown[refuted]}
        unknown = unknown[~refuted]
    return realised, ruled_out, certificates


def corners(n: int) -> Any:
    """All inputs of n zeros and ones, (2^n, n)."""
    return np.array(list(product((0, 1), repeat=n)))


def lines(n: int, units: dict[int, Any], certificates: list[Any]) -> Iterator[str]:
    """Truth tables, each with where its unit fires; then those that a certificate rules out."""
    for code, (*w, t) in units.items():
        table = "".join(str(code >> i & 1) for i in range(2**n))
        yield f"{table}  {np.array(w, int)}.x > {t}"
    for against in certificates:
        table = "".join("1" if c > 0 else "0" if c < 0 else "?" for c in against)
        yield f"{table}  none: {against} times (x, 1) adds up to 0"


def draw(figure: Any, units: dict[int, Any], ruled_out: dict[int, Any]) -> None:
    """Each function of two inputs in the plane: its line, or the two diagonals that meet."""
    x, fine = corners(2), np.linspace(-0.4, 1.4, 100)
    for code, axes in enumerate(figure.subplots(2, 8).flat):
        if code in units:
            a, b, t = units[code]
            height = a * fine[None, :] + b * fine[:, None] - t
            axes.contourf(fine, fine, height, [-9, 0, 9], colors=["#f4f4f4", "#cfe3f7"])
        if code in ruled_out:
            for sign, colour in ((1, "tab:blue"), (-1, "tab:red")):
                axes.plot(*x[ruled_out[code] * sign > 0].T, color=colour)
        for i, (x0, x1) in enumerate(x):
            axes.plot(x0, x1, "o", color="black", markerfacecolor="k" if code >> i & 1 else "w")
        axes.set(xticks=[], yticks=[], aspect="equal", xlim=(-0.4, 1.4), ylim=(-0.4, 1.4))


if __name__ == "__main__":
    main()
