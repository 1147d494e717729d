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
from dataclasses import dataclass, replace

from graphc.loops.ir import Access, Alloc, Buffer, For, Let, Load, Stmt, Transpose, Update
from graphc.loops.map import mapped
from graphc.loops.nest import Nest, chain, written
from graphc.loops.schedule import Schedule
from graphc.loops.strip import moved
from graphc.ops.index import affine, index
from graphc.types import SIZE

LINE, PERIOD = 64, 4096
"""A cache line; the bytes after which the nearest cache takes the same set again."""


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
    assert along.extent is not None and across.extent is not None
    if lanes & (lanes - 1) or min(along.extent, across.extent) < lanes:
        return None
    block = copied(schedule, nest, turned, lanes) or computed(schedule, nest, turned, lanes)
    others = tuple(f for f in nest.kept if f not in (along, across))
    rows, columns = across.extent // lanes * lanes, along.extent // lanes * lanes
    edges = replace(across, stop=rows, step=lanes), replace(along, stop=columns, step=lanes)
    read = max(crowding(load.access, across) for load in turned.loads)
    stored = max(crowding(s.target, along) for s in nest.inner if isinstance(s, Update))
    body = list(blocks(*edges, block, LINE // size, read > stored))
    for j, i in (
        (replace(across, start=rows), along),
        (replace(across, stop=rows), replace(along, start=columns)),
    ):
        if j.extent and i.extent:
            values = {f.index: index(f.index) + f.start for f in (j, i) if isinstance(f.start, int)}
            loops = [replace(f, start=0, stop=f.extent or 0) for f in (j, i)]
            rest = Nest(tuple(loops), (), (), moved(nest.inner, values), ())
            body += mapped(schedule, rest)
    return chain(others, tuple(body))


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


def unit(nest: Nest, access: Access) -> For | None:
    """The one loop whose steps are elements side by side of an access."""
    found = [f for f in nest.kept if access.offset.coefficient(f.index) == 1]
    alone = len(found) == 1 and found[0].extent is not None and not access.lookups
    return found[0] if alone and access.buffer.space != "register" else None


def copied(schedule: Schedule, nest: Nest, turned: Turned, lanes: int) -> tuple[Stmt, ...]:
    """A block that is copied and nothing else; none where something is computed."""
    if len(nest.inner) != 2:
        return ()
    load, store = nest.inner
    assert isinstance(load, Load) and isinstance(store, Update)
    if store.expr != store.args[0][0] or load.access.buffer.dtype != store.target.buffer.dtype:
        return ()
    schedule.notes.append(f"copied in {lanes}x{lanes} blocks turned over in registers")
    across = load.access.offset.coefficient(turned.across.index)
    down = store.target.offset.coefficient(turned.along.index)
    return (Transpose(store.target, load.access, across, down, lanes),)


def computed(schedule: Schedule, nest: Nest, turned: Turned, lanes: int) -> tuple[Stmt, ...]:
    """A block of each such load turned over, and what is made of them row by row."""
    along, across = turned.along.index, turned.across.index
    row, lane = f"{along}.t", f"{across}.v"
    result: list[Stmt] = []
    inner = {id(stmt): stmt for stmt in nest.inner}
    for load in turned.loads:
        schedule.serial += 1
        source = load.access
        buffer = Buffer(f"t{schedule.serial}", source.buffer.dtype, lanes * lanes, "stack")
        step = source.offset.coefficient(across)
        block = Transpose(Access(buffer, affine([])), source, step, lanes, lanes)
        result += [Alloc(buffer), block]
        inner[id(load)] = Load(load.name, Access(buffer, affine([(row, lanes), (lane, 1)])))
    names = " and ".join(dict.fromkeys(load.access.buffer.name for load in turned.loads))
    schedule.notes.append(f"{names} read in {lanes}x{lanes} blocks turned over in registers")
    at = {along: index(along) + index(row), across: index(across) + index(lane)}
    vector = For(lane, 0, lanes, lanes, "vector", moved(tuple(inner.values()), at))
    return (*result, For(row, 0, lanes, 1, "unrolled", (vector,)))


def blocks(
    across: For, along: For, block: tuple[Stmt, ...], line: int, crowded: bool
) -> tuple[Stmt, ...]:
    """The loops around a block: along lines of what is read, or of what is stored if `crowded`.

    Half a line that is written long after the other half costs the line twice. So lines of the
    source are read whole, a few at a time, and as many rows of the target are written side by side.
    """
    if crowded:
        return chain([across, along], block)
    body: list[Stmt] = []
    inside, stop = f"{along.index}.l", along.step * (along.extent or 0)
    for start, end, step in pieces(stop, max(along.step, line)):
        part = For(inside, 0, step, along.step, "serial", ())
        at = {along.index: index(along.index) + index(inside)}
        around = [replace(along, start=start, stop=end, step=step), across, part]
        body += chain(around, moved(block, at))
    return tuple(body)


def crowding(access: Access, loop: For) -> int:
    """How much lines a step of a loop apart crowd each other in the sets of a cache."""
    step = access.offset.coefficient(loop.index) * SIZE[access.buffer.dtype]
    return max(math.gcd(step, PERIOD), LINE)


def pieces(count: int, step: int) -> list[tuple[int, int, int]]:
    """Start, end and step of the whole steps below a number, and of what remains."""
    whole = count // step * step
    found = [(0, whole, step), (whole, count, count - whole)]
    return [piece for piece in found if piece[0] < piece[1]]
