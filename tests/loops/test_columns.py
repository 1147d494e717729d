"""Sums down columns: a few rows at a time, added up in the order of the rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.llvm import targets
from graphc.runtime.program import Program
from tests.support import random

SAID = "at a time: lines follow each other"
COLUMNS = 512
"""More than the registers of any machine hold at once."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a second cache of 32 KiB."""
    here = replace(targets.target(), level1=16 << 10, level2=32 << 10)
    monkeypatch.setattr(targets, "target", lambda name=None: here)


def loops(program: Program) -> str:
    """The loops of all kernels."""
    return "\n".join(kernel.as_text("loops") for kernel in program.kernels.values())


@pytest.mark.parametrize("rows", [128, 131])
@pytest.mark.parametrize("columns", [COLUMNS, 589])
def test_rows_are_added_in_order(rows: int, columns: int) -> None:
    x, y, z = (graphc.input(name, (rows, columns)) for name in "xyz")
    results = [ops.sum(x, axis=0), ops.sum(y, axis=0) * 2, ops.max(z, axis=0)]
    program = graphc.compile(results, threads=1)
    assert loops(program).count(SAID) >= 3
    given = [random(rows, columns, seed=seed).astype(np.float32) for seed in (0, 1, 2)]
    found = program(*given)
    total, other = (np.zeros(columns, np.float32) for _ in range(2))
    for one, two in zip(*given[:2], strict=True):
        total, other = total + one, other + two
    np.testing.assert_array_equal(found[0], total)
    np.testing.assert_array_equal(found[1], 2 * other)
    np.testing.assert_array_equal(found[2], given[2].max(axis=0))


@pytest.mark.parametrize("blocks, rows, said", [(30, 4, True), (130, 2, True), (9, 16, False)])
def test_rows_of_blocks_are_added_in_order(blocks: int, rows: int, said: bool) -> None:
    """Whole blocks at a time, where they are of no more rows than go side by side."""
    x = graphc.input("x", (blocks, rows, COLUMNS))
    program = graphc.compile(ops.sum(x, axis=(0, 1)), threads=1)
    assert (SAID in loops(program)) == said
    given = random(blocks, rows, COLUMNS).astype(np.float32)
    total = np.zeros(COLUMNS, np.float32)
    for row in given.reshape(-1, COLUMNS):
        total = total + row
    np.testing.assert_array_equal(program(given)[0], total)


def test_products_keep_the_bits_of_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, z = (graphc.input(name, (200, 589)) for name in "xyz")
    results = [ops.sum(x * y, axis=0), ops.sum(ops.exp(z), axis=0) * 2]
    given = [random(200, 589, seed=seed) for seed in (0, 1, 2)]
    found = []
    for level2 in (32 << 10, 1 << 30):
        here = replace(targets.target(), level2=level2)
        monkeypatch.setattr(targets, "target", lambda name=None, here=here: here)
        for threads in (1, 2):
            program = graphc.compile(results, threads=threads)
            assert (SAID in loops(program)) == (level2 < 1 << 30)
            found.append(program(*given))
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


def test_what_fits_the_cache_or_a_strip_stays() -> None:
    shapes: list[tuple[int | str, int]] = [(20, 300), (4000, 16), ("batch", 3000)]
    for rows, columns in shapes:
        x = graphc.input("x", (rows, columns))
        assert SAID not in loops(graphc.compile(ops.sum(x, axis=0)))


@pytest.mark.parametrize("rows", [128, 131, 3000])
def test_sums_that_share_a_pass_go_so_together(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of 3000 rows in parts of 1000, each of which goes so."""
    x, y = (graphc.input(name, (rows, COLUMNS)) for name in "xy")
    results = [ops.sum(x, axis=0), ops.sum(x * y, axis=0) * 2, ops.max(x, axis=0)]
    given = [random(rows, COLUMNS, seed=seed).astype(np.float32) for seed in (0, 1)]
    program = graphc.compile(results, threads=1)
    assert len(program.kernels) == (1 if rows <= 1024 else 3)
    assert SAID in loops(program) and "t1[" in loops(program) and "t2[" in loops(program)
    found = program(*given)
    for skip, threads in (("", 2), ("", 3), ("fuse", 1), ("fuse", 2)):
        monkeypatch.setenv("GRAPHC_SKIP", skip)
        apart = graphc.compile(results, threads=threads)(*given)
        for one, other in zip(found, apart, strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(
        found[1], 2 * (given[0] * given[1]).sum(axis=0), rtol=1e-4, atol=1e-3
    )


def test_rows_that_registers_hold_are_read_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    here = targets.target()
    columns = here.model.lanes(4) * (here.model.registers * 3 // 4)
    x, y = (graphc.input(name, (300, columns)) for name in "xy")
    given = [random(300, columns, seed=seed).astype(np.float32) for seed in (0, 1)]
    program = graphc.compile(ops.sum(x * y, axis=0), threads=1)
    assert f"register r1: float32[{columns}]" in loops(program)
    found = program(*given)[0]
    monkeypatch.setenv("GRAPHC_SKIP", "tile")
    np.testing.assert_array_equal(found, graphc.compile(ops.sum(x * y, axis=0))(*given)[0])
