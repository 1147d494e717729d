"""Maps: one loop becomes lanes, innermost; a copy that transposes goes block by block."""

from __future__ import annotations

import math
from dataclasses import replace

from graphc.loops.choose import Plan, choose
from graphc.loops.ir import For, Load, Stmt, Transpose, Update
from graphc.loops.nest import Nest, chain
from graphc.loops.schedule import Schedule
from graphc.loops.strip import moved, split, strip
from graphc.ops.index import index
from graphc.types import SIZE

LINE, PERIOD = 64, 4096
"""A cache line; the bytes after which the nearest cache takes the same set again."""


def mapped(schedule: Schedule, nest: Nest) -> tuple[Stmt, ...]:
    """A map by whole vectors."""
    plan = choose(nest, schedule.machine)
    schedule.notes.append(plan.why)
    return strips(schedule, nest, plan)


def strips(schedule: Schedule, nest: Nest, plan: Plan) -> tuple[Stmt, ...]:
    """A map along the lanes of a plan."""
    if plan.vector is None:
        return chain(nest.kept, nest.inner)
    vector = nest.loop(plan.vector)
    outside = [f for f in nest.kept if f is not vector]
    pieces: list[Stmt] = []
    for piece in split(vector, plan.lanes, plan.lanes, schedule.machine.masked):
        pieces += strip(schedule, vector.index, piece, plan.lanes, nest.inner)
    return chain(outside, tuple(pieces))


def transposed(schedule: Schedule, nest: Nest) -> tuple[Stmt, ...] | None:
    """A copy whose two sides are contiguous along different indices: block by block.

    for j: for i: t[J*i + j] = s[I*j + i]   -->   blocks turned over in registers
    """
    if len(nest.inner) != 2:
        return None
    load, store = nest.inner
    if not isinstance(load, Load) or not isinstance(store, Update) or load.guards:
        return None
    if store.how != "=" or store.guards or store.expr != store.args[0][0]:
        return None
    source, target = load.access, store.target
    if source.buffer.dtype != target.buffer.dtype or source.buffer.dtype == "bool":
        return None
    lanes = schedule.machine.lanes(SIZE[source.buffer.dtype])
    ends = []
    for access in (source, target):
        unit = [f for f in nest.kept if access.offset.coefficient(f.index) == 1]
        if len(unit) != 1 or unit[0].extent is None or unit[0].extent < lanes:
            return None
        ends.append(unit[0])
    along, across = ends
    if along is across or lanes & (lanes - 1) or source.lookups or target.lookups:
        return None
    schedule.notes.append(f"copied in {lanes}x{lanes} blocks turned over in registers")
    others = tuple(f for f in nest.kept if f not in (along, across))
    assert along.extent is not None and across.extent is not None
    rows, columns = across.extent // lanes * lanes, along.extent // lanes * lanes
    steps = source.offset.coefficient(across.index), target.offset.coefficient(along.index)
    block = Transpose(target, source, *steps, lanes)
    sides = replace(across, stop=rows, step=lanes), replace(along, stop=columns, step=lanes)
    body = list(blocks(*sides, block, SIZE[source.buffer.dtype]))
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


def blocks(across: For, along: For, block: Transpose, size: int) -> tuple[Stmt, ...]:
    """The loops around a block: along lines of the source, or of the target where those crowd less.

    Half a line that is written long after the other half costs the line twice. So lines of the
    source are read whole, a few at a time, and as many rows of the target are written side by side.
    """
    if crowding(block.across * size) > crowding(block.down * size):
        return chain([across, along], (block,))
    body: list[Stmt] = []
    inside, stop = f"{along.index}.l", along.step * (along.extent or 0)
    line = max(along.step, LINE // size)
    for start, end, step in pieces(stop, line):
        part = For(inside, 0, step, along.step, "serial", ())
        at = {along.index: index(along.index) + index(inside)}
        around = [replace(along, start=start, stop=end, step=step), across, part]
        body += chain(around, moved((block,), at))
    return tuple(body)


def crowding(step: int) -> int:
    """How much lines so many bytes apart crowd each other in the sets of a cache."""
    return max(math.gcd(step, PERIOD), LINE)


def pieces(count: int, step: int) -> list[tuple[int, int, int]]:
    """Start, end and step of the whole steps below a number, and of what remains."""
    whole = count // step * step
    found = [(0, whole, step), (whole, count, count - whole)]
    return [piece for piece in found if piece[0] < piece[1]]
