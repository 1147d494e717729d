"""Held-out parts and mini-batches: nothing lost, nothing twice, and the same order again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphc.data import batches, train_test_split
from graphc.errors import InputError, ShapeError

X = np.arange(20, dtype=np.float32).reshape(10, 2)
Y = np.arange(10)


def order(*, shuffle: bool, seed: int = 0, epoch: int = 0) -> list[int]:
    return [
        int(i)
        for (part,) in batches((Y,), 3, shuffle=shuffle, seed=seed, epoch=epoch)
        for i in part
    ]


@pytest.mark.parametrize("shuffle", [False, True])
def test_every_example_once_and_rows_together(shuffle: bool) -> None:
    parts = list(batches((X, Y), 4, shuffle=shuffle))
    assert [len(y) for _, y in parts] == [4, 4, 2]
    assert sorted(np.concatenate([y for _, y in parts]).tolist()) == list(range(10))
    for x, y in parts:
        np.testing.assert_array_equal(x, X[y])
        assert x.dtype == np.float32 and x.flags.c_contiguous


def test_without_shuffle_the_parts_are_views_in_order() -> None:
    parts = list(batches((Y,), 4, shuffle=False))
    assert order(shuffle=False) == list(range(10))
    assert all(np.shares_memory(part, Y) for (part,) in parts)


def test_drop_last() -> None:
    assert [len(y) for (y,) in batches((Y,), 4, shuffle=True, drop_last=True)] == [4, 4]
    assert [len(y) for (y,) in batches((Y,), 5, shuffle=True, drop_last=True)] == [5, 5]
    assert list(batches((Y,), 11, shuffle=False, drop_last=True)) == []
    assert [len(y) for (y,) in batches((Y,), 11, shuffle=False)] == [10]


def test_order_is_a_function_of_seed_and_epoch() -> None:
    first = order(shuffle=True, seed=1, epoch=2)
    np.random.default_rng().random(5)
    assert order(shuffle=True, seed=1, epoch=2) == first
    others = [order(shuffle=True, seed=s, epoch=e) for s, e in ((1, 3), (2, 2), (2, 1), (0, 2))]
    assert all(other != first for other in others)
    key = np.array([1, 2], np.uint64)
    expected = np.random.Generator(np.random.Philox(key=key)).permutation(10)
    assert first == expected.tolist()


def test_any_memory_layout() -> None:
    for array in (np.asfortranarray(X), X[:, ::-1], X[::-1]):
        for shuffle in (False, True):
            for part, y in batches((array, Y), 3, shuffle=shuffle):
                assert part.flags.c_contiguous
                np.testing.assert_array_equal(part, array[y])


def test_no_examples() -> None:
    assert list(batches((X[:0], Y[:0]), 4, shuffle=True)) == []


def test_wrong_arguments_are_refused_when_called() -> None:
    for size in (0, -1):
        with pytest.raises(InputError, match=f"batch_size must be at least 1, got {size}"):
            batches((X, Y), size, shuffle=False)
    mistakes: tuple[Any, ...] = (X, (), [], None)
    for arrays in mistakes:
        with pytest.raises(InputError, match="tuple or list of arrays"):
            batches(arrays, 2, shuffle=False)
    with pytest.raises(ShapeError, match=r"\(10, 2\) and \(9,\)"):
        batches((X, Y[1:]), 2, shuffle=False)
    with pytest.raises(ShapeError, match="no axis"):
        batches((np.array(1.0),), 2, shuffle=False)
    with pytest.raises(InputError, match="seed must lie"):
        batches((X, Y), 2, shuffle=True, seed=-1)
    with pytest.raises(TypeError):
        batches((X, Y), 2.5, shuffle=False)  # type: ignore[arg-type]  # the mistake under test


def test_split_parts_the_examples() -> None:
    x_train, x_test, y_train, y_test = train_test_split(X, Y, fraction=0.3)
    assert (len(x_train), len(x_test), len(y_train), len(y_test)) == (7, 3, 7, 3)
    assert sorted([*y_train, *y_test]) == list(range(10))
    np.testing.assert_array_equal(x_train, X[y_train])
    np.testing.assert_array_equal(x_test, X[y_test])
    assert not np.shares_memory(x_train, X)


def test_split_follows_the_seed() -> None:
    tests = [train_test_split(X, Y, seed=seed)[3].tolist() for seed in (0, 0, 1, 2)]
    assert tests[0] == tests[1] and tests[0] != tests[2] != tests[3]


def test_split_refuses_an_empty_part() -> None:
    for fraction in (0.0, 1.0, -0.5, float("nan")):
        with pytest.raises(InputError, match="between 0 and 1"):
            train_test_split(X, Y, fraction=fraction)
    for fraction in (0.01, 0.99):
        with pytest.raises(InputError, match="one part would be empty"):
            train_test_split(X, Y, fraction=fraction)
    with pytest.raises(ShapeError, match="same length"):
        train_test_split(X, Y[1:])
