"""A graph as text that tells every two graphs apart: the key under which its program is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from graphc.graph.graph import Graph
from graphc.graph.leaf import Cell, Constant
from graphc.graph.node import Node


def exact(graph: Graph, spell: Callable[[object], str]) -> str:
    """Every node by its operation, operands and type; outputs and updates. Lines are no part.

    `spell` writes the values that this room does not know, formulas among them.
    """
    return Writer(spell).graph(graph)


@dataclass(frozen=True)
class Writer:
    """Writes graphs; which cell a variable has, its place tells."""

    spell: Callable[[object], str]

    def graph(self, graph: Graph) -> str:
        """One line a node, and one for the roots."""
        places: dict[Node, int] = {}
        lines = []
        for node in (*graph.nodes, *(variable for variable, _ in graph.updates)):
            if node not in places:
                operands = [places[operand] for operand in node.inputs]
                places[node] = len(places)
                lines.append(f"{self.operation(node.op)} {operands} {node.type}")
        roots = [places[node] for node in graph.outputs]
        moves = [(places[variable], places[value]) for variable, value in graph.updates]
        order = [places[node] for node in graph.inputs if node in places]
        return "\n".join([*lines, f"{roots} {graph.names} {moves} {order}"])

    def operation(self, op: Any) -> str:
        """All that tells operations apart: their own text, or their fields."""
        own: str | None = getattr(op, "exact", None)
        if own is not None:
            return own
        if isinstance(op, Constant):
            return f"{op.dtype} {op.shape} {hashlib.sha256(op.data).hexdigest()}"
        values = [getattr(op, field.name) for field in fields(op) if field.compare]
        return f"{type(op).__name__} {' '.join(map(self.value, values))}"

    def value(self, value: Any) -> str:
        """One field."""
        match value:
            case Cell():
                return ""
            case Graph():
                return f"{{{self.graph(value)}}}"
            case Node():
                return f"{self.operation(value.op)} {value.type}"
            case tuple() if any(isinstance(part, Node) for part in value):
                return f"({', '.join(map(self.value, value))})"
        return self.spell(value)
