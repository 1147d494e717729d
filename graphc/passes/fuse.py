"""Fusion: which nodes are computed together, so that values stay in registers and caches.

A group's members share its outer loops: the leading axes of every member. A member joins the group
of an operand where it reads that group's values at those very axes, so that each value is used
where it was made. Contractions, which read an element many times, begin groups and are followed by
what is pointwise on their result; rows that are reduced stay together with what surrounds them.
Reductions over the same large operand share a pass, and what costs less so is made anew where it is
read (passes/again.py).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from graphc.graph import leaf
from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.ops.formula import Formula
from graphc.ops.recurrence import Scan
from graphc.passes.again import large, repeated
from graphc.passes.blocks import turns
from graphc.passes.bodies import cut
from graphc.passes.fit import alike, fits, kind, looked_up, outer, prefix, trimmed
from graphc.passes.group import Fused, Group
from graphc.passes.inlay import inlays, with_borders
from graphc.passes.invert import covered
from graphc.passes.memory import plan
from graphc.passes.pack import turns_panels
from graphc.passes.views import aliases
from graphc.types import Shape

STREAMS = 2
"""Full-size operands that may be read beside a contraction's result before fusing costs more."""
MEMBERS = 48


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


def fuse(graph: Graph) -> Fused:
    """Cut the graph into groups, each node in turn joining an operand's group where it may.

    What groups store at a loss is found once they are there; then they are formed anew without it.
    """
    again: dict[Node, str] = {}
    while True:
        fused = Fuser(graph, again).fused()
        more = repeated(fused, again)
        if not more:
            return fused
        again |= more


class Fuser:
    """Forms the groups of one graph. `again`: what each group computes that reads it, and why."""

    def __init__(self, graph: Graph, again: Mapping[Node, str]) -> None:
        self.graph = graph
        self.again = again
        self.place = {node: number for number, node in enumerate(graph.nodes)}
        self.aliases = aliases(graph)
        self.inlaid = inlays(graph, self.aliases)
        self.views = self.aliases | {copy: value for value, copy in self.inlaid.items()}
        self.users = graph.users()
        self.wanted = set(graph.roots)
        self.drafts: dict[Node, Draft] = {}
        self.runs: dict[object, Draft] = {}

    def fused(self) -> Fused:
        """Each node in turn joins, or begins, a group."""
        for node in self.graph.nodes:
            if isinstance(node.op, leaf.Leaf) or node in self.views or node in self.again:
                continue
            operands = list(dict.fromkeys(self.operands(node)))
            joined = self.runs.get(family(node)) or self.join(node, operands[::-1])
            joined = joined or self.beside(node, operands)
            if joined is None:
                joined = Draft([node], outer(node), kind(node))
            else:
                joined.nodes.append(node)
            self.drafts[node] = joined
            if isinstance(node.op, Scan):
                self.runs[family(node)] = joined
            joined.read(d for d in operands if d is not joined)
            joined.reach(self.place[node])
            for other in operands:
                self.absorb(joined, other)
            if joined.kind == "block":
                self.surround(joined)
        groups = list(dict.fromkeys(self.drafts.values()))
        for draft in groups:
            inside = self.inside(draft.nodes)
            draft.nodes = following(draft.nodes, inside)
            draft.reasons += [self.again[node] for node in inside]
        return finish(self.graph, groups, self.drafts, self.aliases, self.inlaid, fuse)

    def operands(self, node: Node) -> list[Draft]:
        """The groups that a node reads."""
        found = []
        for operand in node.inputs:
            home = self.home(operand)
            if home in self.drafts:
                found.append(self.drafts[home])
            elif home in self.again:
                found += self.operands(home)
        return found

    def inside(self, nodes: Iterable[Node]) -> list[Node]:
        """What some nodes read, directly or not, that is computed again wherever it is read."""
        found: dict[Node, None] = {}
        stack = list(nodes)
        while stack:
            new = [i for i in stack.pop().inputs if i in self.again and i not in found]
            found |= dict.fromkeys(new)
            stack += new
        return list(found)

    def fits(self, nodes: Sequence[Node], shared: Shape) -> bool:
        """Whether every value passed inside a group is used at the outer axes it was made at.

        What is computed where it is read, of nothing but what lies outside, has no such axes.
        """
        within = dict.fromkeys([*self.inside(nodes), *nodes])
        blocks = any(kind(node) == "block" for node in within)  # what is read there has a place
        bound: dict[Node, None] = {}
        for node in sorted(within, key=self.place.__getitem__):
            inside = self.passing(node, within) and not blocks
            if not inside or any(self.home(i) in bound for i in node.inputs):
                bound[node] = None
        return fits(bound, shared, self.views)

    def passing(self, node: Node, nodes: Container[Node]) -> bool:
        """Whether a member is needed by no one but other members, and has no place of its own."""
        if node in self.again:
            return True
        inside = kind(node) == "map" and node not in self.wanted
        return inside and all(
            user in nodes and user not in self.views and not looked_up(user, node)
            for user in self.users[node]
        )

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
            shared = self.common(node, own, draft)
            if shared is None or len(draft.nodes) >= MEMBERS:
                continue
            if not self.fits([*draft.nodes, node], shared):
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

    def beside(self, node: Node, operands: list[Draft]) -> Draft | None:
        """The group of a reduction over the same loops as a node's that reads what this one reads.

        [c] += f(x[n, c]);  [c] += g(x[n, c], y[n, c])   ->   one pass over x
        """
        if kind(node) != "rows":
            return None
        read = [i for n in (node, *self.inside([node])) for i in n.inputs if large(i)]
        found = (self.drafts.get(u) for i in read for u in self.users[i])
        for draft in dict.fromkeys(d for d in found if d is not None and d.kind == "rows"):
            if not any(kind(n) == "rows" and alike(n, node) for n in draft.nodes):
                continue
            if prefix(node.shape, draft.outer) != draft.outer or len(draft.nodes) >= MEMBERS:
                continue
            if self.depends(operands, {draft}):
                continue
            if self.fits([*draft.nodes, node], draft.outer):
                draft.reasons.append(f"{node.op.name} goes over the same elements as {rows(draft)}")
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
        if not self.fits(nodes, draft.outer):
            return
        draft.nodes = nodes
        draft.reasons.append(f"{other.nodes[0].op.name} is computed where it is read")
        draft.take(other)
        for node in other.nodes:
            self.drafts[node] = draft

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

    def common(self, node: Node, own: str, draft: Draft) -> Shape | None:
        """The outer axes of a group once the node has joined, or None where it cannot."""
        if own != "rows" or draft.kind != "map" or prefix(node.shape, draft.outer):
            return common(node, own, draft)
        within = {*draft.nodes, node}
        inside = all(self.passing(member, within) for member in draft.nodes)
        return trimmed(outer(node)) if inside else common(node, own, draft)

    def depends(self, starts: list[Draft], goals: set[Draft]) -> bool:
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


def following(nodes: Sequence[Node], others: Container[Node]) -> list[Node]:
    """Nodes in their order, and each of some others before the first that reads it."""
    found: dict[Node, None] = {}

    def visit(node: Node) -> None:
        for operand in node.inputs:
            if operand in others and operand not in found:
                visit(operand)
        found[node] = None

    for node in nodes:
        visit(node)
    return list(found)


def only_maps_of_leaves(node: Node) -> bool:
    """Whether a node is a map that reads leaves only: computed where it is read."""
    return kind(node) == "map" and all(isinstance(i.op, leaf.Leaf) for i in node.inputs)


def separate(graph: Graph) -> Fused:
    """Every node that is no leaf and no view is a kernel of its own."""
    views = aliases(graph)
    inlaid = inlays(graph, views)
    kept = {*views, *inlaid.values()}
    drafts: dict[Node, Draft] = {}
    runs: dict[object, Draft] = {}
    for node in graph.nodes:
        if isinstance(node.op, leaf.Leaf) or node in kept:
            continue
        if isinstance(node.op, Scan) and family(node) in runs:
            runs[family(node)].nodes.append(node)
            drafts[node] = runs[family(node)]
            continue
        drafts[node] = runs[family(node)] = Draft([node], outer(node), kind(node))
    groups = list(dict.fromkeys(drafts.values()))
    return finish(graph, groups, drafts, views, inlaid, separate)


def family(node: Node) -> object:
    """The run that a result of a scan belongs to; any other node is its own."""
    return (replace(node.op, output=0), node.inputs) if isinstance(node.op, Scan) else node


def finish(
    graph: Graph,
    groups: list[Draft],
    drafts: dict[Node, Draft],
    views: dict[Node, Node],
    inlaid: dict[Node, Node],
    bodies: Callable[[Graph], Fused],
) -> Fused:
    """Decide what each group must store: whatever is read outside of it."""
    fused = Fused(graph, (), views)
    wanted = {fused.home(root) for root in graph.roots} | set(inlaid)
    for draft in groups:
        for operand in (i for node in draft.nodes for i in node.inputs):
            home = fused.home(operand)
            if home in drafts and (drafts[home] is not draft or home is not operand):
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
        group = Group(tuple(draft.nodes), roots, draft.outer, tuple(draft.reasons), None, direct)
        result.append(with_borders(group, inlaid))
    return Fused(graph, tuple(result), views, inlaid=inlaid)


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
