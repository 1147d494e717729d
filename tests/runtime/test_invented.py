"""Invented inputs: of the right shapes, floats between 0 and 1, indices within all bounds."""

from __future__ import annotations

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.errors import InputError
from graphc.runtime import invented


def test_shapes_dtypes_and_bounds() -> None:
    x = graphc.input("x", ("n", 3))
    rows = graphc.input("rows", ("n",), "int64")
    labels = graphc.input("labels", ("n",), "int32")
    mask = graphc.input("mask", ("n",), "bool")
    table = graphc.parameter("table", (50, 3))
    loss = ops.cross_entropy(x + ops.gather(table, rows), ops.cast(labels, "int64"))
    program = graphc.compile([loss, ops.sum(ops.cast(mask, "float32"))])
    found = invented.inputs(program.stages, {"n": 200})
    assert {name: (a.shape, str(a.dtype)) for name, a in found.items()} == {
        "x": ((200, 3), "float32"),
        "rows": ((200,), "int64"),
        "labels": ((200,), "int32"),
        "mask": ((200,), "bool"),
    }
    assert found["x"].min() > 0 and found["x"].max() <= 1
    assert set(found["labels"].tolist()) == {0, 1, 2}  # the narrower bound holds for all
    assert np.isfinite(program(**found)[0])


def test_an_extent_that_the_program_has_not() -> None:
    program = graphc.compile(ops.tanh(graphc.input("x", ("n",))))
    with pytest.raises(InputError, match="no run-time extent 'batch'"):
        invented.inputs(program.stages, {"batch": 3})
    assert invented.inputs(program.stages, {})["x"].shape == (1,)
