"""Packed panels: what a panel of vectors reads again and again, copied into contiguous memory."""

from __future__ import annotations

from dataclasses import replace

from graphc.loops.ir import Access, Alloc, Buffer, For, Load, Stmt, Update
from graphc.loops.nest import Nest, chain, extent
from graphc.loops.schedule import Schedule
from graphc.loops.strip import moved, vectors
from graphc.ops import scalar
from graphc.ops.index import Affine, index
from graphc.types import SIZE

PANEL_REUSE = 24
"""How often a panel must be read for packing it to pay,"""
PANEL_SPAN = 48 << 10
"""and how much memory it must be spread over."""
SCRATCH = 1 << 18
"""Bytes that a kernel may keep on its stack: a packed panel, or partial sums."""


def packed(
    schedule: Schedule, nest: Nest, loop: For, size: int, lanes: int, at: Affine
) -> tuple[tuple[Stmt, ...], Nest]:
    """Copy what a panel of vectors reads into contiguous memory, where its rows lie far apart.

    for j by 64: for i: for k: c[i, j] += a[i, k]*b[N*k + j]
    -->
    for j by 64: p[64*k + j'] = b[N*k + j + j']; for i: for k: c += a[i, k]*p[64*k + j']
    """
    points = 1
    for other in nest.summed:
        points *= other.extent or 0
    again = 1
    for other in nest.kept:
        again *= 1 if other is loop else extent(other)
    copies: list[Stmt] = []
    inner: list[Stmt] = []
    for stmt in nest.inner:
        if not isinstance(stmt, Load) or not points or again < PANEL_REUSE:
            inner.append(stmt)
            continue
        access = stmt.access
        step = (
            min((abs(access.offset.coefficient(f.index)) for f in nest.summed), default=0)
            * SIZE[access.buffer.dtype]
        )
        moves = access.offset.coefficient(loop.index) == 1 and not access.lookups
        alone = not any(f is not loop and access.offset.coefficient(f.index) for f in nest.kept)
        bytes_ = points * size * SIZE[access.buffer.dtype]
        far = step * points > PANEL_SPAN and step % 1024 == 0
        if not (moves and alone and far) or stmt.guards or bytes_ > SCRATCH:
            inner.append(stmt)
            continue
        schedule.serial += 1
        panel = Buffer(f"p{schedule.serial}", access.buffer.dtype, points * size, "stack")
        place, factor = index(f"{loop.index}.t"), size
        for other in reversed(nest.summed):
            place = place + index(other.index) * factor
            factor *= other.extent or 1
        symbol = scalar.argument("packed")
        target = Access(panel, place)
        copy = (Load(stmt.name, access), Update(target, symbol, ((symbol, stmt.name),)))
        body = vectors(schedule, f"{loop.index}.t", size, lanes, moved(copy, {loop.index: at}))
        schedule.notes.append(f"{access.buffer.name} packed: its rows lie {step} bytes apart")
        copies += [Alloc(panel), *chain(nest.summed, body)]
        inner.append(Load(stmt.name, target))
    return tuple(copies), replace(nest, inner=tuple(inner))
