"""The printed graph, word for word, and the networkx view of it."""

from __future__ import annotations

import networkx
import numpy as np
import pytest

import graphc
from graphc.graph.graph import Graph, make_graph
from graphc.graph.leaf import constant
from graphc.graph.order import to_networkx
from graphc.graph.show import aligned, name_nodes, show


@graphc.op
def squash(x):
    """A curve that is its own little formula."""
    return x / (1 + x**2)


@graphc.op("m k, k n -> m n")
def product(a, b):
    """A matrix product."""
    return a * b


def net() -> Graph:
    """squash(x w), summed, with one step of descent."""
    x = graphc.input("x", ("batch", 3))
    w = graphc.parameter("w", (3, 2))
    with graphc.layer("dense"):
        hidden = product(x, w)
    with graphc.layer("curve"):
        loss = graphc.sum(squash(hidden))
    (slope,) = graphc.grad(loss, [w])
    return make_graph({"loss": loss}, {w: w - 0.5 * slope})


GOLDEN = """\
input     x : f32[batch,3]
parameter w : f32[3,2]
%0 = product(x, w)          : f32[batch,2]  [m, n] += a*b  where a[m, k], b[k, n]
%1 = squash(%0)             : f32[batch,2]  [b0, b1] = x/(x**2 + 1)  where x[b0, b1]
%2 = sum(%1)                : f32[]         [] += x  where x[i0, i1]
%3 = sum.dx(1.0)            : f32[batch,2]  [i0, i1] = grad  where grad[]
%4 = squash.dx(%3, %1, %0)  : f32[batch,2]  [b0, b1] = grad*(-2*result**2 + 1/(x**2 + 1))  \
where grad[b0, b1], result[b0, b1], x[b0, b1]
%5 = product.db(%4, x)      : f32[3,2]      [k, n] += a*grad  where grad[m, n], a[m, k]
%6 = mul(0.5, %5)           : f32[3,2]      [b0, b1] = a*b  where a[], b[b0, b1]
%7 = sub(w, %6)             : f32[3,2]      [b0, b1] = a - b  where a[b0, b1], b[b0, b1]
output loss = %2
update w <- %7"""


def test_golden() -> None:
    """Leaves, nodes with their mathematics, outputs and updates."""
    assert show(net()) == GOLDEN


def test_columns_are_aligned() -> None:
    """All types begin in one column, and all formulas."""
    lines = [line for line in show(net()).splitlines() if line.startswith("%")]
    assert len({line.index(" : ") for line in lines}) == 1
    assert len({line.index("  [") for line in lines if " f32[batch,2]" in line}) == 1


def test_same_text_for_an_equal_graph() -> None:
    """Nothing in the text depends on addresses or hashing."""
    assert show(net()) == show(net())


def test_sites() -> None:
    """The user's line and the layer stand to the right where they are asked for."""
    lines = show(net(), columns=("type", "site")).splitlines()
    (line,) = [line for line in lines if "squash(" in line]
    assert line.startswith("%1 = squash(%0)") and "# test_show.py:" in line
    assert line.endswith("(curve)")


def test_only_some_nodes() -> None:
    """With `only`, other nodes are named and not shown, and only the leaves that are read are."""
    graph = net()
    derived = {node for node in graph.nodes if node.site.derived}
    text = show(graph, only=derived)
    assert [line.split()[0] for line in text.splitlines()] == ["input", "%3", "%4", "%5"]


def test_derived_nodes_are_those_of_differentiation() -> None:
    """Neither the forward nodes nor the update count among them."""
    named = [node.op.name for node in net().nodes if node.site.derived]
    assert named == ["sum.dx", "squash.dx", "product.db"]


def test_names_of_leaves() -> None:
    """Equal names are numbered; a short constant is its value, a long one has a line."""
    first, second = graphc.parameter("w", (2,)), graphc.parameter("w", (2,))
    table = constant(np.arange(2, dtype=np.float32))
    text = show(make_graph((first + second) * table + 3))
    assert text.splitlines()[:3] == [
        "parameter w     : f32[2]",
        "parameter w#2   : f32[2]",
        "constant  array : f32[2]",
    ]
    assert "add(w, w#2)" in text and ", 3.0)" in text


def test_a_node_has_one_name_in_several_graphs() -> None:
    """Numbers count on through the graphs, and a shared node keeps its own."""
    x = graphc.input("x", (2,))
    before = make_graph(graphc.exp(x) + x)
    after = make_graph(graphc.exp(x) * x)
    names = name_nodes(before, after)
    assert [names[n] for n in before.nodes] == ["x", "%0", "%1"]
    assert [names[n] for n in after.nodes] == ["x", "%0", "%2"]
    assert show(after, names=names).splitlines()[1].startswith("%0 = exp(x)")


def test_body_of_a_scan() -> None:
    """What is repeated stands indented below, once for all results of the run."""
    xs, start = graphc.input("xs", (5, 2)), graphc.input("start", (2,))
    carry, outputs = graphc.scan(lambda c, x: (c + x, c * x), start, xs)
    text = show(make_graph([carry, outputs]))
    assert text.count("    %0 = add(") == 1
    assert "5 steps of" in text


def test_aligned() -> None:
    """Columns are as wide as their widest cell, unless that is very wide."""
    assert aligned([]) == []
    assert aligned([("a", "1"), ("bb", "22")], right=(1,)) == ["a    1", "bb  22"]
    assert aligned([("x" * 80, "1"), ("bb", "22")]) == ["x" * 80 + "  1", "bb  22"]


# --- networkx -------------------------------------------------------------------------------


def test_networkx_view() -> None:
    """Nodes by their printed names with texts as attributes, edges from operands to users."""
    view = to_networkx(net())
    assert networkx.is_directed_acyclic_graph(view)
    assert set(view.predecessors("%0")) == {"x", "w"}
    assert view.edges["w", "%0"] == {"operands": "1"}
    found = view.nodes["%1"]
    assert (found["op"], found["type"], found["layer"]) == ("squash", "f32[batch,2]", "curve")
    assert found["kind"] == "op" and view.nodes["w"]["kind"] == "parameter"
    assert "test_show.py:" in found["site"]
    assert view.graph["outputs"] == "%2"


def test_networkx_keeps_every_place_of_an_operand() -> None:
    """x * x has one edge that says both places."""
    x = graphc.input("x", (2,))
    assert to_networkx(make_graph(x * x)).edges["x", "%0"] == {"operands": "0 1"}


def test_networkx_view_can_be_exported(tmp_path) -> None:
    """Every attribute is a text."""
    path = tmp_path / "net.graphml"
    networkx.write_graphml(to_networkx(net()), path)
    assert networkx.read_graphml(path).number_of_nodes() == len(net().nodes)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constants_of_equal_value_stay_apart(dtype: str) -> None:
    """Two constants printed alike are two nodes of the view."""
    x = graphc.input("x", (2,), dtype)
    y = graphc.cast(x * 2.0, "int64") * 2
    view = to_networkx(make_graph(y))
    assert view.number_of_nodes() == len(make_graph(y).nodes)
