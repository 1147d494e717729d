"""Peel: copies with borders have no condition inside, and hold what they held before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.loops.ir import Load, walk


def guarded(program: graphc.Program) -> int:
    """The loads of a program's kernels that have conditions."""
    stmts = [s for kernel in program.stages.kernels for s in walk(kernel.body)]
    return sum(isinstance(s, Load) and bool(s.guards) for s in stmts)


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("after", [0, 1, 9])
@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (1, 2, 5, 7), (3, 1, 16, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_borders(before: int, after: int, shape: tuple[int, ...], dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 2, shape).astype(dtype) * np.ones(1, dtype)
    widths = ((0, 0), (0, 0), (before, after), (after, before))
    program = graphc.compile([ops.pad(graphc.input("x", shape, dtype), widths)], threads=1)
    np.testing.assert_array_equal(program(x)[0], np.pad(x, widths))
    # A last axis of one element may leave the lanes to another, whose vectors are not cut.
    assert guarded(program) == 0 or shape[-1] == 1


@pytest.mark.parametrize("shape", [("batch", 4, 6, 6), (2, 4, 6, 6)])
@pytest.mark.parametrize("threads", [1, 2])
def test_around_what_is_computed(shape: Any, threads: int) -> None:
    x = np.random.default_rng(1).standard_normal((2, 4, 6, 6)).astype(np.float32)
    y = ops.pad(ops.relu(graphc.input("x", shape)), ((0, 0), (0, 0), (1, 2), (2, 1)))
    y = ops.tanh(y) + 1
    wanted = np.tanh(np.pad(np.maximum(x, 0), ((0, 0), (0, 0), (1, 2), (2, 1)))) + 1
    np.testing.assert_allclose(graphc.compile([y], threads=threads)(x)[0], wanted, rtol=1e-6)


def test_parts_side_by_side() -> None:
    x, y = (np.full((3, 4, n), n, np.float32) for n in (9, 6))
    nodes = [graphc.input(name, a.shape) for name, a in (("x", x), ("y", y))]
    program = graphc.compile([ops.concat(nodes, axis=2)])
    np.testing.assert_array_equal(program(x, y)[0], np.concatenate([x, y], axis=2))
