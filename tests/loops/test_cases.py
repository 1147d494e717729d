"""Formulas with a case for each value of an index: unrolled, each case emitted by itself."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

import graphc
from graphc.ops.index import index
from graphc.passes.transform import combined

MATRIX = tuple(tuple(map(Fraction, row)) for row in ((1, 1), (1, -1), (Fraction(1, 2), 0)))


def test_cases_are_innermost_and_read_once() -> None:
    x = graphc.input("x", (40, 2, 24))
    reads = [(index("n"), index("b") * 0 + tap, index("c")) for tap in range(2)]
    y = combined("sums", MATRIX, "b", x, reads, {"n": 40, "b": 3, "c": 24})
    program = graphc.compile(y, target="avx2")
    lowered = program.kernels["k00"].as_text("lowered")
    loops = [line.strip() for line in lowered.splitlines() if line.strip().startswith("for ")]
    assert [line.split("#")[1].strip() for line in loops] == ["serial", "serial", "unrolled"]
    assert "in 0..3" in loops[-1] and lowered.count(" = b0[") == 2
    assembly = program.kernels["k00"].as_text("asm")
    assert "vblend" not in assembly and "vcmp" not in assembly, "no case is chosen at run time"
    given = np.random.default_rng(0).standard_normal((40, 2, 24)).astype(np.float32)
    (expected,) = graphc.evaluate([y], {"x": given})
    np.testing.assert_array_equal(graphc.compile(y)(given)[0], expected)
