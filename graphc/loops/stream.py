"""Streamed sums: where the operands leave the cache, one outer step at a time into partial sums."""

from __future__ import annotations

from dataclasses import replace

from graphc.loops.ir import Access, Alloc, Buffer, Check, Let, Load, Stmt, Update
from graphc.loops.map import mapped
from graphc.loops.nest import Nest, accesses, extent, needed
from graphc.loops.panel import SCRATCH
from graphc.loops.registers import tiled
from graphc.loops.schedule import Schedule
from graphc.ops import scalar
from graphc.ops.index import Affine, index
from graphc.types import SIZE


def streamed(schedule: Schedule, nest: Nest) -> tuple[Stmt, ...] | None:
    """Where all that is summed leaves the second cache level: one outer step at a time.

    for k: r = 0; for n, s: r += f; c[k] = r
    -->
    t[...] = 0; for n: for k: r = 0; for s: r += f; t[k] += r
    for k: c[k] = t[k]
    """
    outer, starts = nest.summed[0], [s for s in nest.before if isinstance(s, Update)]
    total = 1
    for loop in nest.kept:
        if loop.extent is None:
            return None
        total *= loop.extent
    if len(nest.summed) < 2 or len(starts) != 1 or nest.summed[-1].kind != "serial":
        return None
    register = starts[0].target.buffer
    ends = [s for s in nest.after if isinstance(s, Load) and s.access.buffer == register]
    updates = [s for s in nest.inner if isinstance(s, Update)]
    size = SIZE[register.dtype]
    step = {
        **{f.index: extent(f) for f in nest.kept},
        **{f.index: extent(f) for f in nest.summed[1:]},
    }
    near = sum(footprint(a, step) for a in accesses(nest.inner))
    far = near * extent(outer)
    if len(ends) != 1 or len(updates) != 1 or total * size > SCRATCH:
        return None
    if (
        far < schedule.machine.level2 // 2
        or near > schedule.machine.level2 // 4
        or extent(outer) < 4
    ):
        return None
    schedule.serial += 1
    scratch = Buffer(f"t{schedule.serial}", register.dtype, total, "stack")
    place, factor = Affine(), 1
    for loop in reversed(nest.kept):
        place = place + index(loop.index) * factor
        factor *= loop.extent or 1
    target = Access(scratch, place)
    symbol = scalar.argument("part")
    schedule.notes.append(
        f"summed over {outer.index} step by step: {far >> 10} KiB in all, {near >> 10} KiB a step"
    )
    clear = (Update(target, starts[0].expr, ()),)
    part = (ends[0], Update(target, symbol, ((symbol, ends[0].name),), updates[0].how))
    inner = Nest(nest.kept, nest.before, nest.summed[1:], nest.inner, part)
    rest = tuple(s for s in nest.after if s is not ends[0])
    shared = tuple(s for s in nest.before if isinstance(s, Load | Let | Check))
    last = (*needed(shared, rest), Load(ends[0].name, target), *rest)
    return (
        Alloc(scratch),
        *mapped(schedule, Nest(nest.kept, (), (), clear, ())),
        replace(outer, body=tiled(schedule, inner)),
        *mapped(schedule, Nest(nest.kept, (), (), last, ())),
    )


def footprint(access: Access, extents: dict[str, int]) -> int:
    """Bytes that an access touches while some indices run."""
    reach = 1 + sum(abs(c) * (extents[n] - 1) for n, c in access.offset.terms if n in extents)
    points = 1
    for name in access.offset.names:
        points *= extents.get(name, 1)
    return min(reach, points) * SIZE[access.buffer.dtype]
