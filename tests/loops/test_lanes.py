"""Sums along the lanes: one order, which neither fusion nor the width of vectors changes."""

from __future__ import annotations

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.graph.node import Node
from graphc.llvm.targets import WIDTHS, target

TARGETS = [name for name in WIDTHS if target(name).native]
EXTENTS = (8, 10, 16, 20, 31, 32, 33, 63, 100, 256)


def added(row: np.ndarray, most: int) -> np.generic:
    """The sum of a row in the order of decision 0018."""
    count = min(most, 1 << (len(row).bit_length() - 1))
    sums = np.zeros(count, row.dtype)
    for start in range(0, len(row), count):
        part = row[start : start + count]
        sums[: len(part)] += part
    while count > 1:
        count //= 2
        sums = sums[:count] + sums[count:]
    return sums[0]


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("extent", EXTENTS)
def test_a_row_is_added_in_the_stated_order_on_every_target(
    extent: int, dtype: str, name: str
) -> None:
    rows = np.random.default_rng(extent).standard_normal((5, extent)).astype(dtype)
    x = graphc.input("x", (5, extent), dtype)
    largest = ops.max(x, -1)
    program = graphc.compile([ops.sum(x, -1), largest, ops.sum(x + 0.5, -1)], target=name)
    total, top, shifted = program(rows)
    most = {"float32": 32, "float64": 16}[dtype]
    np.testing.assert_array_equal(total, [added(row, most) for row in rows])
    np.testing.assert_array_equal(
        shifted, [added(row + rows.dtype.type(0.5), most) for row in rows]
    )
    np.testing.assert_array_equal(top, rows.max(-1))


@pytest.mark.parametrize("extent", [1, 7, 31, 32, 33, 64, 1000])
def test_a_run_time_extent_is_added_as_if_it_were_long(extent: int) -> None:
    values = np.random.default_rng(extent).standard_normal(extent).astype(np.float32)
    program = graphc.compile(ops.sum(graphc.input("x", ("batch",))))
    padded = np.concatenate([values, np.zeros(32, np.float32)])
    assert program(values)[0] == added(padded, 32)


def mixed(x: Node) -> list[Node]:
    """Sums of two element types over one row."""
    y = x - ops.max(x, -1, keepdims=True)
    return [ops.sum(y, -1), ops.sum(ops.cast(y, "float64"), -1), ops.sum(ops.exp(y), -1)]


@pytest.mark.parametrize("name", TARGETS)
def test_sums_of_two_element_types_share_no_lanes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fused they stand over one row; each has the order that it has by itself."""
    rows = np.random.default_rng(3).standard_normal((64, 200)).astype(np.float32)
    outputs = mixed(graphc.input("x", rows.shape))
    fused = graphc.compile(outputs, target=name)(rows)
    monkeypatch.setenv("GRAPHC_SKIP", "fuse")
    for one, other in zip(fused, graphc.compile(outputs, target=name)(rows), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_long_row_needs_no_other_rows_beside_it() -> None:
    """Four vectors of one row on AVX2; of short rows several at a time."""
    long, short = graphc.input("x", (64, 256)), graphc.input("y", (64, 20))
    program = graphc.compile([ops.sum(long, -1), ops.sum(short, -1)], target="avx2")
    loops = program.as_text("loops")
    assert "register r1.w1: float32[32]" in loops
    assert "tile 1 of 4 vectors: 4 accumulators" in loops
    assert "tile 5 of 2 vectors: 10 accumulators" in loops


@pytest.mark.parametrize("name", TARGETS)
def test_sums_that_share_a_pass_keep_their_order_where_registers_are_few(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = graphc.input("x", ("n", 7, 12, 37))
    sums = [ops.sum(f, (0, 2, 3)) for f in (x, x * x, x * x * x)]
    given = np.random.default_rng(0).standard_normal((2, 7, 12, 37)).astype(np.float32)
    fused = graphc.compile(sums, target=name)
    assert len(fused.kernels) < len(sums)
    monkeypatch.setenv("GRAPHC_SKIP", "fuse")
    for found, wanted in zip(fused(given), graphc.compile(sums, target=name)(given), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_what_is_broadcast_leaves_lanes_along_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows, read again for each of the others, are not turned over: a sum has one order."""
    x, y = graphc.input("x", (11, 4, 19)), graphc.input("y", (1, 4, 19))
    draw = np.random.default_rng(0)
    given = [draw.standard_normal(node.shape).astype(np.float32) for node in (x, y)]
    for name in TARGETS:
        monkeypatch.delenv("GRAPHC_SKIP", raising=False)
        (fused,) = graphc.compile([ops.sum(x * y, -1)], target=name)(*given)
        monkeypatch.setenv("GRAPHC_SKIP", "fuse")
        (apart,) = graphc.compile([ops.sum(x * y, -1)], target=name)(*given)
        np.testing.assert_array_equal(fused, apart)
