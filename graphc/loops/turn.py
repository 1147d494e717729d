"""Turning: a map that reads along another index than it writes goes block by block.

for j: for i: t[J*i + j] = f(s[I*j + i])
-->
for j by 8: for i by 8: { b[8*i' + j'] = s[I*(j + j') + i + i'], in registers;
                          for i': for j': t[J*(i + i') + j + j'] = f(b[8*i' + j']) }

A vector of such a map would be read element by element, each from another line. What copies alone
needs no block between. Blocks are smaller where rows are short, as those of a filter's 3x3 points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from graphc.loops.ir import Access, Alloc, Buffer, For, Let, Load, Stmt, Transpose, Update
from graphc.loops.nest import Nest, chain, extent, written
from graphc.loops.schedule import Schedule
from graphc.loops.strip import moved
from graphc.ops.index import affine, index
from graphc.types import SIZE

LINE, PERIOD = 64, 4096
"""A cache line; the bytes after which the nearest cache takes the same set again."""
SHORT = 16 * LINE
"""Bytes of rows that are dealt with together where they lie one behind the other."""


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
    rows, columns = extent(across), extent(along)
    if lanes & (lanes - 1) or max(rows, columns) < lanes:
        return None
    if columns < 2 or rows < (2 if copies(nest) else 3):  # two are computed on as fast one by one
        return None
    schedule.notes.append(note(nest, turned, lanes))
    others = [f for f in nest.kept if f not in (along, across)]
    levels = order(nest, turned, others, lanes)
    blocked = [loop for loop, _ in levels]
    twice = [loop.index for loop in dict.fromkeys(blocked) if blocked.count(loop) > 1]
    at = {name: index(name) + index(f"{name}.l") for name in twice}

    def block(steps: Mapping[str, int]) -> tuple[Stmt, ...]:
        rows, columns = steps[across.index], steps[along.index]
        return moved(made(schedule, nest, turned, rows, columns), at)

    return chain([f for f in others if f not in blocked], grid(levels, {}, block))


Levels = Sequence[tuple[For, int]]
"""Loops, the outermost first, and by how many steps each goes at a time."""


def order(nest: Nest, turned: Turned, others: Sequence[For], lanes: int) -> Levels:
    """The loops around blocks.

    Half a line that is written long after the other half costs the line twice. So lines of the
    source are read whole, a few at a time, and as many rows of the target are written side by side;
    or the other way round where rows of the source crowd each other out of the nearest cache. Of
    rows that are short, so many go together as lie one behind the other in some lines.
    """
    along, across = turned.along, turned.across
    loads, stores = [load.access for load in turned.loads], targets(nest)
    size = SIZE[loads[0].buffer.dtype]
    line = max(lanes, LINE // size)
    ends = [(across, along, stores[0])]
    if copies(nest):
        ends.append((along, across, loads[0]))
    for short, other, access in sorted(ends, key=lambda end: extent(end[0])):
        row = extent(short)
        for near in filter(whole, others):
            together = even(extent(near), SHORT // (row * size))
            if access.offset.coefficient(near.index) == row and together > 1:
                around = (near, together), (other, line), (near, 1)
                return *around, (short, lanes), (other, lanes)
    read = max(crowding(access, across) for access in loads)
    if read > max(crowding(access, along) for access in stores):
        return (across, lanes), (along, lanes)
    return (along, line), (across, lanes), (along, lanes)


def even(count: int, most: int) -> int:
    """Of how many a part is, at most so many, that leaves nothing over if half as many can."""
    fit = [n for n in range(most, most // 2, -1) if n and count % n == 0]
    return min(next(iter(fit), most), count)


def grid(
    levels: Levels,
    steps: Mapping[str, int],
    block: Callable[[Mapping[str, int]], tuple[Stmt, ...]],
) -> tuple[Stmt, ...]:
    """Loops around blocks: one named again goes through a step of the first. `block` has them."""
    if not levels:
        return block(steps)
    (loop, size), *rest = levels
    name = f"{loop.index}.l" if loop.index in steps else loop.index
    return tuple(
        For(name, start, stop, step, loop.kind, grid(rest, {**steps, loop.index: step}, block))
        for start, stop, step in parts(steps.get(loop.index, extent(loop)), size)
    )


def parts(count: int, step: int) -> list[tuple[int, int, int]]:
    """As `pieces`, but less than half a step that remains is part of the last."""
    whole = count // step * step
    rest = count - whole
    return (
        pieces(count, step)
        if not whole or 2 * rest >= step or not rest
        else [*pieces(whole - step, step), (whole - step, count, step + rest)]
    )


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
    alone = len(found) == 1 and whole(found[0]) and not access.lookups
    return found[0] if alone and access.buffer.space != "register" else None


def whole(loop: For) -> bool:
    """Whether a loop goes through so many steps as it says, one by one from 0."""
    return loop.extent is not None and (loop.start, loop.step) == (0, 1)


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
    lanes = schedule.machine.lanes(SIZE[turned.loads[0].access.buffer.dtype])
    body: list[Stmt] = []
    for start, _, step in parts(rows, lanes):
        at = {along: index(along) + index(row), across: index(across) + index(lane)}
        inside = moved(moved(tuple(inner.values()), at), {lane: index(lane) + start})
        body.append(For(lane, 0, step, step, "vector", inside))
    return (*result, For(row, 0, columns, 1, "unrolled", tuple(body)))


def crowding(access: Access, loop: For) -> int:
    """How much lines a step of a loop apart crowd each other in the sets of a cache."""
    step = access.offset.coefficient(loop.index) * SIZE[access.buffer.dtype]
    return max(math.gcd(step, PERIOD), LINE)


def pieces(count: int, step: int) -> list[tuple[int, int, int]]:
    """Start, end and step of the whole steps below a number, and of what remains."""
    whole = count // step * step
    found = [(0, whole, step), (whole, count, count - whole)]
    return [piece for piece in found if piece[0] < piece[1]]
