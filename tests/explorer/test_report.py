"""The report behind the page: nodes, what passes did, kernels, memory; and the page as a file."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.errors import InputError
from graphc.explorer.explore import explore
from graphc.explorer.nodes import Numbers
from graphc.explorer.page import page
from graphc.explorer.report import report
from graphc.explorer.training import described, gradients

ROLES = {"forward", "backward", "update"}


def step() -> graphc.train.TrainStep:
    """A convolutional net's training step."""
    graphc.seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(3)
    )
    optimizer = optim.SGD(0.1, momentum=0.9)
    inputs, targets = {"x": ("batch", 1, 6, 6)}, {"y": ("batch",)}
    return graphc.compile_train_step(model, "cross_entropy", optimizer, inputs, targets)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    program = step().program
    return report(program, "a net", Numbers(program.stages), extents={"batch": 8})


def embedded(text: str) -> dict[str, Any]:
    """The report in a page."""
    match = re.search(r'<script type="application/json" id="report">(.*?)</script>', text, re.S)
    assert match is not None
    return dict(json.loads(match[1]))


def test_every_node_is_there_once_and_says_where_it_is_from(found: dict[str, Any]) -> None:
    numbers = [node["id"] for node in found["nodes"]]
    assert len(set(numbers)) == len(numbers)
    assert {node["role"] for node in found["nodes"]} == ROLES
    assert set(found["graphs"]["declared"]) | set(found["graphs"]["compiled"]) == set(numbers)
    (line,) = {n["line"] for n in found["nodes"] if n["op"] == "conv2d"}
    (file,) = [f for f in found["files"] if f["path"] == __file__]
    assert "nn.Conv2d(1, 4, 3, padding=1)" in file["lines"][line - file["first"]]
    assert all(node in numbers for marked in file["marks"].values() for node in marked)


def test_what_a_node_became(found: dict[str, Any]) -> None:
    """A node that the passes replaced leads to what stands in its place, and back."""
    nodes = {node["id"]: node for node in found["nodes"]}
    compiled = set(found["graphs"]["compiled"])
    gone = [n for n in found["graphs"]["declared"] if n not in compiled and not nodes[n]["leaf"]]
    (first,) = [n for n in gone if nodes[n]["op"] == "conv2d"]
    (now,) = found["related"][str(first)]
    assert nodes[now]["op"] == "conv2d" and now in compiled
    assert found["related"][str(now)] == [first]


def test_optimizer_states_belong_to_the_updates(found: dict[str, Any]) -> None:
    states = [n for n in found["nodes"] if n["name"].startswith("optimizer.0.weight")]
    assert states and {n["role"] for n in states} == {"update"}


def test_mathematics_is_kept_once_and_well_formed(found: dict[str, Any]) -> None:
    from xml.dom.minidom import parseString

    (number,) = {n["mathematics"] for n in found["nodes"] if n["op"] == "conv2d"} & {
        n["mathematics"] for n in found["nodes"] if n["name"] == "%1"
    }
    entry = found["mathematics"][number]
    assert [d["operand"] for d in entry["derivations"]] == ["image", "kernel"]
    for entry in found["mathematics"]:
        texts = [entry["equation"]] if entry["equation"] else []
        texts += [text for d in entry["derivations"] for _, text in d["steps"]]
        for text in texts:
            parseString(text)


def test_passes_say_what_they_changed(found: dict[str, Any]) -> None:
    steps = {step["name"]: step for step in found["passes"]}
    assert list(steps)[:3] == ["unify", "fold", "simplify"] and list(steps)[-1] == "bodies"
    assert all(step["milliseconds"] >= 0 for step in steps.values())
    (gone,), (come,) = steps["invert"]["removed"], steps["invert"]["added"]  # writes become reads
    assert "pad(x)" in gone["text"] and "h + 1" in gone["formula"]
    assert "pad(x)" in come["text"] and "- 1]" in come["formula"]
    # what only reads other operands than before is no change
    folded = steps["fold"]
    assert folded["rewired"] > 0 and 0 < len(folded["added"]) < folded["nodes"] / 2


def test_kernels_and_their_packed_code(found: dict[str, Any]) -> None:
    (number,) = [i for i, k in enumerate(found["kernels"]) if "conv2d" in k["ops"]]
    kernel = found["kernels"][number]
    assert any("follows conv2d" in reason for reason in kernel["fusion"])
    assert kernel["schedule"] and kernel["flops"] > 0
    texts = json.loads(gzip.decompress(base64.b64decode(found["code"][kernel["like"]])))
    steps = dict(texts.pop("passes"))
    assert list(steps)[-1] in ("hoist", "parallel", "tile", "trim") and set(texts) == {
        "lowered",
        "loops",
        "llvm",
        "asm",
    }
    assert any(line.startswith("+") and "# vector" in line for line in steps["tile"])
    for lines in texts.values():
        assert any(nodes and hot for _, nodes, hot in lines)
    program = step().program
    assert "\n".join(t for t, _, _ in texts["asm"]) == program.kernels[kernel["name"]].as_text(
        "asm"
    )


def test_memory_adds_up(found: dict[str, Any]) -> None:
    memory = found["memory"]
    placed = [s for s in memory["slots"] if s["offset"] >= 0]
    assert max(memory["live"]) == memory["live"][memory["peak"]] <= memory["arena"]
    assert sum(s["bytes"] for s in placed) == memory["values"]
    for one in placed:  # no two that live together overlap
        for two in placed:
            together = one["first"] <= two["last"] and two["first"] <= one["last"]
            apart = (
                one["offset"] + one["bytes"] <= two["offset"]
                or two["offset"] + two["bytes"] <= one["offset"]
            )
            assert one is two or not together or apart


def test_the_page_is_one_file_that_may_load_nothing(found: dict[str, Any]) -> None:
    text = page({**found, "title": "</script><b>"})
    assert embedded(text)["title"] == "</script><b>"
    assert text.count("<script") == 2 and text.count("</script>") == 2
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None and "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1] and "http" not in policy[1]
    assert not re.search(r'(src|href)="', text)


def test_explore_writes_what_ran(tmp_path: Path) -> None:
    """Times on the given inputs, gradients, and the state as it was."""
    compiled = step()
    cells = {v: v.op.cell.value.copy() for v, _ in compiled.program.source.updates}
    batch = {"x": np.ones((5, 1, 6, 6), np.float32), "y": np.array([0, 1, 2, 0, 1])}
    target = explore(compiled, tmp_path / "net.html", inputs=batch, title="net")
    shown = embedded(target.read_text())
    assert shown["extents"] == {"batch": 5}
    assert "the inputs that were given" in shown["roofline"]["said"]
    assert len(shown["roofline"]["rows"]) == len(shown["kernels"])
    weight = next(p for p in shown["training"]["parameters"] if p["name"] == "0.weight")
    assert sum(weight["values"]["counts"]) == 4 * 9 == sum(weight["gradient"]["counts"])
    for variable, value in cells.items():
        assert np.array_equal(variable.op.cell.value, value)


def test_explore_without_running(tmp_path: Path) -> None:
    x = graphc.input("x", ("n", 3))
    target = explore(graphc.compile(graphc.exp(x)), tmp_path / "exp.html", run=False)
    shown = embedded(target.read_text())
    assert shown["roofline"] is None and shown["training"] is None
    assert shown["kind"] == "inference"


def test_explore_of_a_trainer(tmp_path: Path) -> None:
    x, y = graphc.data.moons(60)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    trainer = graphc.Trainer(model, loss="cross_entropy", optimizer=optim.Adam(0.01))
    with pytest.raises(InputError, match="compiled nothing yet"):
        explore(trainer, tmp_path / "none.html")
    trainer.fit(x, y, epochs=3, verbose=0)
    untitled = embedded(explore(trainer, tmp_path / "untitled.html", run=False).read_text())
    assert untitled["title"] == f"Trainer of {type(trainer.model).__name__}"
    shown = embedded(explore(trainer, tmp_path / "moons.html", title="moons").read_text())
    assert shown["training"]["epochs"] == [1, 2, 3]
    assert shown["training"]["curves"]["loss"] == trainer.history["loss"]
    assert shown["layers"] == {"0": "Linear", "1": "Tanh", "2": "Linear"}


def test_explore_refuses(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="explore takes a program"):
        explore(3, tmp_path / "x.html")
    program = graphc.compile(graphc.exp(graphc.input("x", (3,))))
    with pytest.raises(graphc.GraphcError, match="missing"):
        explore(program, tmp_path / "missing" / "x.html", run=False)


def test_histograms_take_what_is_finite() -> None:
    found = described(np.array([1.0, 2.0, np.nan, np.inf, 4.0]))
    assert sum(found["values"]["counts"]) == 3 and found["mean"] == pytest.approx(7 / 3)
    assert described(np.full(3, np.nan))["values"]["counts"] == [0]
    assert sum(described(np.ones(7))["values"]["counts"]) == 7


def test_gradients_are_of_the_loss() -> None:
    program = step().program
    slopes = gradients(program)
    assert slopes is not None
    found = slopes(x=np.ones((2, 1, 6, 6), np.float32), y=np.array([0, 1]))
    assert set(found) == {"0.weight", "0.bias", "4.weight", "4.bias"}
    assert gradients(graphc.compile(graphc.exp(graphc.input("x", (3,))))) is None
