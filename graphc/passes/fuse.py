"""Fusion: which nodes are computed together, so that values stay in registers and caches.

A group's members share its outer loops: the leading axes of every member. A member joins the group
of an operand where it reads that group's values at those very axes, so that each value is used
where it was made. Contractions, which read an element many times, begin groups and are followed by
what is pointwise on their result; rows that are reduced stay together with what surrounds them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from graphc.graph import leaf
from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Lookup
from graphc.passes import layout
from graphc.passes.group import Fused, Group
from graphc.passes.invert import covered
from graphc.passes.views import aliases
from graphc.types import Shape

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
    views = aliases(graph)
    home = Fused(graph, (), views).home
    drafts: dict[Node, Draft] = {}
    for node in graph.nodes:
        if isinstance(node.op, leaf.Leaf) or node in views:
            continue
        operands = [drafts[home(i)] for i in node.inputs if home(i) in drafts]
        joined = join(node, list(dict.fromkeys(reversed(operands))), drafts, views)
        if joined is None:
            joined = Draft([node], outer(node), kind(node))
            drafts[node] = joined
        else:
            drafts[node] = joined
            joined.nodes.append(node)
        joined.needs |= {d for d in operands if d is not joined}
    return finish(graph, list(dict.fromkeys(drafts.values())), drafts, views)


def separate(graph: Graph) -> Fused:
    """Every node that is no leaf and no view is a kernel of its own."""
    views = aliases(graph)
    drafts = {
        node: Draft([node], outer(node), kind(node))
        for node in graph.nodes
        if not isinstance(node.op, leaf.Leaf) and node not in views
    }
    return finish(graph, list(drafts.values()), drafts, views)


def finish(
    graph: Graph, groups: list[Draft], drafts: dict[Node, Draft], views: dict[Node, Node]
) -> Fused:
    """Decide what each group must store: whatever is read outside of it."""
    fused = Fused(graph, (), views)
    wanted = {fused.home(root) for root in graph.roots}
    for node in graph.nodes:
        for operand in node.inputs:
            home = fused.home(operand)
            if home in drafts and node in drafts and (
                drafts[home] is not drafts[node] or home is not operand
            ):
                wanted.add(home)
    result = []
    for draft in groups:
        roots = tuple(n for n in draft.nodes if n in wanted)
        result.append(Group(tuple(draft.nodes), roots, draft.outer, tuple(draft.reasons)))
    return Fused(graph, tuple(result), views)


def kind(node: Node) -> str:
    """map, rows (a reduction that reads each element once), product, or alone."""
    op = node.op
    if not isinstance(op, Formula) or not covered(op, node) or not op.plain:
        return "alone"
    if op.pointwise:
        return "map"
    return "product" if reuses(op) else "rows"


def reuses(op: Formula) -> bool:
    """Whether some operand is read again for several elements of the result."""
    big = {n for n in op.kept if op.extents[n] != 1}
    for read in op.reads:
        seen = {n for e in read if isinstance(e, Affine) for n in e.names}
        if len(op.reads) > 1 and seen & set(op.summed) and big - seen:
            return True
    return False


def outer(node: Node) -> Shape:
    """The axes of a node's result that can be loops around its kernel."""
    op = node.op
    return node.shape if isinstance(op, Formula) and op.plain and covered(op, node) else ()


def join(
    node: Node, candidates: list[Draft], drafts: dict[Node, Draft], views: dict[Node, Node]
) -> Draft | None:
    """The first of the operands' groups that a node may join; its outer axes are adapted."""
    own = kind(node)
    if own in ("product", "alone"):
        return None
    for draft in candidates:
        shared = common(node, own, draft)
        if shared is None or len(draft.nodes) >= MEMBERS:
            continue
        if not fits(node, draft, shared, views) or depends(node, draft, drafts, views):
            continue
        if draft.kind == "product" and streams(node, draft) > STREAMS:
            continue
        draft.reasons.append(reason(node, own, draft))
        draft.outer = shared
        if own == "rows" and draft.kind == "map":
            draft.kind = "rows"
        return draft
    return None


def common(node: Node, own: str, draft: Draft) -> Shape | None:
    """The outer axes of a group once the node has joined, or None where it cannot."""
    if draft.kind == "alone":
        return None
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


def fits(node: Node, draft: Draft, shared: Shape, views: dict[Node, Node]) -> bool:
    """Whether every value passed inside the group is used at the outer axes it was made at."""
    members = set(draft.nodes)
    for user in (*draft.nodes, node):
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
            if not passes(operand, read, op, len(shared)):
                return False
    return True


def passes(operand: Node, read: tuple[object, ...], op: Formula, skip: int) -> bool:
    """Whether the rest of a row, past the outer axes, can be handed over on the stack."""
    made = operand.op
    assert isinstance(made, Formula)
    rest = layout.size(operand.shape[skip:])
    if not isinstance(rest, int):
        return False
    return made.pointwise or rest <= ROW_LIMIT


def depends(
    node: Node, draft: Draft, drafts: dict[Node, Draft], views: dict[Node, Node]
) -> bool:
    """Whether another operand needs the group to be finished first: joining would make a cycle."""
    stack: list[Draft] = []
    for operand in node.inputs:
        target = operand
        while target in views:
            target = views[target]
        if target in drafts and drafts[target] is not draft:
            stack.append(drafts[target])
    seen: set[Draft] = set()
    while stack:
        current = stack.pop()
        if current is draft:
            return True
        if current not in seen:
            seen.add(current)
            stack.extend(current.needs)
    return False


def streams(node: Node, draft: Draft) -> int:
    """Full-size operands that the group would read beside its contraction."""
    members = {*draft.nodes, node}
    found = {
        i for n in (*draft.nodes[1:], node) for i in n.inputs
        if i not in members and i.shape == node.shape
    }
    return len(found)


def reason(node: Node, own: str, draft: Draft) -> str:
    """Why a node joins a group."""
    first = draft.nodes[0].op.name
    if own == "rows":
        return f"{node.op.name} reduces rows while they are at hand"
    if draft.kind == "product":
        return f"{node.op.name} follows {first} element by element, in its registers"
    if draft.kind == "rows":
        return f"{node.op.name} shares the rows of {first}"
    return f"{node.op.name} is pointwise on what {first} makes"
