"""The entry with time stamps as LLVM text, for every processor."""

from __future__ import annotations

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.llvm import engine, limits, targets, timed
from graphc.runtime.program import Program


def program(target: str) -> Program:
    """Two kernels, the larger to be shared, and variables that change places at the end."""
    x = graphc.input("x", ("n", 256))
    w = graphc.parameter("w", (256, 256))
    a, b = (graphc.parameter(name, value=np.ones(3, np.float32)) for name in "ab")
    return graphc.compile(ops.sum(ops.tanh(x @ w)), updates={a: b, b: a}, target=target, threads=2)


@pytest.mark.parametrize("target", ["avx512", "avx2", "sse2", "neon"])
def test_the_text_is_llvms_and_calls_every_kernel(target: str) -> None:
    stages = program(target).stages
    places = [0x1000 + 64 * number for number in range(len(stages.calls))]
    text = timed.emit(stages.calls, places, stages.ending, stages.extents, stages.target)
    engine.parse(text).verify()
    assert [text.count(f"inttoptr (i64 {place} to ptr)") for place in places] == [2] * len(places)
    assert ("@clock_gettime(" in text) == (target == "neon")
    assert engine.assembly(text, stages.target)


def test_the_record_is_as_long_as_its_words() -> None:
    stages = program("avx2").stages
    count = timed.parts(stages.calls, stages.ending)
    assert count == len(stages.calls) + 1  # the copies
    assert timed.record_words(count, 3) == 1 + count + 3 * (2 * count + 1)


@pytest.mark.parametrize("target", ["avx512", "avx2", "neon"])  # below, a call multiplies and adds
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_loops_that_measure_limits_keep_their_work(target: str, dtype: str) -> None:
    """Nothing is optimised away: the multiply-adds stand in the assembly."""
    level = targets.target(target)
    text = engine.assembly(limits.emit(dtype, level, limits.PAST), level)
    loop = text[text.index("multiply_add") : text.index("triad")]
    assert loop.count("vfmadd" if target != "neon" else "fmla") >= limits.CHAINS
