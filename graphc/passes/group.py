"""Groups: which nodes one kernel computes, and why; aliases: which nodes cost no kernel at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from graphc.graph import leaf
from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.types import Shape


@dataclass(frozen=True, eq=False)
class Group:
    """Nodes computed by one kernel.

    `roots` are stored in buffers, in order; the rest are values inside. `outer` is the space of
    the loops that all members share: the leading axes of every member's result. A scan has a body.
    `direct` says whether its results may be written wherever strides are known (a scatter's not).
    `parts`: groups that are computed one after the other at each step of the first axis.
    """

    nodes: tuple[Node, ...]
    roots: tuple[Node, ...]
    outer: Shape
    reasons: tuple[str, ...] = ()
    body: Body | None = None
    direct: bool = True
    parts: tuple[Group, ...] = ()


Key = Any
"""What a buffer holds: a node of the graph, or (group, node of its body, ...) inside a scan."""


@dataclass(frozen=True, eq=False)
class Body:
    """The body of a scan, cut into groups and ordered.

    `direct` maps values of the body to the results that they are written into as they are made;
    `thin` are carries with one place and no stack; `aside` those copied twice, because a step
    overwrites what another still needs.
    """

    fused: Fused
    plan: Any
    direct: dict[Node, int]
    thin: tuple[int, ...]
    aside: tuple[int, ...]
    kept: tuple[Node, ...]

    def constants(self) -> list[Node]:
        """The arrays that the body reads, and those inside it, beside what it is given."""
        found = [n for n in self.fused.graph.nodes if isinstance(n.op, leaf.Constant)]
        for inner in self.plan.groups:
            if inner.body is not None:
                found += inner.body.constants()
        return found

    def keys(self, group: Group) -> list[tuple[Any, ...]]:
        """What the scan keeps for itself while it runs, each (group, node, ...)."""
        keys: list[tuple[Any, ...]] = [(group, node) for node in self.kept]
        keys += [(group, self.fused.graph.updates[j][1], j) for j in self.aside]
        for inner in self.plan.groups:
            if inner.body is not None:
                keys += inner.body.keys(inner)
        return keys


@dataclass(frozen=True)
class Fused:
    """A graph cut into groups. `aliases` maps a node to the node whose memory it re-reads.

    `inlaid`: to the bordered copy of it that it lies within (see `passes/inlay.py`).
    """

    graph: Graph
    groups: tuple[Group, ...]
    aliases: dict[Node, Node] = field(default_factory=dict)
    reasons: dict[Node, str] = field(default_factory=dict)
    inlaid: dict[Node, Node] = field(default_factory=dict)

    def home(self, node: Node) -> Node:
        """The node whose buffer holds this node's value."""
        node = self.viewed(node)
        return self.inlaid.get(node, node)

    def viewed(self, node: Node) -> Node:
        """The node whose value this one is, element by element, on other axes."""
        while node in self.aliases:
            node = self.aliases[node]
        return node
