"""Residues: where a kept index of few values bounds a sum, loops are written out for each of them.

for n: for v in 0..2: for k in 0..2: r += x[2*k + v - 1]  if 0 <= 2*k + v - 1 < 3
-->
for n: { for k in 1..2: r += x[2*k - 1] };  { for k in 0..2: r += x[2*k] }

A bound that the last step of a kept index alone meets leaves it to a loop of its own, too:

for n in 0..4: for k in 0..5: r += x[5*n + k]  if 0 <= 5*n + k < 18
-->
for n in 0..3: for k in 0..5: r += x[5*n + k];  for k in 0..3: r += x[k + 15]

So each residue of a stride has the taps that there are, and no condition in its loops. One that has
none, as where windows lie apart, has no sum: what follows it goes on from 0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphc.loops.ir import Alloc, Check, For, Guard, Kernel, Let, Load, Stmt, Update, rename
from graphc.loops.nest import Nest, chain, parse
from graphc.loops.peel import holds, settled
from graphc.loops.strip import moved
from graphc.machine import Machine
from graphc.ops import cases, scalar
from graphc.ops.index import Affine, index
from graphc.passes.border import RESIDUES

SIDES = 2
"""The loops that a tile in registers has sides along: a vector of them, and how many of it."""


def residues(kernel: Kernel, machine: Machine) -> Kernel:
    """Apply `written_out` to every nest that sums."""
    return replace(kernel, body=separated(kernel.body))


def separated(stmts: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """Statements with the nests among them written out."""
    result: list[Stmt] = []
    for stmt in stmts:
        nest = parse(stmt) if isinstance(stmt, For) else None
        if nest is not None and nest.reduces:
            result += ended(nest) or written_out(nest) or (stmt,)
        elif nest is None and isinstance(stmt, For):
            result.append(replace(stmt, body=separated(stmt.body)))
        else:
            result.append(stmt)
    return tuple(result)


def written_out(nest: Nest) -> tuple[Stmt, ...] | None:
    """A nest for each residue; None where no residue bounds a sum.

    They share the outermost loop, so that what they read stays near, where enough others are left
    for a tile in registers.
    """
    sums = {loop.index for loop in nest.summed}
    bounding = {
        name
        for guard in stored(nest.inner)
        if sums & set(guard.position.names)
        for name in guard.position.names
        if name not in sums
    }
    bounding = bounding or emptying(nest) or ending(nest)
    few = [loop for loop in nest.kept if loop.index in bounding]
    steps = [range(loop.extent or 0) for loop in few]
    if not few or not 1 <= math.prod(map(len, steps)) <= RESIDUES:
        return None
    around = [loop for loop in nest.kept if loop not in few]
    asked = {name for guard in stored(nest.inner) for name in guard.position.names}
    free = not around or around[0].index not in asked  # else each residue has its own steps of it
    shared = free and sum(loop.extent != 1 for loop in around[1:]) >= SIDES
    body: list[Stmt] = []
    for point in itertools.product(*steps):
        at = {loop.index: Affine((), step) for loop, step in zip(few, point, strict=True)}
        body += pinned(nest, at, around[shared:])
    return chain(around[:shared], tuple(body))


def ended(nest: Nest) -> tuple[Stmt, ...] | None:
    """A nest without its conditions, and one of the last step of the kept loop that they bound.

    Not of products, whose residues stay together within a loop, so that what they read stays near.
    """
    if nest.summed[-1].kind == "serial":
        return None
    sums = {loop.index for loop in nest.summed}
    guards = [g for s in nest.inner if isinstance(s, Load | Update) for g in s.guards]
    names = {name for guard in guards for name in guard.position.names}
    bounding = [loop for loop in nest.kept if loop.index in names]
    extents = {loop.index: loop.extent for loop in (*nest.kept, *nest.summed)}
    if len(bounding) != 1 or not sums & names or None in map(extents.get, names):
        return None
    (last,) = bounding
    step = extents[last.index]
    assert step is not None
    before = {**extents, last.index: step - 1}
    if step < 2 or not all(within_bounds(guard, before) for guard in guards):
        return None
    whole = tuple(replace(s, guards=()) if isinstance(s, Load | Update) else s for s in nest.inner)
    shorter = [replace(f, stop=step - 1) if f is last else f for f in nest.kept]
    around = [loop for loop in nest.kept if loop is not last]
    at = {last.index: Affine((), step - 1)}
    return (
        *chain(shorter, (*nest.before, *chain(nest.summed, whole), *nest.after)),
        *chain(around[:1], pinned(nest, at, around[1:])),
    )


def within_bounds(guard: Guard, extents: Mapping[str, int | None]) -> bool:
    """Whether a condition holds wherever its indices are."""
    known = {name: extents[name] or 0 for name in guard.position.names}
    low, high = guard.position.range(known)
    return isinstance(guard.bound, int) and low >= 0 and high < guard.bound


def pinned(nest: Nest, at: dict[str, Affine], around: Sequence[For]) -> tuple[Stmt, ...]:
    """A nest where some kept indices have values, within the loops left of those around it."""
    before, inner, after = (moved(stmts, at) for stmts in (nest.before, nest.inner, nest.after))
    if plain(nest):
        inner = tuple(known for stmt in inner if (known := decided(stmt)) is not None)
    kept: list[For] = []
    for loop in around:
        loop, at = cut(loop, stored(after))
        before, inner, after = (within(s, loop, at) for s in (before, inner, after))
        kept.append(loop)
    summed: list[For] = []
    if plain(nest) and any(empty(loop, stored(inner)) for loop in nest.summed):
        inner = ()
    for loop in nest.summed:
        loop, at = cut(loop, stored(inner))
        inner = within(inner, loop, at)
        if loop.extent == 1 and (summed or loop.index != nest.summed[-1].index):
            inner = moved(inner, {loop.index: Affine()})
        else:
            summed.append(loop)
    if any(isinstance(stmt, Update) for stmt in inner):
        return chain(kept, (*before, *chain(summed, inner), *after))
    return chain(kept, unsummed(before, after))


def emptying(nest: Nest) -> set[str]:
    """The kept indices of few values at some of which nothing is added, whatever the others are."""
    found: set[str] = set()
    kept = {loop.index: loop for loop in nest.kept}
    for stmt in nest.inner if plain(nest) else ():
        if not isinstance(stmt, Update):
            continue
        places = {symbol: arg.plain for symbol, arg in stmt.args if isinstance(arg, Affine)}
        for symbols in cases.conditions(stmt.expr):
            names = {places.get(symbol) for symbol in symbols}
            loop = kept.get(names.pop() or "") if len(names) == 1 else None
            steps = range(loop.extent or 0) if loop is not None else ()
            if loop is None or len(steps) > RESIDUES:
                continue
            if any(decided(rename(stmt, {loop.index: Affine((), n)})) is None for n in steps):
                found.add(loop.index)
    return found


def ending(nest: Nest) -> set[str]:
    """The kept indices of few values that decide with others whether a result is there at all."""
    kept = {loop.index: loop.extent for loop in nest.kept}
    places = [guard.position for guard in stored(nest.inner)]
    return {
        name
        for place in places
        if len(place.names) > 1 and set(place.names) <= kept.keys()
        for name in place.names
        if place.coefficient(name) == 1 and (kept[name] or math.inf) <= RESIDUES
    }


def plain(nest: Nest) -> bool:
    """Whether what follows a sum only reads what it began from, a number, where it has no terms.

    Not where terms are looked at though nothing is added: an index may be out of bounds.
    """
    registers = {s.buffer.name for s in nest.before if isinstance(s, Alloc)}
    starts = [s for s in nest.before if isinstance(s, Update)]
    changed = {s.target.buffer.name for s in nest.after if isinstance(s, Update)}
    checked = any(isinstance(s, Check) for s in nest.inner)
    numbers = all(s.how == "=" and not s.args for s in starts)
    return not changed & registers and numbers and not checked


def decided(stmt: Stmt) -> Stmt | None:
    """A statement where some of its indices are numbers; None where it then adds nothing."""
    if not isinstance(stmt, Update) or stmt.how != "sum":
        return stmt
    expr, choosing = stmt.expr, set().union(*cases.conditions(stmt.expr))
    for symbol, arg in stmt.args:
        if isinstance(arg, Affine) and not arg.terms and symbol in choosing:
            expr = scalar.with_value(expr, symbol, arg.constant)
    args = tuple((symbol, arg) for symbol, arg in stmt.args if symbol in expr.free_symbols)
    return None if expr == scalar.ZERO else replace(stmt, expr=expr, args=args)


def unsummed(before: tuple[Stmt, ...], after: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """What follows a sum that has no terms: registers hold what they began from."""
    starts = {s.target.buffer.name: s.expr for s in before if isinstance(s, Update)}
    result: list[Stmt] = [s for s in before if not isinstance(s, Alloc | Update)]
    for stmt in after:
        if isinstance(stmt, Load) and stmt.access.buffer.name in starts:
            buffer = stmt.access.buffer
            stmt = Let(stmt.name, starts[buffer.name], (), buffer.dtype)
        result.append(stmt)
    return tuple(result)


def stored(stmts: tuple[Stmt, ...]) -> list[Guard]:
    """The conditions without which nothing is stored, or added to a sum.

    Those of a load alone are none: where they fail it gives 0, and the largest of some numbers and
    0 may be 0.
    """
    stores = [s.guards for s in stmts if isinstance(s, Update)]
    return [g for g in stores[0] if all(g in others for others in stores)] if stores else []


def cut(loop: For, conditions: list[Guard]) -> tuple[For, dict[str, Affine]]:
    """The steps at which conditions can hold, from 0 on; and what the loop's index then is."""
    first, end = between(loop, conditions)
    if end is None or first >= end:
        return loop, {}
    return replace(loop, start=0, stop=end - first), {loop.index: index(loop.index) + first}


def empty(loop: For, conditions: list[Guard]) -> bool:
    """Whether conditions hold at none of a loop's steps."""
    first, end = between(loop, conditions)
    return end is not None and first >= end


def between(loop: For, conditions: list[Guard]) -> tuple[int, int | None]:
    """The first step at which conditions can hold, and the one after the last; None: not known."""
    first, end = 0, loop.extent
    for bounds in (holds(guard, loop) for guard in conditions):
        if bounds is not None and end is not None:
            first, end = max(first, bounds[0]), min(end, bounds[1])
    return first, end


def within(stmts: tuple[Stmt, ...], loop: For, at: dict[str, Affine]) -> tuple[Stmt, ...]:
    """Statements in a loop that was cut."""
    return tuple(settled(stmt, loop) for stmt in moved(stmts, at))
