"""Choosing a schedule: which index becomes the vector's lanes, and which tile stays in registers.

The choice looks at strides and extents only, and at the cycles that `cost` estimates for a step.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

from graphc.loops.cost import Step, Tile, load_cost, step_of
from graphc.loops.crosswise import crossed
from graphc.loops.ir import Alloc, For, Let, Load, Stmt, Update
from graphc.loops.nest import Nest, accesses, depending, extent, flat, forms
from graphc.loops.trim import borders, left
from graphc.machine import Machine
from graphc.passes.fit import places
from graphc.types import SIZE

Sides = tuple[tuple[str, int], ...]
"""A tile's steps along some kept loops."""
ENOUGH = 4
"""Vectors of sums side by side along a row: with so many no other row is needed beside it."""
HALVES = 1.15
"""How many times as many lanes must be in use for vectors of half the width to be compared."""
FETCH = 2.0
"""Cycles in which the instructions of a statement come from a further cache."""
VERSION = 0.0004
"""The part of a tile's cost that each sum of a further version adds: for what remains of a loop
there is other code, to be compiled, and to be fetched."""
ALONE, SHARED = 5.0, 1.0
"""Instructions that count an inner loop's steps, for each: one by one, and several written out."""


@dataclass(frozen=True)
class Plan:
    """A schedule: the vector index, its lanes, vectors side by side, and register tiles.

    `cost`: its cycles for each point by the estimate; `reads`: bytes that a tile reads from here
    and there over the whole sum; `tight`: no register is left beside the tile.
    """

    vector: str | None
    lanes: int
    vectors: int
    tiles: Sides
    why: str
    cost: float = 0.0
    reads: float = 0.0
    tight: bool = False

    @property
    def tile(self) -> tuple[str | None, int, int, Sides]:
        """What tells it from others for its nest."""
        return self.vector, self.lanes, self.vectors, self.tiles


def width(nest: Nest, machine: Machine) -> int:
    """Lanes for a nest: by the widest float it stores, four bytes at least."""
    stmts = (*nest.before, *nest.inner, *nest.after)
    sizes = [SIZE[s.buffer.dtype] for s in nest.before if isinstance(s, Alloc)]
    if sizes:
        return machine.lanes(max(sizes))
    sizes += [SIZE[a.buffer.dtype] for a in accesses(stmts) if a.buffer.dtype.startswith("float")]
    return machine.lanes(max(sizes, default=4))


def widths(nest: Nest, loop: For, machine: Machine) -> Iterator[tuple[int, int]]:
    """The lanes to compare for a nest, and in how many passes each width is taken.

    Vectors that are taken in two passes are hardly faster than halves of them, of which so many
    more lanes may be in use that twice the instructions do not count.
    """
    lanes, passes = width(nest, machine), machine.passes
    yield lanes, passes
    half, count = lanes // 2, loop.extent
    if nest.reduces and passes > 1 and count and fill(count, half) > HALVES * fill(count, lanes):
        yield half, passes // 2


def choose(nest: Nest, machine: Machine) -> Plan:
    """The cheapest plan by the estimate."""
    best: tuple[float, Callable[[], Plan]] | None = None
    for loop in candidates(nest):
        for lanes, passes in widths(nest, loop, machine):
            for cost, plan in plans(nest, loop, lanes, passes, machine):
                if best is None or cost < best[0] * 0.999:
                    best = cost, plan
    return best[1]() if best else Plan(None, 1, 1, (), "no index can be the lanes of a vector")


def like(nest: Nest, model: Plan, machine: Machine) -> list[Plan]:
    """The plans that add up in the order of another one, the cheapest by the estimate first.

    Where lanes lie along a sum its order depends on them: only the tiles around may differ.
    """
    kept = {loop.index for loop in nest.kept}
    across = model.vector in kept
    found = [
        costed
        for loop in candidates(nest)
        if (loop.index in kept if across else loop.index == model.vector)
        for lanes, passes in widths(nest, loop, machine)
        if across or lanes == model.lanes
        for costed in plans(nest, loop, lanes, passes, machine)
    ]
    return [plan() for _, plan in sorted(found, key=lambda costed: costed[0])]


def candidates(nest: Nest) -> list[For]:
    """The loops whose index could be the lanes, innermost first."""
    last = nest.summed[-1] if nest.reduces else None
    if last is not None and last.kind == "lanes":
        return [last] if extent(last) > 1 else []
    if crossed(nest, nest.kept[-1], nest.inner):
        return [nest.kept[-1]]
    found = [loop for loop in reversed(nest.kept) if allowed(nest, loop)]
    if nest.reduces:
        found = [loop for loop in found if loop.extent is not None]
    best = any(isinstance(s, Update) and s.companion is not None for s in nest.inner)
    if last is not None and last.kind == "serial" and not best:  # an argmax has two registers
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


def plans(
    nest: Nest, loop: For, lanes: int, passes: int, machine: Machine
) -> Iterator[tuple[float, Callable[[], Plan]]]:
    """Every plan with such vectors along a loop, made when asked for, after its cycles a point."""
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
    step = step_of(nest, loop, lanes, passes, moving, machine)
    ends = 1.5 + (8.0 if summed else end_cost(nest, loop, lanes))
    everything = points * math.prod(max(1, extent(other)) for other in nest.kept)
    fetched = fetching(nest) / everything
    loops = {f.index: f for f in nest.kept}
    extents = {f.index: extent(f) for f in nest.kept}
    beside = {f.index: again(nest, f) for f in nest.kept}
    tile_of, parts_of, least = cache(step.tile), cache(partial(pieces, loops)), math.inf
    left_of = cache(partial(left, borders(nest, loop.index)))
    for vectors, sides in shapes(nest, loop, lanes, machine):
        tile = tile_of(sides)
        held = step.registers(vectors, tile)
        counting = ALONE if any(beside[name] for name, _ in sides) else SHARED
        if (sides or loop.kind != "lanes") and held > machine.registers:
            continue  # a sum in lanes has its order from them: they are taken all the same
        tight = held >= machine.registers
        part = left_of(tuple([name for name, _ in sides]), tight)
        cycles = step.cycles(vectors, tile, counting)
        accumulators = vectors * tile.rows
        per_point = cycles / (accumulators * lanes) * part
        results = accumulators // vectors if summed else accumulators * lanes
        tail = (20 + ends * accumulators) / (results * points) + fetched * accumulators
        if per_point + tail < least:  # what remains at the end of a loop makes it no better
            whole, rest = (1, 0) if summed else divmod(count, lanes * vectors)
            total = sum(
                times * many * step.cycles(wide, tile_of(piece), counting)
                for times, piece in parts_of(sides)
                for many, wide in ((whole, vectors), (1, -(-rest // lanes)))
                if many and wide
            )
            covered = vectors * lanes * use if summed else count
            per_point = total / covered / math.prod([extents[name] for name, _ in sides]) * part
            versions = len(parts_of(sides)) * (2 if whole and rest else 1)
            per_point *= 1 + VERSION * (versions - 1) * accumulators
            least = min(least, per_point + tail)
        plan = Plan(loop.index, lanes, vectors, sides, "", per_point + tail, tight=tight)
        yield plan.cost, partial(tiled, plan, step, tile, use, cycles, part)


def tiled(plan: Plan, step: Step, tile: Tile, use: float, cycles: float, part: float) -> Plan:
    """The plan of a tile in registers, with its reason."""
    sizes = [size for _, size in plan.tiles]
    why = (
        f"lanes along {'summed' if step.summed else 'kept'} {plan.vector} ({use:.0%} used), "
        f"tile {'x'.join(map(str, sizes)) or '1'} of {plan.vectors} vectors: "
        f"{plan.vectors * math.prod(sizes)} accumulators, {cycles:.1f} cycles a step"
        f"{f', {1 - part:.0%} of the sum left out (zeros of a border)' if part < 0.995 else ''}"
    )
    return replace(plan, why=why, reads=step.read_over(plan.vectors, tile))


def fetching(nest: Nest) -> float:
    """Cycles in which a kernel's code comes to the core once, for each accumulator of a tile.

    Of sums whose order is their own: others have theirs from the choice, which what follows must
    not decide.
    """
    if nest.summed[-1].kind == "serial":
        return 0.0
    stmts = flat((*nest.inner, *nest.after))
    return FETCH * sum(isinstance(s, Load | Let | Update) for s in stmts)


def end_cost(nest: Nest, loop: For, lanes: int) -> float:
    """Port cycles of a store of what a sum gives, for each accumulator.

    Of what follows in the nest nothing else counts: bits would depend on fusion, as the order of a
    sum does on the choice between lanes along it and across it.
    """
    stores = [s.target for s in nest.after if isinstance(s, Update)]
    outside = [t for t in stores if t.buffer.space != "register"]
    return max((load_cost(t, loop.index, lanes, set()) for t in outside), default=0.5)


def shapes(nest: Nest, loop: For, lanes: int, machine: Machine) -> list[tuple[int, Sides]]:
    """Register tiles to compare: vectors along the vector index, and up to two other indices."""
    summed, read = loop in nest.summed, list(accesses(nest.inner))
    others = [f for f in nest.kept if f is not loop and free(nest, f)]
    if not summed and nest.summed[-1].kind != "serial":  # whole rows, rather than pieces of several
        others = [f for f in others if not all(a.offset.coefficient(f.index) for a in read)]
    most = min(5 if others else machine.registers * 3 // 4, -(-extent(loop) // lanes))
    vectors = list(range(1, most + 1))
    if summed:
        count = together(loop, nest.inner, lanes)
        vectors = [-(-min(count, extent(loop)) // lanes)]
        others = others if vectors[0] < ENOUGH or extent(loop) <= count else []
    limit = machine.registers * 3 // 4 if summed else machine.registers
    near = sorted(others, key=partial(distance, nest))  # the first of those that cost alike wins
    tiles: list[Sides] = [()]
    tiles += [(side,) for other in near for side in sides(other, 14)]
    both = [sides(other, 8) for other in others if other.extent is not None]
    for a, b in itertools.combinations(both, 2):
        tiles += itertools.product(a, b)
    rows = [math.prod([size for _, size in tile]) for tile in tiles]
    return [
        (count, tile)
        for count in vectors
        for tile, size in zip(tiles, rows, strict=True)
        if count * size <= limit or not tile
    ]


def sides(loop: For, most: int) -> list[tuple[str, int]]:
    """A tile's steps along one loop, two and more; of those that split it alike the least."""
    count, known = extent(loop), loop.extent is not None
    steps = range(2, min(most, count) + 1)
    return [(loop.index, s) for s in steps if not known or -(-count // -(-count // s)) == s]


def pieces(loops: Mapping[str, For], sides: Sides) -> list[tuple[int, Sides]]:
    """The tiles that a nest is made of, and how many of each there are.

    A run-time number of rows is taken for what `extent` guesses: what remains goes one by one.
    """
    found: list[tuple[int, Sides]] = [(1, ())]
    for name, size in sides:
        loop, count = loops[name], extent(loops[name])
        if loop.extent is None:
            parts = [(count // size, size), (count % size, 1)]
        else:
            each, larger = divmod(count, -(-count // size))
            parts = [(larger, each + 1), (-(-count // size) - larger, each)]
        found = [(n * m, (*done, (name, part))) for n, done in found for m, part in parts if m]
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


def free(nest: Nest, loop: For) -> bool:
    """Whether a tile may take several steps of a loop: no guard and no formula asks which it is."""
    return extent(loop) > 1 and not any(f.coefficient(loop.index) for f in forms(nest.inner))
