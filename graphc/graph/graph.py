"""A graph: the outputs that are wanted, the updates to make, and the nodes below them in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphc.errors import InputError
from graphc.graph.leaf import Input, Variable, declared
from graphc.graph.node import Node
from graphc.graph.site import Site, here

looks: dict[str, Callable[..., Any]] = {}
"""How a graph shows itself: as text, drawing and html, filled in by `graphc.graph.draw`."""


@dataclass(frozen=True, slots=True)
class Note:
    """What a pass decided about the node of a name made at a place, and why."""

    name: str
    site: Site
    text: str

    def __str__(self) -> str:
        return f"{self.name}, {self.site}: {self.text}"


@dataclass(frozen=True)
class Graph:
    """Named outputs and variable updates, as one value to be compiled together.

    `inputs` are in the order of their declaration, `nodes` operands before users. `notes` are kept
    from the passes that the graph has been through.
    """

    outputs: tuple[Node, ...]
    names: tuple[str, ...] = ()
    updates: tuple[tuple[Node, Node], ...] = ()
    notes: tuple[Note, ...] = field(default=(), compare=False, repr=False)
    nodes: tuple[Node, ...] = field(init=False, compare=False, repr=False)
    inputs: tuple[Node, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.names:
            object.__setattr__(self, "names", tuple(f"out{i}" for i in range(len(self.outputs))))
        object.__setattr__(self, "nodes", tuple(postorder(self.roots)))
        inputs = [node for node in self.nodes if isinstance(node.op, Input)]
        object.__setattr__(self, "inputs", tuple(sorted(inputs, key=declared)))

    @property
    def roots(self) -> tuple[Node, ...]:
        """Every node that must be computed: outputs, then the updates' new values."""
        return (*self.outputs, *(value for _, value in self.updates))

    def replaced(self, change: Callable[[Node], Node]) -> Graph:
        """The graph with every root passed through `change`."""
        return Graph(
            tuple(change(n) for n in self.outputs),
            self.names,
            tuple((variable, change(value)) for variable, value in self.updates),
            self.notes,
        )

    def users(self) -> dict[Node, list[Node]]:
        """For each node the nodes that read it, in order."""
        users: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for operand in dict.fromkeys(node.inputs):
                users[operand].append(node)
        return users

    def variables(self) -> tuple[Node, ...]:
        """Variables that are read or written, in order of appearance."""
        found = [n for n in self.nodes if isinstance(n.op, Variable)]
        return tuple(dict.fromkeys([*found, *(v for v, _ in self.updates)]))

    def draw(self, path: str | os.PathLike[str], *, detail: str | None = None) -> None:
        """Draw the graph into a .svg, .png, .pdf or .dot file, its nodes in clusters by layer.

        `detail`: "nodes", or "layers" for an overview; for None, layers where there are more than
        200 nodes, as to lay out many takes long. All but .dot need the extra `draw`, no program.
        Raises InputError for another suffix or detail, and without the extra; WriteError where the
        system refuses.
        """
        looks["draw"](self, path, detail=detail)

    def __str__(self) -> str:
        """The graph as its mathematics."""
        text: str = looks["text"](self)
        return text

    def _repr_html_(self) -> str:
        """The same as a table, for notebooks."""
        table: str = looks["html"](self)
        return table


def postorder(roots: Iterable[Node]) -> Iterator[Node]:
    """Every node below the roots, operands before users, each once, in a deterministic order."""
    seen: set[Node] = set()
    for root in roots:
        stack: list[tuple[Node, bool]] = [(root, False)]
        while stack:
            node, expanded = stack.pop()
            if expanded:
                yield node
            elif node not in seen:
                seen.add(node)
                stack.append((node, True))
                stack.extend((operand, False) for operand in reversed(node.inputs))


def make_graph(
    outputs: Node | Iterable[Node] | Mapping[str, Node] | Any,
    updates: Mapping[Node, Node] | None = None,
) -> Graph:
    """A Graph of outputs (one, several, or named) and updates (variable -> its next value).

    Raises InputError for what is no node, and where there is nothing to compute.
    """
    pairs = tuple((updates or {}).items())
    names: tuple[str, ...] = ()
    if isinstance(outputs, Node):
        outputs = (outputs,)
    elif isinstance(outputs, Mapping):
        names, outputs = tuple(outputs), tuple(outputs.values())
    elif not isinstance(outputs, Iterable) or isinstance(outputs, str):
        raise _refused("outputs must be a node, several, or a dict of named ones", outputs)
    outputs = tuple(outputs)
    for what, values in (
        ("an output", outputs),
        ("what is updated", [variable for variable, _ in pairs]),
        ("an update's value", [value for _, value in pairs]),
    ):
        for value in values:
            if not isinstance(value, Node):
                raise _refused(f"{what} must be a node", value)
    if not outputs and not pairs:
        raise InputError(f"there is nothing to compute: no output and no update{here()}")
    return Graph(outputs, names, pairs)


def _refused(problem: str, value: object) -> InputError:
    hint = "; its variable is its .node" if hasattr(value, "node") else ""
    return InputError(f"{problem}, not {type(value).__name__} {value!r}{hint}{here()}")
