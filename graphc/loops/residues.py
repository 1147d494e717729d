"""Residues: where a kept index of few values bounds a sum, loops are written out for each of them.

for n: for v in 0..2: for k in 0..2: r += x[2*k + v - 1]  if 0 <= 2*k + v - 1 < 3
-->
for n: { for k in 1..2: r += x[2*k - 1] };  { for k in 0..2: r += x[2*k] }

So each residue of a stride has the taps that there are, and no condition in its loops.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

from graphc.loops.ir import For, Guard, Kernel, Load, Stmt, Update
from graphc.loops.nest import Nest, chain, parse
from graphc.loops.peel import holds, settled
from graphc.loops.strip import moved
from graphc.machine import Machine
from graphc.ops.index import Affine, index
from graphc.passes.border import RESIDUES


def residues(kernel: Kernel, machine: Machine) -> Kernel:
    """Apply `written_out` to every nest that sums."""
    return replace(kernel, body=separated(kernel.body))


def separated(stmts: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """Statements with the nests among them written out."""
    result: list[Stmt] = []
    for stmt in stmts:
        nest = parse(stmt) if isinstance(stmt, For) else None
        if nest is not None and nest.reduces:
            result += written_out(nest) or (stmt,)
        elif nest is None and isinstance(stmt, For):
            result.append(replace(stmt, body=separated(stmt.body)))
        else:
            result.append(stmt)
    return tuple(result)


def written_out(nest: Nest) -> tuple[Stmt, ...] | None:
    """A nest for each residue, within its outermost loop; None where no residue bounds a sum."""
    sums = {loop.index for loop in nest.summed}
    bounding = {
        name
        for guard in guards(nest.inner)
        if sums & set(guard.position.names)
        for name in guard.position.names
        if name not in sums
    }
    few = [loop for loop in nest.kept if loop.index in bounding]
    steps = [range(loop.extent or 0) for loop in few]
    if not few or not 1 <= math.prod(map(len, steps)) <= RESIDUES:
        return None
    around = [loop for loop in nest.kept if loop not in few]
    body: list[Stmt] = []
    for point in itertools.product(*steps):
        at = {loop.index: Affine((), step) for loop, step in zip(few, point, strict=True)}
        parts = (nest.before, nest.inner, nest.after)
        before, inner, after = (moved(stmts, at) for stmts in parts)
        kept = around[:1]
        for loop in around[1:]:
            loop, at = cut(loop, stored(after))
            before, inner, after = (within(s, loop, at) for s in (before, inner, after))
            kept.append(loop)
        summed: list[For] = []
        for loop in nest.summed:
            loop, at = cut(loop, guards(inner))
            inner = within(inner, loop, at)
            if loop.extent == 1 and (summed or loop.index != nest.summed[-1].index):
                inner = moved(inner, {loop.index: Affine()})
            else:
                summed.append(loop)
        body += chain(kept[1:], (*before, *chain(summed, inner), *after))
    return chain(around[:1], tuple(body))


def guards(stmts: tuple[Stmt, ...]) -> list[Guard]:
    """The conditions of some statements."""
    return [g for s in stmts if isinstance(s, Load | Update) for g in s.guards]


def stored(stmts: tuple[Stmt, ...]) -> list[Guard]:
    """The conditions without which nothing is stored."""
    stores = [s.guards for s in stmts if isinstance(s, Update)]
    return [g for g in stores[0] if all(g in others for others in stores)] if stores else []


def cut(loop: For, conditions: list[Guard]) -> tuple[For, dict[str, Affine]]:
    """The steps at which conditions can hold, from 0 on; and what the loop's index then is."""
    first, end = 0, loop.extent
    for bounds in (holds(guard, loop) for guard in conditions):
        if bounds is not None and end is not None:
            first, end = max(first, bounds[0]), min(end, bounds[1])
    if end is None or first >= end:
        return loop, {}
    return replace(loop, start=0, stop=end - first), {loop.index: index(loop.index) + first}


def within(stmts: tuple[Stmt, ...], loop: For, at: dict[str, Affine]) -> tuple[Stmt, ...]:
    """Statements in a loop that was cut."""
    return tuple(settled(stmt, loop) for stmt in moved(stmts, at))
