"""Trim: the steps of a sum that would add nothing but zeros of a border are left out.

    for i: for j by 8: for k in 0..3: for m in 0..3: for s: for j.t in 0..8:
        r[j.t] += y[i + k, j + j.t + m, s]*w[k, m, s]       0 unless 0 <= i + k - 1 < 32
                                                            and 0 <= j + j.t + m - 1 < 32
    -->
    for i:
      for j in 0..8 by 8: for k in 0..3 where 0 <= i + k - 1 < 32:
        { for m in 0..1: for s: for j.t in 1..8: ...;  for m in 1..3: for s: for j.t in 0..8: ... }
      for j in 8..24 by 8: ...                              all of it
      for j in 24..32 by 8: ...                             the last one without its last

A loop of a sum takes the steps that read something: it finds out at each step of the loops around
it. Where that differs within a tile, the loop over tiles is cut, so that each piece has sums of its
own, over the part of the tile that there is. What is left of a sum is added up in the same order.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from graphc.loops.ir import For, Guard, Kernel, Let, Load, Stmt, Update, walk
from graphc.loops.nest import Nest, extent
from graphc.loops.outside import required, settled, unasked
from graphc.loops.strip import UNROLL
from graphc.machine import Machine
from graphc.ops.index import Affine

WORTH = 0.01
"""The part of a loop's sums that must be zeros for another version of its tile."""
STEPS = 64
"""Steps of a loop over tiles that are looked at,"""
MOST = 512
"""and of a loop in a nest, where schedules are compared."""


def trim(kernel: Kernel, machine: Machine) -> Kernel:
    """Apply `clipped` and `cut` to every loop, the inner ones first."""
    return replace(kernel, body=settled(trimmed(kernel.body, ())))


def left(nest: Nest, vector: str, tile: Sequence[str], tight: bool) -> float:
    """The part of a nest's sums that is left with a tile along some indices, lanes along another.

    One condition within the tile counts, that leaves out the most: the tile is not cut twice; and
    not where no register is left beside it.
    """
    total, best = 1.0, 1.0
    last = nest.summed[-1]
    for guard in required(nest.inner):
        loops = [f for f in (*nest.kept, *nest.summed) if f.index in guard.position.names]
        sums = [f for f in loops if f in nest.summed]
        if vector in guard.position.names or len(sums) != 1 or len(loops) > 2:
            continue
        part = share(guard, loops)
        if any(f.index in tile for f in loops):
            whole = not tight and (sums[0] is not last or extent(last) <= UNROLL)
            best = min(best, part if whole and part < 1 - WORTH else 1.0)
        elif sums[0] is not last and abs(guard.position.coefficient(sums[0].index)) == 1:
            total *= part
    return total * best


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
        result += cut(loop)
    return tuple(result)


def conditions(loop: For) -> tuple[Guard, ...]:
    """The conditions without which nothing but zeros is added in a loop, and nothing else done."""
    for stmt in walk(loop.body):
        if isinstance(stmt, Update):
            if stmt.target.buffer.space != "register" or stmt.how != "sum":
                return ()
        elif not isinstance(stmt, For | Load | Let):
            return ()
    return required(walk(loop.body))


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


def fails(guard: Guard, loops: Sequence[For]) -> bool:
    """Whether a condition can fail at some steps of loops whose ends are known."""
    low = high = guard.position.constant
    for loop in loops:
        by = guard.position.coefficient(loop.index)
        if not by:
            continue
        if loop.extent is None or not isinstance(guard.bound, int):
            return True
        steps = steps_of(loop)
        ends = by * steps[0], by * steps[-1]
        low, high = low + min(ends), high + max(ends)
    return low < 0 or not isinstance(guard.bound, int) or high >= guard.bound


@dataclass(frozen=True)
class Short:
    """A loop of a sum at whose steps some places of a tile have nothing to add."""

    loop: For
    tile: For
    guard: Guard

    def live(self, values: Mapping[str, Affine]) -> list[tuple[int, int]]:
        """From which to which place of the tile there is something to add, step by step."""
        at = self.guard.position.substitute(values)
        limit = self.guard.bound
        by, first = at.coefficient(self.tile.index), at.constant
        assert isinstance(limit, int) and isinstance(self.loop.start, int)
        places = steps_of(self.tile)
        found = []
        for step in steps_of(self.loop):
            here = first + at.coefficient(self.loop.index) * step
            some = [place for place in places if 0 <= here + by * place < limit]
            found.append((some[0], some[-1] + 1) if some else (0, 0))
        return found

    def narrowed(self, values: Mapping[str, Affine]) -> tuple[Stmt, ...]:
        """The loop in pieces, each over the part of the tile that there is."""
        result: list[Stmt] = []
        steps = zip(steps_of(self.loop), self.live(values), strict=True)
        for (first, end), run in itertools.groupby(steps, key=lambda pair: pair[1]):
            if first == end:
                continue
            taken = [step for step, _ in run]
            body = resized(self.loop.body, self.tile.index, first, end)
            result.append(
                replace(self.loop, start=taken[0], stop=taken[-1] + self.loop.step, body=body)
            )
        return tuple(result)


def steps_of(loop: For) -> range:
    """The steps of a loop whose ends are known."""
    assert isinstance(loop.start, int) and isinstance(loop.stop, int)
    return range(loop.start, loop.stop, loop.step)


def resized(stmts: tuple[Stmt, ...], index: str, start: int, stop: int) -> tuple[Stmt, ...]:
    """Statements with the loops of an index from another start to another end."""
    result: list[Stmt] = []
    for stmt in stmts:
        if isinstance(stmt, For):
            stmt = replace(stmt, body=resized(stmt.body, index, start, stop))
            if stmt.index == index:
                stmt = replace(stmt, start=start, stop=stop)
        result.append(stmt)
    return tuple(result)


def short(loop: For, outside: str | None) -> Short | None:
    """A loop as one that a condition cuts short, where the loop `outside` is one step."""
    if loop.kind not in ("serial", "unrolled") or loop.extent is None or loop.back:
        return None
    inner = {f.index: f for f in walk(loop.body) if isinstance(f, For) and f.kind == "unrolled"}
    for guard in conditions(loop):
        names = set(guard.position.names) - {outside}
        tiles = names & set(inner)
        if loop.index in names and len(tiles) == 1 and len(names) == 2:
            tile = inner[tiles.pop()]
            if isinstance(guard.bound, int) and tile.extent is not None:
                return Short(loop, tile, guard)
    return None


def cut(loop: For) -> tuple[Stmt, ...]:
    """A loop in the pieces in which its sums differ, each with sums of its own."""
    own = short(loop, None)
    if own is not None and dead([own], [{}]):
        return settled(own.narrowed({}))
    if loop.kind != "serial" or loop.extent is None or not 1 < loop.extent <= STEPS:
        return (loop,)
    found = list(shorts(loop.body, loop.index))
    places = [{loop.index: Affine((), step)} for step in steps_of(loop)]
    if not dead(found, places):
        return (loop,)
    result: list[Stmt] = []
    versions = zip(steps_of(loop), (narrowed(loop.body, found, at) for at in places), strict=True)
    for body, run in itertools.groupby(versions, key=lambda pair: pair[1]):
        taken = [step for step, _ in run]
        part = replace(loop, start=taken[0], stop=taken[-1] + loop.step, body=settled(body))
        result.append(part)
    return tuple(result)


def shorts(stmts: tuple[Stmt, ...], outside: str) -> Iterator[Short]:
    """The loops of sums that are cut short at some steps of a loop outside."""
    for stmt in stmts:
        if isinstance(stmt, For):
            found = short(stmt, outside)
            if found is not None:
                yield found
            else:
                yield from shorts(stmt.body, outside)


def dead(found: Sequence[Short], places: Sequence[Mapping[str, Affine]]) -> bool:
    """Whether enough of what some loops add, all together, are zeros."""
    total = nothing = 0
    for one in found:
        for values in places:
            live = one.live(values)
            whole = len(steps_of(one.tile)) * len(live)
            total += whole
            nothing += whole - sum(end - first for first, end in live)
    return nothing > WORTH * total


def narrowed(
    stmts: tuple[Stmt, ...], found: Sequence[Short], values: Mapping[str, Affine]
) -> tuple[Stmt, ...]:
    """Statements with some loops cut short."""
    known = {id(one.loop): one for one in found}
    result: list[Stmt] = []
    for stmt in stmts:
        if id(stmt) in known:
            result += known[id(stmt)].narrowed(values)
        elif isinstance(stmt, For):
            result.append(replace(stmt, body=narrowed(stmt.body, found, values)))
        else:
            result.append(stmt)
    return tuple(result)
