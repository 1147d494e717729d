"""Anything with a graph in it as text."""

from __future__ import annotations

from graphc.errors import InputError
from graphc.graph import show
from graphc.inspect.subject import Subject, graph_of, program_of


def as_text(subject: Subject, stage: str = "graph", **extents: int) -> str:
    """A stage of a compiled program, or of a step; of nodes and graphs only "graph".

    Raises InputError for another stage, or for what holds no graph.
    """
    program = program_of(subject)
    if program is not None:
        return program.as_text(stage, **extents)
    if stage != "graph":
        raise InputError(f"a graph that is not compiled has no stage {stage!r}, only 'graph'")
    return show.show(graph_of(subject), columns=("type", "formula", "site"))
