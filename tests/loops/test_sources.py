"""A map that reads one of several operands has a loop for each."""

from __future__ import annotations

import numpy as np
import pytest

import graphc
from graphc import ops
from tests.support import random

SHAPES = [
    [(5,), (300,), (64,)],
    [(40, 3, 1), (40, 20, 1)],
    [(6, 2, 5), (6, 7, 5), (6, 1, 5)],
    [(4, 3, 9), (4, 3, 16)],
    [(2, 0, 3), (2, 8, 3)],
]


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("threads", [1, 2])
def test_parts_one_after_the_other(shapes: list[tuple[int, ...]], dtype: str, threads: int) -> None:
    axis = next((a for a, e in enumerate(zip(*shapes, strict=True)) if len(set(e)) > 1), 0)
    given = {f"x{n}": (random(*s, seed=n) * 9).astype(dtype) for n, s in enumerate(shapes)}
    parts = [graphc.input(name, array.shape, dtype) for name, array in given.items()]
    program = graphc.compile([ops.concat(parts, axis)], threads=threads)
    (found,) = program(**{node.op.name: given[node.op.name] for node in program.inputs})
    np.testing.assert_array_equal(found, np.concatenate(list(given.values()), axis))


def test_a_loop_each_without_conditions() -> None:
    parts = [graphc.input(f"x{n}", (64, 20, 3)) for n in range(3)]
    text = graphc.compile([ops.concat(parts, 1)], threads=1).as_text("loops")
    assert " if " not in text
    assert text.count("lanes along") == 3
    assert "lanes along i2: 94% of them used" in text


def test_not_where_two_are_read_at_once() -> None:
    x, y = graphc.input("x", (20,)), graphc.input("y", (20,))
    both = ops.pad(x, [(4, 0)]) + ops.pad(y, [(0, 4)])
    given = {"x": np.arange(20, dtype=np.float32), "y": np.ones(20, np.float32)}
    (found,) = graphc.compile([both])(**given)
    np.testing.assert_array_equal(found, np.pad(given["x"], (4, 0)) + np.pad(given["y"], (0, 4)))
