"""Epilogue: which maps follow a contraction in its registers, and what they read beside it."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

from graphc.graph import leaf
from graphc.graph.node import Node
from graphc.passes.fit import kind

STREAMS = 2
"""Full-size operands that may be read beside a contraction's result before fusing costs more."""


@dataclass(frozen=True)
class Epilogues:
    """Those of one graph: who reads a node, what is stored in any case, whose memory a view is."""

    users: Mapping[Node, Sequence[Node]]
    wanted: Container[Node]
    home: Callable[[Node], Node]
    most: int
    """Nodes that a group may have."""

    def follows(self, node: Node, members: Sequence[Node]) -> bool:
        """Whether a pointwise node may follow a contraction in its registers.

        Either all that follows reads few full-size operands; or this node is all that reads the
        member before it, so that nothing more has to be stored.
        """
        chain = [n for n in self.chain(members[0]) if n not in members]
        if self.few([*members, *chain]):
            return True
        if not self.few([*members, node]):
            return False
        read = [i for i in node.inputs if i in members]
        return all(self.users[i] == [node] and i not in self.wanted for i in read)

    def chain(self, first: Node) -> list[Node]:
        """The maps of the same shape that follow a node, one after the other."""
        found: dict[Node, None] = {}
        stack = [first]
        while stack and len(found) < self.most:
            for user in self.users[stack.pop()]:
                if user not in found and user.shape == first.shape and kind(user) == "map":
                    found[user] = None
                    stack.append(user)
        return list(found)

    def few(self, nodes: Sequence[Node]) -> bool:
        """Whether a contraction and what follows it read few enough to be one kernel."""
        return self.streams(nodes) <= STREAMS

    def streams(self, nodes: Sequence[Node]) -> int:
        """Full-size operands that a contraction and what follows it would read from memory."""
        members, shape = set(nodes), nodes[0].shape
        found = {
            self.home(i)
            for n in nodes
            if kind(n) == "map"
            for i in n.inputs
            if i not in members and i.shape == shape
        }
        own = {self.home(i) for n in nodes if kind(n) == "product" for i in n.inputs}
        spread = {i for i in found if not only_maps_of_leaves(i)} | {
            leaf_
            for i in found
            if only_maps_of_leaves(i)
            for leaf_ in i.inputs
            if leaf_.shape == shape
        }
        return len(spread - own)


def only_maps_of_leaves(node: Node) -> bool:
    """Whether a node is a map that reads leaves only: computed where it is read."""
    return kind(node) == "map" and all(isinstance(i.op, leaf.Leaf) for i in node.inputs)
