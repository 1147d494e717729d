"""Fusion: which nodes are computed together, so that values stay in registers and caches.

A group's members share its outer loops: the leading axes of every member. A member joins the group
of an operand where it reads that group's values at those very axes, so that each value is used
where it was made. Contractions, which read an element many times, begin groups and are followed by
what is pointwise on their result; rows that are reduced stay together with what surrounds them.
Reductions over the same operand share a pass, and what costs less so is made anew where it is
read (passes/again.py).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from graphc.graph import leaf
from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.ops.recurrence import Scan
from graphc.passes.again import large, moved, repeated
from graphc.passes.blocks import turns
from graphc.passes.draft import Draft, common, depends, family, reason, rows, upright
from graphc.passes.epilogue import Epilogues
from graphc.passes.fit import alike, fits, kind, looked_up, order_of, outer, prefix, trimmed
from graphc.passes.group import Fused
from graphc.passes.inlay import inlays
from graphc.passes.pack import turns_panels
from graphc.passes.separate import finish, following
from graphc.passes.views import aliases
from graphc.types import Shape

MEMBERS = 48
SAME = "goes over the same elements as"
NEAREST = 32 << 10
"""Bytes of the nearest cache: to go over them once more costs little."""
NEAR = 64
"""Nodes that count as one place where it is asked how far a group reaches."""


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


def begun(node: Node) -> Draft:
    """A new group. What follows sums that keep their axes as 1 may share their rows.

    Not rows along the lanes that stay in the caches: several are summed side by side otherwise,
    which takes less time than to read them once more.
    """
    own, axes = kind(node), outer(node)
    if own == "rows" and (order_of(node) != "lanes" or any(map(large, node.inputs))):
        axes = trimmed(axes) or axes
    return Draft([node], axes, own)


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
        self.blocks = {node for node in graph.nodes if kind(node) == "block"}
        self.epilogues = Epilogues(self.users, self.wanted, self.home, MEMBERS)
        self.drafts: dict[Node, Draft] = {}
        self.runs: dict[object, Draft] = {}

    def fused(self) -> Fused:
        """Each node in turn joins, or begins, a group."""
        for node in self.graph.nodes:
            if isinstance(node.op, leaf.Leaf) or node in self.views or node in self.again:
                continue
            operands = list(dict.fromkeys(self.operands(node)))
            joined = self.runs.get(family(node))
            if joined is None and self.inline(node, operands):
                joined = self.beside(node, operands)
            joined = joined or self.join(node, operands[::-1]) or self.beside(node, operands)
            if joined is None:
                joined = begun(node)
            else:
                joined.nodes.append(node)
            self.drafts[node] = joined
            if isinstance(node.op, Scan):
                self.runs[family(node)] = joined
            joined.read(d for d in operands if d is not joined)
            joined.reach(self.place[node] // NEAR)
            for other in operands:
                self.absorb(joined, other)
            for other in self.alike(node, joined.nodes):
                after = any(upright(other, member) for member in joined.nodes)
                if other.outer == joined.outer and not after:
                    self.merge(joined, other, f"{rows(other)} {SAME} {rows(joined)}")
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
        blocks = not self.blocks.isdisjoint(within)  # what is read there has a place
        bound: dict[Node, None] = {}
        for node in sorted(within, key=self.place.__getitem__):
            inside = self.passing(node, within) and not blocks
            if not inside or any(self.home(i) in bound for i in node.inputs):
                bound[node] = None
        return fits(bound, shared, self.views, blocks)

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
            if depends([d for d in candidates if d is not draft], {draft}):
                continue
            if draft.kind == "product" and not self.epilogues.follows(node, draft.nodes):
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
        for draft in self.alike(node, [node]):
            if len(draft.nodes) >= MEMBERS or depends(operands, {draft}):
                continue
            if self.fits([*draft.nodes, node], draft.outer):
                draft.reasons.append(f"{node.op.name} {SAME} {rows(draft)}")
                return draft
        return None

    def alike(self, node: Node, nodes: Sequence[Node]) -> Iterator[Draft]:
        """The groups of reductions over a reduction's loops that read what it and others read.

        That is more than the nearest cache holds, or parts of sums that were made in one group.
        """
        if kind(node) != "rows":
            return
        read = [i for n in (*nodes, *self.inside(nodes)) for i in n.inputs]
        sums = [i for i in read if i in self.drafts and kind(i) == "rows"]
        made = [n for i in sums for n in self.drafts[i].nodes if kind(n) == "rows"]
        both = [*(i for i in read if moved(i) > NEAREST), *made]
        found = (self.drafts.get(user) for i in both for user in self.users[i])
        for draft in dict.fromkeys(d for d in found if d is not None and d.kind == "rows"):
            if node in draft.nodes or prefix(node.shape, draft.outer) != draft.outer:
                continue
            if any(kind(n) == "rows" and alike(n, node) for n in draft.nodes):
                yield draft

    def inline(self, node: Node, operands: Sequence[Draft]) -> bool:
        """Whether all that a reduction reads of some groups is computed where it is read."""
        if kind(node) != "rows":
            return False
        within = {node, *(member for draft in operands for member in draft.nodes)}
        return all(self.passing(member, within) for member in within - {node})

    def absorb(self, draft: Draft, other: Draft) -> None:
        """Take in a group of maps over the same axes.

        A block takes in another one of the same blocks, too.
        """
        both = draft.kind == other.kind == "block"
        if other is draft or not (other.kind == "map" or both):
            return
        length = len(draft.outer) if draft.kind in ("rows", "block") else len(other.outer)
        if (not length and draft.kind != "block") or other.outer[:length] != draft.outer:
            return
        if draft.kind == "alone":
            return
        first = draft.nodes[0]
        if draft.kind == "product" and any(self.home(i) in other.nodes for i in first.inputs):
            return
        if draft.kind == "product" and not self.epilogues.few([*other.nodes, *draft.nodes]):
            return
        where = "block by block" if both else "where it is read"
        self.merge(draft, other, f"{other.nodes[0].op.name} is computed {where}")

    def merge(self, draft: Draft, other: Draft, why: str) -> None:
        """Make one group of two, where no third group stands between."""
        if other is draft or len(draft.nodes) + len(other.nodes) > MEMBERS:
            return
        first = draft.nodes[0]
        between = [d for d in (*draft.needs, *other.needs) if d not in (draft, other)]
        if depends(between, {draft, other}):
            return
        nodes = sorted({*draft.nodes, *other.nodes}, key=self.place.__getitem__)
        if draft.kind == "product":
            nodes = [first, *(n for n in nodes if n is not first)]
        if not self.fits(nodes, draft.outer):
            return
        draft.nodes = nodes
        draft.reasons.append(why)
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
