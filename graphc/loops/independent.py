"""Independence: whether a loop's steps may run at the same time, by where they read and write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from graphc.loops.ir import Access, Alloc, For, Load, Stmt, Transpose, Update, walk
from graphc.loops.nest import extent
from graphc.ops.index import Affine


@dataclass(frozen=True)
class Spot:
    """Where a statement reads or writes, and the loops around it, the one in question included."""

    buffer: str
    offset: Affine
    loops: tuple[For, ...]
    lookups: bool = False
    block: tuple[tuple[int, int], ...] = ()

    def spans(self) -> list[tuple[int, int | None]]:
        """For each loop that moves it: the step in elements, and how many (None: run-time)."""
        found: list[tuple[int, int | None]] = list(self.block)
        for loop in self.loops:
            factor = abs(self.offset.coefficient(loop.index))
            if factor and loop.extent != 1:
                found.append((factor * loop.step, loop.extent))
            if factor and loop.kind == "vector" and loop.step > 1:
                found.append((factor, min(loop.step, extent(replace(loop, step=1)))))
        return found


def independent(loop: For, around: Sequence[For], alone: frozenset[str]) -> bool:
    """Whether no step writes what another reads or writes, whatever the steps of loops around.

    Buffers that a thread has for itself do not count.
    """
    opened = [s.buffer for s in walk(loop.body) if isinstance(s, Alloc)]
    own = {buffer.name for buffer in opened if buffer.space != "shared"} | alone
    reads, writes = [], []
    for stmt, loops in enclosed((*around, loop), loop.body):
        match stmt:
            case Load(access=access) if access.buffer.space != "register":
                reads.append(spot(access, loops))
            case Update(target=target) if target.buffer.space != "register":
                writes.append(spot(target, loops))
            case Update(target=target) if target.buffer.name not in own:
                return False
            case Transpose(target=target, source=source):
                reads.append(spot(source, loops, stmt.read))
                writes.append(spot(target, loops, stmt.made))
    writes = [w for w in writes if w.buffer not in own]
    if any(w.lookups or not distinct(w, loop) for w in writes):
        return False
    written = {w.buffer for w in writes}
    others = [*writes, *(r for r in reads if r.buffer in written)]
    if any(other.lookups for other in others):
        return False
    return all(
        apart(write, other, loop)
        for write in writes
        for other in others
        if other.buffer == write.buffer
    )


def spot(access: Access, loops: tuple[For, ...], block: tuple[tuple[int, int], ...] = ()) -> Spot:
    """The place of an access; `block`: what a turned block covers beyond its first element."""
    return Spot(access.buffer.name, access.offset, loops, bool(access.lookups), block)


def enclosed(
    around: tuple[For, ...], body: Sequence[Stmt]
) -> Iterator[tuple[Stmt, tuple[For, ...]]]:
    """Every statement with the loops around it."""
    for stmt in body:
        yield stmt, around
        if isinstance(stmt, For):
            yield from enclosed((*around, stmt), stmt.body)


def distinct(write: Spot, loop: For) -> bool:
    """Whether a write goes to another place at each step of the loop, whatever the inner ones.

    Strides in order, each must be beyond the reach of all smaller ones together.
    """
    if not write.offset.coefficient(loop.index):
        return False
    reach = 0
    spans = sorted(write.spans(), key=lambda span: span[0])
    for number, (step, count) in enumerate(spans):
        if step <= reach or (count is None and number + 1 < len(spans)):
            return False
        reach += step * ((count or 1) - 1)
    return True


def apart(write: Spot, other: Spot, loop: For) -> bool:
    """Whether two places meet only within one step of the loop, or nowhere."""
    if write.offset == other.offset and write.block == other.block:
        return True
    factor = write.offset.coefficient(loop.index)
    if not factor or factor != other.offset.coefficient(loop.index):
        return False
    depth = next(number for number, outer in enumerate(write.loops) if outer is loop)
    common = {outer.index for outer in write.loops[:depth]}
    if any(write.offset.coefficient(n) != other.offset.coefficient(n) for n in common):
        return False
    whole = [reach(side, None, common) for side in (write, other)]
    if whole[0] and whole[1] and (whole[0][1] < whole[1][0] or whole[1][1] < whole[0][0]):
        return True
    ends = [reach(side, loop, common) for side in (write, other)]
    if None in ends:
        return False
    low = min(end[0] for end in ends if end is not None)
    high = max(end[1] for end in ends if end is not None)
    return high - low < abs(factor) * loop.step


def reach(side: Spot, loop: For | None, fixed: set[str]) -> tuple[int, int] | None:
    """The lowest and highest offset within one step of a loop, or all; None where unknown."""
    low = high = side.offset.constant
    for inner in side.loops:
        factor = side.offset.coefficient(inner.index)
        if not factor or inner is loop or inner.index in fixed:
            continue
        if not isinstance(inner.stop, int) or not isinstance(inner.start, int):
            return None
        steps = inner.stop - 1 - inner.start
        last = steps if inner.kind == "vector" else steps // inner.step * inner.step
        values = (factor * inner.start, factor * (inner.start + last))
        low, high = low + min(values), high + max(values)
    return low, high + sum(step * (size - 1) for step, size in side.block)
