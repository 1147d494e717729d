"""Choosing a schedule: which index becomes the vector's lanes, and which tile stays in registers.

The choice looks at strides and extents only. Cycles of one inner step are estimated as the larger
of multiply-adds over two ports, loads over two ports, and the latency of the accumulators.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from graphc.loops.ir import Access, Alloc, For, Let, Load, Update
from graphc.loops.nest import Nest, accesses, depending, extent, forms
from graphc.machine import Machine
from graphc.types import SIZE

LATENCY = 4.0
PANEL = 32 << 10
"""Bytes of the vectors' operand beyond which they come from the second cache level,"""
LINE = 2.7
"""at this many cycles a line."""
PAGE = 4096
FAR = 0.01
"""The part of a step that each further page costs."""
GATHER = 1.0
"""Cycles per element of a vector whose lanes do not lie side by side."""


@dataclass(frozen=True)
class Plan:
    """A schedule: the vector index, its lanes, vectors side by side, and register tiles."""

    vector: str | None
    lanes: int
    vectors: int
    tiles: tuple[tuple[str, int], ...]
    why: str


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
    best: tuple[float, Plan] | None = None
    for loop in candidates(nest):
        for cost, plan in plans(nest, loop, lanes, machine):
            if best is None or cost < best[0] * 0.999:
                best = cost, plan
    return best[1] if best else Plan(None, 1, 1, (), "no index can be the lanes of a vector")


def candidates(nest: Nest) -> list[For]:
    """The loops whose index could be the lanes, innermost first."""
    last = nest.summed[-1] if nest.reduces else None
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
    stmts = (*nest.inner, *nest.after)
    moving = depending((*nest.before, *nest.inner), loop.index)
    for stmt in stmts:
        if isinstance(stmt, Update) and stmt.target.buffer.space != "register":
            if not stmt.target.offset.coefficient(loop.index):
                return False
            if stmt.how != "=" and any(name in moving for name, _ in stmt.target.lookups):
                return False
    return True


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


def plans(nest: Nest, loop: For, lanes: int, machine: Machine) -> list[tuple[float, Plan]]:
    """Every plan with this vector index, with its cycles for each point of the nest."""
    moving = depending((*nest.before, *nest.inner), loop.index)
    summed = loop in nest.summed
    count = extent(loop)
    use = fill(count, lanes)
    if not nest.reduces:
        cost = sum(load_cost(a, loop.index, lanes, moving) for a in accesses(nest.inner))
        cost += sum(
            load_cost(s.target, loop.index, lanes, moving)
            for s in nest.inner
            if isinstance(s, Update)
        )
        cost += 0.5 * sum(isinstance(s, Let) for s in nest.inner)
        depth = len(nest.kept) - nest.kept.index(loop)
        why = f"lanes along {loop.index}: {use:.0%} of them used"
        return [((cost + 0.1 * depth) / lanes / use, Plan(loop.index, lanes, 1, (), why))]
    found = []
    points = 1
    for other in nest.summed:
        points *= max(1, extent(other))
    for vectors, tiles in shapes(nest, loop, lanes, machine):
        cycles, registers = step_cost(nest, loop, lanes, vectors, tiles, moving)
        if registers > machine.registers:
            continue
        accumulators = vectors
        waste = use if summed else fill(count, lanes * vectors) ** 0.5 * use**0.5
        for name, size in tiles:
            accumulators *= size
            waste *= fill(extent(nest.loop(name)), size) ** 0.25
        per_point = cycles / (accumulators * lanes) / waste
        ends = 1.5 + (8.0 if summed else end_cost(nest, loop, lanes))
        tail = (20 + ends * accumulators) / (accumulators * points * (1 if summed else lanes))
        shape = "x".join(str(size) for _, size in tiles) or "1"
        kind = "summed" if summed else "kept"
        why = (
            f"lanes along {kind} {loop.index} ({use:.0%} used), tile {shape} of {vectors} vectors: "
            f"{accumulators} accumulators, {cycles:.1f} cycles a step"
        )
        found.append((per_point + tail, Plan(loop.index, lanes, vectors, tiles, why)))
    return found


def end_cost(nest: Nest, loop: For, lanes: int) -> float:
    """Port cycles of a store of what a sum gives, for each accumulator.

    Of what follows in the nest nothing else counts: bits would depend on fusion, as the order of a
    sum does on the choice between lanes along it and across it.
    """
    stores = [s.target for s in nest.after if isinstance(s, Update)]
    outside = [t for t in stores if t.buffer.space != "register"]
    return max((load_cost(t, loop.index, lanes, set()) for t in outside), default=0.5)


def pages(nest: Nest, tiles: tuple[tuple[str, int], ...]) -> float:
    """Pages that one step of a tile touches beyond one for each operand."""
    total = 0.0
    for access in accesses(nest.inner):
        reach = sum(
            abs(access.offset.coefficient(name)) * (size - 1) * SIZE[access.buffer.dtype]
            for name, size in tiles
        )
        rows = 1
        for name, size in tiles:
            rows *= size if access.offset.coefficient(name) else 1
        total += min(reach / PAGE, rows - 1)
    return total


def shapes(
    nest: Nest, loop: For, lanes: int, machine: Machine
) -> list[tuple[int, tuple[tuple[str, int], ...]]]:
    """Register tiles to compare: vectors along the vector index, and up to two other indices."""
    summed = loop in nest.summed
    most = min(5, -(-extent(loop) // lanes))
    vectors = [1] if summed else list(range(1, most + 1))
    others = [f for f in nest.kept if f is not loop and useful(nest, f)]
    found: list[tuple[int, tuple[tuple[str, int], ...]]] = []
    limit = machine.registers * 3 // 4 if summed else machine.registers
    for count in vectors:
        found.append((count, ()))
        for other in others:
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


def useful(nest: Nest, loop: For) -> bool:
    """Whether some operand stays the same along a loop, so that a tile would load it once."""
    if extent(loop) == 1 or any(f.coefficient(loop.index) for f in forms(nest.inner)):
        return False
    return any(not a.offset.coefficient(loop.index) for a in accesses(nest.inner)) or True


def step_cost(
    nest: Nest,
    loop: For,
    lanes: int,
    vectors: int,
    tiles: tuple[tuple[str, int], ...],
    moving: set[str],
) -> tuple[float, int]:
    """Cycles of one inner step over the whole tile, and the vector registers it holds."""
    accumulators = vectors
    for _, size in tiles:
        accumulators *= size
    points = 1
    for other in nest.summed:
        points *= extent(other)
    updates = sum(isinstance(s, Update) for s in nest.inner)
    lets = sum(isinstance(s, Let) for s in nest.inner)
    loads, held, lines = 0.0, 0, 0.0
    for stmt in nest.inner:
        if not isinstance(stmt, Load):
            continue
        access = stmt.access
        times = 1
        for name, size in tiles:
            times *= size if access.offset.coefficient(name) or access.lookups else 1
        wide = bool(access.offset.coefficient(loop.index))
        times *= vectors if wide else 1
        loads += times * load_cost(access, loop.index, lanes, moving)
        if stmt.guards:
            loads += times * len(stmt.guards)
        if wide:
            held = max(held, times if loop in nest.summed else min(times, vectors))
            panel = points * times * lanes * SIZE[access.buffer.dtype]
            if panel > PANEL and loop not in nest.summed:
                lines += LINE * times
    cycles = max(accumulators * updates / 2, loads, LATENCY, lines) + lets * accumulators * 2
    cycles *= 1 + FAR * pages(nest, tiles)
    return cycles + 0.06 * loads, accumulators * updates + held + 1
