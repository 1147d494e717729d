"""The measurements as a table in the terminal and as the page docs/functions.md."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rich.table import Table

from tests.exhaustive.error import Tally
from tests.exhaustive.subjects import SUBJECTS
from tests.exhaustive.sweep import POINTS, Outcome

INTRODUCTION = """\
# Elementary functions

graphc has its own elementary functions, polynomials in vector code (`exponential.py`,
`trigonometric.py` and `functions.py` in `graphc/llvm/`). Each has a bound on its error in float32,
in units in the last place (ULP) of the exact result; 0.5 is the least that is possible.
{scope}

    python -m tests.exhaustive --markdown docs/functions.md
"""
EVERY = "The command that writes this page tries every one of the 2^32 operands; a miss is bold."
SAMPLE = "This page tried one operand in {every}, a sample; a miss is bold."
METHOD = """\
## How it is measured

The function is compiled as a user's is, by `graphc.compile`, for each target, and runs over blocks
of consecutive bit patterns. Its results are compared with a float64 reference (numpy's function,
scipy's for erf), rounded to float32: where the bits agree the error is at most 0.5, elsewhere it
is measured against the float64 value. The reference's own error, in the column *reference*, is the
largest met at 6,000 random operands beside mpmath with 300 bits, in ULP of float32; it is some ten
million times smaller than what is measured, so that it matters only where it is asked whether a
result next to a tie is the one rounded. The largest errors themselves are measured again with
mpmath. For sqrt, reciprocal and division there is no such doubt: the root, or the quotient, of
numbers with 24 bits lies farther from every tie than float64's rounding moves it, or on it
(float64 has more than 2 * 24 + 1 bits; S. A. Figueroa, When is double rounding innocuous?, 1995).
Of odd and even functions one half of the operands needs a reference; the native code is run over
both.

Functions of two operands are measured at a sample: {pairs:,} pairs of special values, whole
numbers, arbitrary bits, arbitrary mantissas of nearby exponents, and bases with exponents whose
power exists.

In float64 the functions are held to 4 ULP (pow, where its result is extreme, to 256) by a sample
of operands beside mpmath, in `tests/llvm/test_functions.py`; sin, cos and tan give NaN there from
1e8 on.

An infinite result counts as the number that would come after the last finite one. *Subnormal* is
the largest error where an operand or the exact result is subnormal: the unit is then that of the
subnormal numbers. A result with a wrong sign, a zero's included, counts as a miss.

## Subnormal numbers, infinities, NaN

Subnormal operands are read and subnormal results made as they are: nothing is flushed to zero,
unless the caller's thread has the processor flush ([0015](decisions/0015-subnormals-are-kept.md)).
NaN gives NaN. What the functions make of zeros, the least subnormal numbers, infinities and NaN:
"""


def number(value: float) -> str:
    """A float32 in as few digits as tell it from its neighbours; subnormals as powers of two."""
    if abs(value) == 2.0**-149:
        return "-2^-149" if value < 0 else "2^-149"
    return f"{value:.9g}"


def error(tally: Tally) -> str:
    """The largest error, 0.5 where every result is the exact one rounded."""
    return f"{tally.error:.4f}" if tally.inexact else "0.5"


def verdict(tally: Tally, bound: float) -> str:
    """The largest error, and how many signs are wrong; bold where the function misses its bound."""
    text = error(tally) + (f", {tally.signs} wrong signs" if tally.signs else "")
    return f"**{text}**" if tally.signs or tally.error > bound else text


def head(targets: Sequence[str]) -> list[str]:
    """The columns."""
    each = [(f"{t}: largest", "at", "as rounded", "subnormal") for t in targets]
    return ["function", "bound", *(title for titles in each for title in titles), "reference"]


def row(outcome: Outcome) -> list[str]:
    """A function's cells."""
    cells = [outcome.subject.name, f"{outcome.subject.bound:g}"]
    for tally in outcome.tallies.values():
        point = tally.worst[0][1] if tally.worst else ()
        cells += [
            verdict(tally, outcome.subject.bound),
            ", ".join(map(number, point)),
            f"{min(tally.share, 0.9999):.2%}" if tally.inexact else "all",
            f"{tally.subnormal:.3f}" if tally.subnormal > 0.5 else "0.5",
        ]
    return [*cells, f"{outcome.reference:.0e}"]


def special(outcome: Outcome) -> list[tuple[str, ...]]:
    """The results at the special points: once, or once more for a target with others."""
    return list(dict.fromkeys(tuple(map(number, found)) for found in outcome.points.values()))


def table(outcomes: Sequence[Outcome], targets: Sequence[str]) -> Table:
    """What was measured so far, for the terminal."""
    shown = Table(*head(targets), box=None, header_style="bold")
    for outcome in outcomes:
        shown.add_row(*row(outcome), style="" if outcome.within else "red")
    return shown


def lines(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows, the first being the head, in markdown; numbers to the right."""
    rule = ["---" if place < left else "---:" for place in range(len(rows[0]))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (rows[0], rule, *rows[1:]))


def processor() -> str:
    """The processor's name, where the system tells it."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def markdown(outcomes: Sequence[Outcome], targets: Sequence[str], every: int, when: str) -> str:
    """The whole page."""
    scope = EVERY if every == 1 else SAMPLE.format(every=every)
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "mpmath"))
    measured = (
        f"Measured on {when}: {processor()}, Python {platform.python_version()}, "
        f"llvmlite {version('llvmlite')}, {versions}."
    )
    sampled = [outcome for outcome in outcomes if outcome.subject.arity == 2]
    two = max((t.count for outcome in sampled for t in outcome.tallies.values()), default=0)
    missing = [s.name for s in SUBJECTS if s.name not in {o.subject.name for o in outcomes}]
    left_out = f"Not measured this time: {', '.join(missing)}.\n" if missing else ""
    points = [["function", *(f"at {number(point)}" for point in POINTS)]]
    for outcome in outcomes:
        points += [[outcome.subject.name, *cells] for cells in special(outcome)]
    parts = (
        INTRODUCTION.format(scope=scope),
        lines([head(targets), *map(row, outcomes)]),
        measured,
        left_out,
        METHOD.format(pairs=two),
        lines(points),
    )
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"
