"""The roofline as characters: both axes logarithmic, a letter for each kernel."""

from __future__ import annotations

import math
import string
from dataclasses import dataclass

from graphc.runtime.cost import shortened
from graphc.runtime.limits import Level
from graphc.runtime.roofline import Point, Roofline

WIDTH, HEIGHT = 79, 18
MARGIN = 8
"""Characters before the axis, for its numbers."""
MARKS = string.ascii_lowercase + string.ascii_uppercase
ROOF, PEAK = ".", "-"
APART = 7
"""Characters from the name of one level to that of the next."""
LISTED = 12
"""Kernels that are named below the picture."""


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis from one power of ten to another, over so many characters."""

    low: int
    high: int
    cells: int

    def cell(self, value: float) -> int:
        """The character that a value falls into."""
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return round(part * (self.cells - 1))

    def value(self, cell: float) -> float:
        """The value in the middle of a character."""
        return float(10 ** (self.low + cell * (self.high - self.low) / (self.cells - 1)))

    @property
    def powers(self) -> range:
        """The powers of ten that it shows."""
        return range(self.low, self.high + 1)


def axis(values: list[float], cells: int) -> Axis:
    """An axis on which all values lie."""
    low = math.floor(math.log10(min(values)))
    return Axis(low, max(math.ceil(math.log10(max(values))), low + 1), cells)


def picture(roofline: Roofline, width: int = WIDTH, height: int = HEIGHT) -> str:
    """GFLOP/s over FLOPs per byte: the roofs of this machine, and the kernels below them.

    Letters are in order of the time that kernels take; what computes nothing is not shown.
    """
    points = sorted(
        (p for p in roofline if p.intensity and p.gflops), key=lambda p: p.seconds, reverse=True
    )
    if not points:
        return "no kernel computes anything: there is nothing to draw"
    limits, peak = roofline.limits, max(roofline.limits.gflops.values())
    ridge = peak / limits.levels[-1].gbytes
    x = axis([*(p.intensity for p in points), ridge * 2], width - MARGIN - 1)
    y = axis([*(max(p.gflops, peak / 1e5) for p in points), peak], height)
    rows = [[" "] * x.cells for _ in range(height)]

    def put(column: int, row: int, mark: str) -> None:
        if 0 <= column < x.cells and 0 <= row < height:
            rows[row][column] = mark

    for level in limits.levels:
        for column in range(x.cells):
            most = x.value(column) * level.gbytes
            if most <= peak:
                put(column, y.cell(most), ROOF)
    for dtype, most in limits.gflops.items():
        first = min(x.cells, max(0, x.cell(most / limits.levels[0].gbytes)))
        for column in range(first, x.cells):
            put(column, y.cell(most), PEAK)
        for place, letter in enumerate(dtype, x.cells - len(dtype)):
            put(place, y.cell(most), letter)
    for number, level in enumerate(limits.levels):
        label(rows, x, y, level, peak, number * APART)
    for point, mark in reversed(list(zip(points, MARKS, strict=False))):
        put(x.cell(point.intensity), max(0, y.cell(point.gflops)), mark)
    return "\n".join([*framed(rows, x, y), *legend(points)])


def label(rows: list[list[str]], x: Axis, y: Axis, level: Level, peak: float, skip: int) -> None:
    """Write a level's name on its roof, `skip` characters from where that comes into the picture.

    Names of levels that lie close together are apart so.
    """
    inside = [c for c in range(x.cells) if y.value(0) <= x.value(c) * level.gbytes <= peak]
    if len(inside) < len(level.name):
        return
    start = inside[min(skip, len(inside) - len(level.name))]
    row = y.cell(x.value(start) * level.gbytes)
    rows[row][start : start + len(level.name)] = level.name


def framed(rows: list[list[str]], x: Axis, y: Axis) -> list[str]:
    """The rows from the top down between their axes."""
    marks = {y.cell(10.0**power): f"{10.0**power:g}" for power in y.powers}
    lines = ["GFLOP/s"]
    for number in reversed(range(len(rows))):
        text = "".join(rows[number]).rstrip()
        lines.append(f"{marks.get(number, ''):>{MARGIN - 1}} |{text}".rstrip())
    ticks, numbers = ["-"] * x.cells, [" "] * (x.cells + MARGIN)
    for power in x.powers:
        ticks[x.cell(10.0**power)] = "+"
        text = f"{10.0**power:g}"
        start = min(x.cell(10.0**power), x.cells - len(text))
        numbers[start : start + len(text)] = text
    lines.append(" " * MARGIN + "+" + "".join(ticks))
    lines.append(" " * (MARGIN + 1) + "".join(numbers).rstrip())
    lines.append("FLOPs per byte".rjust(MARGIN + 1 + x.cells))
    return lines


def legend(points: list[Point]) -> list[str]:
    """What the first letters stand for."""
    shown = [
        f"  {mark} {point.kernel}  {point.share:5.1%}  {point.fraction:4.0%} of {point.bound}  "
        f"{shortened(point.ops, 3)}"
        for point, mark in zip(points[:LISTED], MARKS, strict=False)
    ]
    more = len(points) - len(shown)
    return [*(line[:WIDTH] for line in shown), *([f"  and {more} more"] if more > 0 else [])]
