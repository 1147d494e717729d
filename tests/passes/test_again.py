"""What is made anew, gone over together, or followed by residues: fewer bytes, the same bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.graph.node import Node
from graphc.passes import again, fuse, layout

Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small examples are treated as what no cache holds."""
    monkeypatch.setattr(again, "SMALL", 0)
    monkeypatch.setattr(fuse, "NEAREST", 0)


def numbers(node: Node, seed: int) -> Array:
    shape = tuple(5 if isinstance(extent, str) else extent for extent in node.shape)
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def same(
    outputs: Sequence[Node], monkeypatch: pytest.MonkeyPatch, inputs: Sequence[Node]
) -> graphc.Program:
    """The fused program: right, with the bits of the unfused one and of one thread."""
    given = {node.op.name: numbers(node, seed) for seed, node in enumerate(inputs)}
    program = graphc.compile(list(outputs))
    found = program(**given)
    alone = graphc.compile(list(outputs), threads=1)(**given)
    monkeypatch.setenv("GRAPHC_SKIP", "fuse")
    plain = graphc.compile(list(outputs))(**given)
    monkeypatch.delenv("GRAPHC_SKIP")
    for one, other, single, right in zip(
        found, plain, alone, graphc.evaluate(list(outputs), given), strict=True
    ):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, single)
        np.testing.assert_allclose(one, right, rtol=1e-3, atol=1e-3)
    return program


@pytest.mark.parametrize("across", [True, False])
def test_what_is_turned_over_is_stored(across: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Squares are summed, then scaled: made anew, both would read x across its rows."""
    x, y = graphc.input("x", (40, 24)), graphc.input("y", (24, 1))
    difference = ops.transpose(x, (1, 0)) - y if across else x - ops.reshape(y, (1, 24))
    scaled = difference * ops.sum(ops.square(difference))
    program = same([scaled], monkeypatch, (x, y))
    stored = [r for group in program.stages.plan.groups for r in group.roots]
    assert any(r.shape == difference.shape and r is not scaled for r in stored[:-1]) == across


@pytest.mark.parametrize("shape", [(4, 3, 8, 8), (2, 33, 4, 4), (8, 16, 9, 7), ("n", 6, 8, 8)])
def test_a_norm_stores_nothing_between_its_passes(
    shape: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, dy = graphc.input("x", shape), graphc.input("dy", shape)
    weight, bias = (graphc.input(name, (shape[1],)) for name in ("weight", "bias"))
    y, mean, variance = ops.batch_norm(x, weight, bias)
    slopes = graphc.vjp(y, [x, weight, bias], dy)
    inputs = (x, dy, weight, bias)
    program = same([y, mean, variance, *slopes], monkeypatch, inputs)
    stored = [r for group in program.stages.plan.groups for r in group.roots]
    whole = sum(layout.size(root.shape) == layout.size(shape) for root in stored)
    assert whole == 2 or "n" in shape  # a divisor that is known late is in the way of one
    text = program.as_text("fused")
    assert "sub is computed again where it is read" in text
    assert "goes over the same elements as" in text


@pytest.mark.parametrize("shape", [(4, 3, 8, 8), (7, 5, 6, 6), (3, 64, 10, 10), ("n", 6, 8, 8)])
def test_what_follows_residues_is_done_with_them(
    shape: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = graphc.input("x", shape)
    y = ops.max_pool2d(ops.relu(x), 2)
    dy = graphc.input("dy", y.shape)
    program = same([y, *graphc.vjp(y, [x], dy)], monkeypatch, (x, dy))
    assert len(program.kernels) == 2
    assert "relu.dx follows max_pool2d.dx element by element" in program.as_text("fused")


def test_what_is_written_beyond_the_result_is_followed_by_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = graphc.input("x", (4, 3, 9, 7))
    y = ops.max_pool2d(ops.relu(x), 2, floor=True)
    dy = graphc.input("dy", y.shape)
    program = same([y, *graphc.vjp(y, [x], dy)], monkeypatch, (x, dy))
    assert "follows max_pool2d.dx" not in program.as_text("fused")


def test_an_elementary_function_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = graphc.input("x", (6, 40)), graphc.input("w", (40, 30))
    y = ops.exp(x)
    program = same([ops.sum(y, 0), y @ w, ops.sum(y * x, 1)], monkeypatch, (x, w))
    assert "computed again" not in program.as_text("fused")


def test_sums_of_other_widths_keep_their_own_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sum of bool is an int64: with it in the loop, one of float32 would have half its lanes."""
    x = graphc.input("x", (7, 1001))
    y = ops.exp(x)
    same([y, ops.sum(y, 1), ops.sum(y > 1, 1)], monkeypatch, (x,))


@pytest.mark.parametrize("change", [ops.transpose, lambda x: ops.transpose(x) * 2])
def test_what_is_looked_up_has_a_place(change: Any) -> None:
    """A map of leaves is computed where it is read, but not where an index that is data says."""
    x, i = graphc.input("x", (2, 3)), graphc.input("i", (2,), "int64")
    outputs = [ops.take_along_axis(change(x), ops.stack([i] * 3)), ops.gather(change(x), i + i)]
    given = {"x": numbers(x, 0), "i": np.array([1, 0])}
    for found, right in zip(
        graphc.compile(outputs)(**given), graphc.evaluate(outputs, given), strict=True
    ):
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("shape", [(64, 48), (3, 5, 40), ("n", 7, 16)])
def test_a_norm_of_rows_is_one_kernel_and_its_gradients_share_a_pass(
    shape: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, dy = graphc.input("x", shape), graphc.input("dy", shape)
    weight, bias = (graphc.input(name, shape[-1:]) for name in ("weight", "bias"))
    y = ops.layer_norm(x, shape[-1:], weight, bias)
    slopes = graphc.vjp(y, [x, weight, bias], dy)
    program = same([y, *slopes], monkeypatch, (x, dy, weight, bias))
    assert len(program.kernels) == 2
    assert "add.db goes over the same elements as mul.db" in program.as_text("fused")
