"""Folding: a constant taken into a formula changes neither where it stands, its type, nor a NaN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.graph.node import Node
from graphc.ops.reference import evaluate

X, ROWS = graphc.input("x", (3,)), graphc.input("rows", (2, 3))
I, U, B = (graphc.input(n, (3,), t) for n, t in [("i", "int32"), ("u", "uint8"), ("b", "bool")])
VALUES = {
    "x": np.array([0.1, 0, 2.5], np.float32),
    "rows": np.arange(6, dtype=np.float32).reshape(2, 3),
    "i": np.array([2**30, -5, 7], np.int32),
    "u": np.array([10, 200, 255], np.uint8),
    "b": np.array([True, False, True]),
}
TENTH, TRUE = graphc.constant(0.1, "float64"), graphc.constant(True)


def same(outputs: Node | Sequence[Node], **values: Any) -> list[np.ndarray[Any, Any]]:
    """Assert that a program gives what the oracle gives, exactly, and return it."""
    outputs = [outputs] if isinstance(outputs, Node) else list(outputs)
    given = VALUES | values
    program = graphc.compile(outputs)
    found = program(**{n.op.name: given[n.op.name] for n in program.inputs})
    for value, wanted in zip(found, evaluate(outputs, given), strict=True):
        assert value.dtype == wanted.dtype
        np.testing.assert_array_equal(value, wanted)
    return list(found)


@pytest.mark.parametrize(
    "made",
    [
        lambda: ops.concat([ops.ones((2, 1)), ROWS], 1),
        lambda: ops.pad(ops.ones((1, 3)), ((0, 1), (0, 0))) * ROWS,
        lambda: graphc.grad(ops.sum(ROWS[:, :1]) * 2 + ops.sum(ROWS), [ROWS]),
        lambda: graphc.grad(ops.sum(ops.pad(ROWS, ((1, 1), (2, 2)), "edge")), [ROWS]),
        lambda: ops.stack([ops.full((3,), 2), X]) + 1,
    ],
)
def test_a_constant_written_to_a_part_stays_there(made: Callable[[], Any]) -> None:
    same(made())


@pytest.mark.parametrize(
    "made",
    [
        lambda: U - np.int32(128),
        lambda: U + ops.full((3,), 100, "int32"),
        lambda: ops.maximum(U, np.int64(300)),
        lambda: ops.where(U > 100, U, np.int32(-1)),
        lambda: U // np.int32(-7),
        lambda: U % np.int32(-7),
        lambda: I * np.int64(4),
        lambda: ops.less(I, np.int64(2**40)),
        lambda: ops.argmax(I * np.int64(4)),
        lambda: [ops.equal(B, 2), B < 2, ops.maximum(B, 4), B // 2, B % 2],
        lambda: ops.equal(X, TENTH),
        lambda: ops.argmin(ops.abs(X - TENTH)),
        lambda: [X * TENTH, ops.maximum(X, TENTH)],
        lambda: I * graphc.constant(2.0),
    ],
)
def test_a_constant_keeps_its_type(made: Callable[[], Any]) -> None:
    same(made())


@pytest.mark.parametrize(
    "made",
    [
        lambda: [X + TRUE, B + TRUE, I - TRUE],
        lambda: [ops.less(B, TRUE), ops.equal(TRUE, B), ops.maximum(B, TRUE)],
        lambda: [ops.logical_and(X, 2.0), ops.logical_or(X, 2.5), ops.logical_xor(X, 0.0)],
        lambda: [ops.logical_and(I, 3), ops.logical_or(I, 0), ops.logical_not(TRUE)],
        lambda: ops.where(graphc.constant(2.0), X, 1.0),
    ],
)
def test_truths_are_numbers_and_numbers_truths(made: Callable[[], Any]) -> None:
    same(made())


@pytest.mark.parametrize(
    "made",
    [
        lambda: [X * 0, 0 / X, X * 1e-46, X * 0 + 1],
        lambda: graphc.constant(0.0) * np.inf + X,
        lambda: ops.full((3,), 0.0) * (X * X),
        lambda: ops.maximum(X * 0, 0),
    ],
)
def test_a_zero_does_not_hide_what_is_not_finite(made: Callable[[], Any]) -> None:
    found = same(made(), x=np.array([np.nan, np.inf, 0], np.float32))
    assert all(np.isnan(value[0]) for value in found)


@pytest.mark.parametrize(
    "made",
    [
        lambda: ops.floor_divide(ops.full((3,), 7.0), ops.full((3,), 0.0)) + X,
        lambda: ops.remainder(ops.full((3,), 7.0), ops.full((3,), 0.0)) + X,
        lambda: ops.sqrt(ops.full((3,), -1.0)),
        lambda: ops.full((3,), 1e30) * ops.full((3,), 1e30) * X,
        lambda: ops.full((3,), 200, "uint8") * ops.full((3,), 2, "uint8") + I,
        lambda: ops.full((3,), 2**62, "int64") * ops.full((3,), 4, "int64"),
    ],
)
def test_constants_are_computed_in_their_own_types(made: Callable[[], Any]) -> None:
    with np.errstate(all="ignore"):
        same(made())


def test_zeros_of_derivatives_vanish() -> None:
    """What the output does not depend on has no gradient, whatever is not finite beside it."""
    loss = ops.sum(ops.relu(X) + ops.stop_gradient(X) * ops.sign(X))
    (found,) = same(graphc.grad(loss, [X]), x=np.array([-1.0, 2.0, -np.inf], np.float32))
    np.testing.assert_array_equal(found, [0, 1, 0])


def test_a_scan_of_constants_is_left_to_native_code() -> None:
    """The oracle would take seconds where native code takes a moment."""
    total, _ = graphc.scan(lambda c, x: (c + x, None), 0.0, np.ones((100, 3), np.float32).sum(1))
    program = graphc.compile(total)
    assert "scan(" in program.as_text("simplified")
    assert program()[0] == 300
