"""What one step of a sum in registers costs: cycles, by its loads and where they come from.

Cycles are the larger of multiply-adds over two ports, loads over two ports, and the latency of the
accumulators, times the passes in which a processor takes a vector. How near operands lie is told by
their sizes, and what a line costs by how wide the machine's vectors are: no cache's size is asked
for, as the order of a sum may depend on the choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from graphc.lazy import cached_property
from graphc.loops.crosswise import crosswise
from graphc.loops.ir import Access, For, Let, Load, Update
from graphc.loops.nest import Nest, accesses, extent, runs
from graphc.machine import Machine
from graphc.types import SIZE

LATENCY = 5.0
"""Cycles between two additions to one register: four, and one so that no load is waited for."""
CACHE_LINE = 64
TOUCH = 0.1
"""Cycles of each line that a step's vectors lie in."""
RUN = 2 * CACHE_LINE
"""Bytes side by side from which on the lines after them are fetched ahead,"""
SHORT = 7
"""as are those that more steps of a sum than these find the same way apart."""
PAGE = 4096
FAR = 0.01
"""The part of a step that each further page costs."""
GATHER, APART = 2.0, 2.0
"""Cycles per element of a vector whose lanes do not lie side by side, and so many times as many of
one whose lanes lie each in another page."""
FRONT = 3.0
"""Instructions a cycle where a core's other thread is busy; twice as many where it is not."""


@dataclass(frozen=True)
class Caches:
    """What vectors' operands cost by the bytes that a sum takes from them.

    Beyond `near` some of them come from the second level, as the other operand and a core's other
    thread use the first one too: a line costs `away` cycles beside all else. Beyond `panel` all do,
    at `line` cycles each, and once more for a run of lines; beyond `second` they come from further.
    """

    near: int
    away: float
    panel: int
    line: float
    second: int


FURTHER = 10.0
"""How many times as long a line takes from beyond the second level."""
NARROW = Caches(near=24 << 10, away=0.8, panel=32 << 10, line=2.7, second=1 << 60)
WIDE = Caches(near=36 << 10, away=0.2, panel=48 << 10, line=0.8, second=512 << 10)
"""Cores with vectors of a whole line take a line at once from a second level of 1 MiB and more."""


def caches(vector_bytes: int) -> Caches:
    """What operands cost on a machine with such vectors."""
    return WIDE if vector_bytes >= CACHE_LINE else NARROW


def load_cost(access: Access, index: str, lanes: int, moving: set[str]) -> float:
    """Port cycles of one load for a whole vector."""
    if any(name in moving for name, _ in access.lookups):
        return GATHER * lanes
    step = access.offset.coefficient(index)
    if step in (-1, 2):
        return 2.0
    far = abs(step) * SIZE[access.buffer.dtype] >= PAGE
    return 0.5 if step in (0, 1) else GATHER * lanes * (APART if far else 1.0)


@dataclass(frozen=True)
class Read:
    """What one load of a nest's inner step costs: how far each index moves it, port cycles.

    `step`: how far it moves from lane to lane; `gathered`: whether it walks along one kept loop and
    all that is summed, and can be copied into the order in which it is read.
    """

    moves: dict[str, int]
    bytes: int
    cost: float
    guards: int
    wide: bool
    everywhere: bool
    step: int
    gathered: bool

    def times(self, sides: Sequence[tuple[str, int]]) -> int:
        """How many different places a tile reads."""
        total = 1
        for name, size in sides:
            if self.everywhere or name in self.moves:
                total *= size
        return total

    def apart(self, name: str) -> int:
        """Bytes that a step of a summed index takes of the caches at least: a line, if that far."""
        return min(CACHE_LINE, self.moves.get(name, 0) * self.bytes) if self.step == 1 else 0

    def different(self, vectors: int, sides: Sequence[tuple[str, int]], step: Step) -> float:
        """The part of a tile's vectors, over the whole sum, that none before them has read.

        What windows read again, x[i + s], is loaded again, but from the nearest cache.
        """
        if self.step != 1:
            return 1.0
        moved = [(self.moves[name], size) for name, size in sides if name in self.moves]
        moved += [(self.moves[name], size) for name, size in step.sums if name in self.moves]
        found = span = float(vectors * step.lanes)
        for by, size in sorted(moved):
            found *= size if by >= span else 1 + by * (size - 1) / span
            span += by * (size - 1)
        return found / (vectors * step.lanes * math.prod(size for _, size in moved))

    def scattered(self, sides: Sequence[tuple[str, int]], step: Step) -> float:
        """Lines that values read one by one lie in, of a tile and the whole sum.

        Those are counted that nothing fetches ahead: of short runs that begin anywhere.
        """
        if self.gathered or step.sums[-1][1] > SHORT:
            return 0.0
        every = (*sides, *step.sums)
        moved = sorted((self.moves[n], size) for n, size in every if self.moves.get(n) and size > 1)
        run, count = runs(moved)
        length = run * self.bytes
        return 0.0 if length >= RUN else count * (1 + (length - self.bytes) / CACHE_LINE)

    def shared(self, sides: Sequence[tuple[str, int]]) -> int:
        """How many values stay live, each used again, as a tile of two sides is walked."""
        moved = [size for name, size in sides if name in self.moves]
        return moved[0] if len(sides) == 2 and len(moved) == 1 else 1


@dataclass(frozen=True, slots=True)
class Tile:
    """Rows of vectors side by side, however many vectors: what is the same for any number.

    `times`: how many places each load reads; `shared`: the values that stay live; `pages`: those
    touched beyond one for each operand.
    """

    sides: tuple[tuple[str, int], ...]
    rows: int
    times: tuple[int, ...]
    shared: int
    pages: float
    scattered: float


@dataclass(frozen=True)
class Step:
    """One inner step of a nest with lanes along one of its loops: its loads and what it computes.

    `touched`: how far each index moves every access, in bytes; `sums`: the summed loops' extents;
    `holds`: the registers of a point, where an argmax has one for its best, too; `mask`: one for
    the lanes in use, where a machine has no others for it; `passes`: in how many a vector is taken;
    `caches`: what its operands cost.
    """

    reads: tuple[Read, ...]
    touched: tuple[dict[str, int], ...]
    updates: int
    holds: int
    lets: int
    sums: tuple[tuple[str, int], ...]
    lanes: int
    summed: bool
    mask: int
    passes: int
    caches: Caches

    @cached_property
    def points(self) -> int:
        """Steps of the whole sum."""
        return math.prod(max(1, size) for _, size in self.sums)

    def tile(self, sides: tuple[tuple[str, int], ...]) -> Tile:
        """What a tile of these sides reads."""
        narrow = (read.shared(sides) for read in self.reads if not read.wide)
        return Tile(
            sides,
            math.prod([size for _, size in sides]),
            tuple([read.times(sides) for read in self.reads]),
            max(narrow, default=1),
            self.pages(sides),
            0.0 if self.summed else sum(r.scattered(sides, self) for r in self.reads if not r.wide),
        )

    def registers(self, vectors: int, tile: Tile) -> int:
        """The vector registers that a tile holds."""
        at_once = vectors if tile.sides else 1
        pairs = zip(self.reads, tile.times, strict=True)
        wide = (
            (times if self.summed else at_once) + (read.step == 2)
            for read, times in pairs
            if read.wide
        )
        return vectors * tile.rows * self.holds + max(wide, default=0) + tile.shared + self.mask

    def cycles(self, vectors: int, tile: Tile, counting: float) -> float:
        """Cycles over the whole tile, with `counting` instructions for the loop.

        They are the mean of those of a core by itself and of one whose other thread is busy.
        """
        accumulators = vectors * tile.rows
        loads, lines, away, touched = 0.0, 0.0, 0.0, 0.0
        all_of_it = tile.scattered * CACHE_LINE
        for read, times in zip(self.reads, tile.times, strict=True):
            if not read.wide:
                loads += times * (read.cost + read.guards)
                continue
            loads += times * vectors * (read.cost + read.guards)
            if self.summed:
                continue
            run = vectors * self.lanes * read.bytes
            row = times * max(run, read.apart(self.sums[-1][0]))
            touched += times * max(1, run / CACHE_LINE)
            all_of_it += self.points * row
            if self.points * row <= self.caches.near:
                continue
            away += self.caches.away * row / CACHE_LINE
            panel = self.points * row * read.different(vectors, tile.sides, self)
            if panel > self.caches.panel:
                runs = 0 if tile.sides else 1  # each row of a panel read once is another run
                further = tile.sides and panel > self.caches.second  # again and again
                line = self.caches.line * (FURTHER if further else 1.0)
                lines += line * (max(1, row / CACHE_LINE) + runs)
        if all_of_it > self.caches.panel:
            away += self.caches.away * tile.scattered / self.points
        computed = self.lets * accumulators * 2
        units = max(accumulators * self.updates / 2, loads, LATENCY) * self.passes
        cycles = max(units, lines)
        instructions = accumulators * self.updates + 2 * loads + counting
        cycles = (cycles + max(cycles, instructions / FRONT)) / 2 + computed + away
        cycles *= 1 + FAR * tile.pages
        return cycles + 0.06 * loads * self.passes + TOUCH * touched

    def read_over(self, vectors: int, tile: Tile) -> float:
        """Bytes that a tile reads from here and there over the whole sum, windows among them."""
        run = vectors * self.lanes
        rows = (
            times * max(run * read.bytes, read.apart(self.sums[-1][0]))
            for read, times in zip(self.reads, tile.times, strict=True)
            if read.wide and not self.summed and read.different(vectors, tile.sides, self) < 1
        )
        return tile.scattered * CACHE_LINE + self.points * sum(rows)

    def pages(self, sides: tuple[tuple[str, int], ...]) -> float:
        """Pages that one step of a tile touches beyond one for each operand."""
        total = 0.0
        for moves in self.touched:
            reach, places = 0, 1
            for name, size in sides:
                if name in moves:
                    reach += moves[name] * (size - 1)
                    places *= size
            total += min(reach / PAGE, places - 1)
        return total


def step_of(
    nest: Nest, loop: For, lanes: int, passes: int, moving: set[str], machine: Machine
) -> Step:
    """The inner step of a nest with lanes along a loop, of vectors that take so many passes."""
    summed = loop in nest.summed
    part = summed and loop.kind == "serial" and extent(loop) % lanes
    reads = []
    for stmt in nest.inner:
        if isinstance(stmt, Load):
            access = stmt.access
            moves = {name: abs(by) for name, by in access.offset.terms}
            turned = crosswise(nest, loop, stmt)
            cost = 0.5 if turned else load_cost(access, loop.index, lanes, moving)
            size, guards = SIZE[access.buffer.dtype], len(stmt.guards)
            wide = loop.index in moves
            step = access.offset.coefficient(loop.index)
            kept = [moves[f.index] for f in nest.kept if f.index in moves and extent(f) > 1]
            gathered = kept == [1] and all(f.index in moves for f in nest.summed) and not guards
            everywhere = bool(access.lookups)
            reads.append(Read(moves, size, cost, guards, wide, everywhere, step, gathered))
    touched = [
        {name: abs(by) * SIZE[a.buffer.dtype] for name, by in a.offset.terms}
        for a in accesses(nest.inner)
    ]
    updates = [s for s in nest.inner if isinstance(s, Update)]
    return Step(
        tuple(reads),
        tuple(touched),
        len(updates),
        len(updates) + sum(s.companion is not None for s in updates),
        sum(isinstance(s, Let) for s in nest.inner),
        tuple((other.index, extent(other)) for other in nest.summed),
        lanes,
        summed,
        1 if part and not machine.masked else 0,
        passes,
        caches(machine.vector_bytes),
    )
