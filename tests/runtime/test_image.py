"""Images: a program that was compiled before starts from disk, and does what a fresh one does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphc
from graphc import nn, ops, optim
from graphc.graph.exact import exact
from graphc.graph.graph import make_graph
from graphc.ops.scalar import written
from graphc.runtime import image
from graphc.runtime.program import Program


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of one's own."""
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def step() -> tuple[Program, nn.Module]:
    graphc.seed(0)
    model = nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Dropout(0.2), nn.Linear(20, 3))
    found = graphc.compile_train_step(
        model,
        "cross_entropy",
        optim.Adam(1e-2),
        inputs={"x": ("batch", 12)},
        targets={"y": ("batch",)},
    )
    return found.program, model


def trained() -> tuple[list[float], list[np.ndarray], Program]:
    program, model = step()
    random = np.random.default_rng(0)
    losses = []
    for count in (8, 8, 5):
        x = random.standard_normal((count, 12)).astype(np.float32)
        given = {"x": x, "y": random.integers(0, 3, count)}
        given |= {n.op.name: np.float32(1e-2) for n in program.inputs if n.op.name not in given}
        losses.append(float(program(**given)["loss"]))
    return losses, [p.value.copy() for p in model.parameters()], program


def test_a_program_from_disk_does_what_a_fresh_one_does() -> None:
    losses, state, fresh = trained()
    others, values, kept = trained()
    assert fresh.loaded is not None and not fresh.loaded.from_cache
    assert kept.loaded is not None and kept.loaded.from_cache
    assert "stages" not in vars(kept), "no stage is made before someone asks"
    assert others == losses
    for one, other in zip(state, values, strict=True):
        np.testing.assert_array_equal(one, other)
    assert kept.as_text("asm") == fresh.as_text("asm")
    assert kept.image == fresh.image


def test_every_kind_of_output_comes_from_disk() -> None:
    x = graphc.input("x", ("n", 3))
    w = graphc.parameter("w", value=np.arange(3.0, dtype=np.float32))
    outputs = [
        x,
        w,
        graphc.constant(np.ones((2, 2))),
        ops.sum(x * w),
        x + w,
        ops.reshape(x, (-1, 1, 3)),
    ]
    given = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    for _ in range(2):
        program = graphc.compile(outputs, {w: w + 1.0})
        before = w.op.cell.value.copy()  # type: ignore[attr-defined]
        results = program(given)
        np.testing.assert_array_equal(results[0], given)
        np.testing.assert_array_equal(results[1], before)
        np.testing.assert_array_equal(results[2], np.ones((2, 2)))
        assert results[3] == np.sum(given * before)
        np.testing.assert_array_equal(results[4], given + before)
        np.testing.assert_array_equal(results[5], given.reshape(-1, 1, 3))


def test_a_label_out_of_range_is_named_by_a_program_from_disk() -> None:
    table = graphc.parameter("table", value=np.ones((4, 2), np.float32))
    for _ in range(2):
        program = graphc.compile(ops.gather(table, graphc.input("i", ("n",), "int64")))
        with pytest.raises(graphc.errors.IndexError, match=r"index 9 at position \(1,\)"):
            program(np.array([1, 9]))


def test_a_damaged_image_is_made_again(empty_cache: Path) -> None:
    expected = trained()[0]
    for path in empty_cache.glob("*.o"):
        path.write_bytes(path.read_bytes()[:-1])
    losses, _, program = trained()
    assert losses == expected
    assert program.loaded is not None and not program.loaded.from_cache
    with pytest.raises((ValueError, KeyError)):
        image.unpack(b"[]"[:1])


def test_graphs_that_differ_have_other_texts() -> None:
    x, i = graphc.input("x", (4, 4)), graphc.input("i", (4,), "int64")
    w, v = graphc.parameter("w", (4, 4)), graphc.parameter("v", (4, 4))
    outputs = [
        x + w,
        x - w,
        w + x,
        ops.sum(x, 0),
        ops.sum(x, 1),
        x * 2.0,
        x * 3.0,
        x + np.float32(1e-8),
        x[:2],
        x[2:],
        ops.gather(x, i),
        ops.scan(lambda c, a: (c + a, None), x[0], x)[0],
        ops.scan(lambda c, a: (c - a, None), x[0], x)[0],
    ]
    graphs = [make_graph(y) for y in outputs]
    graphs += [make_graph(x + w, {w: w + v}), make_graph(x + w, {v: w + v})]
    assert len({exact(graph, written) for graph in graphs}) == len(graphs)
    assert exact(make_graph(x + v), written) == exact(
        make_graph(x + graphc.parameter("v", (4, 4))), written
    ), "which cell a variable has is no part of the code"
