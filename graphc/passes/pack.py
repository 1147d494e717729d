"""Packing: an operand that is read many times across its rows is turned over first.

A contraction whose result is contiguous along an index wants its operands contiguous along it too,
so that neighbouring elements of the result are the lanes of a vector. Where an operand is not, and
each of its elements is read often, one transposing copy costs less than reading it crosswise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.graph.rewrite import rewrite
from graphc.machine import Machine
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Index, index, stays
from graphc.passes import layout
from graphc.passes.border import residual
from graphc.passes.copies import copied, permuted
from graphc.passes.invert import covered
from graphc.types import Shape, is_float

REUSE = 24
"""How often an element must be read for a copy to pay."""
SHORTEST = 8
"""The extent below which an index is not worth being the lanes."""
NOMINAL = 128


def pack(graph: Graph, machine: Machine) -> Graph:
    """Apply `turned` everywhere."""
    return rewrite(graph, [turned])


def turned(node: Node) -> Node | None:
    """[m, n] += f(a[m, k], b[n, k])   ->   f(a[m, k], b'[k, n])  where [k, n] = b[n, k]."""
    op = node.op
    if not isinstance(op, Formula) or not op.summed or not op.writes or not covered(op, node):
        return None
    last = op.writes[-1]
    if not isinstance(last, Affine) or not last.plain:
        return None
    extent = op.extents[last.plain]
    if not isinstance(extent, int) or extent < SHORTEST or not is_float(node.dtype):
        return None
    for position, (operand, read) in enumerate(zip(node.inputs, op.reads, strict=True)):
        order = better(op, read, last.plain, operand)
        axes = across(op, read, last.plain, operand)
        if order is not None:
            moved_read: Index = tuple(map(index, order))
            copy = laid(op, read, operand, order)
        elif axes is not None:
            moved_read = tuple(read[axis] for axis in axes)
            copy = permuted(operand, axes, "packed")
        else:
            continue
        reads = (*op.reads[:position], moved_read, *op.reads[position + 1 :])
        inputs = (*node.inputs[:position], copy, *node.inputs[position + 1 :])
        moved = Formula(op.name, op.args, op.expr, reads, op.writes, op.domain, op.how)
        return moved(inputs, node.type)
    return None


def better(op: Formula, read: Index, lanes: str, operand: Node) -> tuple[str, ...] | None:
    """The indices of a read in the order of a copy's axes, the lanes last; None where none pays.

    Each index becomes an axis of its own: heads side by side in memory, or rows of a part of a
    matrix, are copied as they are read. Windows that overlap would be written out; they are not.
    """
    places = [e for e in read if isinstance(e, Affine)]
    if len(places) != len(read) or isinstance(op.extents[lanes], str):
        return None
    if not all(stays(e, n, op.extents) for e, n in zip(places, operand.shape, strict=True)):
        return None
    offset = layout.offset(operand.shape, tuple(places))
    names = sorted(offset.names, key=lambda name: -abs(offset.coefficient(name)))
    if offset.coefficient(lanes) in (0, 1) or count(op, names) > count_of(operand.shape):
        return None
    apart = abs(offset.coefficient(lanes))
    near = [n for n in names if abs(offset.coefficient(n)) < apart and op.extents[n] != 1]
    if not near or count(op, [n for n in op.kept if n not in names]) < REUSE:
        return None
    return (*(name for name in names if name != lanes), lanes)


def across(op: Formula, read: Index, lanes: str, operand: Node) -> tuple[int, ...] | None:
    """The axes of an operand with the lanes' last, where other indices leave it at a residue."""
    places = [e for e in read if isinstance(e, Affine)]
    axes = [axis for axis, e in enumerate(places) if e.plain == lanes]
    if len(places) != len(read) or len(axes) != 1 or axes == [len(read) - 1]:
        return None
    if not any(residual(e, op) for e in places):
        return None
    names = {name for e in places for name in e.names}
    if count(op, [n for n in op.kept if n not in names]) < REUSE:
        return None
    return (*(axis for axis in range(len(read)) if axis != axes[0]), axes[0])


def count(op: Formula, names: Sequence[str]) -> int:
    """The points of some indices, a run-time extent guessed."""
    return count_of(tuple(op.extents[name] for name in names))


def count_of(shape: Shape) -> int:
    """The elements of a shape, a run-time extent guessed."""
    return math.prod(extent if isinstance(extent, int) else NOMINAL for extent in shape)


def laid(op: Formula, read: Index, operand: Node, order: tuple[str, ...]) -> Node:
    """A copy of what an op reads of an operand, an axis for each index."""
    axes = {name: f"b{axis}" for axis, name in enumerate(order)}
    moved = tuple(
        e.substitute({name: index(axis) for name, axis in axes.items()})
        for e in read
        if isinstance(e, Affine)
    )
    domain = tuple((axes[name], op.extents[name]) for name in order)
    writes = tuple(index(axis) for axis in axes.values())
    shape = tuple(op.extents[n] for n in order)
    return copied("packed", operand, moved, writes, domain, shape)
