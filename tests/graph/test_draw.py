"""Drawings: every node and edge is there, in its cluster, and no name is taken for a mark."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import graphc
from graphc import nn, ops
from graphc.errors import InputError, WriteError
from graphc.graph.dot import dot
from graphc.graph.graph import Graph, make_graph
from graphc.graph.leaf import Leaf
from graphc.optim import SGD
from graphc.train.step import compile_train_step

HOSTILE = '<script>"x"&lt;\\n\\'
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def layout() -> None:
    """Skips where Graphviz is missing."""
    pytest.importorskip("pygraphviz", reason="pip install '.[draw]' brings pygraphviz")


def step() -> graphc.Program:
    """A training step of two layers."""
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh())
    inputs, targets = {"x": ("batch", 4)}, {"y": ("batch", 3)}
    return compile_train_step(model, "mse", SGD(0.1), inputs, targets).program


def drawn(graph: Graph, path: Path, **options: str) -> tuple[list[str], list[str], list[str]]:
    """The texts in the boxes, at the edges, and at the clusters of a drawing."""
    graph.draw(path, **options)
    kinds: dict[str, list[str]] = {"node": [], "edge": [], "cluster": []}
    for group in ElementTree.parse(path).iter(f"{SVG}g"):
        if (kind := group.get("class", "")) in kinds:
            lines = ["".join(text.itertext()).strip() for text in group.iter(f"{SVG}text")]
            kinds[kind].append("\n".join(lines))
    return kinds["node"], kinds["edge"], kinds["cluster"]


def test_every_node_and_edge_is_drawn(tmp_path: Path, layout: None) -> None:
    """Inputs with their types, ops with their names, values' types at the edges; and the ends."""
    x, w = graphc.input("x", ("n", 3)), graphc.parameter("w", (3, 2))
    graph = make_graph({"y": ops.relu(x @ w) * 2.0}, {w: w * 0.5})
    boxes, edges, clusters = drawn(graph, tmp_path / "g.svg")
    leaves, ends = {"x\nf32[n,3]", "w\nf32[3,2]", "2.0", "0.5"}, {"output y", "update w"}
    assert set(boxes) == leaves | ends | {"matmul\n%0", "relu\n%1", "mul\n%2", "mul\n%3"}
    assert len(boxes) == 10
    assert sorted(edges) == ["f32[3,2]"] * 3 + ["f32[]"] * 2 + ["f32[n,2]"] * 3 + ["f32[n,3]"]
    assert clusters == []


def test_layers_are_clusters_and_phases_have_colours(tmp_path: Path, layout: None) -> None:
    """Forward and backward of a layer apart."""
    program = step()
    boxes, _, clusters = drawn(program.source, tmp_path / "g.svg")
    assert set(clusters) == {"0", "1", "0, backward", "1, backward"}
    inner = [node for node in program.source.nodes if not isinstance(node.op, Leaf)]
    assert sum("%" in box for box in boxes) == len(inner)
    fills = re.findall(r'label="([\w.]+)\\n%\d+", fillcolor="(#\w+)"', dot(program.source))
    colours = {name: fill for name, fill in fills if name != "mul"}
    assert colours["linear"] == colours["tanh"] != colours["tanh.dx"] == colours["linear.dweight"]


def test_an_overview_has_a_box_for_each_layer(tmp_path: Path, layout: None) -> None:
    """What passes between layers stays at the edges; large graphs are drawn so by themselves."""
    boxes, edges, _ = drawn(step().source, tmp_path / "g.svg", detail="layers")
    assert "0\n2 nodes: linear, bias" in boxes and "1, backward\n1 node: tanh.dx" in boxes
    assert {"x\nf32[batch,4]", "y\nf32[batch,3]", "output loss"} < set(boxes)
    assert any(box.startswith("outside of layers, update\n") for box in boxes)
    assert "f32[batch,3]" in edges and not any("weight" in box.split("\n")[0] for box in boxes)
    x = graphc.input("x", (3,))
    for i in range(250):
        with graphc.layer(f"block.{i}.inner"):
            x = x * float(i + 2)
    many, _, _ = drawn(make_graph(x), tmp_path / "many.svg")
    assert len(many) == 3 and "block\n250 nodes: mul" in many
    assert dot(make_graph(x), detail="nodes").count("fillcolor") > 250


def test_names_are_no_marks(tmp_path: Path, layout: None) -> None:
    """Neither Graphviz's nor XML's, in names of inputs, layers and outputs."""
    with graphc.layer(HOSTILE):
        y = graphc.input(HOSTILE, (3,)) * 2
    boxes, _, clusters = drawn(make_graph({HOSTILE: y}), tmp_path / "g.svg")
    assert f"output {HOSTILE}" in boxes and f"{HOSTILE}\nf32[3]" in boxes and HOSTILE in clusters
    assert "script" not in {
        tag.tag.removeprefix(SVG) for tag in ElementTree.parse(tmp_path / "g.svg").iter()
    }
    strange = make_graph({"a\x00\x07\nb": y})
    assert "output a??\nb" in drawn(strange, tmp_path / "g.svg")[0]


@pytest.mark.parametrize(
    ("name", "begins"), [("g.png", b"\x89PNG"), ("g.pdf", b"%PDF"), ("g.SVG", b"<?xml")]
)
def test_files(tmp_path: Path, layout: None, name: str, begins: bytes) -> None:
    """Of the kind that the name says."""
    step().draw(tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_programs_draw_their_stages(tmp_path: Path) -> None:
    """The graph as declared, after the passes, and with kernels as clusters."""
    program = step()
    texts = {}
    for stage in ("graph", "simplified", "fused"):
        program.draw(tmp_path / "g.dot", stage)
        texts[stage] = (tmp_path / "g.dot").read_text()
    assert texts["graph"] == dot(program.source) != texts["simplified"]
    assert set(re.findall(r'"cluster (k\d+)"', texts["fused"])) == set(program.kernels)
    with pytest.raises(InputError, match=r"no drawing of a stage 'fuse'.*Did you mean 'fused'"):
        program.draw(tmp_path / "g.dot", "fuse")


def test_models_draw_their_forward_pass(tmp_path: Path) -> None:
    """For inputs as those of summary."""
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh())
    texts = []
    for inputs in (("batch", 4), {"x": ("batch", 4)}):
        model.draw(tmp_path / "m.dot", inputs)
        texts.append((tmp_path / "m.dot").read_text())
    assert texts[0] == texts[1]
    assert all(word in texts[0] for word in ("tanh", "0.weight", "f32[batch,4]"))


def test_outputs_that_are_leaves() -> None:
    """An input, a parameter and a number are drawn where nothing is computed of them."""
    w = graphc.parameter("w", (2,))
    text = dot(make_graph([graphc.input("x", (2,)), w, graphc.constant(1.5)], {w: w}))
    assert text.count(" -> ") == 4 and "1.5" in text


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A suffix, a detail, a folder that is not there, and no pygraphviz."""
    graph = make_graph(graphc.input("x", (2,)) + 1)
    for name in ("g.gif", "g"):
        with pytest.raises(InputError, match=r"a picture is one of \.svg, \.png, \.pdf, \.dot"):
            graph.draw(tmp_path / name)
    with pytest.raises(InputError, match=r"no detail 'layer' of a drawing.*Did you mean 'layers'"):
        graph.draw(tmp_path / "g.dot", detail="layer")
    with pytest.raises(WriteError, match=r"cannot save .*none"):
        graph.draw(tmp_path / "none" / "g.dot")
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    with pytest.raises(InputError, match=r"needs pygraphviz: pip install 'graphc\[draw\]'"):
        graph.draw(tmp_path / "g.svg")
    graph.draw(tmp_path / "g.dot")


def test_no_program_is_started(tmp_path: Path, layout: None) -> None:
    """Graphviz is a library here: a PATH without any program does."""
    code = "import graphc; graphc.Graph((graphc.input('x', (2,)) + 1,)).draw('g.svg')"
    environment = {"PATH": "", "PYTHONPATH": str(Path(graphc.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "g.svg").stat().st_size > 500
