"""Groups made of drafts: what each of them stores, and the graph with every node by itself."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from graphc.graph import leaf
from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.ops.formula import Formula
from graphc.ops.recurrence import Scan
from graphc.passes.bodies import cut
from graphc.passes.draft import Draft, family
from graphc.passes.fit import kind, outer
from graphc.passes.group import Fused, Group
from graphc.passes.inlay import inlays, with_borders
from graphc.passes.invert import covered
from graphc.passes.memory import plan
from graphc.passes.views import aliases


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
