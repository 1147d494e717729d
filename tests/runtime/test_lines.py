"""The lines of a kernel's texts: whose they are, and which are hot."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import graphc
from graphc import ops
from graphc.errors import InputError
from graphc.graph.node import Node
from graphc.runtime.lines import Line, lines
from graphc.runtime.program import Program
from graphc.runtime.text import KERNEL_STAGES, kernel_text


def declared(w: Node) -> Node:
    x, b = graphc.input("x", ("batch", 32)), graphc.parameter("b", (48,))
    return ops.relu(x @ w + b)


@pytest.fixture(scope="module")
def step() -> Program:
    """A training step of several kernels, the first of them a product with what follows it."""
    w = graphc.parameter("w", (32, 48))
    loss = ops.sum(ops.square(declared(w)))
    (slope,) = graphc.grad(loss, [w])
    return graphc.compile({"loss": loss}, {w: w - 0.1 * slope}, target="avx2")


def names(line: Line) -> set[str]:
    return {node.op.name for node in line.nodes}


@pytest.mark.parametrize("stage", KERNEL_STAGES)
@pytest.mark.parametrize("target", ["avx512", "avx2", "sse2", "neon"])
def test_lines_are_those_of_the_text(stage: str, target: str) -> None:
    """For assembly: without what debug lines add to it, and otherwise the same."""
    hidden = declared(graphc.parameter("w", (32, 48)))
    program = graphc.compile([hidden, ops.sum(hidden, 0), ops.softmax(hidden)], target=target)
    for number in range(len(program.kernels)):
        found = lines(program.stages, number, stage)
        assert "\n".join(line.text for line in found) == kernel_text(program.stages, number, stage)
        nodes = {node for line in found for node in line.nodes}
        assert nodes and nodes <= set(program.stages.plan.groups[number].nodes)


def test_instructions_know_their_nodes(step: Program) -> None:
    """A multiply-add is the product's, the maximum with 0 relu's."""
    found = lines(step.stages, 0, "asm")
    products = [line for line in found if "vfmadd" in line.text]
    assert products and all(names(line) == {"matmul"} for line in products)
    compares = [line for line in found if "vcmp" in line.text]
    assert compares and all(names(line) <= {"relu", "relu.dx"} for line in compares)
    calls = [line for line in lines(step.stages, 0, "llvm") if "@llvm.fmuladd" in line.text]
    assert calls and all(names(line) == {"matmul"} for line in calls)
    assert all(not line.nodes for line in found if re.match(r"\.LBB|\s+\.p2align", line.text))


@pytest.mark.parametrize("stage", ["lowered", "loops", "llvm", "asm"])
def test_the_hot_loop_is_the_sum_of_the_tile(step: Program, stage: str) -> None:
    """Not what opens and closes the tile, and not the smaller tile of the rest of the batch."""
    found = lines(step.stages, 0, stage)
    hot = [at for at, line in enumerate(found) if line.hot]
    assert hot == list(range(hot[0], hot[-1] + 1))
    inside = [found[at] for at in hot]
    products = [line for line in found if re.search(r"vfmadd|fmuladd|\+= a\*b", line.text)]
    counted = sum(line in inside for line in products)
    whole = stage == "lowered"
    assert counted == len(products) if whole else len(products) / 2 <= counted < len(products)
    assert all(names(line) <= {"matmul"} for line in inside)
    if stage == "asm":
        assert sum(line.text.endswith(":") for line in inside) == 1
        label = inside[0].text.rstrip(":")
        assert inside[-1].text.split()[-1] == label
    if stage in ("lowered", "loops"):
        assert inside[0].text.strip().startswith("for s")


def test_kernels_that_are_alike_have_nodes_of_their_own() -> None:
    x = graphc.input("x", ("batch", 16))
    first = ops.sum(ops.square(x @ graphc.parameter("a", (16, 16))), 0)
    other = ops.sum(ops.square(x @ graphc.parameter("b", (16, 16))), 0)
    program = graphc.compile([first, other])
    likes = [(n, c.like) for n, c in enumerate(program.stages.calls) if c.like not in (None, n)]
    assert likes
    for number, like in likes:
        mine = lines(program.stages, number, "asm")
        theirs = lines(program.stages, like or 0, "asm")
        assert [line.text for line in mine] == [line.text for line in theirs]
        assert any(line.nodes for line in mine)
        assert not {n for a in mine for n in a.nodes} & {n for a in theirs for n in a.nodes}


def test_rows_of_a_group_are_its_nodes(step: Program) -> None:
    found = lines(step.stages, 0, "fused")
    nodes = step.stages.plan.groups[0].nodes
    assert [line.nodes for line in found if line.nodes] == [(node,) for node in nodes]
    assert not any(line.hot for line in found)


def test_code_without_a_loop_has_no_hot_line() -> None:
    program = graphc.compile(ops.sqrt(graphc.input("x", ())))
    for stage in ("lowered", "loops", "llvm", "asm"):
        assert not any(line.hot for line in lines(program.stages, 0, stage))


def test_an_unknown_stage_is_refused(step: Program) -> None:
    with pytest.raises(InputError, match="no stage 'assembly' of a kernel; there are fused"):
        lines(step.stages, 0, "assembly")


@pytest.mark.parametrize("stage", ["loops", "asm"])
def test_texts_are_the_same_with_debug_information(
    stage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    hidden = declared(graphc.parameter("w", (32, 48)))
    plain = graphc.compile(hidden, target="avx2")
    monkeypatch.setenv("GRAPHC_DEBUG_INFO", "1")
    told = graphc.compile(hidden, target="avx2")
    assert "!dbg" in told.as_text("llvm") and "!dbg" not in plain.as_text("llvm")
    for number in range(len(plain.kernels)):
        assert lines(plain.stages, number, stage) == lines(told.stages, number, stage)
    assert [line.hot for line in lines(plain.stages, 0, "llvm")] == [
        line.hot for line in lines(told.stages, 0, "llvm") if not line.text.startswith("!")
    ]
