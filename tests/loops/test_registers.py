"""Register tiles hold no more vectors than the cost model counts."""

from __future__ import annotations

import re

import pytest

import graphc
from graphc import ops
from graphc.runtime.kernels import KernelView


def convolution(target: str) -> KernelView:
    """A convolution with lanes along the width, in tiles of filters by rows of the image."""
    image = graphc.input("image", (4, 6, 28, 28))
    taps = graphc.parameter("taps", (10, 6, 5, 5))
    return graphc.compile(ops.conv2d(image, taps), target=target).kernels["k00"]


@pytest.mark.parametrize("target", ["avx2", "avx512"])
def test_the_side_that_moves_vectors_is_walked_first(target: str) -> None:
    loops = convolution(target).as_text("loops")
    assert re.search(r"tile \dx\d of 1 vectors", loops)
    rows, filters = loops.index("for i2.t in"), loops.index("for i1.t in")
    assert rows < filters


def test_no_vector_is_spilled() -> None:
    assembly = convolution("avx2").as_text("asm").splitlines()
    assert any("vfmadd231ps" in line for line in assembly)
    assert not [line for line in assembly if "mmword ptr [rsp" in line]
