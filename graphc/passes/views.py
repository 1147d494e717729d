"""Views: nodes that only re-read the same memory cost no kernel."""

from __future__ import annotations

from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.ops.formula import Formula
from graphc.ops.index import Affine
from graphc.passes import layout
from graphc.passes.invert import covered


def aliases(graph: Graph) -> dict[Node, Node]:
    """Nodes that lie in their operand's memory, element by element at the same offset."""
    found: dict[Node, Node] = {}
    for node in graph.nodes:
        if is_alias(node):
            found[node] = node.inputs[0]
    return found


def is_alias(node: Node) -> bool:
    """Whether [i] = x where x[j] with i and j at the same offset of equally large buffers."""
    op = node.op
    if not isinstance(op, Formula) or len(node.inputs) != 1 or op.expr != op.args[0]:
        return False
    operand = node.inputs[0]
    if operand.dtype != node.dtype or layout.size(operand.shape) != layout.size(node.shape):
        return False
    if op.how not in ("sum", "max", "min", "prod") or not covered(op, node):
        return False
    if any(op.extents[n] != 1 for n in op.summed):
        return False
    (read,) = op.reads
    if not all(isinstance(e, Affine) for e in (*read, *op.writes)):
        return False
    here = layout.offset(node.shape, op.writes)  # type: ignore[arg-type]  # all affine, as checked
    there = layout.offset(operand.shape, read)  # type: ignore[arg-type]  # all affine, as checked
    units = {n for n, extent in op.domain if extent == 1}
    return here.without(units) == there.without(units)
