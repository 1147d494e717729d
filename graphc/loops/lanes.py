"""Sums along the lanes: each register becomes sums side by side, combined pairwise at the end.

    r = 0; for s: r += f(s)
    -->
    w[32] = 0; for s by 32: for v in 32 lanes: w[v] += f(s + v);  r += w[0] + ... + w[31], pairwise

On 8 lanes these are four vectors, whose additions do not wait for each other.
"""

from __future__ import annotations

from dataclasses import replace

from graphc.loops.choose import together
from graphc.loops.ir import Access, Alloc, Buffer, For, Load, Stmt, Update, walk
from graphc.loops.nest import Nest, chain
from graphc.loops.schedule import Schedule
from graphc.loops.strip import split, strip_tiled
from graphc.ops import scalar
from graphc.ops.index import index
from graphc.types import SIZE


def open_reduction(nest: Nest) -> bool:
    """Whether a nest adds into registers that live outside of it."""
    inside = {s.buffer.name for s in walk(nest.inner) if isinstance(s, Alloc)}
    return any(
        isinstance(s, Update)
        and s.target.buffer.space == "register"
        and s.target.buffer.name not in inside
        for s in nest.inner
    )


def lanes_only(schedule: Schedule, nest: Nest) -> tuple[Stmt, ...]:
    """Sum along the innermost loop in lanes, then across the lanes."""
    updates = [s for s in nest.inner if isinstance(s, Update) and registered(s)]
    lanes = schedule.machine.lanes(max(SIZE[u.target.buffer.dtype] for u in updates))
    loop = nest.kept[-1]
    others = [s for s in nest.inner if isinstance(s, Update) and not registered(s)]
    if any(u.how != "=" or not u.target.offset.coefficient(loop.index) for u in others):
        return chain(nest.kept, nest.inner)
    if loop.kind != "lanes" or loop.extent == 1:
        return chain(nest.kept, nest.inner)
    schedule.notes.append(f"lanes along summed {loop.index}, combined across lanes at the end")
    opening, body, closing = along(schedule, nest.inner, lanes, loop, [])
    return (*opening, *chain(nest.kept[:-1], body), *closing)


def registered(update: Update) -> bool:
    """Whether a register is updated, and no memory."""
    return update.target.buffer.space == "register"


def along(
    schedule: Schedule, inner: tuple[Stmt, ...], lanes: int, loop: For, tile: list[For]
) -> tuple[tuple[Stmt, ...], tuple[Stmt, ...], tuple[Stmt, ...]]:
    """Statements summed along a loop, inside the unrolled loops of a tile.

    Returns what opens the sums, the loop over them, and what combines them.
    """
    count = together(loop, inner, lanes)
    opening, inner, closing = widened(schedule, inner, count, loop.index, tile)
    body: list[Stmt] = []
    for piece in split(loop, count, count, True):
        body += strip_tiled(loop.index, piece, min(lanes, count), count, tile, inner)
    return opening, tuple(body), closing


def widened(
    schedule: Schedule,
    inner: tuple[Stmt, ...],
    lanes: int,
    vector: str,
    loops: list[For],
) -> tuple[tuple[Stmt, ...], tuple[Stmt, ...], tuple[Stmt, ...]]:
    """Give each register of a reduction one place a lane.

    Returns what opens the lanes, the inner statements over them, and what combines them.
    """
    opening: list[Stmt] = []
    closing: list[Stmt] = []
    rewritten: list[Stmt] = []
    symbol = scalar.argument("lane")
    for stmt in inner:
        if not isinstance(stmt, Update) or not registered(stmt):
            rewritten.append(stmt)
            continue
        old = stmt.target.buffer
        size = old.size
        assert isinstance(size, int)
        schedule.serial += 1
        wide = Buffer(f"{old.name}.w{schedule.serial}", old.dtype, size * lanes, "register")
        lane = "lane"
        place = stmt.target.offset * lanes
        opening.append(Alloc(wide))
        start = Update(Access(wide, place + index(lane)), scalar.identity(stmt.how, old.dtype), ())
        opening += chain([*loops, For(lane, 0, lanes, lanes, "vector", ())], (start,))
        value = f"{old.name}.l{schedule.serial}"
        combine: tuple[Stmt, ...] = (
            Load(value, Access(wide, place + index(lane))),
            Update(stmt.target, symbol, ((symbol, value),), stmt.how),
        )
        closing += chain([*loops, For(lane, 0, lanes, lanes, "vector", ())], combine)
        rewritten.append(replace(stmt, target=Access(wide, place + index(vector + "#"))))
    return tuple(opening), tuple(rewritten), tuple(closing)
