"""Freezing: what depends on variables alone is found, to be computed once and not at each call."""

from __future__ import annotations

from collections.abc import Mapping

from graphc.graph import leaf
from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.graph.rewrite import substitute
from graphc.passes import layout
from graphc.passes.views import is_alias

GROWTH = 4
"""How many times as large as the variables it is made of a value may be that is kept: as large as a
filter of 3x3 at the points of its tiles is."""


def lasting(graph: Graph) -> tuple[Node, ...]:
    """The largest values that no call changes and that take a kernel to make.

    A value much larger than what it is made of (a bias spread over a batch) is none: it would be
    read from memory where it is now made in registers.
    """
    made = steady(graph)
    kept: dict[Node, None] = {}
    seen: set[Node] = set()
    left = list(graph.roots)
    while left:
        node = left.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in made and node.inputs and not is_alias(node) and compact(node, made[node]):
            kept[node] = None
        else:
            left += node.inputs
    return tuple(kept)


def steady(graph: Graph) -> dict[Node, set[Node]]:
    """The values that no call changes, each with the variables that it is made of."""
    made: dict[Node, set[Node]] = {variable: {variable} for variable in variables(graph)}
    for node in graph.nodes:
        if node.inputs and all(operand in made for operand in node.inputs):
            made[node] = set().union(*(made[operand] for operand in node.inputs))
    return made


def variables(graph: Graph) -> tuple[Node, ...]:
    """The variables that a call reads and leaves as they are."""
    changed = {variable for variable, _ in graph.updates}
    return tuple(v for v in graph.variables() if v not in changed)


def compact(node: Node, sources: set[Node]) -> bool:
    """Whether keeping a value takes about the memory of what it is made of."""
    return not node.type.symbols and small(elements(node), sources)


def small(count: float, sources: set[Node]) -> bool:
    """Whether so many elements are not much more than some variables have."""
    return count <= GROWTH * sum(map(elements, sources))


def elements(node: Node) -> int:
    """How many elements a value of known extents has."""
    return layout.elements(node.type, {})


def settled(graph: Graph, values: Mapping[Node, leaf.Array]) -> Graph:
    """The graph with some values, and all variables that it only reads, in cells of its own."""
    found = {node: stored(node, value) for node, value in values.items()}
    left = graph.replaced(lambda root: substitute(root, found))
    own = {
        variable: stored(variable, variable.op.cell.value)
        for variable in variables(left)
        if isinstance(variable.op, leaf.Variable) and variable not in found.values()
    }
    return left.replaced(lambda root: substitute(root, own))


def stored(node: Node, value: leaf.Array) -> Node:
    """A variable that holds a value."""
    return leaf.variable(leaf.Cell(node.op.name, leaf.aligned(value), trainable=False))
