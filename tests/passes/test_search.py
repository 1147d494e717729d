"""Where the largest of a long row is: looked for by vectors, the first of equal ones, NaN first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.passes.search import LONG

DTYPES = ["float32", "float64", "int32", "int64", "uint8"]


def row(rng: np.random.Generator, dtype: str, *shape: int) -> np.ndarray[Any, Any]:
    """Few different numbers, so that many are equal."""
    return rng.integers(0, 5, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, LONG), (17, 131), (1, 1000), (2, 3, 200)])
def test_the_first_of_equal_ones(shape: tuple[int, ...], dtype: str) -> None:
    x = row(np.random.default_rng(1), dtype, *shape)
    node = graphc.input("x", shape, dtype)
    for ours, theirs in ((ops.argmax, np.argmax), (ops.argmin, np.argmin)):
        (found,) = graphc.compile([ours(node, axis=-1)])(x=x)
        np.testing.assert_array_equal(found, theirs(x, axis=-1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_not_a_number_and_infinities(dtype: str) -> None:
    x = np.random.default_rng(2).standard_normal((9, 100)).astype(dtype)
    x[1, 70:] = np.nan
    x[2, 99] = np.nan
    x[3], x[4], x[5] = np.nan, np.inf, -np.inf
    x[6, [3, 40]], x[7, [5, 60]] = np.inf, -np.inf
    x[8] = 0.0
    x[8, 50:] = -0.0
    node = graphc.input("x", x.shape, dtype)
    for ours, theirs in ((ops.argmax, np.argmax), (ops.argmin, np.argmin)):
        (found,) = graphc.compile([ours(node, axis=1)])(x=x)
        np.testing.assert_array_equal(found, theirs(x, axis=1))


def test_axes_together_and_what_is_computed_on_the_way() -> None:
    x = np.random.default_rng(3).standard_normal((4, 5, 96)).astype(np.float32)
    node = graphc.input("x", x.shape)
    (found,) = graphc.compile([ops.argmax(ops.square(node), axis=(1, 2))])(x=x)
    np.testing.assert_array_equal(found, np.square(x).reshape(4, -1).argmax(1))


def test_the_largest_is_found_once() -> None:
    """The derivative of a maximum asks where it is: of a row all is done while it is at hand."""
    x, dy = graphc.input("x", (32, 256)), graphc.input("dy", (32,))
    y = ops.max(x, axis=1)
    program = graphc.compile([y, *graphc.vjp(y, [x], dy)])
    assert len(program.kernels) == 1
    text = program.as_text("loops")
    assert "argmax" not in text and text.count("max= x") == 1
    given = np.random.default_rng(4).standard_normal((32, 256)).astype(np.float32)
    largest, slope = program(x=given, dy=np.arange(32, dtype=np.float32))
    np.testing.assert_array_equal(largest, given.max(1))
    expected = np.where(np.arange(256) == given.argmax(1)[:, None], np.arange(32)[:, None], 0)
    np.testing.assert_array_equal(slope, expected)


def test_short_rows_are_searched_side_by_side() -> None:
    program = graphc.compile([ops.argmax(graphc.input("x", (64, 10)), axis=1)])
    assert "argmax=" in program.as_text("loops")
