"""Streamed sums: where the operands leave the caches, a part of the sum at a time.

    for k: r = 0; for s: r += f; c[k] = r
    -->
    t[...] = 0; for s by S: { for k: r = t[k]; for s' in S: r += f; t[k] = r }; for k: c[k] = t[k]

Of sums in each other it is the outermost of which one step stays near that is made in parts: some
small images at a time, or some rows of a large one.

Each partial sum goes on from the one before, so that the order of the additions, and every bit, is
that of the sum made at once, unless lanes lie along the sum: they are added up at the end of each
part. Where the sum is only stored, `t` is the memory it is stored in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import dropwhile

from graphc.loops.blocked import TERMS, fit, gatherable, summed, terms
from graphc.loops.choose import Plan, choose
from graphc.loops.crosswise import crossed, matrices
from graphc.loops.ir import Access, Alloc, Buffer, Check, For, Let, Load, Stmt, Update
from graphc.loops.map import mapped
from graphc.loops.nest import Nest, accesses, chain, extent, footprint, needed, row_major
from graphc.loops.panel import SCRATCH
from graphc.loops.registers import AGAIN
from graphc.loops.schedule import Schedule
from graphc.loops.strip import Range, moved, split
from graphc.ops import scalar
from graphc.ops.index import Affine, index
from graphc.passes.pack import LONGEST
from graphc.types import SIZE

STEP, ALL = 0.75, 2.25
"""The parts of the second cache level: what one step may fill, and what all must exceed."""
LEVEL2 = 512 << 10
"""Its bytes where the order of a sum depends on it."""
LEVEL1 = 32 << 10
"""Those of the first level, likewise."""
ADDED = 2048
"""Terms that lanes along the sum add at a time where the first cache does not hold a part."""
FULL, NEAR = 0.75, 0.5
"""The part of the first cache beyond which what a tile reads here and there does not stay, and that
which it may fill in a part of the sum."""
GAIN = 0.95
"""The part of the cycles that may be left for such parts to pay."""
FEW, MANY = 256, 512
"""Terms of a long sum that are added at a time, at least and at most,"""
PANELS = 1 << 20
"""so that what is read in vectors, copied in panels, takes about so many bytes."""


def streamed(schedule: Schedule, nest: Nest, plan: Plan) -> tuple[Stmt, ...] | None:
    """The nest with one of its sums in parts; None where that gains nothing, or cannot be.

    Several sums side by side are where it has been decided already how many steps are a part.
    """
    starts, ends = around_the_sum(nest)
    if not starts or nest.summed[-1].kind != "serial" or any(s.how != "=" for s in starts):
        return None
    updates = [s for s in nest.inner if isinstance(s, Update) and s.companion is None]
    if not len(starts) == len(ends) == len(updates):
        return None
    if len(starts) > 1 and schedule.choice.part is None:
        return None
    across = plan.vector in {f.index for f in nest.kept}
    level, part, why = steps(nest, plan, schedule.machine.level2 if across else LEVEL2)
    if across and schedule.choice.part is not None:
        part = tuned(schedule.choice.part, nest.summed[0])
        level, why = 0, f"summed over {nest.summed[0].index} in parts"
    if part is None:
        asked = across and schedule.choice.part is None
        return nearer(schedule, nest, plan) if asked else None
    return parts(schedule, nest, plan, level, part, why)


def around_the_sum(nest: Nest) -> tuple[list[Update], list[Load]]:
    """What begins each register, and what reads it once it is summed into."""
    starts = [s for s in nest.before if isinstance(s, Update)]
    loads = {s.access.buffer: s for s in reversed(nest.after) if isinstance(s, Load)}
    registers = [s.target.buffer for s in starts]
    return starts, [loads[register] for register in registers if register in loads]


def parts(
    schedule: Schedule, nest: Nest, plan: Plan, level: int, part: int, why: str
) -> tuple[Stmt, ...] | None:
    """The nest with its sum at a level made some steps at a time; None where that cannot be."""
    starts, ends = around_the_sum(nest)
    registers = [start.target.buffer for start in starts]
    across = plan.vector in {f.index for f in nest.kept}
    around, (outer, *inner) = nest.summed[:level], nest.summed[level:]
    only = target = destination(nest, ends[0]) if len(ends) == 1 else None
    if any(loop.extent is None for loop in nest.kept):
        target = only or (room(nest, ends[0]) if len(ends) == 1 else None)
        if target is None or not turned(nest, plan):
            return None
    count = math.prod(extent(loop) for loop in nest.kept)
    total = count * sum(SIZE[register.dtype] for register in registers)
    if turned(nest, plan) and (panels := blocks(schedule, nest, plan)) is not None:
        return panels
    if target is None and across and total > SCRATCH and len(ends) == 1:
        target = room(nest, ends[0])
    if (target is None or not across) and total > SCRATCH:
        return None
    opened: list[Stmt] = []
    targets = [target] if target is not None else []
    for register in registers[len(targets) :]:
        schedule.serial += 1
        scratch = Buffer(f"t{schedule.serial}", register.dtype, count, "stack")
        opened.append(Alloc(scratch))
        targets.append(Access(scratch, row_major(nest.kept)))
    schedule.notes.append(why)
    symbol = scalar.argument("part")
    clear = tuple(Update(t, start.expr, ()) for t, start in zip(targets, starts, strict=True))
    shared = tuple(s for s in nest.before if isinstance(s, Load | Let | Check))
    begin: list[Stmt] = [*shared, *(s for s in nest.before if isinstance(s, Alloc))]
    store: list[Stmt] = []
    for place, start, end in zip(targets, starts, ends, strict=True):
        schedule.serial += 1
        value = f"u{schedule.serial}"
        begin += [Load(value, place), Update(start.target, symbol, ((symbol, value),))]
        store += [end, Update(place, symbol, ((symbol, end.name),))]
    rest = tuple(s for s in nest.after if s not in ends)
    cleared = mapped(schedule, Nest(nest.kept, (), (), clear, ()))
    done: list[Stmt] = []
    for piece in ranges(outer, part):
        outside = f"{outer.index}.p"
        first = Affine((), piece.single) if piece.single is not None else index(outside)
        whole = piece.size == 1 and bool(inner)
        at = first if whole else first + index(outer.index)
        loops = () if whole else (replace(outer, start=0, stop=piece.size),)
        inside = moved(nest.inner, {outer.index: at})
        within = Nest(nest.kept, tuple(begin), (*loops, *inner), inside, tuple(store))
        part_plan = choose(within, schedule.machine)
        if across and part_plan.vector not in {f.index for f in nest.kept}:
            part_plan = plan  # lanes along the sum would add in another order than at once
        if schedule.choice.tile is not None:
            part_plan = plan
        body = summed(schedule, within, part_plan)
        if piece.single is None:
            body = (For(outside, piece.start, piece.stop, piece.size, "serial", body),)
        done += body
    result = [*opened, *cleared, *chain(around, tuple(done))]
    if targets[0] is not only:
        reads = [Load(end.name, place) for end, place in zip(ends, targets, strict=True)]
        last = (*needed(shared, rest), *reads, *rest)
        result += mapped(schedule, Nest(nest.kept, (), (), last, ()))
    return tuple(result)


def nearer(schedule: Schedule, nest: Nest, plan: Plan) -> tuple[Stmt, ...] | None:
    """The nest in parts of which a tile reads no more than the nearest cache holds.

    for h: for w, f: r = 0; for c: r += x[c, h + r, w + s]*k[f, c, r, s]; y[h, w, f] = r
    -->
    for h: { t[...] = 0; for c by C: for w, f: r = t[w, f]; for c' in C: r += ...; t[w, f] = r }
    Where all results leave the second cache, each step of the loops outside the tiles has its own.
    """
    machine = schedule.machine
    outer, each = nest.summed[0], max(1, one_step(nest, 0))
    if len(nest.summed) == 1 or outer.extent is None or plan.reads <= FULL * machine.level1:
        return None
    part = int(NEAR * machine.level1 * terms(nest) / plan.reads) // each
    short = part * each < TERMS or part * 2 > outer.extent
    if short or not wide(nest, plan, AGAIN * machine.level2):
        return None
    shorter = replace(nest, summed=(replace(outer, stop=part), *nest.summed[1:]))
    better = choose(shorter, machine)
    if better.cost > GAIN * plan.cost:
        return None
    tiles = {name for one in (plan, better) for name in (one.vector, *dict(one.tiles))}
    plain = [f for f in nest.kept if f.index not in tiles]
    why = f"summed over {outer.index} in parts of {part * each}: a tile's operands stay near"
    inside = tuple(f for f in nest.kept if f.index in tiles)
    if results(nest.kept) > machine.level2 // 2 >= results(inside):
        done = parts(schedule, replace(nest, kept=inside), plan, 0, part, why)
        return chain(plain, done) if done is not None else None
    if results(nest.kept) <= machine.level2 * 2:
        return parts(schedule, nest, plan, 0, part, why)
    return None


def wide(nest: Nest, plan: Plan, room: float) -> bool:
    """Whether windows over what one step of the outermost loops reads go beyond a size."""
    tiles = {plan.vector, *(name for name, _ in plan.tiles)}
    inside = list(dropwhile(lambda loop: loop.index not in tiles, nest.kept))
    extents = {loop.index: extent(loop) for loop in (*inside, *nest.summed)}
    for access in accesses(nest.inner):
        along = [f for f in inside if extent(f) > 1 and access.offset.coefficient(f.index)]
        if len(along) > 1 and footprint(access, extents) > room:
            return True
    return False


def results(kept: Sequence[For]) -> int:
    """The bytes of a sum of float32 for each point."""
    return math.prod(map(extent, kept)) * SIZE["float32"]


def steps(nest: Nest, plan: Plan, level2: int) -> tuple[int, int | None, str]:
    """Which of the sums is made in parts, how many of its steps at a time, and why; None for none.

    `level2`: the bytes of the cache that one step must fit in, and all must leave. Where lanes lie
    along the sum parts change its order, so that it must then be the same on any machine.
    """
    outer, *inner = nest.summed
    each = max(1, one_step(nest, 0))
    if turned(nest, plan) and outer.extent is not None and terms(nest) > LONGEST:
        level = next(n for n, _ in enumerate(nest.summed) if one_step(nest, n) <= LONGEST)
        loop, each = nest.summed[level], one_step(nest, level)
        longest = FEW if matrices(nest, nest.loop(plan.vector or ""), loop) else LONGEST
        part = even(extent(loop), max(1, longest // each))
        return level, part, f"summed over {loop.index} in parts of {part * each}, each turned over"
    far = taken(nest, 0, extent(outer)) if inner else 0
    rows, room = gatherable(nest, plan), STEP * level2
    if far >= ALL * level2 and not one_by_one(nest, plan, level2):
        for level, loop in enumerate(nest.summed[:-1]):
            near = taken(nest, level, 1)
            if near <= room and extent(loop) >= 4:
                size = f"{far >> 10} KiB in all, {near >> 10} KiB a step"
                part = together(nest, plan, level, math.inf if rows else room)
                if min(part, extent(loop)) * one_step(nest, level) >= TERMS:
                    return level, part, f"summed over {loop.index} in parts: {size}"
    if rows is None or outer.extent is None or fit(nest, rows, level2):
        return 0, None, ""
    width = math.prod(extent(f) for f in nest.kept if f is not rows.loop) * SIZE["float32"]
    most = max(FEW, min(MANY, PANELS // width)) // each
    if outer.extent * 4 <= most * 5 or not most:
        return 0, None, ""
    part = even(outer.extent, most)
    why = f"summed over {outer.index} in parts of {part * each}: {terms(nest)} terms in all"
    return 0, part, why


def even(count: int, most: int) -> int:
    """The steps of a part, at most so many, of as many parts as are needed."""
    return -(-count // -(-count // most))


def taken(nest: Nest, level: int, steps: int) -> int:
    """The bytes that some steps of a sum read, of all that is inside it."""
    inside = {f.index: extent(f) for f in (*nest.kept, *nest.summed[level + 1 :])}
    inside[nest.summed[level].index] = steps
    return sum(footprint(access, inside) for access in accesses(nest.inner))


def together(nest: Nest, plan: Plan, level: int, most: float) -> int:
    """How many steps of a sum make a part: some terms, and no more bytes than the most.

    Lanes along the sum are added up at the end of each part, which takes as long as some steps.
    """
    if nest.summed[level].extent is None:
        return 1
    steps = max(1, FEW // one_step(nest, level))
    if plan.vector in {f.index for f in nest.summed} and taken(nest, level, steps) > LEVEL1:
        steps = max(1, ADDED // one_step(nest, level))
    while steps > 1 and taken(nest, level, steps) > most:
        steps -= 1
    return steps


def one_step(nest: Nest, level: int) -> int:
    """The terms of one step of a sum."""
    return math.prod(extent(f) for f in nest.summed[level + 1 :])


def turned(nest: Nest, plan: Plan) -> bool:
    """Whether panels are turned over for the lanes of a plan."""
    loop = next((f for f in nest.kept if f.index == plan.vector), None)
    return loop is not None and crossed(nest, loop, nest.inner)


def blocks(schedule: Schedule, nest: Nest, plan: Plan) -> tuple[Stmt, ...] | None:
    """A sum in parts for the columns of one panel after the other, so that partial sums are near.

    for j by J: { t[...] = 0; for s by S: for k, j': t[k, j'] += ...; for k, j': c[k, j + j'] = t }
    """
    assert plan.vector is not None
    loop, size = nest.loop(plan.vector), plan.lanes * plan.vectors
    if extent(loop) <= size:
        return None
    outside, result = f"{loop.index}.b", []
    for piece in split(loop, size, plan.lanes, False):
        at = {loop.index: index(outside) + index(loop.index)}
        part = Nest(
            tuple(replace(f, stop=piece.size) if f is loop else f for f in nest.kept),
            moved(nest.before, at),
            nest.summed,
            moved(nest.inner, at),
            moved(nest.after, at),
        )
        body = streamed(schedule, part, plan)
        if body is None:
            return None
        result.append(For(outside, piece.start, piece.stop, piece.size, "serial", body))
    return tuple(result)


def one_by_one(nest: Nest, plan: Plan, level2: int) -> bool:
    """Whether each step of the outermost loop is one whole product, whose vectors stay near.

    A convolution goes image by image so: filters pass by element by element, row after row.
    """
    loop, vector = nest.kept[0], plan.vector or ""
    outside = {loop.index, vector, *(name for name, _ in plan.tiles)}
    wide = [a for a in accesses(nest.inner) if a.offset.coefficient(vector)]
    moved = [a for a in accesses(nest.inner) if a.offset.coefficient(loop.index)]
    inside = {f.index: extent(f) for f in (*nest.kept[1:], *nest.summed)}
    if len(outside) < 3 or vector not in inside or wide != moved:
        return False
    return sum(footprint(a, inside) for a in wide) <= AGAIN * level2


def tuned(part: int, outer: For) -> int | None:
    """Steps at a time that were found by measuring: one where their number is known at run time."""
    if outer.extent is None:
        return 1 if part else None
    return min(part, outer.extent) or None


def ranges(outer: For, part: int) -> list[Range]:
    """Runs of equal parts; a run-time extent goes step by step."""
    stop = outer.extent
    if stop is None:
        return [Range(0, outer.stop, 1)]
    count = -(-stop // part)
    small, larger = divmod(stop, count)
    middle = larger * (small + 1)
    found = [Range(0, middle, small + 1), Range(middle, stop, small)]
    return [piece for piece in found if piece.start != piece.stop]


def destination(nest: Nest, end: Load) -> Access | None:
    """Where the sum is stored, if that is all that is done with it."""
    rest = [s for s in nest.after if s is not end]
    if len(rest) != 1 or not isinstance(rest[0], Update):
        return None
    store = rest[0]
    same = len(store.args) == 1 and store.args[0][1] == end.name and store.expr == store.args[0][0]
    return store.target if same and holds(nest, end, store) else None


def room(nest: Nest, end: Load) -> Access | None:
    """Where what follows the sum is stored, if sums so far may lie there before.

    Whatever else it reads is smaller: an array as large could lie in the same place.
    """
    loads = [s for s in (*nest.before, *nest.after) if isinstance(s, Load) and s is not end]
    if any(s.access.lookups or everywhere(nest, s.access) for s in loads):
        return None
    stores = (s for s in nest.after if isinstance(s, Update) and holds(nest, end, s))
    return next((store.target for store in stores), None)


def holds(nest: Nest, end: Load, store: Update) -> bool:
    """Whether a store writes each sum's place once, in memory that a sum could lie in."""
    target, read = store.target, {a.buffer.name for a in accesses(nest.inner)}
    if store.how != "=" or store.guards or target.lookups or target.buffer.name in read:
        return False
    return target.buffer.dtype == end.access.buffer.dtype and everywhere(nest, target)


def everywhere(nest: Nest, access: Access) -> bool:
    """Whether an access moves with every kept loop."""
    return all(access.offset.coefficient(f.index) for f in nest.kept if f.extent != 1)
