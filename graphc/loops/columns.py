"""Columns: sums down the columns of a large matrix go a few rows at a time, in whole lines.

for j: r = 0; for s: r += f(s, j); y[j] = r
-->
for j: y[j] = 0;  for s by 8: for j by 16: { r = y[j]; for s' in 8: r += f(s + s', j); y[j] = r }

A row that the registers hold is read as a whole, and then the next one:

for s: for j: r[j] += f(s, j);  for j: y[j] = r[j]

A register tile as wide as the registers would read a narrow strip of every row, and go through all
rows for each strip: no line follows the one before, so that none is fetched ahead. The order of
each sum stays.
"""

from __future__ import annotations

import math
from dataclasses import replace

from graphc.loops.blocked import summed
from graphc.loops.choice import MODEL, Choice
from graphc.loops.choose import Plan
from graphc.loops.ir import Load, Stmt, Update
from graphc.loops.nest import Nest, chain, extent
from graphc.loops.schedule import Schedule
from graphc.loops.stream import streamed
from graphc.types import SIZE

STREAMS = 8
"""Rows of all operands that are read side by side: a power of two apart, all lie in one set of the
nearest cache, which has so many ways."""
FOLLOW = "lines follow each other"
VECTORS = 2
"""Vectors of a row at a time: a cache line and more."""


def columns(schedule: Schedule, nest: Nest, plan: Plan) -> tuple[Stmt, ...] | None:
    """The sums a few rows at a time; None where no more than a strip of rows is summed, or little.

    What measuring has decided stands.
    """
    rows = together(nest, plan, schedule.machine.level2)
    if rows is None or plan.vector is None or schedule.choice != MODEL:
        return None
    *around, column = nest.kept
    sums, whole = registers(nest), -(-(column.extent or 0) // plan.lanes)
    if whole * sums <= schedule.machine.registers * 3 // 4:
        why = f"lanes along kept {plan.vector}, whole rows of {whole} vectors: {FOLLOW}"
        return summed(schedule, nest, replace(plan, vectors=whole, tiles=(), why=why))
    why = f"lanes along kept {plan.vector}, {rows} rows at a time: {FOLLOW}"
    row = replace(plan, vectors=VECTORS, tiles=(), why=why)
    schedule.choice = Choice(tile=(plan.vector, plan.lanes, VECTORS, ()), part=rows)
    loops = tuple(replace(loop, kind="serial") for loop in nest.summed)
    found = streamed(schedule, replace(nest, kept=(column,), summed=loops), row)
    schedule.choice = MODEL
    return chain(around, found) if found is not None else None


def registers(nest: Nest) -> int:
    """Registers that a vector of a row takes: one for each sum, and one for where a best stands."""
    updates = [stmt for stmt in nest.inner if isinstance(stmt, Update)]
    return len(updates) + sum(stmt.companion is not None for stmt in updates)


def together(nest: Nest, plan: Plan, level2: int) -> int | None:
    """How many steps of the outermost sum go at a time: all operands are rows that leave caches."""
    (*around, column), (outer, *inner) = nest.kept, nest.summed
    if plan.vector != column.index:
        return None
    extents = [loop.extent for loop in nest.summed]
    if column.extent is None or None in extents:
        return None
    each = math.prod(loop.extent or 1 for loop in inner)
    row, rows = nest.summed[-1], each * (outer.extent or 1)
    if column.extent <= plan.lanes * max(plan.vectors, VECTORS):
        return None
    size, streams, times = 0, 0, math.prod(map(extent, around))
    for stmt in nest.inner:
        if not isinstance(stmt, Load):
            continue
        offset = stmt.access.offset
        down, along = (offset.coefficient(loop.index) for loop in (row, column))
        if stmt.guards or stmt.access.lookups or not down or along not in (0, 1):
            return None
        if along and abs(down) < column.extent:
            return None
        if not all(offset.coefficient(loop.index) for loop in around):
            return None
        streams += along
        size += along * column.extent * rows * SIZE[stmt.access.buffer.dtype]
    if not 0 < streams <= STREAMS // 2 or size * times <= level2:
        return None
    return STREAMS // streams // each or None
