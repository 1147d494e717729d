"""The program or graph that an object is or holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from graphc.errors import InputError
from graphc.graph.graph import Graph, make_graph
from graphc.graph.node import Node
from graphc.runtime.program import Program

Subject: TypeAlias = object
"""A Program, a compiled step, a Graph, a node, or several nodes in a sequence or dict."""


def program_of(subject: Subject) -> Program | None:
    """The program itself, or the one inside a compiled step; None for anything else."""
    if isinstance(subject, Program):
        return subject
    inner = getattr(subject, "program", None)
    return inner if isinstance(inner, Program) else None


def graph_of(subject: Subject) -> Graph:
    """The graph that an object is or holds. Raises InputError where there is none."""
    program = program_of(subject)
    if program is not None:
        return program.stages.source
    if isinstance(subject, Graph):
        return subject
    values: list[object] = []
    if isinstance(subject, Node):
        return make_graph(subject)
    if isinstance(subject, Mapping):
        values = list(subject.values())
    elif isinstance(subject, Sequence) and not isinstance(subject, str):
        values = list(subject)
    nodes = [value for value in values if isinstance(value, Node)]
    if not nodes or len(nodes) != len(values):
        raise InputError(
            f"{type(subject).__name__} holds no graph; give a program, a graph or nodes"
        )
    if isinstance(subject, Mapping):
        return make_graph(dict(zip(map(str, subject), nodes, strict=True)))
    return make_graph(nodes)
