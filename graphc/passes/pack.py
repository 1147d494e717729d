"""Packing: an operand that is read many times across its rows is turned over first.

A contraction whose result is contiguous along an index wants its operands contiguous along it too,
so that neighbouring elements of the result are the lanes of a vector. Where an operand is not, and
each of its elements is read often, one transposing copy costs less than reading it crosswise.
"""

from __future__ import annotations

from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.graph.rewrite import rewrite
from graphc.machine import Machine
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Index
from graphc.passes.arrange import permuted
from graphc.types import is_float

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
    if not isinstance(op, Formula) or not op.plain or not op.summed or not op.writes:
        return None
    last = op.writes[-1]
    assert isinstance(last, Affine) and last.plain
    extent = op.extents[last.plain]
    if not isinstance(extent, int) or extent < SHORTEST or not is_float(node.dtype):
        return None
    for position, (operand, read) in enumerate(zip(node.inputs, op.reads, strict=True)):
        order = better(op, read, last.plain, operand)
        if order is None:
            continue
        copy = permuted(operand, order, "packed")
        reads = (
            *op.reads[:position],
            tuple(read[axis] for axis in order),
            *op.reads[position + 1 :],
        )
        inputs = (*node.inputs[:position], copy, *node.inputs[position + 1 :])
        moved = Formula(op.name, op.args, op.expr, reads, op.writes, op.domain, op.how)
        return moved(inputs, node.type)
    return None


def better(op: Formula, read: Index, lanes: str, operand: Node) -> tuple[int, ...] | None:
    """The order of an operand's axes that puts the lanes last; None where that gains nothing."""
    places = [e.plain if isinstance(e, Affine) else None for e in read]
    if None in places or len(set(places)) != len(places) or lanes not in places:
        return None
    at = places.index(lanes)
    if at == len(read) - 1 or any(
        op.extents[str(p)] != n for p, n in zip(places, operand.shape, strict=True)
    ):
        return None
    if isinstance(operand.shape[at], str) or places[-1] not in op.summed:
        return None
    times = 1
    for name in op.kept:
        if name not in places:
            extent = op.extents[name]
            times *= extent if isinstance(extent, int) else NOMINAL
    if times < REUSE or op.extents[str(places[-1])] == 1:
        return None
    return (*(axis for axis in range(len(read)) if axis != at), at)
