"""Choosing a schedule: which index becomes the vector's lanes, and which tile stays in registers.

The choice looks at strides and extents only. Cycles of one inner step are estimated as the larger
of multiply-adds over two ports, loads over two ports, and the latency of the accumulators.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from graphc.loops.crosswise import crossed, crosswise
from graphc.loops.ir import Access, Alloc, For, Let, Load, Stmt, Update
from graphc.loops.nest import Nest, accesses, depending, extent, flat, forms
from graphc.machine import Machine
from graphc.types import SIZE

LATENCY = 5.0
"""Cycles between two additions to one register: four, and one so that no load is waited for."""
PANEL = 32 << 10
"""Bytes of the vectors' operand beyond which they come from the second cache level,"""
CACHE_LINE, LINE = 64, 2.7
"""at this many cycles a line of so many bytes, and once more for a run of lines."""
NEAR, AWAY = 24 << 10, 0.8
"""Bytes of it beyond which some of them do, as the other operand and a core's other thread use the
first level too; what a line costs then beside all else."""
TOUCH = 0.1
"""Cycles of each line that a step's vectors lie in."""
PAGE = 4096
FAR = 0.01
"""The part of a step that each further page costs."""
SUMS = 128
"""Bytes of the sums that one along the lanes is made of: four vectors on AVX2, so that as many
additions are under way at once,"""
ENOUGH = 4
"""this many, and no sums of other rows are needed beside them."""
GATHER = 2.0
"""Cycles per element of a vector whose lanes do not lie side by side."""
FRONT = 3.0
"""Instructions a cycle where a core's other thread is busy; twice as many where it is not."""
ALONE, SHARED = 5.0, 1.0
"""Instructions that count an inner loop's steps, for each: one by one, and several written out."""


@dataclass(frozen=True)
class Plan:
    """A schedule: the vector index, its lanes, vectors side by side, and register tiles."""

    vector: str | None
    lanes: int
    vectors: int
    tiles: tuple[tuple[str, int], ...]
    why: str

    @property
    def tile(self) -> tuple[str | None, int, tuple[tuple[str, int], ...]]:
        """What tells it from others for its nest."""
        return self.vector, self.vectors, self.tiles


def width(nest: Nest, machine: Machine) -> int:
    """Lanes for a nest: by the widest float it stores, four bytes at least."""
    stmts = (*nest.before, *nest.inner, *nest.after)
    sizes = [SIZE[s.buffer.dtype] for s in nest.before if isinstance(s, Alloc)]
    if sizes:
        return machine.lanes(max(sizes))
    sizes += [SIZE[a.buffer.dtype] for a in accesses(stmts) if a.buffer.dtype.startswith("float")]
    return machine.lanes(max(sizes, default=4))


def choose(nest: Nest, machine: Machine) -> Plan:
    """The cheapest plan by the estimate."""
    lanes = width(nest, machine)
    best: tuple[float, Callable[[], Plan]] | None = None
    for loop in candidates(nest):
        for cost, plan in plans(nest, loop, lanes, machine):
            if best is None or cost < best[0] * 0.999:
                best = cost, plan
    return best[1]() if best else Plan(None, 1, 1, (), "no index can be the lanes of a vector")


def like(nest: Nest, model: Plan, machine: Machine) -> list[Plan]:
    """The plans that add up in the order of another one, the cheapest by the estimate first.

    Where lanes lie along a sum its order depends on them: only the tiles around may differ.
    """
    kept = {loop.index for loop in nest.kept}
    lanes = width(nest, machine)
    found = [
        costed
        for loop in candidates(nest)
        if (loop.index in kept if model.vector in kept else loop.index == model.vector)
        for costed in plans(nest, loop, lanes, machine)
    ]
    return [plan() for _, plan in sorted(found, key=lambda costed: costed[0])]


def candidates(nest: Nest) -> list[For]:
    """The loops whose index could be the lanes, innermost first."""
    last = nest.summed[-1] if nest.reduces else None
    if crossed(nest, nest.kept[-1], nest.inner):
        return [nest.kept[-1]]
    if last is not None and last.kind == "lanes":
        return [last] if extent(last) > 1 else []
    found = [loop for loop in reversed(nest.kept) if allowed(nest, loop)]
    if nest.reduces:
        found = [loop for loop in found if loop.extent is not None]
    if last is not None and last.kind == "serial":
        found += [last]
    return [loop for loop in found if extent(loop) > 1]


def allowed(nest: Nest, loop: For) -> bool:
    """Whether lanes along a kept loop write to different places."""
    stmts = flat((*nest.inner, *nest.after))
    moving = depending(flat((*nest.before, *nest.inner)), loop.index)
    for stmt in stmts:
        if isinstance(stmt, Update) and stmt.target.buffer.space != "register":
            if not stmt.target.offset.coefficient(loop.index):
                return False
            if stmt.how != "=" and any(name in moving for name, _ in stmt.target.lookups):
                return False
    return True


def places(dtype: str) -> int:
    """Of how many sums a long one along the lanes is made, on any machine."""
    return SUMS // max(SIZE[dtype], 4)


def together(loop: For, inner: Sequence[Stmt], lanes: int) -> int:
    """How many elements along a summed loop are added side by side, each to a sum of its own.

    That is the order of the sum: where it is the loop's own, no machine and no tile decides it.
    """
    if loop.kind != "lanes":
        return lanes
    updated = (s.target.buffer for s in inner if isinstance(s, Update))
    most = next(places(buffer.dtype) for buffer in updated if buffer.space == "register")
    return most if loop.extent is None else min(most, 1 << (loop.extent.bit_length() - 1))


def fill(count: int, lanes: int) -> float:
    """The share of lanes in use."""
    return count / (-(-count // lanes) * lanes) if count else 1.0


def load_cost(access: Access, index: str, lanes: int, moving: set[str]) -> float:
    """Port cycles of one load for a whole vector."""
    if any(name in moving for name, _ in access.lookups):
        return GATHER * lanes
    step = access.offset.coefficient(index)
    if step == 2:
        return 2.0
    return 0.5 if step in (0, 1) else GATHER * lanes


def plans(
    nest: Nest, loop: For, lanes: int, machine: Machine
) -> Iterator[tuple[float, Callable[[], Plan]]]:
    """Every plan with this vector index, made when asked for, after its cycles for each point."""
    moving = depending(flat((*nest.before, *nest.inner)), loop.index)
    summed = loop in nest.summed
    count = extent(loop)
    use = fill(count, lanes)
    if not nest.reduces:
        cost = sum(load_cost(a, loop.index, lanes, moving) for a in accesses(nest.inner))
        cost += sum(
            load_cost(s.target, loop.index, lanes, moving)
            for s in flat(nest.inner)
            if isinstance(s, Update)
        )
        cost += 0.5 * sum(isinstance(s, Let) for s in flat(nest.inner))
        depth = len(nest.kept) - nest.kept.index(loop)
        why = f"lanes along {loop.index}: {use:.0%} of them used"
        yield (cost + 0.1 * depth) / lanes / use, partial(Plan, loop.index, lanes, 1, (), why)
        return
    points = math.prod(max(1, extent(other)) for other in nest.summed)
    step = step_of(nest, loop, lanes, moving)
    ends = 1.5 + (8.0 if summed else end_cost(nest, loop, lanes))
    sizes = {f.index: extent(f) for f in nest.kept}
    for vectors, tiles in shapes(nest, loop, lanes, machine):
        counting = ALONE if any(again(nest, nest.loop(name)) for name, _ in tiles) else SHARED
        cycles, registers = step.cost(vectors, tiles, counting)
        if registers > machine.registers and (tiles or loop.kind != "lanes"):
            continue  # a sum in lanes has its order from them: they are taken all the same
        rows = math.prod(size for _, size in tiles)
        accumulators = vectors * rows
        whole, rest = divmod(count, lanes * vectors)
        if summed:
            per_point = cycles / (accumulators * lanes) / use
        elif rest:
            short, _ = step.cost(-(-rest // lanes), tiles, counting)
            per_point = (whole * cycles + short) / (rows * count)
        else:
            per_point = cycles / (accumulators * lanes)
        per_point /= math.prod(fill(sizes[name], size) ** 0.25 for name, size in tiles)
        results = accumulators // vectors if summed else accumulators * lanes
        tail = (20 + ends * accumulators) / (results * points)
        yield (
            per_point + tail,
            partial(tiled, loop.index, summed, use, lanes, vectors, tiles, cycles),
        )


def tiled(
    index: str,
    summed: bool,
    use: float,
    lanes: int,
    vectors: int,
    tiles: tuple[tuple[str, int], ...],
    cycles: float,
) -> Plan:
    """The plan of a tile in registers, with its reason."""
    sizes = [size for _, size in tiles]
    why = (
        f"lanes along {'summed' if summed else 'kept'} {index} ({use:.0%} used), "
        f"tile {'x'.join(map(str, sizes)) or '1'} of {vectors} vectors: "
        f"{vectors * math.prod(sizes)} accumulators, {cycles:.1f} cycles a step"
    )
    return Plan(index, lanes, vectors, tiles, why)


def end_cost(nest: Nest, loop: For, lanes: int) -> float:
    """Port cycles of a store of what a sum gives, for each accumulator.

    Of what follows in the nest nothing else counts: bits would depend on fusion, as the order of a
    sum does on the choice between lanes along it and across it.
    """
    stores = [s.target for s in nest.after if isinstance(s, Update)]
    outside = [t for t in stores if t.buffer.space != "register"]
    return max((load_cost(t, loop.index, lanes, set()) for t in outside), default=0.5)


def shapes(
    nest: Nest, loop: For, lanes: int, machine: Machine
) -> list[tuple[int, tuple[tuple[str, int], ...]]]:
    """Register tiles to compare: vectors along the vector index, and up to two other indices."""
    summed = loop in nest.summed
    others = [f for f in nest.kept if f is not loop and useful(nest, f)]
    most = min(5 if others else machine.registers * 3 // 4, -(-extent(loop) // lanes))
    vectors = list(range(1, most + 1))
    if summed:
        count = together(loop, nest.inner, lanes)
        vectors = [-(-min(count, extent(loop)) // lanes)]
        others = others if vectors[0] < ENOUGH or extent(loop) <= count else []
    found: list[tuple[int, tuple[tuple[str, int], ...]]] = []
    limit = machine.registers * 3 // 4 if summed else machine.registers
    near = sorted(
        others, key=partial(distance, nest)
    )  # of tiles that cost alike the first is taken
    for count in vectors:
        found.append((count, ()))
        for other in near:
            found += [
                (count, ((other.index, size),))
                for size in range(2, min(14, extent(other)) + 1)
                if count * size <= limit
            ]
        for a, b in itertools.combinations(others, 2):
            found += [
                (count, ((a.index, x), (b.index, y)))
                for x in range(2, min(8, extent(a)) + 1)
                for y in range(2, min(8, extent(b)) + 1)
                if count * x * y <= limit and a.extent is not None and b.extent is not None
            ]
    return found


def distance(nest: Nest, loop: For) -> tuple[bool, int]:
    """How far a step of a loop moves what is read; before all, whether the sum comes there too.

    What several steps of an inner sum read again keeps it from being written out.
    """
    far = max((abs(a.offset.coefficient(loop.index)) for a in accesses(nest.inner)), default=0)
    return again(nest, loop), far


def again(nest: Nest, loop: For) -> bool:
    """Whether some steps along a loop read what steps of the innermost sum read, too."""
    last = nest.summed[-1]
    for access in accesses(nest.inner):
        by, step = (abs(access.offset.coefficient(f.index)) for f in (loop, last))
        if by and step and by % step == 0 and by // step < extent(last):
            return True
    return False


def useful(nest: Nest, loop: For) -> bool:
    """Whether some operand stays the same along a loop, so that a tile would load it once."""
    if extent(loop) == 1 or any(f.coefficient(loop.index) for f in forms(nest.inner)):
        return False
    return any(not a.offset.coefficient(loop.index) for a in accesses(nest.inner)) or True


@dataclass(frozen=True)
class Read:
    """What one load of a nest's inner step costs: how far each index moves it, port cycles.

    `step`: how far it moves from lane to lane.
    """

    moves: dict[str, int]
    bytes: int
    cost: float
    guards: int
    wide: bool
    everywhere: bool
    step: int

    def times(self, tiles: Sequence[tuple[str, int]]) -> int:
        """How many different places a tile reads."""
        total = 1
        for name, size in tiles:
            if self.everywhere or name in self.moves:
                total *= size
        return total

    def different(self, vectors: int, tiles: Sequence[tuple[str, int]], step: Step) -> float:
        """The part of a tile's vectors, over the whole sum, that none before them has read.

        What windows read again, x[i + s], is loaded again, but from the nearest cache.
        """
        if self.step != 1:
            return 1.0
        sides = [(self.moves[name], size) for name, size in tiles if name in self.moves]
        sides += [(self.moves[name], size) for name, size in step.sums if name in self.moves]
        found = span = float(vectors * step.lanes)
        for by, size in sorted(sides):
            found *= size if by >= span else 1 + by * (size - 1) / span
            span += by * (size - 1)
        return found / (vectors * step.lanes * math.prod(size for _, size in sides))

    def shared(self, tiles: Sequence[tuple[str, int]]) -> int:
        """How many values stay live, each used again, as a tile of two sides is walked."""
        sides = [size for name, size in tiles if name in self.moves]
        return sides[0] if len(tiles) == 2 and len(sides) == 1 else 1


@dataclass(frozen=True)
class Step:
    """One inner step of a nest with lanes along one of its loops: its loads and what it computes.

    `touched`: how far each index moves every access, in bytes; `sums`: the summed loops' extents;
    `holds`: the registers of a point, where an argmax has one for its best, too.
    """

    reads: tuple[Read, ...]
    touched: tuple[dict[str, int], ...]
    updates: int
    holds: int
    lets: int
    sums: tuple[tuple[str, int], ...]
    lanes: int
    summed: bool

    @property
    def points(self) -> int:
        """Steps of the whole sum."""
        return math.prod(max(1, size) for _, size in self.sums)

    def cost(
        self, vectors: int, tiles: tuple[tuple[str, int], ...], counting: float
    ) -> tuple[float, int]:
        """Cycles over the whole tile, and the vector registers it holds.

        They are the mean of those of a core by itself and of one whose other thread is busy.
        """
        accumulators = vectors * math.prod(size for _, size in tiles)
        loads, held, spread, lines, away, touched = 0.0, 0, 1, 0.0, 0.0, 0.0
        for read in self.reads:
            times = read.times(tiles) * (vectors if read.wide else 1)
            loads += times * (read.cost + read.guards)
            if not read.wide:
                spread = max(spread, read.shared(tiles))
                continue
            at_once = times // vectors if self.summed else min(times, vectors if tiles else 1)
            held = max(held, at_once)
            row = times * self.lanes * read.bytes
            run = vectors * self.lanes * read.bytes
            touched += times // vectors * max(1, run / CACHE_LINE) if not self.summed else 0
            if self.summed or self.points * row <= NEAR:
                continue
            away += AWAY * row / CACHE_LINE
            if self.points * row * read.different(vectors, tiles, self) > PANEL:
                runs = 0 if tiles else 1  # each row of a panel that is read once is another run
                lines += LINE * (max(1, row / CACHE_LINE) + runs)
        computed = self.lets * accumulators * 2
        cycles = max(accumulators * self.updates / 2, loads, LATENCY, lines)
        instructions = accumulators * self.updates + 2 * loads + counting
        cycles = (cycles + max(cycles, instructions / FRONT)) / 2 + computed + away
        cycles *= 1 + FAR * self.pages(tiles)
        return cycles + 0.06 * loads + TOUCH * touched, accumulators * self.holds + held + spread

    def pages(self, tiles: tuple[tuple[str, int], ...]) -> float:
        """Pages that one step of a tile touches beyond one for each operand."""
        total = 0.0
        for moves in self.touched:
            reach, places = 0, 1
            for name, size in tiles:
                if name in moves:
                    reach += moves[name] * (size - 1)
                    places *= size
            total += min(reach / PAGE, places - 1)
        return total


def step_of(nest: Nest, loop: For, lanes: int, moving: set[str]) -> Step:
    """The inner step of a nest with lanes along a loop."""
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
            reads.append(Read(moves, size, cost, guards, wide, bool(access.lookups), step))
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
        loop in nest.summed,
    )
