"""Indices that are data, against numpy and PyTorch: values, two derivatives, bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.autodiff import grad
from graphc.errors import DTypeError, IndexError, ShapeError
from graphc.graph.leaf import input
from graphc.ops.gather import embedding, gather, one_hot, scatter_add, take_along_axis
from graphc.ops.reduce import sum as total
from graphc.ops.reference import evaluate
from tests.support import random, run, same

X = random(3, 4, 2)
WHERE = np.array([[2, 0, 2], [1, 1, 2]])


@pytest.mark.parametrize("axis", [0, 1, -2])
def test_gather(torch: Any, axis: int) -> None:
    """Squared, so that the second derivative gathers and scatters too."""

    def theirs(x: Any, i: Any) -> Any:
        taken = torch.index_select(x, axis, i.reshape(-1)) ** 3
        at = axis % 3
        return taken.reshape(*x.shape[:at], *i.shape, *x.shape[at + 1 :])

    same(torch, lambda x, i: gather(x, i, axis) ** 3, theirs, X, WHERE)
    np.testing.assert_array_equal(
        run(lambda x, i: gather(x, i, axis), X, WHERE), np.take(X, WHERE, axis)
    )


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_take_along_axis(torch: Any, axis: int) -> None:
    where = np.argsort(X, axis)[tuple(slice(None) if a != axis else slice(2) for a in range(3))]

    def theirs(x: Any, i: Any) -> Any:
        return torch.take_along_dim(x, i, axis) ** 2

    same(torch, lambda x, i: take_along_axis(x, i, axis) ** 2, theirs, X, where)


@pytest.mark.parametrize("axis", [0, 1])
def test_scatter_add(torch: Any, axis: int) -> None:
    """Duplicates are summed."""
    where = np.array([1, 0, 1, 1, 2])
    updates = random(*(5 if a == axis else n for a, n in enumerate(X.shape)))

    def theirs(x: Any, i: Any, u: Any) -> Any:
        return x.index_add(axis, i, u) ** 2

    same(torch, lambda x, i, u: scatter_add(x, i, u, axis) ** 2, theirs, X, where, updates)


def test_embedding(torch: Any) -> None:
    where, table = np.array([[1, 3], [0, 1]]), random(4, 5)
    same(torch, embedding, torch.nn.functional.embedding, where, table)


def test_one_hot(torch: Any) -> None:
    found = run(lambda i: one_hot(i, 3, "int64"), WHERE)
    np.testing.assert_array_equal(found, torch.nn.functional.one_hot(torch.tensor(WHERE), 3))
    assert run(lambda i: one_hot(i, 3), WHERE).dtype == np.float32


def test_empty_and_single() -> None:
    none = np.zeros((0,), np.int64)
    assert run(lambda x, i: gather(x, i, 1), X, none).shape == (3, 0, 2)
    assert run(lambda x, i: gather(x, i), X, np.array(1)).shape == (4, 2)
    np.testing.assert_array_equal(run(scatter_add, X, none, X[:0]), X)
    assert run(lambda i: one_hot(i, 3), none).shape == (0, 3)


def test_a_run_time_batch_of_indices() -> None:
    table, where = input("table", (4, 3), "float64"), input("where", ("batch",), "int64")
    rows = embedding(where, table)
    assert rows.shape == ("batch", 3)
    values = random(4, 3)
    (slope,) = grad(total(rows * rows), [table])
    found, back = evaluate([rows, slope], {"table": values, "where": [1, 1, 3]})
    np.testing.assert_array_equal(found, values[[1, 1, 3]])
    np.testing.assert_allclose(back, 2 * values * np.array([[0], [2], [0], [1]]))


@pytest.mark.parametrize("wrong", [-1, 3])
def test_bounds(wrong: int) -> None:
    where = WHERE.copy()
    where[1, 2] = wrong
    text = rf"index {wrong} at position \(1, 2\) is not in \[0, 3\)"
    with pytest.raises(IndexError, match="gather: " + text):
        run(gather, X, where)
    with pytest.raises(IndexError, match="scatter_add: " + text):
        run(scatter_add, X, where, random(2, 3, 4, 2))
    with pytest.raises(IndexError, match="one_hot: " + text):
        run(lambda i: one_hot(i, 3), where)
    with pytest.raises(IndexError, match=rf"along_axis: index {wrong} at position \(1, 2, 0\)"):
        run(lambda x, i: take_along_axis(x, i, 0), random(3, 3, 1), where[:, :, None])


def test_errors() -> None:
    x, i = input("x", (3, 4)), input("i", (2,), "int64")
    with pytest.raises(DTypeError, match="the index has dtype float32"):
        gather(x, x)
    with pytest.raises(ShapeError, match="must agree on all axes but 1"):
        take_along_axis(x, i)
    with pytest.raises(ShapeError, match=r"updates must have shape \(2, 4\)"):
        scatter_add(x, i, x)
    with pytest.raises(ShapeError, match="two axes"):
        embedding(i, i)


def test_a_bad_index_names_the_op_that_was_called() -> None:
    table, where = input("table", (3, 4)), input("where", (2,), "int64")
    values = {"table": np.ones((3, 4), np.float32), "where": [1, 3]}
    for rows, name in ((gather(table, where), "gather"), (embedding(where, table), "embedding")):
        with pytest.raises(IndexError, match=f"^{name}: index 3 at position .1,. is not in"):
            evaluate([rows], values)


def test_an_index_of_floats_says_how_to_declare_it() -> None:
    table = graphc.parameter("table", (3, 4))
    with pytest.raises(DTypeError, match=r"what fits: 'i' declared as \(\('batch',\), 'int64'\)"):
        ops.embedding(graphc.input("i", ("batch",)), table)
    with pytest.raises(DTypeError, match=r'what fits: cast\(index, "int64"\)'):
        ops.gather(table, graphc.input("i", ("batch",)) * 2)
