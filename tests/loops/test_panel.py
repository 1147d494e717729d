"""Packed panels: what a kernel keeps on the stack at most."""

from __future__ import annotations

import pytest

import graphc
from graphc import ops
from graphc.loops.alternatives import stack
from graphc.loops.panel import LONGEST, MOST


def test_the_panels_of_all_residues_leave_room_on_the_stack() -> None:
    """Nine sums over thousands of filters, each with a panel of its own."""
    image, taps = graphc.input("image", (2, 64, 32, 32)), graphc.parameter("taps", (4096, 64, 5, 5))
    moved = ops.conv2d(image, taps, stride=3, floor=True)
    program = graphc.compile(graphc.grad(ops.sum(ops.square(moved)), [image]), target="avx2")
    assert LONGEST < max(stack(kernel) for kernel in program.stages.kernels) <= MOST


@pytest.mark.parametrize("target", ["avx2", "avx512"])
def test_a_long_sum_packs_its_panel(target: str) -> None:
    rows, columns = graphc.input("rows", (48, 8192)), graphc.parameter("columns", (8192, 64))
    program = graphc.compile(rows @ columns, target=target)
    assert "packed: its rows lie 256 bytes apart" in program.as_text("loops")
    assert stack(program.stages.kernels[0]) == {"avx2": 1 << 19, "avx512": 1 << 20}[target]
