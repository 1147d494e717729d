"""Draft: a group that is being formed, and which nodes may join it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import takewhile

from graphc.graph.node import Node
from graphc.ops.formula import Formula
from graphc.ops.recurrence import Scan
from graphc.passes.fit import kind, order_of, prefix, trimmed
from graphc.types import Shape


@dataclass(eq=False)
class Draft:
    """A group being formed.

    It `needs` the groups that it reads, and `serves` those that read it. `last` is the place of the
    last node in it, or in what it needs, directly or not.
    """

    nodes: list[Node]
    outer: Shape
    kind: str
    needs: set[Draft] = field(default_factory=set)
    serves: set[Draft] = field(default_factory=set)
    last: int = -1
    reasons: list[str] = field(default_factory=list)

    def read(self, others: Iterable[Draft]) -> None:
        """It needs some more groups."""
        for other in others:
            self.needs.add(other)
            other.serves.add(self)
            self.reach(other.last)

    def reach(self, place: int) -> None:
        """What it is made of goes as far as a place; then so does what all that it serves are."""
        stack = [self]
        while stack:
            current = stack.pop()
            if current.last < place:
                current.last = place
                stack.extend(current.serves)

    def take(self, other: Draft) -> None:
        """The other group is a part of this one from now on."""
        for need in other.needs:
            need.serves.discard(other)
        for user in other.serves:
            user.needs.discard(other)
        self.read(other.needs - {self})
        for user in other.serves - {self}:
            user.read([self])
        self.reach(other.last)


def depends(starts: list[Draft], goals: set[Draft]) -> bool:
    """Whether one of some groups needs a goal to be finished first."""
    stack, seen = list(starts), set()
    first = min(goal.last for goal in goals)
    while stack:
        current = stack.pop()
        if current in goals:
            return True
        if current not in seen and current.last >= first:  # else it needs none of them
            seen.add(current)
            stack.extend(current.needs)
    return False


def common(node: Node, own: str, draft: Draft) -> Shape | None:
    """The outer axes of a group once the node has joined, or None where it cannot."""
    if draft.kind == "alone":
        return None
    if draft.kind == "block":
        shared = draft.outer
        return shared if node.shape[: len(shared)] == shared and own != "rows" else None
    if draft.kind == "map" and own == "map" and any(map(cased, draft.nodes)):
        return uncased(node, draft)
    if draft.kind == "product" or own == "map":
        shared = draft.outer
        if own != "map" or node.shape[: len(shared)] != shared:
            return None
        if draft.kind == "product" and node.shape != shared:
            return None
        if not shared and node.shape:
            return None
        return None if node.shape != shared and upright(draft, node) else shared
    shared = prefix(node.shape, draft.outer)
    whole = trimmed(shared) == trimmed(node.shape)
    if whole and order_of(node) != "lanes" and upright(draft, node):
        return None
    if not shared and not (draft.kind == "map" and len(draft.nodes) <= 4):
        return None
    return shared


def upright(draft: Draft, node: Node) -> bool:
    """Whether a node needs a group's sum down columns, which lie side by side in the lanes.

    Whatever else went over a column while it is at hand would do so alone, without lanes.
    """
    inside, stack, seen = set(draft.nodes), [node], {node}
    while stack:
        current = stack.pop()
        if current is not node and kind(current) == "rows" and order_of(current) != "lanes":
            return True
        found = [operand for operand in current.inputs if operand in inside - seen]
        seen |= set(found)
        stack += found
    return False


def cased(node: Node) -> bool:
    """Whether a node is another formula for each value of an index."""
    return isinstance(node.op, Formula) and node.op.switch is not None


def uncased(node: Node, draft: Draft) -> Shape:
    """The outer axes up to the first one along which a node reads at another index than its own.

    [v, i, w, j] = g(x[v, w, i, 0..5])  where x has cases along i   ->   [v]
    """
    op, length = node.op, len(draft.outer)
    assert isinstance(op, Formula)
    for operand, read in zip(node.inputs, op.reads, strict=True):
        if operand in draft.nodes:
            same = (a == b for a, b in zip(read, op.writes, strict=False))
            length = min(length, sum(takewhile(bool, same)))
    return node.shape[:length]


def rows(draft: Draft) -> str:
    """The first reduction of a group."""
    return next(node.op.name for node in draft.nodes if kind(node) == "rows")


def reason(node: Node, own: str, draft: Draft) -> str:
    """Why a node joins a group."""
    first = draft.nodes[0].op.name
    if own == "rows":
        return f"{node.op.name} reduces rows while they are at hand"
    if draft.kind == "product":
        return f"{node.op.name} follows {first} element by element, in its registers"
    if draft.kind == "block":
        return f"{node.op.name} is computed block by block with what it reads"
    if draft.kind == "rows":
        return f"{node.op.name} shares the rows of {first}"
    return f"{node.op.name} is pointwise on what {first} makes"


def family(node: Node) -> object:
    """The run that a result of a scan belongs to; any other node is its own."""
    return (replace(node.op, output=0), node.inputs) if isinstance(node.op, Scan) else node
