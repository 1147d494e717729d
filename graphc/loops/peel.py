"""Peel: a map's loops are cut where a guard begins or ceases to hold: most steps then have none.

for j in 0..34: y[j] = x[j - 1]  if 0 <= j - 1 < 32
-->
for j in 0..1: y[j] = 0;  for j in 1..33: y[j] = x[j - 1];  for j in 33..34: y[j] = 0
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from graphc.loops.choose import Plan, choose
from graphc.loops.ir import For, Guard, Let, Load, Stmt, Update
from graphc.loops.map import strips
from graphc.loops.nest import Nest, chain
from graphc.loops.schedule import Schedule
from graphc.loops.strip import moved
from graphc.ops import scalar
from graphc.ops.index import index

MOST = 12
"""Statements of a body that may be written out several times."""


def peeled(schedule: Schedule, nest: Nest) -> tuple[Stmt, ...] | None:
    """A map in pieces within its outermost loop, which threads share; None where nothing is gained.

    Lanes lie along the innermost loop in every piece, and every element is made as before.
    """
    if len(nest.inner) > MOST or not all(isinstance(s, Load | Let | Update) for s in nest.inner):
        return None
    if all(cuts(nest, loop) is None for loop in nest.kept[1:]):
        return None
    plan = choose(nest, schedule.machine)
    if plan.vector != nest.kept[-1].index:
        return None
    schedule.notes += [plan.why, "cut where a border begins and ends"]
    return pieces(schedule, nest, plan)


def pieces(schedule: Schedule, nest: Nest, plan: Plan) -> tuple[Stmt, ...]:
    """The first loop that can be cut in its pieces, each cut further; those around stay whole."""
    for depth, loop in enumerate(nest.kept):
        places = cuts(nest, loop) if depth else None
        if places is None:
            continue
        body: list[Stmt] = []
        for start, stop in itertools.pairwise(places):
            kept = (replace(loop, start=0, stop=stop - start), *nest.kept[depth + 1 :])
            inner = moved(nest.inner, {loop.index: index(loop.index) + start})
            known = tuple(settled(stmt, kept[0]) for stmt in inner)
            body += pieces(schedule, Nest(kept, (), (), known, ()), plan)
        return chain(nest.kept[:depth], tuple(body))
    return strips(schedule, nest, plan)


def cuts(nest: Nest, loop: For) -> Sequence[int] | None:
    """Where a loop is cut: its start, where some guard changes, its end; None where none does."""
    if loop.extent is None or loop.start != 0 or loop.step != 1:
        return None
    found = {0, loop.extent}
    for stmt in nest.inner:
        for guard in stmt.guards if isinstance(stmt, Load) else ():
            found |= {min(max(place, 0), loop.extent) for place in holds(guard, loop) or ()}
    return sorted(found) if len(found) > 2 else None


def holds(guard: Guard, loop: For) -> tuple[int, int] | None:
    """From which step of a loop to which a guard holds, where it depends on that loop alone."""
    factor = guard.position.coefficient(loop.index)
    if factor <= 0 or len(guard.position.names) != 1 or not isinstance(guard.bound, int):
        return None
    first = -(guard.position.constant // factor)
    return first, -((guard.position.constant - guard.bound) // factor)


def settled(stmt: Stmt, loop: For) -> Stmt:
    """A statement within a piece of a loop, without the guards that hold at all its steps."""
    if not isinstance(stmt, Load | Update):
        return stmt
    left = []
    for guard in stmt.guards:
        first, end = holds(guard, loop) or (0, 0)
        if first >= end:
            left.append(guard)
        elif isinstance(stmt, Load) and (end <= 0 or first >= (loop.extent or 0)):
            return Let(stmt.name, scalar.ZERO, (), stmt.access.buffer.dtype)
        elif first > 0 or end < (loop.extent or 0):
            left.append(guard)
    return replace(stmt, guards=tuple(left))
