"""Fusion: which nodes are computed together, so that values stay in registers and caches.

A group's members share its outer loops: the leading axes of every member. A member joins the group
of an operand where it reads that group's values at those very axes, so that each value is used
where it was made. Contractions, which read an element many times, begin groups and are followed by
what is pointwise on their result; rows that are reduced stay together with what surrounds them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from graphc.graph import leaf
from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.ops.formula import Formula
from graphc.ops.index import Lookup
from graphc.ops.recurrence import Scan
from graphc.passes import layout
from graphc.passes.blocks import LIMIT, lead, spread, turns
from graphc.passes.bodies import cut
from graphc.passes.group import Fused, Group
from graphc.passes.invert import covered
from graphc.passes.memory import plan
from graphc.passes.pack import turns_panels
from graphc.passes.views import aliases
from graphc.types import SIZE, Shape

STREAMS = 2
"""Full-size operands that may be read beside a contraction's result before fusing costs more."""
ROW_LIMIT = 1 << 14
"""Elements of a row that is kept on the stack between two passes over it."""
MEMBERS = 48


@dataclass(eq=False)
class Draft:
    """A group being formed."""

    nodes: list[Node]
    outer: Shape
    kind: str
    needs: set[Draft] = field(default_factory=set)
    reasons: list[str] = field(default_factory=list)


def fuse(graph: Graph) -> Fused:
    """Cut the graph into groups, each node in turn joining an operand's group where it may."""
    return Fuser(graph).fused()


class Fuser:
    """Forms the groups of one graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.place = {node: number for number, node in enumerate(graph.nodes)}
        self.views = aliases(graph)
        self.users = graph.users()
        self.wanted = set(graph.roots)
        self.drafts: dict[Node, Draft] = {}
        self.runs: dict[object, Draft] = {}

    def fused(self) -> Fused:
        """Each node in turn joins, or begins, a group."""
        for node in self.graph.nodes:
            if isinstance(node.op, leaf.Leaf) or node in self.views:
                continue
            operands = list(dict.fromkeys(self.operands(node)))
            joined = self.runs.get(family(node)) or self.join(node, operands[::-1])
            if joined is None:
                joined = Draft([node], outer(node), kind(node))
            else:
                joined.nodes.append(node)
            self.drafts[node] = joined
            if isinstance(node.op, Scan):
                self.runs[family(node)] = joined
            joined.needs |= {d for d in operands if d is not joined}
            for other in operands:
                self.absorb(joined, other)
            if joined.kind == "block":
                self.surround(joined)
        groups = list(dict.fromkeys(self.drafts.values()))
        return finish(self.graph, groups, self.drafts, self.views, fuse)

    def operands(self, node: Node) -> list[Draft]:
        """The groups that a node reads."""
        found = []
        for operand in node.inputs:
            home = self.home(operand)
            if home in self.drafts:
                found.append(self.drafts[home])
        return found

    def home(self, node: Node) -> Node:
        """The node whose memory a view re-reads."""
        while node in self.views:
            node = self.views[node]
        return node

    def join(self, node: Node, candidates: list[Draft]) -> Draft | None:
        """The first of the operands' groups that a node may join; its outer axes are adapted."""
        own = kind(node)
        if own == "product":
            blocks = [d for d in candidates if d.kind == "block" and d.outer]
            candidates = [] if turns_panels(node) else blocks
        if own in ("alone", "block"):
            return None
        for draft in candidates:
            shared = common(node, own, draft)
            if shared is None or len(draft.nodes) >= MEMBERS:
                continue
            if not fits([*draft.nodes, node], shared, self.views):
                continue
            if self.depends([d for d in candidates if d is not draft], {draft}):
                continue
            if draft.kind == "product" and not self.follows(node, draft):
                continue
            draft.reasons.append(reason(node, own, draft))
            draft.outer = shared
            if own == "rows" and draft.kind == "map":
                draft.kind = "rows"
            return draft
        return None

    def absorb(self, draft: Draft, other: Draft) -> None:
        """Take in a group of maps over the same axes, where no third group stands between."""
        if other is draft or other.kind != "map":
            return
        length = len(draft.outer) if draft.kind in ("rows", "block") else len(other.outer)
        if (not length and draft.kind != "block") or other.outer[:length] != draft.outer:
            return
        if draft.kind == "alone" or len(draft.nodes) + len(other.nodes) > MEMBERS:
            return
        first = draft.nodes[0]
        if draft.kind == "product" and any(self.home(i) in other.nodes for i in first.inputs):
            return
        if draft.kind == "product" and self.streams([*other.nodes, *draft.nodes]) > STREAMS:
            return
        between = [d for d in (*draft.needs, *other.needs) if d not in (draft, other)]
        if self.depends(between, {draft, other}):
            return
        nodes = sorted({*draft.nodes, *other.nodes}, key=self.place.__getitem__)
        if draft.kind == "product":
            nodes = [first, *(n for n in nodes if n is not first)]
        if not fits(nodes, draft.outer, self.views):
            return
        draft.nodes = nodes
        draft.reasons.append(f"{other.nodes[0].op.name} is computed where it is read")
        draft.needs = (draft.needs | other.needs) - {draft, other}
        for node in other.nodes:
            self.drafts[node] = draft
        for third in set(self.drafts.values()):
            if other in third.needs:
                third.needs = (third.needs - {other}) | {draft}

    def surround(self, draft: Draft) -> None:
        """Take in the maps that make what nothing but a block reads."""
        while True:
            size = len(draft.nodes)
            for other in sorted(draft.needs, key=lambda d: self.place[d.nodes[0]]):
                users = {u for n in other.nodes for u in self.users[n]}
                inside = users <= {*draft.nodes, *other.nodes}
                if (
                    inside
                    and not self.wanted & set(other.nodes)
                    and not any(map(turns, other.nodes))
                ):
                    self.absorb(draft, other)
            if len(draft.nodes) == size:
                return

    def depends(self, starts: list[Draft], goals: set[Draft]) -> bool:
        """Whether one of some groups needs a goal to be finished first."""
        stack, seen = list(starts), set()
        while stack:
            current = stack.pop()
            if current in goals:
                return True
            if current not in seen:
                seen.add(current)
                stack.extend(current.needs)
        return False

    def follows(self, node: Node, draft: Draft) -> bool:
        """Whether a pointwise node may follow a contraction in its registers.

        Either all that follows reads few full-size operands; or this node is all that reads the
        member before it, so that nothing more has to be stored.
        """
        chain = [n for n in self.chain(draft.nodes[0]) if n not in draft.nodes]
        if self.streams([*draft.nodes, *chain]) <= STREAMS:
            return True
        if self.streams([*draft.nodes, node]) > STREAMS:
            return False
        members = set(draft.nodes)
        read = [i for i in node.inputs if i in members]
        return all(self.users[i] == [node] and i not in self.wanted for i in read)

    def chain(self, first: Node) -> list[Node]:
        """The maps of the same shape that follow a node, one after the other."""
        found: dict[Node, None] = {}
        stack = [first]
        while stack and len(found) < MEMBERS:
            for user in self.users[stack.pop()]:
                if user not in found and user.shape == first.shape and kind(user) == "map":
                    found[user] = None
                    stack.append(user)
        return list(found)

    def streams(self, nodes: list[Node]) -> int:
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


def separate(graph: Graph) -> Fused:
    """Every node that is no leaf and no view is a kernel of its own."""
    views = aliases(graph)
    drafts: dict[Node, Draft] = {}
    runs: dict[object, Draft] = {}
    for node in graph.nodes:
        if isinstance(node.op, leaf.Leaf) or node in views:
            continue
        if isinstance(node.op, Scan) and family(node) in runs:
            runs[family(node)].nodes.append(node)
            drafts[node] = runs[family(node)]
            continue
        drafts[node] = runs[family(node)] = Draft([node], outer(node), kind(node))
    return finish(graph, list(dict.fromkeys(drafts.values())), drafts, views, separate)


def family(node: Node) -> object:
    """The run that a result of a scan belongs to; any other node is its own."""
    return (replace(node.op, output=0), node.inputs) if isinstance(node.op, Scan) else node


def finish(
    graph: Graph,
    groups: list[Draft],
    drafts: dict[Node, Draft],
    views: dict[Node, Node],
    bodies: Callable[[Graph], Fused],
) -> Fused:
    """Decide what each group must store: whatever is read outside of it."""
    fused = Fused(graph, (), views)
    wanted = {fused.home(root) for root in graph.roots}
    for node in graph.nodes:
        for operand in node.inputs:
            home = fused.home(operand)
            if (
                home in drafts
                and node in drafts
                and (drafts[home] is not drafts[node] or home is not operand)
            ):
                wanted.add(home)
    result = []
    for draft in groups:
        first = draft.nodes[0].op
        if isinstance(first, Scan):
            nodes = tuple(draft.nodes)
            body = cut(first, nodes, bodies, plan)
            result.append(Group(nodes, nodes, (), ("a scan runs its body in order",), body))
            continue
        roots = tuple(n for n in draft.nodes if n in wanted)
        direct = not isinstance(first, Formula) or covered(first, draft.nodes[0])
        result.append(
            Group(tuple(draft.nodes), roots, draft.outer, tuple(draft.reasons), None, direct)
        )
    return Fused(graph, tuple(result), views)


def kind(node: Node) -> str:
    """map, rows (a reduction that reads each element once), product, block, or alone."""
    op = node.op
    if not isinstance(op, Formula) or not covered(op, node):
        return "alone"
    if not op.plain:
        return "block" if op.switch is not None and not op.summed else "alone"
    if op.pointwise:
        return "map"
    return "product" if op.reuses else "rows"


def outer(node: Node) -> Shape:
    """The axes of a node's result that can be loops around its kernel."""
    op = node.op
    if isinstance(op, Formula) and op.switch is not None and covered(op, node):
        return node.shape[: lead(op)]
    return node.shape if isinstance(op, Formula) and op.plain and covered(op, node) else ()


def common(node: Node, own: str, draft: Draft) -> Shape | None:
    """The outer axes of a group once the node has joined, or None where it cannot."""
    if draft.kind == "alone":
        return None
    if draft.kind == "block":
        shared = draft.outer
        return shared if node.shape[: len(shared)] == shared and own != "rows" else None
    if draft.kind == "product" or own == "map":
        shared = draft.outer
        if own != "map" or node.shape[: len(shared)] != shared:
            return None
        if draft.kind == "product" and node.shape != shared:
            return None
        if not shared and node.shape:
            return None
        return shared
    shared = prefix(node.shape, draft.outer)
    if not shared and not (draft.kind == "map" and len(draft.nodes) <= 4):
        return None
    return shared


def prefix(a: Shape, b: Shape) -> Shape:
    """The leading axes that two shapes share."""
    length = 0
    while length < min(len(a), len(b)) and a[length] == b[length]:
        length += 1
    return a[:length]


def fits(nodes: list[Node], shared: Shape, views: dict[Node, Node]) -> bool:
    """Whether every value passed inside the group is used at the outer axes it was made at."""
    members = set(nodes)
    blocks = any(kind(node) == "block" for node in nodes)
    room = LIMIT // SIZE[nodes[0].dtype] if blocks else ROW_LIMIT
    for user in nodes:
        op = user.op
        if not isinstance(op, Formula) or user.shape[: len(shared)] != shared:
            return False
        lead = op.writes[: len(shared)]
        for operand, read in zip(user.inputs, op.reads, strict=True):
            if operand not in members:
                target = operand
                while target in views:
                    target = views[target]
                if target in members:
                    return False
                continue
            if read[: len(shared)] != lead or any(isinstance(e, Lookup) for e in read):
                return False
            if op.is_lookup(user.inputs.index(operand)):
                return False
            if not passes(operand, user, len(shared), room):
                return False
    return True


def passes(operand: Node, user: Node, skip: int, room: int) -> bool:
    """Whether the rest of a row, past the outer axes, can be handed over, on the stack if need be.

    A map is computed where it is read, but not again and again for a formula with cases.
    """
    made = operand.op
    assert isinstance(made, Formula)
    rest = layout.size(operand.shape[skip:])
    if not isinstance(rest, int):
        return False
    return (made.pointwise and not spread(user, operand)) or rest <= room


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
