"""Packed panels: what a kernel keeps on the stack at most."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.llvm import targets
from graphc.loops.alternatives import stack
from graphc.loops.panel import LONGEST, MOST


@pytest.fixture(autouse=True)
def known_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stays near in caches of this size, whatever those of the machine are."""
    real = targets.target

    def known(name: str | None = None) -> targets.Target:
        return replace(real(name), level1=32 << 10, level2=512 << 10)

    monkeypatch.setattr(targets, "target", known)


def test_the_panels_of_all_residues_leave_room_on_the_stack() -> None:
    """Nine sums over thousands of filters, each with a panel of its own."""
    image, taps = graphc.input("image", (2, 64, 32, 32)), graphc.parameter("taps", (4096, 64, 5, 5))
    moved = ops.conv2d(image, taps, stride=3, floor=True)
    program = graphc.compile(graphc.grad(ops.sum(ops.square(moved)), [image]), target="avx2")
    assert LONGEST < max(stack(kernel) for kernel in program.stages.kernels) <= MOST


@pytest.mark.parametrize("target", ["avx2", "avx512"])
def test_a_long_sum_packs_its_panel(target: str) -> None:
    rows, columns = graphc.input("rows", (56, 8192)), graphc.parameter("columns", (8192, 64))
    program = graphc.compile(rows @ columns, target=target)
    assert "packed: its rows lie 256 bytes apart" in program.as_text("loops")
    assert stack(program.stages.kernels[0]) == {"avx2": 1 << 19, "avx512": 1 << 20}[target]


@pytest.mark.parametrize(("size", "packed"), [(14, False), (27, False), (29, True), (31, True)])
def test_rows_in_many_pages_are_packed(size: int, packed: bool) -> None:
    """64 channels, each of them nearly a page: found in the second cache, but each a page away."""
    image, taps = graphc.input("image", (2, 64, size, size)), graphc.input("taps", (64, 64, 1, 1))
    program = graphc.compile(ops.conv2d(image, taps), target="avx2")
    assert ("packed: its rows" in program.as_text("loops")) == packed


@pytest.mark.parametrize("batch", [1, 3, "batch"])
@pytest.mark.parametrize("threads", [1, 3])
def test_each_step_of_a_batch_packs_its_panels(batch: int | str, threads: int) -> None:
    """Rows of 1024 bytes share four of the cache's 64 sets, and each matrix has its own."""
    a, b = graphc.input("a", (batch, 100, 128)), graphc.input("b", (batch, 128, 256))
    program = graphc.compile([a @ b], target="avx2", threads=threads)
    assert "b1 packed: its rows lie 1024 bytes apart" in program.as_text("loops")
    if not program.loaded:
        pytest.skip("this machine does not run AVX2")
    draw = np.random.default_rng(0)
    count = batch if isinstance(batch, int) else 4
    x, y = (draw.standard_normal((count, *n.shape[1:])).astype(np.float32) for n in (a, b))
    (found,) = program(x, y)
    np.testing.assert_allclose(found, x @ y, rtol=1e-4, atol=1e-4)
    singly = graphc.compile([graphc.input("a", (100, 128)) @ graphc.input("b", (128, 256))])
    np.testing.assert_array_equal(found[-1], singly(x[-1], y[-1])[0])


@pytest.mark.parametrize("threads", [1, 2])
def test_elements_that_lie_apart_are_gathered_once_for_all_filters(threads: int) -> None:
    image, taps = graphc.input("image", (3, 16, 32, 32)), graphc.input("taps", (40, 16, 1, 1))
    moved = ops.conv2d(image, taps, stride=2, floor=True)
    program = graphc.compile(moved, target="avx2", threads=threads)
    assert "packed: its elements lie 2 apart" in program.as_text("loops")
    draw = np.random.default_rng(0)
    given = [draw.standard_normal(n.shape).astype(np.float32) for n in (image, taps)]
    (found,) = graphc.compile(moved, threads=threads)(*given)
    wanted = np.einsum("nchw,fc->nfhw", given[0][:, :, ::2, ::2], given[1][:, :, 0, 0])
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("terms", "packed"), [(190, False), (200, True)])
def test_rows_that_begin_anywhere_take_two_lines(terms: int, packed: bool) -> None:
    """200 rows, at two lines each, are more than three quarters of the first cache."""
    a, b = graphc.input("a", (96, terms)), graphc.parameter("b", (terms, 50))
    program = graphc.compile(a @ b, target="avx2")
    assert "of 2 vectors" in program.explain("k00")
    assert ("packed: its rows lie 200 bytes apart" in program.as_text("loops")) == packed


@pytest.mark.parametrize(("rows", "packed"), [(95, False), (97, True)])
@pytest.mark.parametrize(("columns", "near"), [(256, True), (1024, False)])
def test_rows_that_stay_near_are_packed_where_they_are_read_more_often(
    rows: int, packed: bool, columns: int, near: bool
) -> None:
    """128 KiB of B stay in a second cache of 512 as they lie, and 512 KiB do not."""
    a, b = graphc.input("a", (rows, 128)), graphc.parameter("b", (128, columns))
    text = graphc.compile(a @ b, target="avx2").as_text("loops")
    assert (f"packed: its rows lie {4 * columns} bytes apart" in text) == (packed or not near)


@pytest.mark.parametrize(("side", "packed"), [(32, True), (28, False)])
def test_rows_that_share_one_set_are_packed(side: int, packed: bool) -> None:
    """32 rows begin 4096 bytes apart, in one set of the nearest cache, whose ways hold eight."""
    image, taps = (
        graphc.input("image", (1, 32, side, side)),
        graphc.parameter("taps", (64, 32, 1, 1)),
    )
    text = graphc.compile(ops.relu(ops.conv2d(image, taps)), target="avx2").as_text("loops")
    assert (f"packed: its rows lie {4 * side * side} bytes apart" in text) == packed
