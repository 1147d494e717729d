"""Vectors of half the width, where the widest are taken in two passes and leave lanes unused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.llvm import targets
from graphc.runtime.program import Program


def halved(monkeypatch: pytest.MonkeyPatch, level: str, passes: int) -> None:
    """Compile for a level, its vectors taken in so many passes."""
    level_itself = targets.level(level)
    here = replace(level_itself, unit=level_itself.vector_bytes // passes)
    monkeypatch.setattr(targets, "target", lambda name=None: here)


def gradient(width: int, threads: int = 1) -> Program:
    """A convolution's gradient by its filters, of rows of `width` results."""
    image = graphc.input("image", (4, 3, width + 4, width + 4))
    taps = graphc.parameter("taps", (6, 3, 5, 5))
    flow = graphc.input("flow", (4, 6, width, width))
    loss = ops.sum(ops.conv2d(image, taps) * flow)
    return graphc.compile(graphc.grad(loss, [taps]), threads=threads)


@pytest.mark.parametrize(("passes", "used"), [(1, "75%"), (2, "100%")])
def test_halves_are_taken_where_more_lanes_are_in_use(
    monkeypatch: pytest.MonkeyPatch, passes: int, used: str
) -> None:
    """Rows of 24: two vectors of 16, or three of 8."""
    halved(monkeypatch, "avx512", passes)
    product = ops.matmul(graphc.input("a", (64, 64)), graphc.input("b", (64, 24)))
    assert f"lanes along kept i1 ({used} used)" in graphc.compile(product).explain("k00")


@pytest.mark.parametrize(("columns", "used"), [(100, "89%"), (64, "100%"), (8, "100%")])
def test_halves_are_not_taken_for_little(
    monkeypatch: pytest.MonkeyPatch, columns: int, used: str
) -> None:
    halved(monkeypatch, "avx512", 2)
    product = ops.matmul(graphc.input("a", (64, 64)), graphc.input("b", (64, columns)))
    assert f"lanes along kept i1 ({used} used)" in graphc.compile(product).explain("k00")


def test_arranging_counts_what_is_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six channels fill halves no better than rows of 24 do: nothing is turned over for them."""
    halved(monkeypatch, "avx512", 2)
    program = gradient(24)
    assert "lanes along summed s4 (100% used)" in program.as_text("loops")
    assert "turned over" not in program.as_text("loops")


@pytest.mark.parametrize("width", [1, 3, 4, 5, 11, 12, 13, 20, 27])
@pytest.mark.parametrize("level", ["avx2", "avx512"])
def test_what_halves_compute(monkeypatch: pytest.MonkeyPatch, level: str, width: int) -> None:
    if not targets.level(level).native:
        pytest.skip(f"this machine has no {level}")
    halved(monkeypatch, level, 2)
    draw = np.random.default_rng(width)
    image = draw.standard_normal((4, 3, width + 4, width + 4), np.float32)
    flow = draw.standard_normal((4, 6, width, width), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(
        image.astype(np.float64), (width, width), axis=(2, 3)
    )
    wanted = np.einsum("ncrshw,nfhw->fcrs", windows, flow.astype(np.float64), optimize=True)
    found = [gradient(width, t)(image=image, flow=flow)[0] for t in (1, 2)]
    np.testing.assert_allclose(found[0], wanted, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(*found)
