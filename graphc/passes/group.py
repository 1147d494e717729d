"""Groups: which nodes one kernel computes, and why; aliases: which nodes cost no kernel at all."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.types import Shape


@dataclass(frozen=True)
class Group:
    """Nodes computed by one kernel.

    `roots` are stored in buffers, in order; the rest are values inside. `outer` is the space of
    the loops that all members share: the leading axes of every member's result.
    """

    nodes: tuple[Node, ...]
    roots: tuple[Node, ...]
    outer: Shape
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fused:
    """A graph cut into groups. `aliases` maps a node to the node whose memory it re-reads."""

    graph: Graph
    groups: tuple[Group, ...]
    aliases: dict[Node, Node] = field(default_factory=dict)
    reasons: dict[Node, str] = field(default_factory=dict)

    def home(self, node: Node) -> Node:
        """The node whose buffer holds this node's value."""
        while node in self.aliases:
            node = self.aliases[node]
        return node
