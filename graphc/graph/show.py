"""Graphs as text: every node as its type and its mathematics, in a deterministic order.

input     x : f32[2,3]
parameter w : f32[3,2]
%0 = matmul(x, w)     : f32[2,2]  [m, n] += a*b  where a[m, k], b[k, n]
%1 = matmul.da(%0, w) : f32[2,3]  [m, k] += b*grad  where grad[m, n], b[k, n]
output out0 = %0
update w <- %7
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from graphc.graph.graph import Graph
from graphc.graph.leaf import Constant, Extent, Leaf, Variable
from graphc.graph.node import Node

Names = Mapping[Node, str]
Row = Sequence[str]
WIDEST = 60

COLUMNS: dict[str, Callable[[Node], str]] = {
    "type": lambda node: f": {node.type}",
    "formula": lambda node: node.op.describe(),
    "site": lambda node: f"# {node.site}",
}
"""What can stand to the right of a node."""


def show(
    graph: Graph,
    *,
    names: Names | None = None,
    only: Collection[Node] | None = None,
    columns: Sequence[str] = ("type", "formula"),
) -> str:
    """The graph as text: leaves, nodes, outputs, updates. `columns` may add "site".

    `names` are those of `name_nodes`, where several graphs are to share them. With `only`, the
    other nodes are left out, though they may be named as operands.
    """
    names = name_nodes(graph) if names is None else names
    return "\n".join(
        [
            *_leaves(graph, names, only),
            *_nodes(graph, names, only, columns),
            *_ends(graph, names, only),
        ]
    )


def name_nodes(*graphs: Graph) -> dict[Node, str]:
    """The printed name of every node: the same in every graph, and in one graph unique.

    A leaf goes by its own name, a short constant by its value, any other node by a number that
    counts up through the graphs in turn.
    """
    names: dict[Node, str] = {}
    taken: set[str] = set()
    numbers = 0
    nodes = dict.fromkeys(node for graph in graphs for node in (*graph.nodes, *graph.variables()))
    for node in nodes:
        if isinstance(node.op, Leaf):
            names[node] = _unused(_leaf_name(node), node, taken)
            continue
        names[node] = f"%{numbers}"
        numbers += 1
    return names


def _leaf_name(node: Node) -> str:
    match node.op:
        case Constant() if node.op.array.size == 1 and node.shape == ():
            return str(node.op.array[()])
        case Constant():
            return "array"
        case Extent(name=name):
            return f"extent({name})"
    return node.op.name


def _unused(name: str, node: Node, taken: set[str]) -> str:
    """The name; numbered where another leaf has it. Values of constants need not differ."""
    if isinstance(node.op, Constant) and node.shape == ():
        return name
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}#{number}"
    taken.add(free)
    return free


def call(node: Node, names: Names) -> str:
    """A node as the application of its operation, `matmul(x, w)`."""
    return f"{node.op.name}({', '.join(names[operand] for operand in node.inputs)})"


def leaf_kind(node: Node) -> str:
    """What a leaf is called in the text: input, parameter, state, constant or extent."""
    if isinstance(node.op, Variable):
        return "parameter" if node.op.cell.trainable else "state"
    return type(node.op).__name__.lower()


def _leaves(graph: Graph, names: Names, only: Collection[Node] | None) -> list[str]:
    shown = dict.fromkeys((*graph.nodes, *graph.variables()))
    if only is not None:
        read = {operand for node in only for operand in node.inputs}
        shown = dict.fromkeys(node for node in shown if node in read)
    rows = [
        (leaf_kind(node), names[node], f": {node.type}")
        for node in shown
        if isinstance(node.op, Leaf) and not _spelled(node)
    ]
    return aligned(rows, " ")


def _spelled(node: Node) -> bool:
    """Whether a leaf's name says all there is to say."""
    return isinstance(node.op, Extent) or (isinstance(node.op, Constant) and node.shape == ())


def _nodes(
    graph: Graph, names: Names, only: Collection[Node] | None, columns: Sequence[str]
) -> list[str]:
    """One line a node, and below it the lines of its body where it has one."""
    shown = [
        node
        for node in graph.nodes
        if not isinstance(node.op, Leaf) and (only is None or node in only)
    ]
    lines = aligned(
        [
            (f"{names[node]} = {call(node, names)}", *(COLUMNS[name](node) for name in columns))
            for node in shown
        ]
    )
    result: list[str] = []
    bodies: list[Graph] = []
    for node, line in zip(shown, lines, strict=True):
        result.append(line)
        body = getattr(node.op, "body", None)
        if isinstance(body, Graph) and body not in bodies:
            bodies.append(body)
            result += [f"    {inner}" for inner in show(body, columns=columns).splitlines()]
    return result


def _ends(graph: Graph, names: Names, only: Collection[Node] | None) -> list[str]:
    outputs = zip(graph.names, graph.outputs, strict=True)
    ends = [(f"output {name} = {names[node]}", node) for name, node in outputs]
    ends += [
        (f"update {names[variable]} <- {names[value]}", value) for variable, value in graph.updates
    ]
    return [line for line, node in ends if only is None or node in only]


def aligned(rows: Iterable[Row], gap: str = "  ", right: Collection[int] = ()) -> list[str]:
    """Rows of cells as lines with aligned columns; the columns in `right` end together.

    A cell of more than WIDEST characters pushes the rest of its own line, not the column.
    """
    table = [tuple(row) for row in rows]
    widths = [
        max((len(row[i]) for row in table if i < len(row) and len(row[i]) <= WIDEST), default=0)
        for i in range(max(map(len, table), default=0))
    ]
    lines = []
    for row in table:
        cells = [
            cell.rjust(widths[i]) if i in right else cell.ljust(widths[i])
            for i, cell in enumerate(row)
        ]
        lines.append(gap.join(cells).rstrip())
    return lines
