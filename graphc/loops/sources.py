"""Sources: where a map reads one of several operands, as a step of a loop tells, each has a loop.

for j in 0..96: y[j] = a[j] + b[j - 64]     a only if j < 64, b only if 64 <= j
-->
for j in 0..64: y[j] = a[j] + 0;  for j in 0..32: y[j + 64] = 0 + b[j]

So parts that lie one behind the other in memory, as a rule, are copied as a whole.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from graphc.loops.ir import For, Kernel, Let, Load, Stmt, Update
from graphc.loops.nest import Nest, chain, parse
from graphc.loops.peel import MOST, cuts, settled
from graphc.loops.strip import moved
from graphc.machine import Machine
from graphc.ops.index import index

PIECES = 8
"""Loops that a map may become."""


def sources(kernel: Kernel, machine: Machine) -> Kernel:
    """Apply it to every map of the kernel."""
    body = [piece for stmt in kernel.body for piece in separated(stmt)]
    return replace(kernel, body=tuple(body))


def separated(stmt: Stmt) -> tuple[Stmt, ...]:
    """The loops that a map becomes; any other statement as it is."""
    nest = parse(stmt) if isinstance(stmt, For) else None
    if nest is None or nest.reduces or len(nest.inner) > MOST:
        return (stmt,)
    if not all(isinstance(s, Load | Let | Update) for s in nest.inner):
        return (stmt,)
    cut = [loop for loop in nest.kept if cuts(nest, loop) is not None]
    if len(cut) != 1:
        return (stmt,)
    (loop,) = cut
    places = cuts(nest, loop)
    assert places is not None
    depth = nest.kept.index(loop)
    body: list[Stmt] = []
    for start, stop in itertools.pairwise(places):
        piece = replace(loop, start=0, stop=stop - start)
        inner = moved(nest.inner, {loop.index: index(loop.index) + start})
        known = tuple(settled(s, piece) for s in inner)
        if not one(nest, known):
            return (stmt,)
        body += chain((piece, *nest.kept[depth + 1 :]), known)
    return chain(nest.kept[:depth], tuple(body)) if len(body) <= PIECES else (stmt,)


def one(nest: Nest, known: tuple[Stmt, ...]) -> bool:
    """Whether of several operands that are read under conditions a piece reads one, under none."""
    asked = {s.name for s in nest.inner if isinstance(s, Load) and s.guards}
    left = [s for s in known if isinstance(s, Load) and s.name in asked]
    return len(asked) > 1 and len(left) == 1 and not left[0].guards
