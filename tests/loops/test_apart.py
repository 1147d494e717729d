"""What follows sums made along the lanes is computed for many at once; no bit depends on it."""

from __future__ import annotations

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.runtime.program import Program

NOTE = "several of them at once"


def program(batch: int | str, columns: int, function: str) -> Program:
    x, w = graphc.input("x", (batch, 16)), graphc.input("w", (columns, 16))
    b = graphc.input("b", (columns,))
    y = getattr(ops, function)(ops.einsum("n k, m k -> n m", x, w) + b)
    return graphc.compile([y, y * 2.0])


@pytest.mark.parametrize("function", ["sigmoid"])
@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("batch", [1, 2, 7, 8, 17])
def test_every_bit_is_that_of_separate_kernels(
    batch: int, columns: int, named: bool, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    r = np.random.default_rng(batch)
    given = {
        "x": r.random((batch, 16), np.float32),
        "w": r.random((columns, 16), np.float32),
        "b": r.random(columns, np.float32),
    }
    found = program("batch" if named else batch, columns, function)(**given)
    monkeypatch.setenv("GRAPHC_SKIP", "fuse")
    plain = program("batch" if named else batch, columns, function)(**given)
    for a, b in zip(found, plain, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("batch", [4, "batch"])
def test_it_is_done_where_functions_follow(batch: int | str) -> None:
    text = "\n".join(k.as_text("loops") for k in program(batch, 1, "sigmoid").kernels.values())
    assert NOTE in text
    text = "\n".join(k.as_text("loops") for k in program(batch, 1, "relu").kernels.values())
    assert NOTE not in text
