"""Freezing: what depends on variables alone is computed once, and is what it was."""

from __future__ import annotations

import numpy as np
import pytest

import graphc
from graphc import nn, ops
from graphc.runtime.program import Program

X = np.random.default_rng(0).standard_normal((32, 3, 12, 12)).astype(np.float32)


def model() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(576, 40),
        nn.GELU(),
        nn.Linear(40, 5),
    )


def names(program: Program) -> list[str]:
    return [n.op.name for g in program.stages.fused.groups for n in g.nodes]


@pytest.mark.parametrize("batch", [32, "batch"])
def test_every_bit_is_that_of_a_program_that_reads_them(batch: int | str) -> None:
    net = model()
    inputs = {"x": (batch, 3, 12, 12)}
    live = graphc.compile(net, inputs=inputs)
    frozen = graphc.compile(net, inputs=inputs, freeze=True)
    np.testing.assert_array_equal(live(X)[0], frozen(X)[0])
    assert "packed" in names(live) and "packed" not in names(frozen)


def test_later_changes_are_not_seen() -> None:
    net = nn.Linear(40, 24)
    x = np.random.default_rng(1).standard_normal((64, 40)).astype(np.float32)
    frozen = graphc.compile(net, inputs={"x": x.shape}, freeze=True)
    before = frozen(x)[0].copy()
    for parameter in net.parameters():
        parameter.value[...] = 7
    np.testing.assert_array_equal(frozen(x)[0], before)
    assert not np.array_equal(graphc.compile(net, inputs={"x": x.shape})(x)[0], before)


def test_what_a_program_updates_stays_a_variable() -> None:
    count = graphc.parameter("count", value=np.zeros(3, np.float32))
    scale = graphc.parameter("scale", value=np.full(3, 2.0, np.float32))
    step = graphc.compile([count * 1.0], {count: count + ops.exp(scale)}, freeze=True)
    first, second = step()[0].copy(), step()[0].copy()
    np.testing.assert_array_equal(first, 0)
    np.testing.assert_allclose(second, np.exp(np.full(3, 2.0, np.float32)), rtol=1e-6)


def test_what_would_grow_is_computed_where_it_is_read() -> None:
    bias = graphc.parameter("bias", value=np.ones(8, np.float32))
    x = graphc.input("x", (64, 8))
    frozen = graphc.compile(x + ops.broadcast_to(ops.tanh(bias) * 2.0, (64, 8)), freeze=True)
    held = [n.shape for n in frozen.source.variables()]
    assert held == [(8,)]


def test_nothing_but_variables() -> None:
    w = graphc.parameter("w", value=np.arange(4, dtype=np.float32))
    frozen = graphc.compile([ops.exp(w), w], freeze=True)
    np.testing.assert_array_equal(frozen()[0], graphc.compile(ops.exp(w))()[0])
    np.testing.assert_array_equal(frozen()[1], np.arange(4))


def test_it_is_the_same_program_but_for_what_is_done_once() -> None:
    net = nn.Sequential(nn.Conv2d(3, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))
    live, frozen = (
        graphc.compile(net, inputs={"x": (16, 3, 12, 12)}, target="avx2", freeze=freeze)
        for freeze in (False, True)
    )
    assert names(live).count("arranged") == names(frozen).count("arranged") > 0
    if live.loaded:
        np.testing.assert_array_equal(live(X[:16])[0], frozen(X[:16])[0])


def test_a_weight_spread_over_a_run_time_batch() -> None:
    x = graphc.input("x", ("batch", 4))
    start = graphc.parameter("start", value=np.arange(4, dtype=np.float32))
    both = ops.concat([ops.broadcast_to(ops.tanh(start), ("batch", 4)), x], 1)
    given = np.ones((3, 4), np.float32)
    expected = graphc.compile(both)(given)[0]
    np.testing.assert_array_equal(graphc.compile(both, freeze=True)(given)[0], expected)


def test_code_for_another_machine_can_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.Linear(40, 24)
    for target in ("avx512", "neon"):
        monkeypatch.setenv("GRAPHC_TARGET", target)
        frozen = graphc.compile(net, inputs={"x": (64, 40)}, freeze=True)
        assert "packed" not in names(frozen) and frozen.kernels["k00"].as_text("asm")


@pytest.mark.parametrize("rows", [1, 4, 8, 23, 48, "rows"])
@pytest.mark.parametrize("terms", [30, 1024, 1040])
@pytest.mark.parametrize("columns", [2, 16, 40, 50, 96])
def test_matrices_lie_in_panels_and_give_the_same_bits(
    rows: int | str, terms: int, columns: int
) -> None:
    across, along = nn.Linear(terms, columns), graphc.parameter("along", (terms, columns))
    x = graphc.input("x", (rows, terms))
    outputs = [ops.gelu(across(x)), ops.relu(x @ along)]
    given = np.random.default_rng(0).standard_normal((rows if isinstance(rows, int) else 9, terms))
    given = given.astype(np.float32)
    live, frozen = (graphc.compile(outputs, freeze=freeze) for freeze in (False, True))
    for one, other in zip(live(given), frozen(given), strict=True):
        np.testing.assert_array_equal(one, other)
    shapes = [v.shape for v in frozen.source.variables()]
    size = {40: 8, 96: 16}.get(columns)
    if rows == 48 and size and live.stages.target.name == "avx2":
        assert shapes.count((columns // size, terms, size)) == 2


@pytest.mark.parametrize(("columns", "ahead"), [(7, False), (8, True), (61, True), (77, False)])
@pytest.mark.parametrize("rows", [8, 100, "batch"])
def test_a_matrix_that_no_panels_divide_is_turned_over_ahead_where_it_is_narrow(
    columns: int, ahead: bool, rows: int | str
) -> None:
    """A wide one is left to the loops, which turn its panels over faster than they copy them."""
    net = nn.Linear(300, columns)
    live, frozen = (
        graphc.compile(net, inputs={"x": (rows, 300)}, freeze=freeze) for freeze in (False, True)
    )
    shapes = [variable.shape for variable in frozen.source.variables()]
    assert ((300, columns) in shapes) == ahead
    x = np.random.default_rng(0).standard_normal((100 if rows == "batch" else rows, 300))
    given = x.astype(np.float32)
    np.testing.assert_array_equal(live(given)[0], frozen(given)[0])
