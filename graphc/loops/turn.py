"""Turning: a map that reads along another index than it writes goes block by block.

for j: for i: t[J*i + j] = f(s[I*j + i])
-->
for j by 8: for i by 8: { b[8*i' + j'] = s[I*(j + j') + i + i'], in registers;
                          for i': for j': t[J*(i + i') + j + j'] = f(b[8*i' + j']) }

A vector of such a map would be read element by element, each from another line. What copies alone
needs no block between.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphc.loops.ir import Access, Alloc, Buffer, For, Let, Load, Stmt, Transpose, Update
from graphc.loops.nest import Nest, chain, extent, written
from graphc.loops.schedule import Schedule
from graphc.loops.strip import moved, vectors
from graphc.ops.index import affine, index
from graphc.types import SIZE

LINE, PERIOD = 64, 4096
"""A cache line; the bytes after which the nearest cache takes the same set again."""
SHORT = 4 * LINE
"""Bytes of a row below which the one that follows it in memory is dealt with next."""


@dataclass(frozen=True)
class Turned:
    """The loop `along` which some loads are contiguous, and that of what is stored, `across`."""

    along: For
    across: For
    loads: tuple[Load, ...]


def transposed(schedule: Schedule, nest: Nest) -> tuple[Stmt, ...] | None:
    """A map that reads along another index than it writes, block by block; None for any other."""
    turned = sides(nest)
    if turned is None:
        return None
    along, across = turned.along, turned.across
    size = SIZE[turned.loads[0].access.buffer.dtype]
    lanes = schedule.machine.lanes(size)
    sizes = extent(along), extent(across)
    if lanes & (lanes - 1) or max(sizes) < lanes or min(sizes) < 2:
        return None
    others = tuple(f for f in nest.kept if f not in (along, across))
    first, second, near = order(nest, turned, others)
    line = max(lanes, LINE // size) if near or first is along else lanes
    schedule.notes.append(note(nest, turned, lanes))
    body: list[Stmt] = []
    inside = f"{first.index}.l"
    for start, stop, step in pieces(extent(first), line):
        parts: list[Stmt] = []
        for begin, end, some in pieces(extent(second), lanes):
            for low, high, few in pieces(step, lanes):
                rows, columns = (some, few) if first is along else (few, some)
                block = made(schedule, nest, turned, rows, columns)
                block = moved(block, {first.index: index(first.index) + index(inside)})
                loops = replace(second, start=begin, stop=end, step=some), replace(
                    first, index=inside, start=low, stop=high, step=few
                )
                parts += chain(loops, block)
        body += chain([replace(first, start=start, stop=stop, step=step), *near], tuple(parts))
    return chain([f for f in others if f not in near], tuple(body))


def order(nest: Nest, turned: Turned, others: Sequence[For]) -> tuple[For, For, tuple[For, ...]]:
    """The two loops that are blocked, the outer one first, and what goes between them.

    Half a line that is written long after the other half costs the line twice. So lines of the
    source are read whole, a few at a time, and as many rows of the target are written side by side;
    or the other way round where rows of the source crowd each other out of the nearest cache. Rows
    that are no whole lines are followed by those that lie behind them.
    """
    along, across = turned.along, turned.across
    loads, stores = [load.access for load in turned.loads], targets(nest)
    for short, other, access in ((along, across, loads[0]), (across, along, stores[0])):
        size = extent(short)
        near = tuple(f for f in others if access.offset.coefficient(f.index) == size)
        if near and size * SIZE[access.buffer.dtype] < SHORT:
            return other, short, near
    read = max(crowding(access, across) for access in loads)
    crowded = read > max(crowding(access, along) for access in stores)
    return (across, along, ()) if crowded else (along, across, ())


def sides(nest: Nest) -> Turned | None:
    """What a map reads along one loop, the same for all of it, while it stores along another."""
    stores = [s for s in nest.inner if isinstance(s, Update)]
    loads = [s for s in nest.inner if isinstance(s, Load)]
    if not stores or not all(isinstance(s, Load | Let | Update) for s in nest.inner):
        return None
    if any(load.guards for load in loads) or any(s.guards or s.how != "=" for s in stores):
        return None
    across = unit(nest, stores[0].target)
    if across is None or any(unit(nest, s.target) is not across for s in stores):
        return None
    turned = tuple(s for s in loads if s.access.offset.coefficient(across.index) not in (0, 1))
    along = unit(nest, turned[0].access) if turned else None
    if along is None or any(unit(nest, load.access) is not along for load in turned):
        return None
    buffers = {load.access.buffer for load in turned}
    kinds = {buffer.dtype for buffer in buffers}
    own = {buffer.name for buffer in buffers} & written(nest.inner)
    return None if own or len(kinds) > 1 or "bool" in kinds else Turned(along, across, turned)


def targets(nest: Nest) -> list[Access]:
    """What a map stores to."""
    return [s.target for s in nest.inner if isinstance(s, Update)]


def unit(nest: Nest, access: Access) -> For | None:
    """The one loop whose steps are elements side by side of an access."""
    found = [f for f in nest.kept if access.offset.coefficient(f.index) == 1 and f.extent != 1]
    if len(found) != 1 or access.lookups or access.buffer.space == "register":
        return None
    whole = found[0].extent is not None and (found[0].start, found[0].step) == (0, 1)
    return found[0] if whole else None


def note(nest: Nest, turned: Turned, lanes: int) -> str:
    """What the schedule says of it."""
    rows, columns = (min(lanes, extent(loop)) for loop in (turned.across, turned.along))
    names = " and ".join(dict.fromkeys(load.access.buffer.name for load in turned.loads))
    what = "copied" if copies(nest) else f"{names} read"
    return f"{what} in {rows}x{columns} blocks turned over in registers"


def copies(nest: Nest) -> bool:
    """Whether a map copies and does nothing else."""
    if len(nest.inner) != 2:
        return False
    load, store = nest.inner
    assert isinstance(load, Load) and isinstance(store, Update)
    alike = load.access.buffer.dtype == store.target.buffer.dtype
    return alike and store.expr == store.args[0][0]


def made(
    schedule: Schedule, nest: Nest, turned: Turned, rows: int, columns: int
) -> tuple[Stmt, ...]:
    """A block of what a map makes, so many rows of what it reads and columns of them.

    What is computed takes a block of each such load, turned over, and goes on row by row.
    """
    along, across = turned.along.index, turned.across.index
    if copies(nest):
        source, target = turned.loads[0].access, targets(nest)[0]
        steps = source.offset.coefficient(across), target.offset.coefficient(along)
        return (Transpose(target, source, *steps, rows, columns),)
    row, lane = f"{along}.t", f"{across}.l"
    result: list[Stmt] = []
    inner = {id(stmt): stmt for stmt in nest.inner}
    for load in turned.loads:
        schedule.serial += 1
        source = load.access
        buffer = Buffer(f"t{schedule.serial}", source.buffer.dtype, rows * columns, "stack")
        step = source.offset.coefficient(across)
        result += [
            Alloc(buffer),
            Transpose(Access(buffer, affine([])), source, step, rows, rows, columns),
        ]
        inner[id(load)] = Load(load.name, Access(buffer, affine([(row, rows), (lane, 1)])))
    at = {along: index(along) + index(row), across: index(across) + index(lane)}
    lanes = schedule.machine.lanes(SIZE[turned.loads[0].access.buffer.dtype])
    body = vectors(schedule, lane, rows, lanes, moved(tuple(inner.values()), at))
    return (*result, For(row, 0, columns, 1, "unrolled", body))


def crowding(access: Access, loop: For) -> int:
    """How much lines a step of a loop apart crowd each other in the sets of a cache."""
    step = access.offset.coefficient(loop.index) * SIZE[access.buffer.dtype]
    return max(math.gcd(step, PERIOD), LINE)


def pieces(count: int, step: int) -> list[tuple[int, int, int]]:
    """Start, end and step of the whole steps below a number, and of what remains."""
    whole = count // step * step
    found = [(0, whole, step), (whole, count, count - whole)]
    return [piece for piece in found if piece[0] < piece[1]]
