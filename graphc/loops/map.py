"""Maps: one loop becomes lanes, innermost."""

from __future__ import annotations

from graphc.loops.choose import Plan, choose
from graphc.loops.ir import Stmt
from graphc.loops.nest import Nest, chain
from graphc.loops.schedule import Schedule
from graphc.loops.strip import split, strip


def mapped(schedule: Schedule, nest: Nest) -> tuple[Stmt, ...]:
    """A map by whole vectors."""
    plan = choose(nest, schedule.machine)
    schedule.notes.append(plan.why)
    return strips(schedule, nest, plan)


def strips(schedule: Schedule, nest: Nest, plan: Plan) -> tuple[Stmt, ...]:
    """A map along the lanes of a plan."""
    if plan.vector is None:
        return chain(nest.kept, nest.inner)
    vector = nest.loop(plan.vector)
    outside = [f for f in nest.kept if f is not vector]
    pieces: list[Stmt] = []
    for piece in split(vector, plan.lanes, plan.lanes, schedule.machine.masked):
        pieces += strip(schedule, vector.index, piece, plan.lanes, nest.inner)
    return chain(outside, tuple(pieces))
