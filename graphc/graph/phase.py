"""The parts of a step: forward, backward by the chain rule, and the updates of variables."""

from __future__ import annotations

from graphc.graph.graph import Graph, postorder
from graphc.graph.node import Node

FORWARD, BACKWARD, UPDATE = PHASES = ("forward", "backward", "update")


def phases(graph: Graph) -> dict[Node, str]:
    """The part of a step that each node belongs to: forward, backward or update."""
    derived = [node for node in graph.nodes if node.site.derived]
    needed = set(postorder([*graph.outputs, *derived]))
    return {
        node: BACKWARD if node.site.derived else FORWARD if node in needed else UPDATE
        for node in graph.nodes
    }
