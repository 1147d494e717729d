"""Short loops: those of a sum at whose steps some places of a tile have nothing to add.

A tile of 8 places along a row, and the taps of a window: at the first tap the first place of the
first tile has no left neighbour. Either the loop over taps is written once for each part of the
tile that some taps have, each with the taps that have it, which the loops around decide; or, where
taps are written out, the loop over tiles is cut, and each piece has sums of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from graphc.lazy import cached_property
from graphc.loops.ir import END, For, Guard, Let, Load, Stmt, Update, walk
from graphc.loops.outside import required, settled
from graphc.ops.index import Affine

WORTH = 0.01
"""The part of what loops add that must be left out, for other versions of them to be written."""
STEPS = 1024
"""Steps of a sum, over all tiles of a loop, that are looked at,"""
VERSIONS = 7
"""and versions of a loop of a sum, at most."""

Span = tuple[int, int]
"""From which place of a tile to which; the same twice for none."""


@dataclass(frozen=True)
class Short:
    """A loop of a sum, the loop over the places of a tile in it, what they need to be inside.

    `outside`: the loop over tiles, where the condition asks for it.
    """

    loop: For
    tile: For
    guard: Guard
    outside: tuple[For, ...]

    @cached_property
    def spans(self) -> list[list[Span]]:
        """What there is of each tile, step by step of the sum."""
        limit, found = self.guard.bound, []
        assert isinstance(limit, int)
        for point in itertools.product(*map(steps_of, self.outside)):
            values = {f.index: Affine((), at) for f, at in zip(self.outside, point, strict=True)}
            at = self.guard.position.substitute(values)
            by, along = at.coefficient(self.tile.index), at.coefficient(self.loop.index)
            row = []
            for step in steps_of(self.loop):
                here = at.constant + along * step
                some = [p for p in steps_of(self.tile) if 0 <= here + by * p < limit]
                row.append((some[0], some[-1] + 1) if some else (0, 0))
            found.append(row)
        return found

    @property
    def dead(self) -> float:
        """The part of what the loop adds that are products by zeros."""
        every = [end - first for row in self.spans for first, end in row]
        return 1 - sum(every) / (len(every) * len(steps_of(self.tile)))

    def over(self, span: Span) -> tuple[Stmt, ...]:
        """The loop's body over a part of the tile."""
        return resized(self.loop.body, self.tile.index, *span)

    def narrowed(self, row: Sequence[Span]) -> tuple[Stmt, ...]:
        """The loop in pieces, each over the part of one tile that there is at its steps."""
        result: list[Stmt] = []
        steps = zip(steps_of(self.loop), row, strict=True)
        for span, run in itertools.groupby(steps, key=lambda pair: pair[1]):
            taken = [step for step, _ in run]
            if span[0] < span[1]:
                stop = taken[-1] + self.loop.step
                result.append(replace(self.loop, start=taken[0], stop=stop, body=self.over(span)))
        return tuple(result)

    def versions(self) -> tuple[Stmt, ...] | None:
        """The loop once for each part of a tile that there is at some steps, and for these alone.

        None where they would not follow each other in the order of the sum, whatever the tile.
        """
        rising = self.guard.position.coefficient(self.loop.index) > 0
        rising ^= self.guard.position.coefficient(self.tile.index) < 0
        found = {span for row in self.spans for span in row if span[0] < span[1]}
        order = sorted(found, reverse=rising)
        for row in self.spans:
            numbers = [order.index(span) for span in row if span in found]
            if numbers != sorted(numbers):
                return None
        if len(order) > VERSIONS:
            return None
        return tuple(
            replace(self.loop, where=self.where(span), body=self.over(span)) for span in order
        )

    def where(self, span: Span) -> tuple[Guard, ...]:
        """The conditions under which a part of the tile is what there is of it."""
        limit, whole = self.guard.bound, steps_of(self.tile)
        assert isinstance(limit, int)
        first, end = span
        places = {p: self.at(p) for p in (first - 1, first, end - 1, end)}
        found = [Guard(places[first], limit), Guard(places[end - 1], limit)]
        before, beyond = Guard(places[first - 1] * -1 - 1, END), Guard(places[end] - limit, END)
        if self.guard.position.coefficient(self.tile.index) < 0:
            before, beyond = Guard(places[first - 1] - limit, END), Guard(places[end] * -1 - 1, END)
        found += [before] * (first > whole[0]) + [beyond] * (end <= whole[-1])
        return tuple(g for g in dict.fromkeys(found) if fails(g, (self.loop, *self.outside)))

    def at(self, place: int) -> Affine:
        """What the condition asks of a place of the tile."""
        return self.guard.position.substitute({self.tile.index: Affine((), place)})


def steps_of(loop: For) -> range:
    """The steps of a loop whose ends are known."""
    assert isinstance(loop.start, int) and isinstance(loop.stop, int)
    return range(loop.start, loop.stop, loop.step)


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


def conditions(loop: For) -> tuple[Guard, ...]:
    """The conditions without which nothing but zeros is added in a loop, and nothing else done."""
    for stmt in walk(loop.body):
        if isinstance(stmt, Update):
            if stmt.target.buffer.space != "register" or stmt.how != "sum":
                return ()
        elif not isinstance(stmt, For | Load | Let):
            return ()
    return required(walk(loop.body))


def short(loop: For, around: Sequence[For]) -> Short | None:
    """A loop as one that is cut short by a condition within a tile, and one loop around at most."""
    if loop.kind not in ("serial", "unrolled") or loop.extent is None or loop.back:
        return None
    inner = {f.index: f for f in walk(loop.body) if isinstance(f, For) and f.kind == "unrolled"}
    for guard in conditions(loop):
        names = set(guard.position.names)
        tiles = [inner[name] for name in names if name in inner]
        outside = tuple(f for f in around if f.index in names)
        if loop.index not in names or len(tiles) != 1 or len(names) != 2 + len(outside):
            continue
        if len(outside) > 1 or not isinstance(guard.bound, int) or tiles[0].extent is None:
            continue
        if any(f.extent is None or f.extent * loop.extent > STEPS for f in outside):
            continue
        return Short(loop, tiles[0], guard, outside)
    return None


def split(loop: For, around: Sequence[For]) -> tuple[Stmt, ...] | None:
    """A loop of a sum in versions for the parts of a tile; None where it is none, or has no loops.

    Steps that are a few instructions each are not worth finding out which of them to take.
    """
    found = short(loop, around)
    if found is None or found.dead <= WORTH:
        return None
    if not found.outside:
        few = pieces(found.spans[0]) <= VERSIONS
        return settled(found.narrowed(found.spans[0])) if few else None
    loops = any(isinstance(f, For) and f.kind == "serial" for f in walk(loop.body))
    along = abs(found.guard.position.coefficient(loop.index)) == 1 == loop.step
    versions = found.versions() if loops and along and loop.kind == "serial" else None
    return None if versions is None else settled(versions)


def cut(loop: For) -> tuple[Stmt, ...]:
    """A loop over tiles in the pieces in which its sums differ, each with sums of its own."""
    if loop.kind != "serial" or loop.extent is None or not 1 < loop.extent <= STEPS:
        return (loop,)
    found = [one for one in shorts(loop.body, loop) if one.dead > WORTH]
    if not found or any(code(one.spans) > VERSIONS for one in found):
        return (loop,)
    result: list[Stmt] = []
    rows = zip(*(one.spans for one in found), strict=True)
    for row, run in itertools.groupby(zip(steps_of(loop), rows, strict=True), lambda pair: pair[1]):
        taken = [step for step, _ in run]
        known = {id(one.loop): one.narrowed(spans) for one, spans in zip(found, row, strict=True)}
        body = settled(replaced(loop.body, known))
        result.append(replace(loop, start=taken[0], stop=taken[-1] + loop.step, body=body))
    return tuple(result)


def pieces(row: Sequence[Span]) -> int:
    """The loops that one of a sum becomes where so much of a tile is there, step by step."""
    return sum(first < end for (first, end), _ in itertools.groupby(row))


def code(rows: Sequence[Sequence[Span]]) -> int:
    """The loops that a sum's becomes where a loop over tiles is cut."""
    return sum(pieces(row) for row, _ in itertools.groupby(rows))


def shorts(stmts: tuple[Stmt, ...], outside: For) -> Iterator[Short]:
    """The loops of sums that are cut short at some steps of a loop outside."""
    for stmt in stmts:
        if isinstance(stmt, For):
            found = short(stmt, [outside])
            if found is not None and found.outside:
                yield found
            else:
                yield from shorts(stmt.body, outside)


def replaced(stmts: tuple[Stmt, ...], known: Mapping[int, tuple[Stmt, ...]]) -> tuple[Stmt, ...]:
    """Statements with others in the place of some loops."""
    result: list[Stmt] = []
    for stmt in stmts:
        if id(stmt) in known:
            result += known[id(stmt)]
        elif isinstance(stmt, For):
            result.append(replace(stmt, body=replaced(stmt.body, known)))
        else:
            result.append(stmt)
    return tuple(result)
