"""Fusion: which nodes are computed together, so that values stay in registers and caches."""

from __future__ import annotations

from graphc.graph import leaf
from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.ops.formula import Formula
from graphc.ops.index import Affine
from graphc.passes.group import Fused, Group
from graphc.passes.views import aliases


def fuse(graph: Graph) -> Fused:
    """Cut the graph into groups."""
    return unfused(graph)


def unfused(graph: Graph) -> Fused:
    """Every node that is no leaf and no view is a kernel of its own."""
    views = aliases(graph)
    groups = [
        Group((node,), (node,), outer(node))
        for node in graph.nodes
        if not isinstance(node.op, leaf.Leaf) and node not in views
    ]
    return Fused(graph, tuple(groups), views)


def outer(node: Node) -> tuple[int | str, ...]:
    """The axes of a node's result that can be loops around its kernel: those at plain indices."""
    op = node.op
    if not isinstance(op, Formula):
        return ()
    if not op.plain:
        return ()
    return node.shape
