"""Borders: a contraction that reads beyond an operand reads a padded copy instead.

What lies outside contributes nothing, so zeros may stand there; the inner loops then need no
conditions.
"""

from __future__ import annotations

import math

from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.graph.rewrite import rewrite
from graphc.machine import Machine
from graphc.ops import scalar
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, index, stays
from graphc.passes.copies import copied
from graphc.types import Extent

RESIDUES = 9
"""The values of residues, all together, for each of which loops are written out."""


def border(graph: Graph, machine: Machine) -> Graph:
    """Apply `padded` everywhere."""
    return rewrite(graph, [padded])


def padded(node: Node) -> Node | None:
    """[i] += a*x[i - k]   ->   [i] += a*x'[i - k + K]  where [j] = x[j - K], 0 outside."""
    op = node.op
    if not isinstance(op, Formula) or op.how != "sum" or len(op.args) < 2 or not op.summed:
        return None
    for position, (arg, operand, read) in enumerate(
        zip(op.args, node.inputs, op.reads, strict=True)
    ):
        if op.is_lookup(position) or scalar.with_value(op.expr, arg, 0) != 0:
            continue
        shifts = [
            None if residual(e, op) else reach(e, size, op)
            for e, size in zip(read, operand.shape, strict=True)
        ]
        if all(shift is None for shift in shifts):
            continue
        copy = widened(operand, shifts)
        moved = tuple(
            e if shift is None or not isinstance(e, Affine) else e - shift[0]
            for e, shift in zip(read, shifts, strict=True)
        )
        reads = (*op.reads[:position], moved, *op.reads[position + 1 :])
        inputs = (*node.inputs[:position], copy, *node.inputs[position + 1 :])
        inner = Formula(op.name, op.args, op.expr, reads, op.writes, op.domain, op.how)
        return inner(inputs, node.type)
    return None


def residual(e: object, op: Formula) -> bool:
    """Whether an index runs over summed ones and the residue of one that the result is written at.

    What is outside is then left out of the loops (`loops/residues.py`), and needs no zeros.
    """
    places = [w for w in op.writes if isinstance(w, Affine) and w.plain is None]
    read = [set(place.names) for r in op.reads for place in r if isinstance(place, Affine)]
    beside = {n for names in read if names & set(op.summed) for n in names}
    found = {n for w in places for n in w.names if w.coefficient(n) == 1} & beside
    if not isinstance(e, Affine) or not found & set(e.names):
        return False
    sizes = [size for n in found if isinstance(size := op.extents[n], int)]
    few = len(sizes) == len(found) and math.prod(sizes) <= RESIDUES
    return few and found | set(op.summed) >= set(e.names)


def reach(e: object, size: Extent, op: Formula) -> tuple[int, int] | None:
    """The values an index expression takes, lowest and highest, where it leaves its operand."""
    if not isinstance(e, Affine) or stays(e, size, op.extents):
        return None
    if any(not isinstance(op.extents[n], int) for n in e.names) or not isinstance(size, int):
        return None
    low, high = e.range(op.extents)
    return min(low, 0), max(high, size - 1)


def widened(node: Node, shifts: list[tuple[int, int] | None]) -> Node:
    """A copy of a node with room around it, zero outside."""
    names = [f"b{axis}" for axis in range(len(shifts))]
    shape = tuple(
        size if shift is None else shift[1] - shift[0] + 1
        for size, shift in zip(node.shape, shifts, strict=True)
    )
    read = tuple(
        index(name) if shift is None else index(name) + shift[0]
        for name, shift in zip(names, shifts, strict=True)
    )
    writes = tuple(index(name) for name in names)
    domain = tuple(zip(names, shape, strict=True))
    return copied("bordered", node, read, writes, domain, shape)
