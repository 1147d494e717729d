"""Rows: members of one group that read one another beside the element being made."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.graph.node import Node

SHIFTS: dict[str, Callable[[Node], Node]] = {
    "pad": lambda s: ops.pad(s, ((0, 0), (1, 0)))[:, :5],
    "flip": lambda s: ops.flip(s, 1),
    "roll": lambda s: ops.roll(s, 2, 1),
    "concat": lambda s: ops.concat([s, s * 0.5], 1)[:, ::-2],
    "difference": lambda s: ops.pad(s, ((0, 0), (1, 0)))[:, :5] - s,
}
ROWS: dict[str, Callable[[Node], Node]] = {
    "softmax": ops.softmax,
    "normalised": lambda x: x * ops.rsqrt(ops.sum(x * x, -1, keepdims=True) + 1.0),
}


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("row", ROWS)
def test_a_stored_row_is_read_beside_its_own_place_only_when_it_is_whole(
    row: str, shift: str
) -> None:
    """Both results are wanted, so the row is stored, and read again at other places."""
    x = graphc.input("x", ("batch", 5))
    made = ROWS[row](x)
    outputs = [made, SHIFTS[shift](made)]
    outputs += graphc.grad(ops.sum(ops.sin(outputs[1])) + ops.sum(made * made), [x])
    given = {"x": np.random.default_rng(1).standard_normal((4, 5)).astype(np.float32)}
    program = graphc.compile(outputs)
    for found, wanted in zip(program(**given), graphc.evaluate(outputs, given), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_bad_index_in_a_scan_is_an_index_error() -> None:
    """The check stands in the body; what is reported is the scan, with the index and its bound."""
    table, where = graphc.input("table", (4,)), graphc.input("where", (3,), "int64")
    total, _ = graphc.scan(
        lambda h, i: (h + ops.gather(table, i), None), graphc.constant(0.0), where
    )
    program = graphc.compile(total)
    ones = np.ones(4, np.float32)
    assert program(table=ones, where=np.array([0, 1, 3]))[0] == 3
    with pytest.raises(graphc.IndexError, match=r"index 9 .* \[0, 4\)"):
        program(table=ones, where=np.array([0, 9, 3]))
