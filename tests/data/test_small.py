"""The digits of scikit-learn."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from graphc.data import MissingPackageError, digits
from graphc.errors import GraphcError


def test_digits() -> None:
    pytest.importorskip("sklearn", reason="digits() reads scikit-learn's images")
    data = digits()
    n = len(data.y_train) + len(data.y_test)
    assert n == 1797 and data.x_train.shape == (len(data.y_train), 1, 8, 8)
    assert (data.x_train.dtype.name, data.y_test.dtype.name) == ("float32", "int64")
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)
    everything = np.bincount(data.y_train) + np.bincount(data.y_test)
    assert (np.abs(np.bincount(data.y_test) - everything / 5) <= 0.5).all()


def test_digits_are_those_of_scikit_learn_split_in_two() -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="digits() reads its images")
    pixels, labels = datasets.load_digits(return_X_y=True)
    data = digits(flat=True)
    rows = np.column_stack((pixels / 16, labels))
    found = np.concatenate(
        (np.column_stack((data.x_train, data.y_train)), np.column_stack((data.x_test, data.y_test)))
    )
    np.testing.assert_array_equal(np.unique(rows, axis=0), np.unique(found, axis=0))


def test_the_held_out_part_follows_the_seed() -> None:
    pytest.importorskip("sklearn", reason="digits() reads scikit-learn's images")
    first, again, other = digits(), digits(seed=0), digits(seed=1)
    np.testing.assert_array_equal(first.x_test, again.x_test)
    assert not np.array_equal(first.x_test, other.x_test)


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'graphc\[examples\]'") as error:
        digits()
    assert isinstance(error.value, GraphcError) and isinstance(error.value, ImportError)
