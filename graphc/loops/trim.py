"""Trim: the steps of a sum that would add nothing but zeros of a border are left out.

    for i: for j by 8: for k in 0..3: for m in 0..3: for s: for j.t in 0..8:
        r[j.t] += y[i + k, j + j.t + m, s]*w[k, m, s]       0 unless 0 <= i + k - 1 < 32
                                                            and 0 <= j + j.t + m - 1 < 32
    -->
    for i: for j by 8: for k in 0..3 where 0 <= i + k - 1 < 32:
        for m in 0..3 where j + m = 0:                         for s: for j.t in 1..8: ...
        for m in 0..3 where 0 <= j + m - 1 and j + m < 26:     for s: for j.t in 0..8: ...
        for m in 0..3 where j + m = 26:                        for s: for j.t in 0..7: ...

A loop of a sum takes the steps that read something, which the loops around it tell. Where that
differs within a tile, there is a loop for each part of the tile that has something to add
(`loops/short.py`). What is left of a sum is added up in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphc.loops.ir import Barrier, For, Guard, Kernel, Stmt, walk
from graphc.loops.nest import Nest, extent
from graphc.loops.outside import required, settled, unasked
from graphc.loops.short import WORTH, conditions, cut, fails, split, steps_of
from graphc.loops.strip import UNROLL
from graphc.machine import Machine

MOST = 512
"""Steps of a loop in a nest that are looked at where schedules are compared."""


def trim(kernel: Kernel, machine: Machine) -> Kernel:
    """Leave out what every loop of a sum can, as a whole or within a tile."""
    return replace(kernel, body=settled(trimmed(kernel.body, ())))


@dataclass(frozen=True)
class Border:
    """What a condition leaves of a nest's sums: within a tile along one of `kept`, and outside."""

    kept: tuple[str, ...]
    within: float
    outside: float


def borders(nest: Nest, vector: str) -> tuple[Border, ...]:
    """The conditions that leave part of a nest's sums out, with lanes along an index.

    One that asks for a loop which is written out is of use within a tile alone.
    """
    found: list[Border] = []
    last = nest.summed[-1]
    for guard in required(nest.inner):
        kept, sums = (
            [f for f in loops if f.index in guard.position.names]
            for loops in (nest.kept, nest.summed)
        )
        if vector in guard.position.names or len(sums) != 1 or len(kept) > 1:
            continue
        part = share(guard, [*kept, *sums])
        whole = sums[0] is not last or extent(last) <= UNROLL
        along = sums[0] is not last and abs(guard.position.coefficient(sums[0].index)) == 1
        within = part if whole and part < 1 - WORTH else 1.0
        found.append(Border(tuple(f.index for f in kept), within, part if along else 1.0))
    return tuple(found)


def left(borders: Sequence[Border], tile: Sequence[str], tight: bool) -> float:
    """The part of a nest's sums that is left with a tile along some indices.

    One condition within the tile counts, that leaves out the most: the tile is not cut twice; and
    not where no register is left beside it.
    """
    inside = [b.within for b in borders if any(name in tile for name in b.kept)]
    outside = [b.outside for b in borders if not any(name in tile for name in b.kept)]
    return math.prod(outside) * (1.0 if tight else min(inside, default=1.0))


def share(guard: Guard, loops: Sequence[For]) -> float:
    """The part of some loops' steps, all together, at which a condition holds."""
    if any(f.extent is None or f.extent > MOST for f in loops) or not isinstance(guard.bound, int):
        return 1.0
    values = [0]
    for loop in loops:
        by = guard.position.coefficient(loop.index)
        values = [at + by * step for at in values for step in steps_of(loop)]
    first = guard.position.constant
    return sum(0 <= first + at < guard.bound for at in values) / max(len(values), 1)


def trimmed(stmts: tuple[Stmt, ...], around: tuple[For, ...]) -> tuple[Stmt, ...]:
    """Statements within some loops, their sums without zeros."""
    result: list[Stmt] = []
    for stmt in stmts:
        if not isinstance(stmt, For) or stmt.kind == "vector":
            result.append(stmt)
            continue
        loop = clipped(stmt, around)
        loop = replace(loop, body=trimmed(loop.body, (*around, loop)))
        result += apart(split(loop, around) or cut(loop))
    return tuple(result)


def apart(pieces: Sequence[Stmt]) -> Sequence[Stmt]:
    """Pieces of a loop, and barriers between them where threads share what is in them.

    In a loop they have the same part each time. A piece of one step is none: there they take over
    from each other, and what one has begun the next piece may go on from.
    """
    if not any(isinstance(s, For) and s.kind == "parallel" for s in walk(tuple(pieces))):
        return pieces
    return [s for piece in pieces for s in (Barrier(), piece)][1:]


def clipped(loop: For, around: Sequence[For]) -> For:
    """A loop of a sum that takes only the steps that read something, where loops around it say."""
    known = {f.index: f for f in around}
    if loop.kind != "serial" or loop.step != 1 or loop.back or (loop.extent or 0) < 2:
        return loop
    where = tuple(
        guard
        for guard in conditions(loop)
        if abs(guard.position.coefficient(loop.index)) == 1
        and set(guard.position.names) <= {loop.index, *known}
        and fails(guard, (loop, *around))
    )
    if not where:
        return loop
    return replace(loop, where=where, body=unasked(loop.body, {loop.index}))
