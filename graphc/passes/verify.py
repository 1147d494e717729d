"""Invariants of a graph cut into groups: whatever is read has been made before."""

from __future__ import annotations

from graphc.errors import CompileError
from graphc.graph import leaf
from graphc.graph.node import Node
from graphc.passes.group import Fused, Group


def verify(fused: Fused, groups: tuple[Group, ...]) -> None:
    """Raise CompileError unless every operand is a leaf, an earlier member, or stored earlier.

    Of what another part of a group has made a member may read a view. `groups` in the order in
    which they run.
    """
    stored: set[Node] = set()
    for group in groups:
        members = set(group.nodes)
        made: set[Node] = set()
        for node in group.nodes:
            for operand in node.inputs:
                home = fused.home(operand)
                inside = operand in made or (bool(group.parts) and home in made)
                if isinstance(home.op, leaf.Leaf) or home in stored or inside:
                    continue
                where = "later in its group" if home in members else "nowhere before"
                raise CompileError(f"{node!r} reads {operand!r}, which is made {where}")
            made.add(node)
        stored |= {fused.home(root) for root in group.roots}
