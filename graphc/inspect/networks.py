"""Anything with a graph in it as a networkx graph. networkx is imported with this file."""

from __future__ import annotations

from graphc.graph import order
from graphc.inspect.subject import Subject, graph_of


def to_networkx(subject: Subject) -> order.DiGraph:
    """The graph of a program (as it was declared), a Graph, or the nodes below given ones.

    A networkx.DiGraph from operands to users, whose nodes are the names in the printed graph, with
    the attributes op, type, kind, formula, site and layer. Raises InputError for other objects.
    """
    return order.to_networkx(graph_of(subject))
