"""The step in sections, and its copies in a loop, as programs of many kernels have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphc
from graphc import nn, ops, optim
from graphc.errors import IndexError
from graphc.graph.leaf import Cell, Variable
from graphc.llvm import module, steps
from graphc.train.step import TrainStep

WORDS, WIDTH, ROWS = 50, 192, 400


def training() -> TrainStep:
    """A step whose kernels check indices, share their work, and write state; and its variables."""
    graphc.seed(0)
    net = nn.Sequential(nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Tanh())
    net.append(nn.Linear(WIDTH, 7))
    return graphc.compile_train_step(
        net,
        "cross_entropy",
        optim.Adam(1e-2),
        inputs={"x": ((ROWS,), "int64")},
        targets={"y": (ROWS,)},
        threads=2,
    )


def batch(step: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(step)
    return {"x": random.integers(0, WORDS, ROWS), "y": random.integers(0, 7, ROWS)}


def losses(step: TrainStep, count: int) -> list[float]:
    return [float(step(**batch(number))["loss"]) for number in range(count)]


@pytest.mark.parametrize("size", [1, 3, 8])
def test_sections_do_what_the_whole_step_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int
) -> None:
    """Bit for bit; and where an index is refused, no variable has changed."""
    monkeypatch.setenv("GRAPHC_SKIP", "fuse")
    whole = training()
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(module, "SECTION", size)
    cut = training()
    assert len(cut.program.kernels) > 24
    text = cut.program.as_text("llvm")
    assert all(f"define void @steps.{n}(" in text for n in range(24 // size))
    assert losses(cut, 4) == losses(whole, 4)
    state = [cell.value.copy() for cell in cells(cut)]
    for name in ("x", "y"):
        given = batch(9)
        given[name][ROWS - 1] = WORDS
        with pytest.raises(IndexError):
            cut(**given)
        for cell, value in zip(cells(cut), state, strict=True):
            np.testing.assert_array_equal(cell.value, value)
    assert cut(**batch(4)) == whole(**batch(4))


def cells(step: TrainStep) -> list[Cell]:
    found = [node.op for node in step.program.source.variables()]
    return [op.cell for op in found if isinstance(op, Variable)]


@pytest.mark.parametrize("pairs", [1, 3, steps.MANY])
def test_many_copies_are_made_in_a_loop(pairs: int) -> None:
    """Variables that change places: so many are copied as few are."""
    values = [np.full(n % 5 + 1, sign * n, np.float32) for n in range(pairs) for sign in (1, -1)]
    nodes = [graphc.parameter(f"v{n}", value=value) for n, value in enumerate(values)]
    changes = {node: nodes[n ^ 1] for n, node in enumerate(nodes)}
    program = graphc.compile(ops.sum(nodes[0]), updates=changes)
    program()
    for n, node in enumerate(nodes):
        assert isinstance(node.op, Variable)
        np.testing.assert_array_equal(node.op.cell.value, values[n ^ 1])
    many = len(program.stages.ending.copies) >= steps.MANY
    assert many == (pairs > 3)
    assert ("@steps.copies" in program.as_text("llvm")) == many
