"""Register tiles: the loops of a reduction become tiles whose values live in registers.

    for k, j: r = 0; for s: r += a[k, s]*b[s, j]; c[k, j] = r
    -->
    for k by 6, j by 64:
      r[6, 64] = 0
      for s: for k' unrolled, j' vector: r[k', j'] += a[k + k', s]*b[s, j + j']
      for k' unrolled, j' vector: c[k + k', j + j'] = r[k', j']

Splitting, sinking the tile loops into every part of the body, and giving each register one place
for each point of the tile are one rewrite here; reductions along the lanes get a register of lanes
that is combined at the end.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

from graphc.loops.choose import Plan
from graphc.loops.cost import CACHE_LINE
from graphc.loops.ir import Access, Alloc, Buffer, Check, Fetch, For, Let, Load, Stmt, Update
from graphc.loops.lanes import along
from graphc.loops.nest import NOMINAL, Nest, accesses, chain, extent, flat, footprint, needed
from graphc.loops.outside import unasked
from graphc.loops.panel import moving, packed, wanted
from graphc.loops.schedule import Schedule
from graphc.loops.strip import Range, at_a_time, balanced, moved, split, vectors, written_out
from graphc.ops.index import Affine, affine, index
from graphc.types import SIZE

AGAIN = 0.75
"""The part of the second cache that may be filled by what is read again and again."""


def tiled(schedule: Schedule, nest: Nest, plan: Plan) -> tuple[Stmt, ...]:
    """A reduction nest in register tiles.

    Along the vector index j, `j.block` and `j.lane` in what is read stand for the first of a panel
    and for the place in it.
    """
    schedule.notes.append(plan.why)
    tiles = dict(plan.tiles)
    if plan.tight:  # what holds back some sums of a tile, while others go on, takes a register
        nest = replace(nest, inner=unasked(nest.inner, set(tiles)))
    kept_vector = plan.vector in {f.index for f in nest.kept}
    pieces: list[tuple[For, list[Range]]] = []
    for loop in nest.kept:
        if loop.index == plan.vector:
            size = plan.lanes * plan.vectors
            pieces.append((loop, split(loop, size, plan.lanes, schedule.machine.masked)))
        elif loop.index in tiles:
            pieces.append((loop, balanced(loop, tiles[loop.index])))
        else:
            pieces.append((loop, []))
    ordered = outer_order(schedule, pieces, plan, nest)
    vector = plan.vector if kept_vector else None
    return nested(schedule, nest, plan, ordered, vector, {}, {}, 1.0)


def outer_order(
    schedule: Schedule, pieces: list[tuple[For, list[Range]]], plan: Plan, nest: Nest
) -> list[tuple[For, list[Range]]]:
    """Loops that are not tiled outermost, then the vector index, then the other tiles.

    The vector index is outermost where its panels are packed, but for loops each step of which has
    others: once for all that reads them. The loops keep their order where no tile reads again what
    another one has read. Panels that lie so already go outside rows, and groups that share lines
    inside all.
    """
    plain = [p for p in pieces if not p[1]]
    panel = [p for p in pieces if p[1] and p[0].index == plan.vector]
    rest = [p for p in pieces if p[1] and p[0].index != plan.vector]
    loads = [s for s in nest.inner if isinstance(s, Load)]
    size = plan.lanes * plan.vectors
    tiles = [loop.index for loop, _ in rest]
    if all(any(load.access.offset.coefficient(n) for n in tiles) for load in loads) and rest:
        return far_outside(nest, pieces, schedule.machine.level2)  # nothing is read again in panels
    untiled = {loop.index for loop, _ in plain}
    around: set[str] = set()
    copied = False
    for loop, load in product((loop for loop, _ in panel), loads):
        own = moving(nest, loop, load) & untiled
        if wanted(schedule, nest, loop, size, load, own):
            copied, around = True, around | own
    if copied:
        outside = [p for p in plain if p[0].index in around]
        return [*outside, *panel, *(p for p in plain if p not in outside), *rest]
    for inner in range(len(plain) - 1, max(len(plain) - 3, -1), -1):
        last, within = plain[inner], [*plain[inner + 1 :], *panel, *rest]
        first = passing(nest, last[0], within, schedule.machine.level2)
        if first:
            return [*plain[:inner], *first, last, *(p for p in within if p not in first)]
    near = [p for p in plain[-1:] if extent(p[0]) > 1 and share_lines(loads, p[0].index, tiles)]
    return [*(p for p in plain if p not in near), *panel, *rest, *near]


def share_lines(loads: list[Load], name: str, tiles: list[str]) -> bool:
    """Whether steps of an index that moves all operands stay in lines of one that tiles move.

    for g: for h, w by 8: r += x[h + r, w + s, 8*g + c]*k[g, r, s, c, f]
    -->
    for h, w by 8: for g: r += ...
    So a line, which holds several groups, is read once.
    """
    reads = [load.access for load in loads]
    moved = [a for a in reads if any(a.offset.coefficient(tile) for tile in tiles)]
    steps = [abs(a.offset.coefficient(name)) * SIZE[a.buffer.dtype] for a in moved]
    every = all(a.offset.coefficient(name) for a in reads)
    return every and min(steps, default=CACHE_LINE) < CACHE_LINE


def far_outside(
    nest: Nest, pieces: list[tuple[For, list[Range]]], level2: int
) -> list[tuple[For, list[Range]]]:
    """The loops of two tiles, in the order in which less comes from beyond the second cache.

    for m by 2: for n by 5: r += x[m, s]*w[n, s]   -->   for n by 5: for m by 2: r += ...
    What moves with the outer one is read once; what moves with the inner one for each of the outer
    one's steps, where it does not stay.
    """
    ranged = [p for p in pieces if p[1]]
    tiles = [p for p in ranged if extent(p[0]) > p[1][0].size]
    if len(tiles) != 2:
        return pieces
    loops = [loop for loop, _ in tiles]
    steps = [extent(loop) / ranges[0].size for loop, ranges in tiles]
    inside = {loop.index: extent(loop) for loop in (*(p[0] for p in ranged), *nest.summed)}
    sizes = [
        sum(
            footprint(access, inside)
            for access in accesses(nest.inner)
            if access.offset.coefficient(one.index) and not access.offset.coefficient(other.index)
        )
        for one, other in (loops, reversed(loops))
    ]
    here, other = (
        sizes[outer] + sizes[1 - outer] * (steps[outer] if sizes[1 - outer] > AGAIN * level2 else 1)
        for outer in (0, 1)
    )
    if here <= other:
        return pieces
    order = iter(reversed(tiles))
    return [next(order) if p in tiles else p for p in pieces]


def passing(
    nest: Nest, last: For, within: list[tuple[For, list[Range]]], level2: int
) -> list[tuple[For, list[Range]]]:
    """The loops within one that is not tiled to go outside it: what they read again is too large.

    for h: for f by 6: r += x[c, h + r, w + s]*k[f, c, r, s]
    -->
    for f by 6: for h: r += ...
    All filters are read once, not once for each row; for each tile of them, an image that is near.
    """
    if extent(last) == 1:
        return []
    inside = {loop.index: extent(loop) for loop in (last, *(p[0] for p in within), *nest.summed)}
    here = [a for a in accesses(nest.inner) if a.offset.coefficient(last.index)]
    beside = [a for a in accesses(nest.inner) if not a.offset.coefficient(last.index)]
    again, near = (sum(footprint(a, inside) for a in found) for found in (beside, here))
    if not near <= AGAIN * level2 < again:
        return []
    return [p for p in within if any(a.offset.coefficient(p[0].index) for a in beside)]


def nested(
    schedule: Schedule,
    nest: Nest,
    plan: Plan,
    pieces: list[tuple[For, list[Range]]],
    vector: str | None,
    sizes: dict[str, int],
    values: dict[str, Affine],
    share: float,
) -> tuple[Stmt, ...]:
    """Emit the loops around the tile, one version of the tile for each size of its sides.

    `share` is the part of the nest that a version does.
    """
    if not pieces:
        return register_tile(schedule, nest, plan, vector, sizes, values, share)
    (loop, ranges), rest = pieces[0], pieces[1:]
    if not ranges:
        body = nested(schedule, nest, plan, rest, vector, sizes, values, share)
        return (replace(loop, body=body),)
    result: list[Stmt] = []
    inner, outside = f"{loop.index}.t", f"{loop.index}.o"
    for piece in ranges:
        single = piece.single
        at = affine([(inner, 1)], single) if single is not None else index(outside)
        at = at if single is not None else at + index(inner)
        copies: tuple[Stmt, ...] = ()
        here = nest
        if loop.index == vector:
            around = {f.index for f in nest.kept} - {p[0].index for p in pieces} - set(sizes)
            copies, here = packed(schedule, nest, loop, piece.size, plan.lanes, at, around)
        sizes = {**sizes, loop.index: piece.size}
        first = index(outside) if single is None else affine([], single)
        places = {loop.index: at, f"{loop.index}.block": first, f"{loop.index}.lane": index(inner)}
        part = share * piece.share(loop)
        body = nested(schedule, here, plan, rest, vector, sizes, values | places, part)
        body = (*copies, *body)
        if single is not None:
            result += body
        else:
            result.append(For(outside, piece.start, piece.stop, piece.size, "serial", body))
    return tuple(result)


def register_tile(
    schedule: Schedule,
    nest: Nest,
    plan: Plan,
    vector: str | None,
    sizes: dict[str, int],
    values: dict[str, Affine],
    share: float,
) -> tuple[Stmt, ...]:
    """One tile: registers opened, summed into, and handed to what follows.

    Steps of the innermost sum are written out where this version's share of the nest is worth it.
    """
    lanes = plan.lanes
    inside: list[For] = []
    places: dict[str, int] = {}
    total = 1
    order = [n for n in sizes if n != vector] + ([vector] if vector else [])
    for name in reversed(order):
        places[name] = total
        total *= sizes[name]
    for name in walked(nest, [name for name in order if name != vector], vector):
        inside.append(For(f"{name}.t", 0, sizes[name], 1, "unrolled", ()))
    offset = affine([(f"{name}.t", place) for name, place in places.items()])

    def sized(buffer: Buffer) -> Buffer:
        assert isinstance(buffer.size, int)
        return replace(buffer, size=buffer.size * total)

    own = {s.buffer.name for s in nest.before if isinstance(s, Alloc)}
    every = flat((*nest.before, *nest.inner, *nest.after))
    guards = any(isinstance(s, Load | Update) and s.guards for s in every)

    def placed(stmt: Stmt) -> Stmt:
        def access(a: Access) -> Access:
            if a.buffer.name not in own:
                return a
            return Access(sized(a.buffer), a.offset + offset, a.lookups)

        match stmt:
            case Load():
                return replace(stmt, access=access(stmt.access))
            case Update():
                companion = access(stmt.companion) if stmt.companion else None
                return replace(stmt, target=access(stmt.target), companion=companion)
        return stmt

    def sunk(stmts: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        """The tile's loops around statements, the vector index as lanes."""
        body = tuple(placed(s) for s in moved(stmts, values))
        if vector is None:
            return chain(inside, body)
        return chain(inside, vectors(schedule, f"{vector}.t", sizes[vector], lanes, body, guards))

    allocs = tuple(Alloc(sized(s.buffer)) for s in nest.before if isinstance(s, Alloc))
    starts = tuple(s for s in nest.before if isinstance(s, Update))
    shared = tuple(s for s in nest.before if isinstance(s, Load | Let | Check))
    inner = (*needed(shared, nest.inner), *nest.inner)
    opening: tuple[Stmt, ...] = sunk((*needed(shared, starts), *starts))
    closing: tuple[Stmt, ...] = ()
    loops = list(nest.summed)
    if plan.vector is not None and vector is None:
        loop = nest.loop(plan.vector)
        body = tuple(placed(s) for s in moved(inner, values))
        more, summed, closing = along(schedule, body, lanes, loop, inside)
        opening, summed = (*opening, *more), chain(loops[:-1], summed)
    else:
        accumulators = total // lanes if vector else total
        room = schedule.machine.registers - accumulators - plan.vectors - 1
        asked = schedule.choice.unroll
        lines = accumulators * each(nest)
        steps = at_a_time(loops[-1], lines, 1.0 if asked else share)
        wanted = shared_loads(nest, loops[-1], steps, sizes, vector) <= room
        wanted = wanted if asked is None else asked
        last = written_out(loops[-1], steps if wanted else 1, sunk(inner))
        summed = chain(loops[:-1], last)
    after = sunk((*needed(shared, nest.after), *nest.after))
    later = ahead(nest, schedule.machine.level2)
    if vector is not None and later:
        opening += sunk(later)
    return (*allocs, *opening, *summed, *closing, *after)


def each(nest: Nest) -> int:
    """Statements for each addition to a register: of products, whose operands are shared, one."""
    loads = 0 if nest.summed[-1].kind == "serial" else sum(isinstance(s, Load) for s in nest.inner)
    return loads + sum(isinstance(s, Let | Update) for s in nest.inner)


def ahead(nest: Nest, level2: int) -> tuple[Stmt, ...]:
    """What follows a sum reads of large arrays is asked for as the sum begins, to come meanwhile.

    r = 0; for s: r += a[k, s]*b[s, j]; c[k, j] = r + d[k, j]
    -->
    r = 0; fetch d[k, j]; for s: ...
    Each tile reads some short pieces, from lines that no earlier one has read.
    """
    return tuple(
        Fetch(stmt.access)
        for stmt in nest.after
        if isinstance(stmt, Load)
        and large(stmt.access.buffer, level2)
        and not (stmt.guards or stmt.access.lookups)
        and all(stmt.access.offset.coefficient(f.index) for f in nest.kept if extent(f) > 1)
    )


def large(buffer: Buffer, level2: int) -> bool:
    """Whether an argument is larger than the second cache, a run-time extent guessed."""
    size = buffer.size if isinstance(buffer.size, int) else NOMINAL * buffer.size.scale
    return buffer.space == "argument" and size * SIZE[buffer.dtype] > level2


def walked(nest: Nest, sides: list[str], vector: str | None) -> list[str]:
    """The sides of a tile in the order in which they are walked: those that move a vector first.

    So a vector is loaded, used all along the other side, and given up. The cost model counts on it:
    one vector is held, and the broadcasts of a side. Walked the other way, the vectors of a side
    stay live beside the accumulators, and are spilled.
    """
    wide = [
        stmt.access.offset
        for stmt in nest.inner
        if isinstance(stmt, Load) and vector and stmt.access.offset.coefficient(vector)
    ]
    return sorted(sides, key=lambda name: not any(at.coefficient(name) for at in wide))


def shared_loads(
    nest: Nest, loop: For, steps: int, sizes: dict[str, int], vector: str | None
) -> int:
    """Values of a tile that several steps of an inner loop read, so that unrolled they stay live.

    x[k, i + s]: what one step reads at i + 1, the next one reads at i, for each k of the tile.
    """
    found = 0
    for stmt in nest.inner:
        if not isinstance(stmt, Load):
            continue
        offset = stmt.access.offset
        step = abs(offset.coefficient(loop.index))
        for name, size in sizes.items():
            by = abs(offset.coefficient(name))
            meet = {by * i for i in range(1, size)} & {step * s for s in range(1, steps)}
            if name != vector and step and by and meet:
                moving = [n for n in sizes if n not in (name, vector) and offset.coefficient(n)]
                found = max(found, size * math.prod(sizes[n] for n in moving))
    return found
