"""What fit is given, as arrays: their dtypes by the loss, and refusals by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphc import ops
from graphc.errors import IndexError, InputError, ShapeError
from graphc.nn.loss import loss_of, target_dtype
from graphc.train.arrays import examples

X = np.zeros((4, 2))


@pytest.mark.parametrize(
    ("loss", "given", "wanted"),
    [
        ("cross_entropy", "int32", "int64"),
        ("cross_entropy", "uint8", "int64"),
        ("cross_entropy", "float64", "float32"),
        ("cross_entropy", "bool", "bool"),
        ("mse", "int64", "float32"),
        ("mse", "bool", "float32"),
        (ops.nll_loss, "int32", "int64"),
        (ops.l1_loss, "int32", "float32"),
        (lambda p, t: ops.cross_entropy(p, t), "int64", "int64"),
        (lambda p, t: ops.cross_entropy(p, t), "int32", "int32"),
        (lambda p, t: ops.cross_entropy(p, t), "uint16", "int64"),
        (lambda p, t: ops.mse_loss(p, t), "float64", "float32"),
    ],
)
def test_the_dtype_of_targets_follows_from_the_loss(loss: Any, given: str, wanted: str) -> None:
    kind = target_dtype(loss_of(loss), "float32")
    found = examples(X, np.zeros(4, given), "float32", kind)
    assert found.targets["y"].dtype == wanted


def test_a_float_that_would_overflow_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"'x' has a finite float64 beyond the range of float32"):
        examples(np.full((4, 2), 1e300), None, "float32", None)
    kept = examples(np.full((4, 2), np.inf), None, "float32", None)
    assert np.isinf(kept.inputs["x"]).all()


def test_arrays_of_different_shapes_are_no_array() -> None:
    with pytest.raises(InputError, match=r"'x' is no array.*dict by the names"):
        examples((np.ones((4, 2)), np.ones((4, 3))), None, "float32", None)
    with pytest.raises(ShapeError, match="x has 2, y has 4; several inputs are given as a dict"):
        examples((X, X), np.zeros(4), "float32", None)


def test_an_index_error_names_the_row_that_was_given() -> None:
    error = IndexError("pick: index 3 is not in [0, 3)\n  at net.py:3")
    error.position, error.inputs, error.axis = (2, 5), ("y",), "batch"
    data = examples(X, np.zeros(4), "float32", None).part(1, 4)
    order = np.array([2, 0, 1])
    found = data.located(error, 0, "step 1 of epoch 2", order)
    assert str(found).splitlines()[1] == "  example 2: y[2, 5], in step 1 of epoch 2"
    error.inputs = ()
    found = data.located(error, 0, "step 1")
    assert str(found).splitlines()[1] == "  example 3, in step 1"
    error.axis = None
    assert data.located(error, 0, "step 1") is error
