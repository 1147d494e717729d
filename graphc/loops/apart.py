"""Apart: what follows a sum made along the lanes is computed for many sums at once.

for i: { r = 0; for s in lanes: r += f; y[i] = exp(r) }
-->
for i: { r = 0; for s in lanes: r += f; t[i] = r };  for i in lanes: y[i] = exp(t[i])

Such a sum leaves one number, and what follows it would be computed one number at a time.
"""

from __future__ import annotations

import math
from dataclasses import replace

from graphc.loops.choose import Plan
from graphc.loops.ir import Access, Alloc, Buffer, Check, For, Let, Load, Stmt, Update
from graphc.loops.map import mapped
from graphc.loops.nest import Nest, extent, needed, row_major
from graphc.loops.panel import SCRATCH
from graphc.loops.registers import tiled
from graphc.loops.schedule import Schedule
from graphc.loops.strip import moved, split
from graphc.ops import scalar
from graphc.ops.index import index
from graphc.types import SIZE


def apart(schedule: Schedule, nest: Nest, plan: Plan) -> tuple[Stmt, ...] | None:
    """The sums, then what follows them, lanes across sums; None where that gains nothing."""
    if plan.vector in {f.index for f in nest.kept} or math.prod(map(extent, nest.kept)) < 2:
        return None
    if not any(isinstance(s, Let) and scalar.elementary(s.expr) for s in nest.after):
        return None
    opened = [s.buffer for s in nest.before if isinstance(s, Alloc)]
    ends = [s for s in nest.after if isinstance(s, Load) and s.access.buffer in opened]
    if len(opened) != 1 or len(ends) != 1 or any(f.extent is None for f in nest.kept[1:]):
        return None
    if nest.kept[0].extent is not None:
        return together(schedule, nest, plan, ends[0])
    loop, size = nest.kept[0], plan.lanes
    whole, rest = split(loop, size, 1, False)
    outside = f"{loop.index}.b"
    at = {loop.index: index(outside) + index(loop.index)}
    block = Nest(
        (replace(loop, start=0, stop=size), *nest.kept[1:]),
        moved(nest.before, at),
        nest.summed,
        moved(nest.inner, at),
        moved(nest.after, at),
    )
    end = next(s for s in block.after if isinstance(s, Load) and s.name == ends[0].name)
    body = together(schedule, block, plan, end)
    if body is None:
        return None
    left = replace(nest, kept=(replace(loop, start=rest.start), *nest.kept[1:]))
    return For(outside, 0, whole.stop, size, "serial", body), *tiled(schedule, left, plan)


def together(schedule: Schedule, nest: Nest, plan: Plan, end: Load) -> tuple[Stmt, ...] | None:
    """All sums of a nest of known extents, then all that follows; None where they are too many."""
    dtype, count = end.access.buffer.dtype, math.prod(map(extent, nest.kept))
    if count * SIZE[dtype] > SCRATCH:
        return None
    schedule.notes.append("what follows the sums is computed for several of them at once")
    schedule.serial += 1
    target = Access(Buffer(f"t{schedule.serial}", dtype, count, "stack"), row_major(nest.kept))
    symbol = scalar.argument("sum")
    store = (end, Update(target, symbol, ((symbol, end.name),)))
    shared = tuple(s for s in nest.before if isinstance(s, Load | Let | Check))
    rest = tuple(s for s in nest.after if s is not end)
    last = (*needed(shared, rest), Load(end.name, target), *rest)
    sums = tiled(schedule, replace(nest, after=store), plan)
    return (Alloc(target.buffer), *sums, *mapped(schedule, Nest(nest.kept, (), (), last, ())))
