"""Outside: where what is read is known to be 0, in the border of a copy, and a sum adds nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from graphc.graph.node import Node
from graphc.loops.ir import For, Guard, Load, Stmt, Update, is_product
from graphc.loops.place import Position
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, stays


def inside(node: Node, position: Position) -> tuple[Guard, ...]:
    """The conditions without which a node is 0 at a position: a copy is, where it has no source.

    y[h + r]  where y[j] = x[j - 1], 0 outside   -->   0 <= h + r - 1 < 32
    """
    op = node.op
    if not isinstance(op, Formula) or len(node.inputs) != 1 or op.expr != op.args[0]:
        return ()
    if op.how != "sum" or not op.fills(node.shape):
        return ()
    (source,), (read,) = node.inputs, op.reads
    at = {e.plain: p for e, p in zip(op.writes, position, strict=True) if isinstance(e, Affine)}
    values = {name: place for name, place in at.items() if name is not None}
    found: list[Guard] = []
    places: list[Affine] = []
    for e, size in zip(read, source.shape, strict=True):
        if not isinstance(e, Affine) or not set(e.names) <= set(values):
            return ()
        places.append(e.substitute(values))
        if isinstance(size, int) and not stays(e, size, op.extents):
            found.append(Guard(places[-1], size))
    return (*found, *inside(source, tuple(places)))


def required(stmts: Iterable[Stmt]) -> tuple[Guard, ...]:
    """The conditions without which each of some updates adds a product by 0."""
    loads: dict[str, tuple[Guard, ...]] = {}
    found: dict[Guard, None] | None = None
    for stmt in stmts:
        if isinstance(stmt, Load):
            loads[stmt.name] = stmt.inside
        elif isinstance(stmt, Update):
            factors = [arg for _, arg in stmt.args] if is_product(stmt) else []
            here = [g for arg in factors if isinstance(arg, str) for g in loads.get(arg, ())]
            found = dict.fromkeys(here if found is None else [g for g in found if g in here])
    return tuple(found or ())


def unasked(stmts: tuple[Stmt, ...], names: set[str]) -> tuple[Stmt, ...]:
    """Statements without the conditions that ask where some indices are."""
    result: list[Stmt] = []
    for stmt in stmts:
        if isinstance(stmt, For):
            stmt = replace(stmt, body=unasked(stmt.body, names))
        elif isinstance(stmt, Load):
            left = tuple(g for g in stmt.inside if not names & set(g.position.names))
            stmt = replace(stmt, inside=left)
        result.append(stmt)
    return tuple(result)


def settled(stmts: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """Statements of which no loop is to leave anything out."""
    result: list[Stmt] = []
    for stmt in stmts:
        if isinstance(stmt, For):
            stmt = replace(stmt, body=settled(stmt.body))
        elif isinstance(stmt, Load):
            stmt = replace(stmt, inside=())
        result.append(stmt)
    return tuple(result)
