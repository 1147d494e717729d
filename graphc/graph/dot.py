"""A graph as a drawing in Graphviz's language: boxes and edges, in clusters by layer or kernel.

Detailed, every node is a box. In an overview every layer is one, its nodes counted and named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from graphc.errors import InputError, near
from graphc.graph.graph import Graph
from graphc.graph.leaf import Constant, Extent, Input, Leaf, Variable
from graphc.graph.node import Node
from graphc.graph.phase import BACKWARD, FORWARD, UPDATE, phases
from graphc.graph.show import Names, call, leaf_kind, name_nodes

DETAILS = ("nodes", "layers")
MOST = 200
"""Nodes above which a drawing is an overview."""
BOXES = 60
"""Boxes that an overview may have: more are neither laid out in a moment, nor looked at."""
LONG = 60
FILLS = {
    FORWARD: "#dbe8f8",
    BACKWARD: "#fbe3d0",
    UPDATE: "#dff0dc",
    "input": "#ffffff",
    "parameter": "#efefef",
    "state": "#efefef",
    "constant": "#efefef",
}
"""The colour of a box: of the part of a step that it belongs to, or of the kind of a leaf."""
FONT = 'fontname="Helvetica,Arial,sans-serif"'
HEAD = f"""digraph graphc {{
  graph [rankdir=TB, bgcolor=white, {FONT}, fontsize=11, fontcolor="#606060", nodesep=0.3]
  node [shape=box, style="filled,rounded", color="#808080", {FONT}, fontsize=11, margin="0.12,0.06"]
  edge [color="#606060", {FONT}, fontsize=9, fontcolor="#606060", arrowsize=0.6]"""

Cluster = tuple[str, ...]


@dataclass(frozen=True)
class Box:
    """One box: the lines in it, its kind, the clusters around it from the outside, its remark."""

    lines: tuple[str, ...]
    kind: str
    cluster: Cluster = ()
    remark: str = ""


@dataclass
class Drawing:
    """Boxes by their keys, and the types that pass from one to another along each edge."""

    boxes: dict[object, Box] = field(default_factory=dict)
    edges: dict[tuple[object, object], dict[str, None]] = field(default_factory=dict)

    def edge(self, source: object, target: object, text: str) -> None:
        """Add an edge, or a text to the one that is there."""
        self.edges.setdefault((source, target), {})[text] = None


def as_dot(
    graph: Graph,
    *,
    names: Names | None = None,
    detail: str | None = None,
    groups: Mapping[str, Collection[Node]] | None = None,
) -> str:
    """The drawing of a graph as text. `names` are those of `name_nodes`.

    `detail` is "nodes", or "layers" for an overview; for None, nodes unless there are more than
    MOST. With `groups` clusters are those, such as kernels by name, in the place of layers. Raises
    InputError for another detail.
    """
    if detail is not None and detail not in DETAILS:
        known = ", ".join(map(repr, DETAILS))
        hint = near(detail, DETAILS)
        raise InputError(f"no detail {detail!r} of a drawing; there are {known}{hint}")
    names = name_nodes(graph) if names is None else names
    few = sum(not isinstance(node.op, Leaf) for node in graph.nodes) <= MOST
    detailed = detail == "nodes" or (detail is None and (few or groups is not None))
    return written(nodes(graph, names, groups) if detailed else layers(graph, names))


# --- every node -----------------------------------------------------------------------------


def nodes(graph: Graph, names: Names, groups: Mapping[str, Collection[Node]] | None) -> Drawing:
    """A box for every node, for every output and for every update."""
    found, phase = Drawing(), phases(graph)
    group = {node: name for name, members in (groups or {}).items() for node in members}

    def cluster(node: Node) -> Cluster:
        if groups is not None:
            return (group[node],) if node in group else ()
        after = "" if phase[node] == FORWARD else f", {phase[node]}"
        return tuple(f"{path}{after}" for path in parts(node.site.path))

    for node in graph.nodes:
        if isinstance(node.op, Leaf):
            continue
        lines = (node.op.name, *([names[node]] if names[node] != node.op.name else []))
        remark = f"{call(node, names)} : {node.type}\n{node.op.describe()}\n{node.site}"
        found.boxes[node] = Box(lines, phase[node], cluster(node), remark)
        for operand in dict.fromkeys(node.inputs):
            key: object = operand
            if isinstance(operand.op, Leaf):
                key = leaf(found, operand, node, names, cluster(node))
            found.edge(key, node, str(operand.type))
    for name, node in zip(graph.names, graph.outputs, strict=True):
        end(found, f"output {name}", node, names)
    for variable, node in graph.updates:
        end(found, f"update {names[variable]}", node, names)
    return found


def leaf(found: Drawing, node: Node, user: Node, names: Names, cluster: Cluster) -> object:
    """The box of a leaf, beside the first node that reads it; a number's is its reader's own."""
    number = isinstance(node.op, Extent) or (isinstance(node.op, Constant) and not node.shape)
    key: object = (node, user) if number else node
    lines = (names[node],) if number else (names[node], str(node.type))
    kind = "constant" if number else leaf_kind(node)
    inside = cluster if number or isinstance(node.op, Variable) else ()
    found.boxes.setdefault(key, Box(lines, kind, inside, f"{kind} {names[node]} : {node.type}"))
    return key


def end(found: Drawing, text: str, node: Node, names: Names) -> None:
    """A box for what becomes of a value."""
    key = leaf(found, node, node, names, ()) if isinstance(node.op, Leaf) else node
    found.boxes[text] = Box((text,), "input")
    found.edge(key, text, str(node.type))


# --- an overview ----------------------------------------------------------------------------


def layers(graph: Graph, names: Names) -> Drawing:
    """A box for every layer, forward and backward apart; for fewer boxes, for what holds them.

    Where the outermost layers are too many, for several that follow one another.
    """
    phase = phases(graph)
    inner = [node for node in graph.nodes if not isinstance(node.op, Leaf)]
    depth = max((len(parts(node.site.path)) for node in inner), default=1)
    while depth > 1 and len({(phase[node], cut(node, depth)) for node in inner}) > BOXES:
        depth -= 1
    paths = [path for path in dict.fromkeys(cut(node, depth) for node in inner) if path]
    size = -(-2 * len(paths) // BOXES)
    titles = {"": "outside of layers"}
    for begin in range(0, len(paths), max(size, 1)):
        some = paths[begin : begin + size]
        titles |= dict.fromkeys(some, some[0] if size == 1 else f"{some[0]} to {some[-1]}")
    place = {node: (phase[node], titles[cut(node, depth)]) for node in inner}
    return overview(graph, names, place)


def cut(node: Node, depth: int) -> str:
    """The path of a node's layer, down to a depth."""
    paths = parts(node.site.path)[:depth]
    return paths[-1] if paths else ""


def overview(graph: Graph, names: Names, place: Mapping[Node, tuple[str, str]]) -> Drawing:
    """A box for every place, a part of a step and a title; what passes between them as edges."""
    found, members = Drawing(), dict[tuple[str, str], list[Node]]()
    for node, at in place.items():
        members.setdefault(at, []).append(node)
    for (kind, path), inside in members.items():
        shown = list(dict.fromkeys(node.op.name for node in inside))
        more = f", {len(shown) - 4} more" if len(shown) > 4 else ""
        many = f"{len(inside)} node{'s' if len(inside) > 1 else ''}"
        title = path if kind == FORWARD else f"{path}, {kind}"
        lines = (title, f"{many}: {', '.join(shown[:4])}{more}")
        found.boxes[kind, path] = Box(lines, kind, (), ", ".join(shown))
    for node, at in place.items():
        for operand in dict.fromkeys(node.inputs):
            source: object = place.get(operand)
            if isinstance(operand.op, Input):
                source = leaf(found, operand, node, names, ())
            if source not in (None, at):
                found.edge(source, at, str(operand.type))
    for name, node in zip(graph.names, graph.outputs, strict=True):
        if node in place:
            found.boxes[f"output {name}"] = Box((f"output {name}",), "input")
            found.edge(place[node], f"output {name}", str(node.type))
    return found


def parts(path: str) -> list[str]:
    """A path and all that it lies in, from the outside: "a.0" -> "a", "a.0"."""
    names = path.split(".") if path else []
    return [".".join(names[: i + 1]) for i in range(len(names))]


# --- Graphviz's language --------------------------------------------------------------------


def written(drawing: Drawing) -> str:
    """The drawing as text."""
    number = {key: f"n{i}" for i, key in enumerate(drawing.boxes)}
    lines = [HEAD, *clustered(drawing, number, (), "  ")]
    for (source, target), texts in drawing.edges.items():
        shown = list(texts)
        more = [f"{len(shown) - 2} more"] if len(shown) > 2 else []
        label = quoted("\n".join(f" {text}" for text in [*shown[:2], *more]))
        lines.append(f"  {number[source]} -> {number[target]} [label={label}]")
    return "\n".join([*lines, "}"]) + "\n"


def clustered(
    drawing: Drawing, number: Mapping[object, str], inside: Cluster, indent: str
) -> Iterator[str]:
    """The boxes directly in a cluster, then the clusters in it with theirs."""
    depth = len(inside)
    below: dict[str, None] = {}
    for key, box in drawing.boxes.items():
        if box.cluster[:depth] != inside:
            continue
        if len(box.cluster) > depth:
            below[box.cluster[depth]] = None
        else:
            label, remark = quoted("\n".join(map(short, box.lines))), quoted(box.remark)
            fill = FILLS[box.kind]
            yield f'{indent}{number[key]} [label={label}, fillcolor="{fill}", tooltip={remark}]'
    for name in below:
        path = (*inside, name)
        yield f"{indent}subgraph {quoted('cluster ' + ' / '.join(path))} {{"
        yield f'{indent}  label={quoted(name)}; labeljust=l; color="#a0a0a0"; style=rounded'
        yield from clustered(drawing, number, path, indent + "  ")
        yield f"{indent}}}"


def short(text: str) -> str:
    """A text of no more than a box should be wide."""
    return text if len(text) <= LONG else f"{text[: LONG - 1]}…"


def quoted(text: str) -> str:
    """A text as Graphviz shows it literally: nothing in it is an escape, an entity or a mark."""
    lines = ["".join(plain(line)) for line in text.split("\n")]
    return '"' + "\\n".join(lines) + '"'


def plain(text: str) -> Iterable[str]:
    """The characters of a line, those with a meaning of their own spelled out."""
    special = {"\\": "\\\\", '"': '\\"', "&": "&amp;", "<": "&lt;", ">": "&gt;"}
    return (special.get(c, c if c.isprintable() else "?") for c in text)
