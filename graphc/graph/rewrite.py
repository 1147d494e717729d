"""Rewriting a graph bottom-up with rules, each a function from a node to its replacement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from graphc.graph.graph import Graph, postorder
from graphc.graph.node import Node, make
from graphc.graph.site import made_for

Rule = Callable[[Node], Node | None]


def rebuild(node: Node, inputs: tuple[Node, ...]) -> Node:
    """The same operation on other operands, remembered as coming from the same line."""
    if inputs == node.inputs:
        return node
    with made_for(node.site):
        return make(node.op, inputs, node.type)


def rewrite(graph: Graph, rules: Sequence[Rule], *, log: list[str] | None = None) -> Graph:
    """Apply the rules to every node, operands first, until none applies to it any more."""
    done: dict[Node, Node] = {}

    def settle(node: Node) -> Node:
        better: Node | None = None
        with made_for(node.site):
            for rule in rules:
                better = rule(node)
                if better is not None and better is not node:
                    break
        if better is None or better is node:
            return node
        if log is not None:
            log.append(f"{rule.__name__}: {node!r} -> {better!r}")
        return visit(better)

    def visit(root: Node) -> Node:
        stack = [(root, False)]
        while stack:
            node, expanded = stack.pop()
            if node in done:
                continue
            if not expanded:
                stack.append((node, True))
                stack.extend((operand, False) for operand in reversed(node.inputs))
                continue
            moved = rebuild(node, tuple(done[i] for i in node.inputs))
            result = done[moved] if moved in done else settle(moved)
            done[node] = done[moved] = done[result] = result
        return done[root]

    return graph.replaced(visit)


def substitute(root: Node, replacements: Mapping[Node, Node]) -> Node:
    """The graph below root with some nodes replaced."""
    done: dict[Node, Node] = dict(replacements)
    for node in postorder([root]):
        if node not in done:
            done[node] = rebuild(node, tuple(done[i] for i in node.inputs))
    return done[root]
