"""A graph as a networkx graph: a view to search, draw and export, thrown away after use."""

from __future__ import annotations

from typing import TypeAlias

import networkx

from graphc.graph.graph import Graph
from graphc.graph.leaf import Leaf
from graphc.graph.node import Node
from graphc.graph.show import leaf_kind, name_nodes

DiGraph: TypeAlias = networkx.DiGraph


def to_networkx(graph: Graph) -> DiGraph:
    """The graph as a networkx.DiGraph from operands to users.

    Its nodes are the names in the printed graph (each constant, even a short one, has its own);
    their attributes op, type, kind (op, input, parameter, state, constant, extent), formula, site
    and layer, and an edge's operands (the places it takes among the user's operands, "0 1"), are
    texts, so that every exporter can write them.
    """
    names = _distinct(name_nodes(graph))
    view = networkx.DiGraph()
    for node in (*graph.nodes, *(v for v in graph.variables() if v not in set(graph.nodes))):
        view.add_node(
            names[node],
            op=node.op.name,
            type=str(node.type),
            kind=leaf_kind(node) if isinstance(node.op, Leaf) else "op",
            formula=node.op.describe(),
            site=f"{node.site.file}:{node.site.line}",
            layer=node.site.path,
        )
        for operand in dict.fromkeys(node.inputs):
            places = [i for i, other in enumerate(node.inputs) if other is operand]
            view.add_edge(names[operand], names[node], operands=" ".join(map(str, places)))
    view.graph["outputs"] = " ".join(names[node] for node in graph.outputs)
    return view


def _distinct(names: dict[Node, str]) -> dict[Node, str]:
    """The names, numbered where two constants have the same value in different dtypes."""
    taken: set[str] = set()
    result: dict[Node, str] = {}
    for node, name in names.items():
        number, free = 1, name
        while free in taken:
            number += 1
            free = f"{name}#{number}"
        taken.add(free)
        result[node] = free
    return result
