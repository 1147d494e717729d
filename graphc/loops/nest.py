"""Nests: a loop chain and what its innermost body does, in the form that schedules are chosen from.

A map nest computes and stores one element a point. A reduction nest has a register that starts
from an identity, is updated by inner loops, and is read once they are done.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from graphc.loops.ir import (
    Access,
    Alloc,
    Check,
    For,
    Let,
    Load,
    Stmt,
    Transpose,
    Update,
    indices,
    used,
    walk,
)
from graphc.ops.index import Affine, Runtime, index
from graphc.types import SIZE

NOMINAL = 128
"""What a run-time extent is taken for when schedules are compared."""


@dataclass(frozen=True)
class Nest:
    """kept loops { before; summed loops { inner }; after }; a map has only `inner`."""

    kept: tuple[For, ...]
    before: tuple[Stmt, ...]
    summed: tuple[For, ...]
    inner: tuple[Stmt, ...]
    after: tuple[Stmt, ...]

    @property
    def reduces(self) -> bool:
        """Whether it is a reduction nest."""
        return bool(self.summed)

    def loop(self, index: str) -> For:
        """The loop of an index."""
        return next(f for f in (*self.kept, *self.summed) if f.index == index)


def parse(loop: For) -> Nest | None:
    """The nest that a loop is the outermost of; None where its body has several inner loops.

    Definitions that stand between the loops are taken into the innermost body. Unrolled loops are
    part of the body that they stand in.
    """
    if loop.kind == "ordered":
        return None
    kept, shared = descend(loop)
    body = (*shared, *kept[-1].body)
    inside = [s for s in body if isinstance(s, For)]
    if all(s.kind == "unrolled" for s in inside):
        return Nest(kept, (), (), body, ())
    if len(inside) != 1:
        return None
    at = body.index(inside[0])
    if not any(isinstance(s, Alloc) for s in body[:at]):
        return None
    summed, between = descend(inside[0])
    inner = (*between, *summed[-1].body)
    if any(isinstance(s, For) for s in inner):
        return None
    return Nest(kept, body[:at], summed, inner, body[at + 1 :])


def descend(loop: For) -> tuple[tuple[For, ...], tuple[Stmt, ...]]:
    """The loops that hold nothing but one loop and definitions, and those definitions."""
    loops: list[For] = [loop]
    shared: list[Stmt] = []
    while True:
        body = loops[-1].body
        inside = [s for s in body if isinstance(s, For)]
        if len(inside) != 1 or body[-1] is not inside[0]:
            break
        if inside[0].kind in ("ordered", "unrolled"):
            break
        if not all(isinstance(s, Load | Let | Check) for s in body[:-1]):
            break
        shared += body[:-1]
        loops.append(inside[0])
    return tuple(loops), tuple(shared)


def chain(loops: Sequence[For], body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """Loops around a body, the first outermost."""
    for loop in reversed(loops):
        body = (For(loop.index, loop.start, loop.stop, loop.step, loop.kind, body),)
    return body


def accesses(stmts: Sequence[Stmt]) -> Iterator[Access]:
    """Every memory access of some statements (registers excepted)."""
    for stmt in walk(tuple(stmts)):
        if isinstance(stmt, Load) and stmt.access.buffer.space != "register":
            yield stmt.access
        if isinstance(stmt, Update) and stmt.target.buffer.space != "register":
            yield stmt.target
        if isinstance(stmt, Transpose):
            yield from (stmt.source, stmt.target)


def written(stmts: Sequence[Stmt]) -> frozenset[str]:
    """The buffers that some statements write."""
    updates = (s.target for s in walk(tuple(stmts)) if isinstance(s, Update | Transpose))
    return frozenset(target.buffer.name for target in updates)


def flat(stmts: Sequence[Stmt]) -> tuple[Stmt, ...]:
    """Statements with what stands in unrolled loops among them."""
    return tuple(stmt for stmt in walk(tuple(stmts)) if not isinstance(stmt, For))


def forms(stmts: Sequence[Stmt]) -> Iterator[Affine]:
    """Every index expression of some statements that is no plain memory offset."""
    for stmt in walk(tuple(stmts)):
        match stmt:
            case Load():
                yield from (g.position for g in stmt.guards)
            case Let():
                yield from (a for _, a in stmt.args if isinstance(a, Affine))
            case Update():
                yield from (g.position for g in stmt.guards)
                yield from (a for _, a in stmt.args if isinstance(a, Affine))
            case Check():
                yield from stmt.position


def extent(loop: For) -> int:
    """The number of steps, a guess where it is known only at run time, or there are conditions."""
    if loop.where:
        loop = replace(loop, where=())
    if loop.extent is not None:
        return loop.extent
    stop = loop.stop
    assert isinstance(stop, Runtime)
    return NOMINAL * stop.scale


def row_major(kept: tuple[For, ...]) -> Affine:
    """Each point of some loops in turn."""
    place, factor = Affine(), 1
    for loop in reversed(kept):
        place = place + index(loop.index) * factor
        factor *= loop.extent or 1
    return place


def footprint(access: Access, extents: dict[str, int]) -> int:
    """Bytes that an access touches while some indices run, at most.

    x[M*h + M*r + w + s]: rows of h and r meet, as do places of w and s; these lie side by side.
    """
    moves = sorted((abs(c), extents[n]) for n, c in access.offset.terms if extents.get(n, 1) > 1)
    run, count = runs(moves)
    reach = 1 + sum(stride * (steps - 1) for stride, steps in moves)
    points = math.prod(extents.get(name, 1) for name in access.offset.names)
    return min(run * count, reach, points) * SIZE[access.buffer.dtype]


def runs(moves: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The elements of a run, and how many runs, that steps of some strides make, in their order."""
    run, pieces, step, count = 1, 1, 0, 1
    for stride, steps in moves:
        if not step and stride <= run:
            run += stride * (steps - 1)
        elif step and stride % step == 0 and stride <= step * count:
            count += stride // step * (steps - 1)
        else:
            pieces, step, count = pieces * count, stride, steps
    return run, count * pieces


def depending(stmts: Sequence[Stmt], index: str) -> set[str]:
    """The values that differ from one step of an index to the next."""
    names: set[str] = set()
    for stmt in stmts:
        if isinstance(stmt, Load | Let) and (index in indices(stmt) or used(stmt) & names):
            names.add(stmt.name)
    return names


def needed(stmts: Sequence[Stmt], wanted: Sequence[Stmt]) -> tuple[Stmt, ...]:
    """The definitions among `stmts` that `wanted` reads, directly or not, in order."""
    names = {n for s in wanted for n in used(s)}
    kept: list[Stmt] = []
    for stmt in reversed(stmts):
        if isinstance(stmt, Load | Let) and stmt.name in names:
            kept.append(stmt)
            names |= used(stmt)
        elif isinstance(stmt, Check) and stmt.name in names:
            kept.append(stmt)
    return tuple(reversed(kept))
