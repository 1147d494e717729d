"""What each graph pass did: the nodes that it took away and put in, and those it only rewired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from graphc.explorer.nodes import VAGUE, Numbers, Places, by_place
from graphc.graph.graph import Graph
from graphc.graph.leaf import Leaf
from graphc.graph.node import Node
from graphc.graph.show import call


def changes(numbers: Numbers) -> list[dict[str, Any]]:
    """For each graph pass in order: its time, its changes, and what it noted."""
    stages = numbers.stages
    before, found = stages.source, []
    kin = [by_place(graph) for graph in (stages.source, stages.graph)]
    for step in stages.passes:
        gone, come = difference(before, step.graph)
        new = set(step.graph.nodes) - set(before.nodes)
        known = set(before.notes)
        found.append(
            {
                "name": step.name,
                "milliseconds": stages.seconds.get(step.name, 0.0) * 1e3,
                "removed": [line(node, numbers, kin) for node in gone],
                "added": [line(node, numbers, kin) for node in come],
                "rewired": sum(not isinstance(n.op, Leaf) for n in new) - len(come),
                "nodes": sum(not isinstance(n.op, Leaf) for n in step.graph.nodes),
                "notes": [str(note) for note in step.graph.notes if note not in known],
            }
        )
        before = step.graph
    return found


def difference(before: Graph, after: Graph) -> tuple[list[Node], list[Node]]:
    """The nodes that only one of two graphs has, compared by all but their operands.

    A node that reads another operand than before, and else is the same, was only rewired.
    """
    old, new = Counter(map(likeness, before.nodes)), Counter(map(likeness, after.nodes))
    return surplus(before, old - new, after), surplus(after, new - old, before)


def surplus(graph: Graph, counts: Counter[Any], other: Graph) -> list[Node]:
    """The nodes of a graph that make up given counts: first those that the other has not at all."""
    left, found = Counter(counts), []
    present = set(other.nodes)
    for node in sorted(graph.nodes, key=lambda n: n in present):
        if left[likeness(node)] > 0:
            left[likeness(node)] -= 1
            found.append(node)
    order = {node: number for number, node in enumerate(graph.nodes)}
    return sorted((n for n in found if not isinstance(n.op, Leaf)), key=order.__getitem__)


def likeness(node: Node) -> tuple[Any, ...]:
    """All of a node but its operands."""
    return node.op, node.type, node.site, node.site.derived


def line(node: Node, numbers: Numbers, kin: Sequence[Places]) -> dict[str, Any]:
    """A node as a line of a difference, with those of the first and last graph that it is akin to.

    Those come from the same place by an operation of the same name.
    """
    akin = [
        other
        for places in kin
        for other in places.get((node.site, node.site.derived), {}).get(node.op.name, ())
    ]
    return {
        "text": f"{numbers.name[node]} = {call(node, numbers.name)}",
        "type": str(node.type),
        "formula": node.op.describe(),
        "site": str(node.site),
        "nodes": numbers.of([node, *(akin if len(akin) <= 2 * VAGUE else ())]),
    }
