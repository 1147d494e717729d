"""Back: what the steps of a loop in order repeat goes back where it came from, every second time.

    ordered for t: for i: y[t, i] = f(b[i], ...)
    -->
    ordered for t: for i, in odd t from the last to the first: y[t, i] = f(b[i], ...)

Where all that is read again at each step is more than a cache holds, the first of it is gone before
the step ends. What was read last is still there, and is read first by a step that goes back. The
steps of such a loop are independent, so that no bit changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphc.loops.independent import enclosed, independent
from graphc.loops.ir import Access, Check, For, Kernel, Stmt, walk
from graphc.loops.nest import accesses, extent
from graphc.machine import Machine
from graphc.types import SIZE

NEAR = 0.5
"""The part of the second cache beyond which what a step reads leaves it.

Pages fall where they fall, so that some of what would fit is driven out.
"""


def back(kernel: Kernel, machine: Machine) -> Kernel:
    """Have loops within loops in order go back where what they read again leaves a cache."""
    notes: list[str] = []
    body = statements(kernel.body, (), None, machine, notes)
    return replace(kernel, body=body, notes=(*kernel.notes, *notes)) if notes else kernel


def statements(
    stmts: tuple[Stmt, ...],
    around: tuple[For, ...],
    repeated: For | None,
    machine: Machine,
    notes: list[str],
) -> tuple[Stmt, ...]:
    """Statements inside some loops, the innermost in order among them `repeated`."""
    result: list[Stmt] = []
    for stmt in stmts:
        if not isinstance(stmt, For):
            result.append(stmt)
            continue
        size = again(stmt, repeated, machine) if repeated is not None else 0
        if repeated is not None and size and reversible(stmt, around):
            notes.append(
                f"{stmt.index} goes back in odd {repeated.index}: each reads "
                f"{size >> 10:,} KiB again, a cache holds {machine.level2 >> 10:,}"
            )
            result.append(replace(stmt, back=repeated.index))
            continue
        inner = repeated
        if stmt.kind == "ordered":
            inner = stmt if stmt.extent != 1 else repeated
        elif stmt.extent != 1:
            inner = None  # what such a loop repeats is read again sooner
        inside = statements(stmt.body, (*around, stmt), inner, machine, notes)
        result.append(replace(stmt, body=inside))
    return tuple(result)


def reversible(loop: For, around: Sequence[For]) -> bool:
    """Whether a loop's steps may run in any order, and are so many whole ones."""
    if loop.kind != "serial" or not isinstance(loop.start, int) or not isinstance(loop.stop, int):
        return False
    span = loop.stop - loop.start
    if span <= loop.step or span % loop.step:
        return False
    if any(isinstance(s, Check) for s in walk(loop.body)):
        return False  # of several indices out of bounds one is named
    return independent(loop, around, frozenset())


def again(loop: For, repeated: For, machine: Machine) -> int:
    """Bytes that a loop reads once in each step of another one, of buffers that leave the cache.

    What it reads several times, as for each row of a batch, it computes with for longer.
    """
    size: dict[str, int] = {}
    often: set[str] = set()
    for stmt, loops in enclosed((loop,), loop.body):
        for access in accesses((stmt,)) if not isinstance(stmt, For) else ():
            moves, name = access.offset.coefficient, access.buffer.name
            if moves(loop.index) and not moves(repeated.index) and not access.lookups:
                size[name] = max(size.get(name, 0), touched(access, loops))
                often |= set() if once(access, loops) else {name}
    least = NEAR * machine.level2
    return sum(n for name, n in size.items() if n > least and name not in often)


def once(access: Access, loops: Sequence[For]) -> bool:
    """Whether each step of some loops reads something else, but for what stays in registers."""
    counted = [f for f in loops if f.kind == "serial" and f.extent != 1]
    return all(access.offset.coefficient(f.index) for f in counted)


def touched(access: Access, loops: Sequence[For]) -> int:
    """Bytes that an access touches while some loops run."""
    reach = points = 1
    for loop in loops:
        factor = abs(access.offset.coefficient(loop.index))
        step = 1 if loop.kind == "vector" else loop.step
        count = extent(replace(loop, step=step))
        if factor:
            reach += factor * step * (count - 1)
            points *= count
    return min(reach, points) * SIZE[access.buffer.dtype]
