"""Packed panels: what a panel of vectors reads again and again, copied into contiguous memory."""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import replace

from graphc.loops.crosswise import crosswise
from graphc.loops.ir import Access, Alloc, Buffer, For, Load, Stmt, Update
from graphc.loops.map import mapped
from graphc.loops.nest import Nest, chain, extent
from graphc.loops.schedule import Schedule
from graphc.loops.strip import moved, vectors
from graphc.loops.turn import LINE, PERIOD, transposed
from graphc.machine import Machine
from graphc.ops import scalar
from graphc.ops.index import Affine, index
from graphc.types import SIZE

REUSE = 0.75
"""How often a panel must be read for packing it to pay, for each byte of a vector:"""
NEAR, NEAR_REUSE = 0.5, 3.0
"""so often where what the sum reads fills no more than this part of the second cache as it lies, as
lines come from there while others are computed on, unless all rows share one set of the first;"""
PAGES = 48
"""Pages that a panel's rows may lie in as they are: a core has some 64 at hand, others late."""
FULL = 0.75
"""The part of its sets that a panel may fill."""
SCRATCH = 1 << 18
"""Bytes that a kernel may keep on its stack: what is copied ahead, or partial sums;"""
LONGEST = 1 << 20
"""and a packed panel, without which each row of a long sum would be another line far away;"""
MOST = 1 << 22
"""and all copies of a kernel, which has some for every residue of a stride, and for every part."""


def packed(
    schedule: Schedule,
    nest: Nest,
    loop: For,
    size: int,
    lanes: int,
    at: Affine,
    around: Container[str] = (),
) -> tuple[tuple[Stmt, ...], Nest]:
    """Copy what a panel of vectors reads into contiguous memory, where it would not stay near.

    for j by 64: for i: for k: c[i, j] += a[i, k]*b[N*k + j]
    -->
    for j by 64: p[64*k + j'] = b[N*k + j + j']; for i: for k: c += a[i, k]*p[64*k + j']

    `around`: the kept loops that stand around that of the panels.
    """
    copies: list[Stmt] = []
    inner: list[Stmt] = []
    for stmt in nest.inner:
        turned = crosswise(nest, loop, stmt)
        if not isinstance(stmt, Load) or not wanted(schedule, nest, loop, size, stmt, around):
            inner.append(stmt)
            continue
        access, count = stmt.access, terms(nest) * size
        if not fits(schedule, count * SIZE[access.buffer.dtype]):
            inner.append(stmt)
            continue
        schedule.serial += 1
        panel = Buffer(f"p{schedule.serial}", access.buffer.dtype, count, "stack")
        place, factor = index(f"{loop.index}.t"), size
        for other in reversed(nest.summed):
            place = place + index(other.index) * factor
            factor *= other.extent or 1
        symbol = scalar.argument("packed")
        target = Access(panel, place)
        copy = Load(stmt.name, access), Update(target, symbol, ((symbol, stmt.name),))
        body = moved(copy, {loop.index: at})
        apart = access.offset.coefficient(loop.index)
        why = f"its rows lie {stride(nest, access)} bytes apart"
        why = f"its elements lie {apart} apart" if apart > 1 else why
        why = "turned over, as sums go along its rows" if turned else why
        schedule.notes.append(f"{access.buffer.name} packed: {why}")
        copies += [Alloc(panel), *filled(schedule, nest, f"{loop.index}.t", size, lanes, body)]
        inner.append(Load(stmt.name, target, inside=stmt.inside))
    return tuple(copies), replace(nest, inner=tuple(inner))


def fits(schedule: Schedule, size: int) -> bool:
    """Take room on the stack for one more panel of so many bytes, if there is enough."""
    if schedule.panels + size > MOST:
        return False
    schedule.panels += size
    return True


def filled(
    schedule: Schedule, nest: Nest, inside: str, size: int, lanes: int, copy: tuple[Stmt, ...]
) -> tuple[Stmt, ...]:
    """A panel of `size` columns copied, along the index `inside`; turned over where it lies so."""
    if next(s for s in copy if isinstance(s, Load)).access.offset.coefficient(inside) == 1:
        return chain(nest.summed, vectors(schedule, inside, size, lanes, copy))
    whole = Nest((*nest.summed, For(inside, 0, size, 1, "serial", ())), (), (), copy, ())
    said = len(schedule.notes)
    done = transposed(schedule, whole) or mapped(schedule, whole)
    del schedule.notes[said:]
    return done


def wanted(
    schedule: Schedule, nest: Nest, loop: For, size: int, load: Load, around: Container[str] = ()
) -> bool:
    """Whether a panel is copied: it must be turned over, or would not stay near."""
    far = scattered(schedule, nest, loop, size, load, around=around)
    return far or crosswise(nest, loop, load)


def moving(nest: Nest, loop: For, load: Load) -> frozenset[str]:
    """The other kept loops that move what a load reads."""
    others = [other.index for other in nest.kept if other is not loop]
    return frozenset(name for name in others if load.access.offset.coefficient(name))


def scattered(
    schedule: Schedule,
    nest: Nest,
    loop: For,
    size: int,
    load: Load,
    steps: int = 1,
    around: Container[str] = (),
) -> bool:
    """Whether the rows of a panel that is read again and again crowd each other out of the cache.

    Rows a power of two apart share few of its sets: of `step` bytes, only every so many begins one.
    Rows far apart lie in more pages than a core has at hand. Elements that lie apart are gathered
    in any case: else they are for each vector.
    `steps`: how often the whole nest is run on the same panel. `around`: kept loops around those of
    the panels, each step of which has panels of its own.
    """
    access, points = load.access, terms(nest)
    width = size * SIZE[access.buffer.dtype]
    others = [other for other in nest.kept if other is not loop and other.index not in around]
    again, machine = math.prod(map(extent, others)), schedule.machine
    apart = access.offset.coefficient(loop.index)
    moves = apart >= 1 and not access.lookups and not load.guards
    alone = not any(access.offset.coefficient(other.index) for other in others)
    if not (moves and alone and points) or points * width > LONGEST:
        return False
    if schedule.choice.pack is not None:
        return schedule.choice.pack
    if again * steps < reuse(machine):
        return False
    step = stride(nest, access)
    if step <= width * apart:
        return False
    if apart > 1 or points * min(step, PERIOD) > PAGES * PERIOD:
        return True
    seldom = step % PERIOD and again * steps < reuse(machine, NEAR_REUSE)
    if seldom and near(nest, NEAR * machine.level2):
        return False
    lines = -(-width // LINE) + bool(step % LINE)  # such rows begin anywhere in a line
    sets = min(PERIOD // LINE, PERIOD // math.gcd(step, PERIOD) * lines)
    ways = machine.level1 / PERIOD
    return points * lines > FULL * ways * sets


def reuse(machine: Machine, each: float = REUSE) -> float:
    """How often what is copied must be read: wide vectors are done with a reading sooner."""
    return each * machine.vector_bytes


def near(nest: Nest, room: float) -> bool:
    """Whether all that a sum reads lies in arrays of no more bytes than this together."""
    read = {stmt.access.buffer for stmt in nest.inner if isinstance(stmt, Load)}
    sizes = [b.size * SIZE[b.dtype] for b in read if isinstance(b.size, int)]
    return len(sizes) == len(read) and sum(sizes) <= room


def stride(nest: Nest, access: Access) -> int:
    """Bytes between the rows of a panel."""
    steps = [abs(access.offset.coefficient(f.index)) for f in nest.summed]
    return min(steps, default=0) * SIZE[access.buffer.dtype]


def terms(nest: Nest) -> int:
    """How many terms are summed; 0 where that is known only at run time."""
    return math.prod(f.extent or 0 for f in nest.summed)
