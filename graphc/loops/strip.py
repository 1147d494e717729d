"""Pieces of a loop: tiles and what remains of them, whole vectors, short and masked ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from graphc.loops.ir import For, Stmt, rename
from graphc.loops.nest import chain
from graphc.loops.schedule import Schedule
from graphc.ops.index import Affine, Bound, Runtime, affine, index

UNROLL = 8
"""Steps of an inner loop that may be written out,"""
CODE = 120
"""of so many additions to registers at most,"""
SELDOM = 0.1
"""by what does at least this part of a nest."""
STEPS = (4, 3, 2)
"""Steps of a longer one at a time: as many of these as leave no rest, or the first,"""
ENOUGH = 48
"""of so many additions at most, beside which what a loop spends on counting is little,"""
OFTEN = 0.25
"""by what does at least this part."""


@dataclass(frozen=True)
class Range:
    """One piece of a loop: index = base + 0, 1, ... size-1 for base in start, start + size, ..."""

    start: Bound
    stop: Bound
    size: int

    @property
    def single(self) -> int | None:
        """Where it starts, if it is one step of a known size."""
        if isinstance(self.start, int) and isinstance(self.stop, int):
            return self.start if self.stop - self.start == self.size else None
        return None

    def share(self, loop: For) -> float:
        """The part of the loop's steps that it does; 1 where that is not known before the run."""
        if isinstance(self.start, int) and isinstance(self.stop, int) and loop.extent:
            return (self.stop - self.start) / loop.extent
        return 1.0


def split(loop: For, size: int, lanes: int, masked: bool) -> list[Range]:
    """Whole tiles of `size`, and what remains."""
    stop = loop.stop
    if isinstance(stop, int):
        whole = stop // size * size
        pieces = []
        if whole:
            pieces.append(Range(0, whole, size))
        if stop > whole:
            pieces.append(Range(whole, stop, stop - whole))
        return pieces
    whole_part = Runtime(stop.name, stop.scale, size)
    return [Range(0, whole_part, size), Range(whole_part, stop, lanes)]


def balanced(loop: For, size: int) -> list[Range]:
    """Tiles of at most `size`, of two neighbouring sizes; one by one at a run-time end."""
    stop = loop.stop
    if not isinstance(stop, int):
        whole = Runtime(stop.name, stop.scale, size)
        return [Range(0, whole, size), Range(whole, stop, 1)]
    count = -(-stop // size)
    small_size, larger = divmod(stop, count)
    pieces = []
    if larger:
        pieces.append(Range(0, larger * (small_size + 1), small_size + 1))
    if larger < count:
        pieces.append(Range(larger * (small_size + 1), stop, small_size))
    return pieces


def tail(piece: Range) -> bool:
    """Whether a piece starts where a run-time number of whole tiles ends."""
    return isinstance(piece.start, Runtime)


def moved(stmts: tuple[Stmt, ...], values: dict[str, Affine]) -> tuple[Stmt, ...]:
    """Statements with indices replaced."""
    return tuple(rename(s, values) for s in stmts)


def strip(
    schedule: Schedule, name: str, piece: Range, lanes: int, stmts: tuple[Stmt, ...]
) -> tuple[Stmt, ...]:
    """A piece of the vector loop: whole vectors in a loop, or one masked or short vector."""
    single = piece.single
    if single is not None:
        body = moved(stmts, {name: affine([(f"{name}.v", 1)], single)})
        count = piece.size
        return (For(f"{name}.v", 0, count, width(schedule, count, lanes), "vector", body),)
    if tail(piece):
        return (For(name, piece.start, piece.stop, lanes, "vector", stmts),)
    body = moved(stmts, {name: affine([(f"{name}.o", 1), (f"{name}.v", 1)])})
    inner = For(f"{name}.v", 0, piece.size, piece.size, "vector", body)
    return (For(f"{name}.o", piece.start, piece.stop, piece.size, "serial", (inner,)),)


def strip_tiled(
    name: str, piece: Range, lanes: int, count: int, inside: list[For], stmts: tuple[Stmt, ...]
) -> tuple[Stmt, ...]:
    """A piece of a summed vector loop, `count` elements at once, in the tile's unrolled loops.

    Fewer go by single vectors and a short one, and several times a single vector is written out.
    `name#` in the statements is the place among them.
    """
    lane, step, outside = f"{name}.v", f"{name}.u", f"{name}.o"

    def wrapped(first: Affine, place: Affine, *loops: For) -> tuple[Stmt, ...]:
        body = moved(stmts, {name: first + place, f"{name}#": place})
        return chain([*inside, *loops], body)

    start, single = Affine((), piece.single or 0), piece.single
    if single is not None and piece.size < count:
        whole, rest = divmod(piece.size, lanes)
        steps = For(step, 0, whole, 1, "unrolled", ())
        vector = For(lane, 0, lanes, lanes, "vector", ())
        parts = wrapped(start, affine([(step, lanes), (lane, 1)]), steps, vector) if whole else ()
        short = wrapped(start, index(lane) + whole * lanes, replace(vector, stop=rest))
        return (*parts, *short) if rest else parts
    all_lanes = For(lane, 0, count, count, "vector", ())
    if single is not None:
        return wrapped(start, index(lane), all_lanes)
    if tail(piece):
        return wrapped(start, index(lane), replace(all_lanes, start=piece.start, stop=piece.stop))
    body = wrapped(index(outside), index(lane), all_lanes)
    loop = For(outside, piece.start, piece.stop, count, "serial", ())
    accumulators = math.prod(side.extent or 1 for side in inside)
    return written_out(loop, at_a_time(loop, accumulators) if count == lanes else 1, body)


def vectors(
    schedule: Schedule,
    name: str,
    size: int,
    lanes: int,
    stmts: tuple[Stmt, ...],
    guards: bool = False,
) -> tuple[Stmt, ...]:
    """`size` elements as whole vectors, unrolled, and a short or masked one.

    `guards`: whether guards leave out some of what is read here, or into the same registers. LLVM
    reads all of a half of a vector that they leave empty: a short one then has its own length.
    """
    whole, rest = divmod(size, lanes)
    result: list[Stmt] = []
    if whole:
        at = affine([(f"{name}.u", lanes), (f"{name}.v", 1)])
        inner = For(f"{name}.v", 0, lanes, lanes, "vector", moved(stmts, {name: at}))
        result.append(For(f"{name}.u", 0, whole, 1, "unrolled", (inner,)))
    if rest:
        at = affine([(f"{name}.v", 1)], whole * lanes)
        step = lanes if rest > 1 and not guards else width(schedule, rest, lanes)
        result.append(For(f"{name}.v", 0, rest, step, "vector", moved(stmts, {name: at})))
    return tuple(result)


def width(schedule: Schedule, count: int, lanes: int) -> int:
    """The width of a short vector: masked to full width where masks are cheap."""
    return lanes if schedule.machine.masked and count > 1 else count


def at_a_time(loop: For, accumulators: int, share: float = 1.0) -> int:
    """Steps of an inner loop to write out: all of a short one, else a few; 1 where none is.

    What a loop spends on counting is shared by them. A core whose other thread is busy takes half
    as many instructions a cycle, and then they, not the multiply-adds, are what a step waits for.
    `share` is the part of the nest that is done so: what is seldom done is not worth the code.
    """
    count = loop.extent
    if loop.kind == "ordered" or loop.start != 0 or share < SELDOM:
        return 1
    if count is not None and count <= UNROLL and count * accumulators <= CODE:
        return max(count, 1)
    most = ENOUGH if share >= OFTEN else 0
    fit = [n for n in STEPS if n * accumulators <= most and n < (count or UNROLL)]
    even = [n for n in fit if count is not None and count % n == 0]
    return next(iter([*even, *fit]), 1)


def written_out(loop: For, steps: int, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """A loop with so many steps at a time written out."""
    if steps in (1, loop.extent):
        return (replace(loop, kind=loop.kind if steps == 1 else "unrolled", body=body),)
    result: list[Stmt] = []
    inside, outside, step = f"{loop.index}.u", f"{loop.index}.o", loop.step
    for piece in split(loop, steps * step, step, False):
        first = index(outside) if piece.single is None else affine([], piece.single)
        several = moved(body, {loop.index: first + index(inside) * step})
        part: Stmt = For(inside, 0, piece.size // step, 1, "unrolled", several)
        if piece.single is None:
            around = replace(loop, index=outside, start=piece.start, stop=piece.stop)
            part = replace(around, step=piece.size, body=(part,))
        result.append(part)
    return tuple(result)
