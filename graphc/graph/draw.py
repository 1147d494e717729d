"""What every graph has to show itself by: its text, its drawing, its table in a notebook."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from graphc import html
from graphc.errors import missing
from graphc.files import Path as AnyPath
from graphc.files import suffix, writing
from graphc.graph.dot import as_dot
from graphc.graph.graph import Graph, looks
from graphc.graph.leaf import Leaf
from graphc.graph.node import Node
from graphc.graph.show import Names, call, leaf_kind, name_nodes, show

FILES = (".svg", ".png", ".pdf", ".dot")
HEADER = ("", "node", "type", "formula", "source")


def draw(
    graph: Graph,
    path: AnyPath,
    *,
    detail: str | None = None,
    names: Names | None = None,
    groups: Mapping[str, Collection[Node]] | None = None,
) -> None:
    """Write the drawing of a graph; the rest of the arguments is that of `as_dot`.

    Raises InputError for a suffix other than FILES, and where pygraphviz is missing; WriteError
    where the system refuses to write.
    """
    kind = suffix(path, FILES)
    text = as_dot(graph, names=names, detail=detail, groups=groups)
    data = text.encode() if kind == "dot" else rendered(text, kind)
    with writing(path):
        Path(path).write_bytes(data)


def rendered(text: str, kind: str) -> bytes:
    """A drawing laid out by Graphviz, which pygraphviz brings along, as svg, png or pdf."""
    try:
        from pygraphviz import AGraph  # optional: the extra `draw`
    except ImportError:
        raise missing("a drawing that is no .dot file", "pygraphviz", "draw") from None
    graph = AGraph(string=text)
    try:
        data: bytes = graph.draw(format=kind, prog="dot")
    finally:
        graph.close()
    return data


def as_html(graph: Graph, names: Names | None = None) -> str:
    """The printed graph as a table."""
    names = name_nodes(graph) if names is None else names
    rows: list[tuple[str, ...]] = []
    for node in graph.nodes:
        if isinstance(node.op, Leaf):
            rows.append((leaf_kind(node), names[node], str(node.type)))
        else:
            made = f"{names[node]} = {call(node, names)}"
            rows.append(("", made, str(node.type), node.op.describe(), str(node.site)))
    for name, node in zip(graph.names, graph.outputs, strict=True):
        rows.append(("output", f"{name} = {names[node]}"))
    for variable, node in graph.updates:
        rows.append(("update", f"{names[variable]} <- {names[node]}"))
    return html.table(HEADER, rows, everything="print(graph)")


looks.update(text=show, draw=draw, html=as_html)
