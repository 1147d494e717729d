"""Blocked products: the operands of a product of matrices copied into the order they are read in.

    for i: for j: for s: c[i, j] += a[M*s + i]*b[N*s + j]
    -->
    for j by J: q[S*j + J*s + j'] = b[N*s + j + j']
    for i by I: { p[S*i' + s] = a[M*s + i + i']; for i', j by J, j': for s: c += p[...]*q[...] }

Where each step of the sum reads another line of memory, lines fall out of the nearest cache before
their neighbours in them are read, the sooner if they lie a power of two apart. Copied so, one
step's elements lie beside the next one's: rows of the operand that tiles read element by element
(`a`) are gathered, turned over. Where the second cache holds all of them they are gathered once,
and panels of the operand read in vectors (`b`) are copied one by one; else a few tiles of rows at a
time, after all panels. Where it holds both operands as they lie, nothing is gathered.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from graphc.loops.choose import Plan
from graphc.loops.crosswise import crosswise
from graphc.loops.ir import Access, Alloc, Buffer, For, Load, Stmt, Update
from graphc.loops.map import mapped
from graphc.loops.nest import Nest, extent, row_major
from graphc.loops.panel import SCRATCH, filled, fits, near, reuse, scattered
from graphc.loops.registers import tiled
from graphc.loops.schedule import Schedule
from graphc.loops.strip import moved
from graphc.loops.turn import LINE, pieces, transposed
from graphc.ops import scalar
from graphc.ops.index import affine, index
from graphc.types import SIZE

APART = 64
"""Bytes between one step's elements and the next one's from which on rows are gathered."""
AGAIN = 64
"""How often a gathered element must be read."""
ROWS = 64
"""Rows gathered at a time, at most."""
NEAR = 0.625
"""The part of the second cache that all rows may fill to be gathered at once."""
TERMS = 64
"""Terms of a sum from which on copies pay."""


def summed(schedule: Schedule, nest: Nest, plan: Plan) -> tuple[Stmt, ...]:
    """A reduction in register tiles, on copied operands where that pays."""
    rows = gatherable(nest, plan)
    far = schedule.choice.gather or not near(nest, schedule.machine.level2)
    if rows is not None and far and schedule.choice.gather is not False:
        return gathered(schedule, nest, plan, rows)
    if plan.vector not in {f.index for f in nest.kept}:
        return tiled(schedule, nest, plan)

    def wanted(nest: Nest, loop: For, size: int, load: Load) -> bool:
        far = scattered(schedule, nest, loop, size, load, schedule.steps)
        far = far or crosswise(nest, loop, load)
        return far and ahead(schedule, nest, plan, load)

    copies, nest = panels(schedule, nest, plan, wanted)
    return (*copies, *tiled(schedule, nest, plan))


def ahead(schedule: Schedule, nest: Nest, plan: Plan, load: Load) -> bool:
    """Whether all panels of an operand are copied at once, before the loops.

    That is where a loop around several nests does not change them in its steps, nor are they too
    large to be kept for all; and where loops stand around the tiles, the second cache holds all
    panels, and what a step of these loops reads is read for one panel after the other while it is
    near.
    """
    assert plan.vector is not None
    loop, buffer = nest.loop(plan.vector), load.access.buffer
    if not (alone(nest, load, loop) or crosswise(nest, loop, load)):
        return False
    size = terms(nest) * extent(loop) * SIZE[buffer.dtype]
    if schedule.steps > 1:
        return buffer.name not in schedule.changing and size <= schedule.once
    tiles = {name for name, _ in plan.tiles}
    around = [f for f in nest.kept if f is not loop and f.index not in tiles and extent(f) > 1]
    return bool(around) and size <= schedule.machine.level2 // 2


@dataclass(frozen=True)
class Rows:
    """The load whose rows are gathered, the loop that they belong to, and its tile's size."""

    load: Load
    loop: For
    size: int


def gatherable(nest: Nest, plan: Plan) -> Rows | None:
    """What a tile reads element by element, each step of the sum from another line."""
    if plan.vector not in {f.index for f in nest.kept} or terms(nest) < TERMS:
        return None
    for name, size in plan.tiles:
        loop = nest.loop(name)
        for load in nest.inner:
            if isinstance(load, Load) and alone(nest, load, loop) and loop.extent is not None:
                again = math.prod(extent(f) for f in nest.kept if f is not loop)
                if stride(nest, load) >= APART and again >= AGAIN:
                    return Rows(load, loop, size)
    return None


def fit(nest: Nest, rows: Rows, level2: int) -> bool:
    """Whether the second cache holds all rows, gathered, and panels beside them."""
    size = SIZE[rows.load.access.buffer.dtype]
    return extent(rows.loop) * terms(nest) * size <= NEAR * level2


def apart(size: int) -> int:
    """The bytes from row to row for rows of a size: an odd number of lines, so that none crowd."""
    return (-(-size // LINE) | 1) * LINE


def alone(nest: Nest, load: Load, loop: For) -> bool:
    """Whether a load walks memory along one kept loop and all that is summed, and no other."""
    access = load.access
    if load.guards or access.lookups or access.offset.coefficient(loop.index) != 1:
        return False
    if any(f.extent is None or not access.offset.coefficient(f.index) for f in nest.summed):
        return False
    others = [f for f in nest.kept if f is not loop]
    return not any(access.offset.coefficient(f.index) for f in others)


def stride(nest: Nest, load: Load) -> int:
    """Bytes from one step of the sum to the nearest other."""
    steps = [abs(load.access.offset.coefficient(f.index)) for f in nest.summed]
    return min(steps) * SIZE[load.access.buffer.dtype]


def terms(nest: Nest) -> int:
    """How many terms are summed."""
    return math.prod(extent(f) for f in nest.summed)


def gathered(schedule: Schedule, nest: Nest, plan: Plan, rows: Rows) -> tuple[Stmt, ...]:
    """The nest over blocks of a loop, its rows gathered for each, on panels copied before."""
    load, loop, dtype = rows.load, rows.loop, rows.load.access.buffer.dtype

    def strided(nest: Nest, across: For, size: int, load: Load) -> bool:
        far = alone(nest, load, across) and stride(nest, load) >= APART
        far = far or crosswise(nest, across, load)
        return far and extent(loop) >= reuse(schedule.machine)

    row = apart(terms(nest) * SIZE[dtype]) // SIZE[dtype]
    result: list[Stmt] = []
    if fit(nest, rows, schedule.machine.level2):
        block = extent(loop)
    else:
        result, nest = panels(schedule, nest, plan, strided)
        room = max(rows.size, min(ROWS, SCRATCH // (row * SIZE[dtype])))
        block = rows_at_a_time(extent(loop), rows.size, room)
    schedule.notes.append(
        f"{load.access.buffer.name} gathered: {block} rows of {terms(nest)} at a time, "
        f"whose neighbours lie {stride(nest, load)} bytes apart"
    )
    for start, end, step in pieces(extent(loop), block):
        schedule.serial += 1
        sliver = Buffer(
            f"p{schedule.serial}", dtype, row * step, space(schedule, row * step, dtype)
        )
        place = row_major(nest.summed) + index(loop.index) * row
        target = Access(sliver, place)
        outside = f"{loop.index}.b"
        at = {loop.index: index(outside) + index(loop.index)}
        inside = replace(loop, start=0, stop=step)
        symbol = scalar.argument("gathered")
        copy = (*moved((load,), at), Update(target, symbol, ((symbol, load.name),)))
        gathering = Nest((*nest.summed, inside), (), (), copy, ())
        copied = transposed(schedule, gathering) or mapped(schedule, gathering)
        part = Nest(
            tuple(inside if f is loop else f for f in nest.kept),
            moved(nest.before, at),
            nest.summed,
            tuple(Load(load.name, target) if s is load else moved((s,), at)[0] for s in nest.inner),
            moved(nest.after, at),
        )
        body = (Alloc(sliver), *copied, *tiled(schedule, part, plan))
        result.append(For(outside, start, end, step, "serial", body))
    return tuple(result)


def panels(
    schedule: Schedule, nest: Nest, plan: Plan, wanted: Callable[[Nest, For, int, Load], bool]
) -> tuple[list[Stmt], Nest]:
    """Copies of what is read in vectors, panel after panel; and the nest that reads the copies.

    `wanted(nest, vector loop, elements of a panel's row, load)`: whether to copy what is loaded.
    """
    assert plan.vector is not None
    loop, width = nest.loop(plan.vector), plan.lanes * plan.vectors
    result: list[Stmt] = []
    inner: list[Stmt] = []
    for stmt in nest.inner:
        if not isinstance(stmt, Load) or not wanted(nest, loop, width, stmt):
            inner.append(stmt)
            continue
        schedule.serial += 1
        dtype, count = stmt.access.buffer.dtype, terms(nest)
        size = -(-extent(loop) // width) * width * count
        panel = Buffer(f"q{schedule.serial}", dtype, size, space(schedule, size, dtype))
        row = affine([])
        factor = width
        for other in reversed(nest.summed):
            row, factor = row + index(other.index) * factor, factor * extent(other)
        block, lane = f"{loop.index}.block", f"{loop.index}.lane"
        target = Access(panel, row + index(block) * count + index(lane))
        schedule.notes.append(f"{stmt.access.buffer.name} copied in panels of {width}")
        symbol = scalar.argument("packed")
        result.append(Alloc(panel))
        for start, end, step in pieces(extent(loop), width):
            outside, inside = f"{loop.index}.o", f"{loop.index}.t"
            values = {block: index(outside), lane: index(inside)}
            values[loop.index] = index(outside) + index(inside)
            copy = (stmt, Update(target, symbol, ((symbol, stmt.name),)))
            body = filled(schedule, nest, inside, step, plan.lanes, moved(copy, values))
            result.append(For(outside, start, end, step, "serial", body))
        inner.append(Load(stmt.name, target, inside=stmt.inside))
    return result, replace(nest, inner=tuple(inner))


def space(schedule: Schedule, size: int, dtype: str) -> str:
    """Where so many elements are copied to: a thread's stack, if they are few and it has room."""
    count = size * SIZE[dtype]
    return "stack" if count <= SCRATCH and fits(schedule, count) else "shared"


def rows_at_a_time(total: int, size: int, most: int) -> int:
    """Rows to gather at a time: equal blocks where there are such, whole tiles else."""
    even = [b for b in range(most // 2 + 1, most + 1) if total % b == 0]
    whole = [b for b in even if b % size == 0]
    return min((whole or even or [max(most // size, 1) * size])[-1], total)
