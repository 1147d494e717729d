"""Views: nodes that only re-read the same memory cost no kernel."""

from __future__ import annotations

from graphc.graph.graph import Graph
from graphc.graph.leaf import Leaf
from graphc.graph.node import Node
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, stays
from graphc.ops.recurrence import Scan
from graphc.passes import layout
from graphc.passes.invert import covered


def aliases(graph: Graph) -> dict[Node, Node]:
    """Nodes that lie in their operand's memory, element by element at the same offset.

    A root is none whose memory would hold more than itself: what keeps it takes all of a buffer.
    """
    roots = set(graph.roots)
    found: dict[Node, Node] = {}
    for node in graph.nodes:
        if not is_alias(node) and not is_front(node):
            continue
        home = node.inputs[0]
        while home in found:
            home = found[home]
        if node not in roots or layout.size(home.shape) == layout.size(node.shape):
            found[node] = node.inputs[0]
    return found


def is_alias(node: Node) -> bool:
    """Whether [i] = x where x[j] with i and j at the same offset of equally large buffers."""
    if len(node.inputs) != 1 or not rereads(node):
        return False
    return layout.size(node.inputs[0].shape) == layout.size(node.shape)


def is_front(node: Node) -> bool:
    """Whether [i] = x where x[i] has more positions on its first axis, and is stored in any case.

    What a step of a scan reads of the stack of another's states is such a part.
    """
    if len(node.inputs) != 1 or not isinstance(node.inputs[0].op, Leaf | Scan):
        return False
    own, whole = layout.size(node.shape), layout.size(node.inputs[0].shape)
    return isinstance(own, int) and isinstance(whole, int) and own < whole and rereads(node)


def rereads(node: Node) -> bool:
    """Whether every element of a node is one of its operand, at the same offset.

    Not where an index leaves the operand: there is another element in memory, and the value is 0.
    """
    op = node.op
    if not isinstance(op, Formula) or op.expr != op.args[0]:
        return False
    operand = node.inputs[0]
    if operand.dtype != node.dtype:
        return False
    if op.how not in ("sum", "max", "min", "prod") or not covered(op, node):
        return False
    if any(op.extents[n] != 1 for n in op.summed):
        return False
    (read,) = op.reads
    places = zip(read, operand.shape, strict=True)
    if not all(isinstance(e, Affine) and stays(e, size, op.extents) for e, size in places):
        return False
    if not all(isinstance(e, Affine) for e in op.writes):
        return False
    here = layout.offset(node.shape, op.writes)  # type: ignore[arg-type]  # all affine, as checked
    there = layout.offset(operand.shape, read)  # type: ignore[arg-type]  # all affine, as checked
    units = {n for n, extent in op.domain if extent == 1}
    return here.without(units) == there.without(units)
