"""Again: values that are made anew in each kernel that reads them, where storing them costs more.

k0: t = x - m, stored;  k1: y = t*s;  k2: r += t*g
-->
k1: y = (x - m)*s;  k2: r += (x - m)*g

A store moves its line twice, as a cache reads what it is to write. What a value is made of must lie
in memory anyway; then a kernel can read that in its place, and has a few more operations to do.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from graphc.graph import leaf
from graphc.graph.node import Node
from graphc.ops import scalar
from graphc.ops.cost import per_point, points
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Lookup, stays
from graphc.passes import layout
from graphc.passes.blocks import turns
from graphc.passes.fit import kind
from graphc.passes.group import Fused, Group
from graphc.passes.memory import USUAL
from graphc.types import SIZE, TensorType

STORE = 2
"""Times that each byte of a stored value moves."""
SMALL = 1 << 20
"""Bytes that stay in a core's own caches: to move them again costs little."""
PER_BYTE = 2
"""Operations, many lanes at once, in the time in which a byte moves."""


def repeated(fused: Fused, again: Container[Node]) -> dict[Node, str]:
    """The values to make anew beside those of which that is decided, each with the reason."""
    return Stored(fused, again).repeated()


@dataclass
class Stored:
    """What the groups of a graph store, and which of them read it."""

    fused: Fused
    again: Container[Node]
    groups: dict[Node, list[Group]] = field(default_factory=dict)
    stored: set[Node] = field(default_factory=set)
    simple: dict[Node, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.users = self.fused.graph.users()
        self.roots = {self.fused.home(root) for root in self.fused.graph.roots}
        self.seen = {*self.fused.aliases.values(), *self.fused.inlaid}
        self.reads: dict[Group, set[Node]] = {}
        for group in self.fused.groups:
            self.stored |= set(group.roots)
            self.reads[group] = {self.fused.home(i) for n in group.nodes for i in n.inputs}
            for node in group.nodes:
                self.groups.setdefault(node, []).append(group)

    def repeated(self) -> dict[Node, str]:
        """Every value that costs less so; of two, one made of the other, the first."""
        found: dict[Node, str] = {}
        for group in self.fused.groups:
            for node in filter(large, group.roots):
                parts = self.parts(node)
                if parts is None or any(n in found for n in (*parts[0], *parts[1])):
                    continue
                reason = self.reason(node, *parts, group)
                if reason is not None:
                    new = [n for n in parts[0] if n not in self.again]
                    found |= {n: f"{n.op.name} is made anew for {node.op.name}" for n in new}
                    found[node] = reason
        return found

    def parts(self, node: Node) -> tuple[dict[Node, None], dict[Node, None]] | None:
        """What is to be computed for a value, itself included, and what that reads in memory."""
        made: dict[Node, None] = {}
        read: dict[Node, None] = {}
        stack = [node]
        while stack:
            current = stack.pop()
            if current not in self.simple:
                self.simple[current] = self.is_simple(current)
            if not self.simple[current]:
                return None
            made[current] = None
            for operand in current.inputs:
                home = self.fused.home(operand)
                if isinstance(home.op, leaf.Leaf) or home in self.stored:
                    read[home] = None
                elif home is operand:
                    stack.append(operand)
                else:
                    return None
        return made, read

    def is_simple(self, node: Node) -> bool:
        """Whether a map may be computed by each of its readers, which read it once for each result.

        Elementary functions may not, nor what is an output, is read at an index that is data, is
        turned over or turns over (which is done in registers, from memory), or reads beyond the
        ends of its own.
        """
        op = node.op
        if not isinstance(op, Formula) or kind(node) != "map" or op.switch is not None:
            return False
        if node in self.roots or node in self.seen or op.checks or scalar.elementary(op.expr):
            return False
        if turns(node):
            return False
        reads = zip(op.reads, node.inputs, strict=True)
        places = (pair for read, i in reads for pair in zip(read, i.shape, strict=True))
        if not all(isinstance(e, Affine) and stays(e, n, op.extents) for e, n in places):
            return False
        return all(
            kind(user) in ("map", "rows")
            and isinstance(user.op, Formula)
            and not (user.op.pointwise and turns(user))
            and not any(isinstance(e, Lookup) for read in user.op.reads for e in read)
            for user in self.users[node]
        )

    def reason(
        self, node: Node, made: Mapping[Node, None], read: Mapping[Node, None], maker: Group
    ) -> str | None:
        """Why a value is made anew in each kernel that reads it; None where that is no gain."""
        size = moved(node)
        readers = {
            group: user
            for user in self.users[node]
            for group in self.groups.get(user, ())
            if group is not maker
        }
        if any(kind(n) in ("alone", "block") for g in readers for n in g.nodes):
            return None
        before = size * (STORE + len(readers))
        after = sum(moved(n) for g in readers for n in read if n not in self.reads[g])
        each = sum(per_point(n.op) for n in made if isinstance(n.op, Formula))
        more = each * sum(map(times, readers.values()))
        if after + more / PER_BYTE >= before:
            return None
        return (
            f"{node.op.name} is computed again where it is read: storing and reading it would move "
            f"{before:,} bytes, what it is made of {after:,}"
        )


def large(node: Node) -> bool:
    """Whether a value is more than a core's caches hold, so that each pass over it counts."""
    return moved(node) > SMALL


def moved(node: Node) -> int:
    """Bytes of a value, a run-time extent taken for a usual number."""
    return usual(node.type)


@lru_cache(maxsize=4096)
def usual(type: TensorType) -> int:
    """The same of a type: fusion asks it again and again."""
    return layout.elements(type, dict.fromkeys(type.symbols, USUAL)) * SIZE[type.dtype]


def times(node: Node) -> int:
    """How often a node's formula is evaluated."""
    assert isinstance(node.op, Formula)
    names = {extent for _, extent in node.op.domain if isinstance(extent, str)}
    return points(node, dict.fromkeys(names, USUAL))
