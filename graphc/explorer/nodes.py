"""The nodes of a program for the page: numbered, named, placed, and linked across its stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

from graphc.graph.graph import Graph
from graphc.graph.leaf import Leaf
from graphc.graph.node import Node
from graphc.graph.phase import FORWARD, PHASES, UPDATE, phases
from graphc.graph.show import call, leaf_kind, name_nodes, show
from graphc.graph.site import Site
from graphc.ops.cost import operations
from graphc.ops.formula import Formula
from graphc.ops.typeset import derivations, equation
from graphc.runtime.stages import Stages

VAGUE = 8
"""Of more nodes than these it is not said that one became them."""


@dataclass
class Numbers:
    """The number of every node that the page may speak of, and its name in all texts.

    Declared and compiled nodes come first, with the names of the printed stages; then those that
    only some pass has seen.
    """

    stages: Stages
    number: dict[Node, int] = field(default_factory=dict)
    name: dict[Node, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        stages = self.stages
        passed = [step.graph for step in stages.passes]
        self.name = name_nodes(stages.source, stages.graph, *passed)
        self.number = {node: number for number, node in enumerate(self.name)}

    def of(self, nodes: Iterable[Node]) -> list[int]:
        """The numbers of nodes, each once; those the page does not know left out."""
        return list(dict.fromkeys(self.number[n] for n in nodes if n in self.number))


def described(numbers: Numbers, extents: Mapping[str, int]) -> dict[str, Any]:
    """All nodes of the declared and the compiled graph, and the two graphs by numbers."""
    stages = numbers.stages
    makers, aliases = kernels_of(stages), stages.fused.aliases
    stored = {root for group in stages.plan.groups for root in group.roots}
    graphs = {"declared": stages.source, "compiled": stages.graph}
    roles: dict[Node, str] = {}
    for graph in graphs.values():
        roles |= {node: role for node, role in roles_of(graph).items() if node not in roles}
    mathematics = Mathematics()
    nodes = []
    for node in everything(graphs.values()):
        home = stages.fused.home(node)
        entry: dict[str, Any] = {
            "id": numbers.number[node],
            "name": numbers.name[node],
            "op": leaf_kind(node) if isinstance(node.op, Leaf) else node.op.name,
            "leaf": isinstance(node.op, Leaf),
            "type": str(node.type),
            "role": roles[node],
            "layer": node.site.path,
            "file": node.site.file,
            "line": node.site.line,
            "inputs": [numbers.number[operand] for operand in node.inputs],
            "kernels": makers.get(home, []),
            "stored": node in stored,
        }
        if not isinstance(node.op, Leaf):
            entry["text"] = f"{numbers.name[node]} = {call(node, numbers.name)}"
            entry["formula"] = node.op.describe()
            entry["mathematics"] = mathematics.of(node)
            entry["flops"] = operations(node, extents)
        if node in aliases:
            entry["view"] = stages.fused.reasons.get(node, "")
            entry["home"] = numbers.number[home]
        body = getattr(node.op, "body", None)
        if isinstance(body, Graph):
            entry["body"] = show(body, columns=("type", "formula", "site"))
        nodes.append(entry)
    return {
        "nodes": nodes,
        "graphs": {name: numbers.of(members(graph)) for name, graph in graphs.items()},
        "ends": {name: ends(graph, numbers) for name, graph in graphs.items()},
        "related": related(numbers),
        "mathematics": mathematics.entries,
    }


def members(graph: Graph) -> list[Node]:
    """The nodes of a graph and the variables that it only writes."""
    return list(dict.fromkeys([*graph.nodes, *graph.variables()]))


def everything(graphs: Iterable[Graph]) -> list[Node]:
    """The nodes of several graphs, each once."""
    return list(dict.fromkeys(node for graph in graphs for node in members(graph)))


def kernels_of(stages: Stages) -> dict[Node, list[int]]:
    """The kernels that compute each node."""
    found: dict[Node, list[int]] = {}
    for number, group in enumerate(stages.plan.groups):
        for node in group.nodes:
            found.setdefault(node, []).append(number)
    return found


def roles_of(graph: Graph) -> dict[Node, str]:
    """What each node is for: its part of the step; a leaf serves the first part that reads it."""
    roles, users = phases(graph), graph.users()
    for node in members(graph):
        if isinstance(node.op, Leaf):
            serves = {roles[user] for user in users.get(node, ())}
            read = next((phase for phase in PHASES if phase in serves), None)
            roles[node] = read or (FORWARD if node in users else UPDATE)
    return roles


def ends(graph: Graph, numbers: Numbers) -> list[dict[str, Any]]:
    """The outputs and updates of a graph."""
    outputs = [
        {"kind": "output", "name": name, "node": numbers.number[node]}
        for name, node in zip(graph.names, graph.outputs, strict=True)
    ]
    updates = [
        {"kind": "update", "name": numbers.name[variable], "node": numbers.number[value]}
        for variable, value in graph.updates
    ]
    return outputs + updates


def related(numbers: Numbers) -> dict[str, list[int]]:
    """For a node of one graph that is not in the other: what stands there in its place.

    Those made for the same line and layer, in the same direction, by an operation of the same name:
    one by one where there are as many, else all. Where no name is left, whatever is from there; but
    nothing where that says too little.
    """
    stages = numbers.stages
    found: dict[str, list[int]] = {}
    for here, there in permutations((stages.source, stages.graph)):
        mine, theirs, present = by_place(here), by_place(there), set(there.nodes)
        for place, names in mine.items():
            others = theirs.get(place, {})
            for name, group in names.items():
                same = others.get(name) or [node for list_ in others.values() for node in list_]
                paired = len(same) == len(group)
                for at, node in enumerate(group):
                    stand = [same[at]] if paired else same
                    if node not in present and 0 < len(stand) <= VAGUE:
                        found[str(numbers.number[node])] = numbers.of(stand)
    return found


Places = dict[tuple[Site, bool], dict[str, list[Node]]]


def by_place(graph: Graph) -> Places:
    """The nodes of a graph by where they come from, and whether they are derivatives; by name."""
    found: Places = {}
    for node in graph.nodes:
        if not isinstance(node.op, Leaf):
            names = found.setdefault((node.site, node.site.derived), {})
            names.setdefault(node.op.name, []).append(node)
    return found


def likeness(op: Any) -> Any:
    """What ops of one definition have in common, whatever their extents."""
    if not isinstance(op, Formula):
        return op
    return op.name, op.args, op.expr, op.reads, op.writes, op.summed, op.how


class Mathematics:
    """Equations and derivations, those of like operations once."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.known: dict[Any, int] = {}

    def of(self, node: Node) -> int:
        """The number of a node's entry."""
        key = likeness(node.op)
        if key not in self.known:
            self.known[key] = len(self.entries)
            steps = [
                {"operand": d.operand, "steps": [[s.title, s.mathml] for s in d.steps]}
                for d in derivations(node)
            ]
            self.entries.append({"equation": equation(node.op), "derivations": steps})
        return self.known[key]
