"""Past: stores of results that no cache will hold go past the caches.

    for i by 8: for v in 8 lanes: y[i + v] = ...
    -->
    for i by 32: for u in 0..4: for v in 8 lanes: y[i + 8*u + v] = ...  past the caches

An ordinary store reads the line that it writes a part of; where that is in no cache, as many bytes
again as are written, and it takes the place of what will be read. A store past the caches collects
a line and writes it whole. So it must write line after line, and nothing that was just read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphc.graph.leaf import ALIGNED
from graphc.loops.ir import Access, For, Kernel, Load, Stmt, Update, rename, walk
from graphc.machine import Machine
from graphc.ops.index import affine
from graphc.passes.arena import greatest
from graphc.passes.memory import Plan
from graphc.types import SIZE

OURS = ("output", "arena")
"""The kinds of memory that begin on a cache line where they are large, whoever calls."""
LEAST = 16
"""Bytes of a store below which it does not pay."""
COUNTS, LONGEST = (4, 2), 24
"""Vectors to write in one step, so that lines are whole soon; statements of a step to do it for."""


def far(
    kernels: Sequence[Kernel], slots: Sequence[Sequence[int]], plan: Plan, machine: Machine
) -> list[Kernel]:
    """The kernels, told which of their results will be in no cache when they are next read.

    Those are larger than a core's own caches, and until they are read, or in the whole program
    where none of its kernels does, more is touched than the last cache holds. What has an extent
    that is known only when the program runs is not among them, nor counted.
    """
    size: dict[int, int] = {}
    for kernel, places in zip(kernels, slots, strict=True):
        for buffer, slot in zip(kernel.buffers, places, strict=True):
            if isinstance(buffer.size, int):
                size[slot] = max(size.get(slot, 0), buffer.size * SIZE[buffer.dtype])
    told = []
    for number, (kernel, places) in enumerate(zip(kernels, slots, strict=True)):
        read = {s.access.buffer.name for s in walk(kernel.body) if isinstance(s, Load)}
        found = tuple(
            buffer.name
            for buffer, slot in zip(kernel.buffers, places, strict=True)
            if size.get(slot, 0) > max(machine.level2, ALIGNED)
            and buffer.name in set(kernel.written) - read
            and plan.slots[slot].kind in OURS
            and places.count(slot) == 1
            and meanwhile(number, slot, slots, plan, size) > machine.last
        )
        told.append(replace(kernel, far=found))
    return told


def meanwhile(
    number: int,
    slot: int,
    slots: Sequence[Sequence[int]],
    plan: Plan,
    size: Mapping[int, int],
) -> int:
    """Bytes touched from a kernel on until what it makes is read; in all, where nobody reads it."""
    copied = [len(slots)] if slot in (source for source, _ in plan.copies) else []
    later = [n for n in range(number + 1, len(slots)) if slot in slots[n]] + copied
    part = slots[number : later[0]] if later else slots
    touched = {s for places in part for s in places if s in size}
    arena = {s: size[s] for s in touched if plan.slots[s].kind == "arena"}
    others = sum(size[s] for s in touched if s not in arena)
    return others + (greatest(plan.slots, arena) if arena else 0)


def past(kernel: Kernel, machine: Machine) -> Kernel:
    """Have the innermost loops of maps store what is far past the caches.

    A result that the kernel reads itself is not: sums in parts, which lie there until the last one.
    """
    read = {stmt.access.buffer.name for stmt in walk(kernel.body) if isinstance(stmt, Load)}
    names = tuple(name for name in kernel.far if name not in read)
    if not names:
        return kernel
    body = statements(kernel.body, (), names)
    written = {s.target.buffer.name for s in walk(body) if isinstance(s, Update) and s.past}
    size = f"{machine.last >> 10:,} KiB"
    notes = [
        f"{name} is stored past the caches: more than {size} is touched until it is read again"
        for name in names
        if name in written
    ]
    return replace(kernel, body=body, notes=(*kernel.notes, *notes))


def statements(
    stmts: tuple[Stmt, ...], around: tuple[For, ...], names: tuple[str, ...]
) -> tuple[Stmt, ...]:
    """Statements inside some loops, the loops of vectors among them rewritten."""
    result: list[Stmt] = []
    for stmt in stmts:
        match stmt:
            case For(kind="serial", body=(For(kind="vector") as vector,)):
                result.append(streamed(stmt, vector, (*around, stmt), names))
            case For():
                result.append(replace(stmt, body=statements(stmt.body, (*around, stmt), names)))
            case _:
                result.append(stmt)
    return tuple(result)


def streamed(loop: For, vector: For, around: tuple[For, ...], names: tuple[str, ...]) -> For:
    """A loop over whole vectors, several a step if it stores some past the caches."""
    if (vector.start, vector.stop) != (0, loop.step) or vector.step != loop.step:
        return loop
    body = tuple(
        replace(stmt, past=True)
        if isinstance(stmt, Update)
        and stmt.target.buffer.name in names
        and stmt.how == "="
        and not stmt.guards
        and whole(stmt.target, vector, around)
        else stmt
        for stmt in vector.body
    )
    if body == vector.body:
        return loop
    inside, part, size = replace(vector, body=body), f"{loop.index}.u", loop.step
    count = next((c for c in COUNTS if loop.extent and loop.extent % c == 0), 1)
    if len(body) > LONGEST or count == 1:
        return replace(loop, body=(inside,))
    place = affine([(loop.index, 1), (part, size)])
    parts = For(part, 0, count, 1, "unrolled", (rename(inside, {loop.index: place}),))
    return replace(loop, step=size * count, body=(parts,))


def whole(target: Access, vector: For, around: tuple[For, ...]) -> bool:
    """Whether an access is an aligned vector at each step, and the next one at the next."""
    offset, size = target.offset, vector.step
    if target.lookups or size & (size - 1) or size * SIZE[target.buffer.dtype] < LEAST:
        return False
    if offset.coefficient(vector.index) != 1 or offset.coefficient(around[-1].index) != 1:
        return False
    places = [offset.constant]
    for loop in around:
        factor = offset.coefficient(loop.index)
        if factor and not isinstance(loop.start, int):
            return False
        places += [factor * loop.start, factor * loop.step] if isinstance(loop.start, int) else []
    return all(place % size == 0 for place in places)
