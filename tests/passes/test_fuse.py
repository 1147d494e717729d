"""Fusion: sums down columns lie side by side in the lanes, and what needs them comes after."""

from __future__ import annotations

import numpy as np
import pytest

import graphc
from graphc import ops
from tests.support import native, random, values


@pytest.mark.parametrize("shape", [(48, 64, 64), (3, 100, 20, 30), (64, 50, 2), (31, 7)])
@pytest.mark.parametrize("function", [ops.softmax, ops.log_softmax, ops.logsumexp, ops.var])
def test_columns_fill_the_lanes(function: object, shape: tuple[int, ...]) -> None:
    """Every sum across rows has vectors of sums; none goes down one column after the other."""
    node = graphc.input("x0", shape, "float64")
    for axis in range(len(shape) - 1):
        y = function(node, axis=axis)  # type: ignore[operator]  # four ops of one form
        outputs = [y, *graphc.vjp(y, [node], ops.ones_like(y))]
        x = random(*shape)
        for found, expected in zip(native(outputs, [x]), values(outputs, [x]), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_a_column_is_not_summed_by_itself() -> None:
    x = graphc.input("x", (128, 4096))
    program = graphc.compile([ops.softmax(x, axis=0)], threads=1)
    assert len(program.kernels) == 3
    for name in program.kernels:
        assert "# vector" in program.kernels[name].as_text("loops")
        assert "# inorder" not in program.kernels[name].as_text("loops")


def test_a_row_still_is() -> None:
    x = graphc.input("x", (128, 4096))
    assert len(graphc.compile([ops.softmax(x, axis=1)], threads=1).kernels) == 1
