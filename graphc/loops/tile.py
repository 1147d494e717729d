"""Tile, promote and vectorise: each nest gets the schedule that fits it.

Maps go by whole vectors (map), sums into registers around them in lanes (lanes), reductions with
loops around them in register tiles (registers), with packed panels (panel), partial sums (stream)
and rows instead of strips (columns) where memory asks for them.
"""

from __future__ import annotations

from dataclasses import replace

from graphc.loops.apart import apart
from graphc.loops.blocked import summed
from graphc.loops.choice import MODEL
from graphc.loops.choose import Plan, choose, like
from graphc.loops.columns import columns
from graphc.loops.ir import For, Kernel, Stmt
from graphc.loops.lanes import lanes_only, open_reduction
from graphc.loops.map import mapped
from graphc.loops.nest import Nest, chain, extent, written
from graphc.loops.peel import peeled
from graphc.loops.schedule import Schedule
from graphc.loops.several import several
from graphc.loops.stream import streamed
from graphc.loops.turn import transposed
from graphc.machine import Machine


def tile(kernel: Kernel, machine: Machine) -> Kernel:
    """Schedule every nest of a kernel."""
    schedule = Schedule(machine, kernel.choices)
    body = nests(schedule, kernel.body)
    return replace(kernel, body=body, notes=(*kernel.notes, *schedule.notes))


def nests(schedule: Schedule, stmts: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """Schedule the nests in a list of statements; what is no nest keeps its loops."""
    result: list[Stmt] = []
    for stmt in stmts:
        if not isinstance(stmt, For):
            result.append(stmt)
            continue
        around, nest = several(stmt)
        if nest is not None and nest.reduces:
            plan = decided(schedule, nest)
            done = columns(schedule, nest, plan) or streamed(schedule, nest, plan)
            done = done or apart(schedule, nest, plan) or summed(schedule, nest, plan)
            result += chain(around, done)
        elif nest is not None and open_reduction(nest):
            result += lanes_only(schedule, nest)
        elif nest is not None:
            done = transposed(schedule, nest) or peeled(schedule, nest)
            result += done or mapped(schedule, nest)
        else:
            result.append(steps(schedule, stmt))
    return tuple(result)


def decided(schedule: Schedule, nest: Nest) -> Plan:
    """The plan that measuring chose, where it is one for this nest, else the cost model's."""
    choice = schedule.begin()
    model = choose(nest, schedule.machine)
    if choice == MODEL:
        return model
    schedule.notes.append(f"tuned: {choice}")
    if choice.tile is None:
        return model
    return next((p for p in like(nest, model, schedule.machine) if p.tile == choice.tile), model)


def reductions(stmts: tuple[Stmt, ...]) -> list[Nest]:
    """The nests of a kernel that sum, in the order in which they are scheduled."""
    found: list[Nest] = []
    for stmt in stmts:
        if not isinstance(stmt, For):
            continue
        _, nest = several(stmt)
        if nest is None:
            found += reductions(stmt.body)
        elif nest.reduces:
            found.append(nest)
    return found


def steps(schedule: Schedule, loop: For) -> For:
    """A loop around several nests with its body scheduled."""
    outside = schedule.steps, schedule.changing, schedule.once
    schedule.steps *= max(1, extent(loop))
    if loop.kind != "ordered":  # a scan reads all its weights at each step, however many
        schedule.once = schedule.machine.level2 // 2
    schedule.changing |= written(loop.body)
    body = nests(schedule, loop.body)
    schedule.steps, schedule.changing, schedule.once = outside
    return replace(loop, body=body)
