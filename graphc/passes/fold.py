"""Folding: constants go into formulas, and what depends on constants only is computed now."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np

from graphc.graph import leaf
from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.graph.rewrite import rewrite
from graphc.machine import Machine
from graphc.ops import numeric, reference, scalar
from graphc.ops.dtypes import dtype_of
from graphc.ops.formula import Formula
from graphc.ops.given import given
from graphc.ops.index import Affine, Index, Lookup, stays
from graphc.ops.make import fill
from graphc.ops.recurrence import Scan

LARGEST = 1 << 20
T = TypeVar("T")


def fold(graph: Graph, machine: Machine) -> Graph:
    """Apply `inlined`, `counted` and `computed` everywhere."""
    return rewrite(graph, [inlined, counted, computed])


def inlined(node: Node) -> Node | None:
    """f(x[i], c)   ->   f_c(x[i])   where c is one number everywhere."""
    op = node.op
    if not isinstance(op, Formula):
        return None
    for position, operand in enumerate(node.inputs):
        value = number(operand)
        if value is None or op.is_lookup(position) or not always(op, position, operand):
            continue
        if scalar.is_checked(op.expr, op.args[position]):
            continue
        dtypes = {arg: i.dtype for arg, i in zip(op.args, node.inputs, strict=True)}
        dtype = dtype_of(op.expr, dtypes) if op.how in ("argmax", "argmin") else node.dtype
        expr = given(op.expr, op.args[position], value, dtypes, dtype)
        if expr is not None:
            return without(op, position, expr, node)
    return None


def number(node: Node) -> Any:
    """The one number that a node holds everywhere."""
    op = node.op
    if isinstance(op, Formula) and not op.args and op.pointwise and op.expr.is_number:
        filled = op.fills(node.shape)
        return numeric.evaluate(op.expr, {}, {}, node.dtype).item() if filled else None
    if isinstance(op, leaf.Constant) and op.array.size == 1:
        return op.array.item()
    return None


def always(op: Formula, position: int, operand: Node) -> bool:
    """Whether the operand is read at every point: leaving it would have contributed nothing."""
    return all(
        isinstance(e, Affine) and stays(e, size, op.extents)
        for e, size in zip(op.reads[position], operand.shape, strict=True)
    )


def without(op: Formula, position: int, expr: scalar.Expr, node: Node) -> Node:
    """The op with one operand taken into its formula."""

    def keep(items: tuple[T, ...]) -> tuple[T, ...]:
        return items[:position] + items[position + 1 :]

    def moved(place: Index) -> Index:
        return tuple(
            Lookup(e.operand - (e.operand > position)) if isinstance(e, Lookup) else e
            for e in place
        )

    reads = tuple(moved(r) for i, r in enumerate(op.reads) if i != position)
    slimmer = Formula(
        op.name,
        keep(op.args),
        expr,
        reads,
        moved(op.writes),
        op.domain,
        op.how,
    )
    return slimmer(keep(node.inputs), node.type)


def counted(node: Node) -> Node | None:
    """[i] += c over j   ->   [i] = c*J."""
    op = node.op
    if not isinstance(op, Formula) or op.args or op.pointwise or op.how != "sum":
        return None
    if not op.fills(node.shape) or not op.expr.is_number or node.dtype == "bool":
        return None
    total = 1
    for name in op.summed:
        extent = op.extents[name]
        if not isinstance(extent, int):
            return None
        total *= extent
    return fill(op.expr * total, node.type, op.name)


def computed(node: Node) -> Node | None:
    """f(constants)   ->   a constant, where it is not larger than a million elements.

    A scan stays: it may be long, and the oracle runs its steps one by one.
    """
    if not node.inputs or not all(isinstance(i.op, leaf.Constant) for i in node.inputs):
        return None
    if isinstance(node.op, Scan):
        return None
    if any(isinstance(e, str) for e in node.shape):
        return None
    if math.prod(int(e) for e in node.shape) > LARGEST:
        return None
    (value,) = reference.evaluate([node])
    return leaf.constant(np.asarray(value), node.dtype)
