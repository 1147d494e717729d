"""The measurement of the elementary functions: a sample of it, and that it finds what is wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graphc import ops
from tests.exhaustive import __main__ as command
from tests.exhaustive.error import Tally, distances
from tests.exhaustive.subjects import NAMED
from tests.exhaustive.sweep import sweep

HOST = command.target().name
SPARSE = 20011  # odd, so that the sample's last bits are of all kinds


@pytest.mark.parametrize("name", NAMED)
def test_sample_is_within_the_bound(name: str) -> None:
    outcome = sweep(NAMED[name], [HOST], SPARSE, samples=100)
    tally = outcome.tallies[HOST]
    assert tally.count > 100_000
    assert outcome.within, tally
    assert outcome.reference < 1e-7


def test_function_that_is_another_is_found() -> None:
    wrong = replace(NAMED["exp"], build=lambda x: ops.exp(x) * 1.0000003)
    assert not sweep(wrong, [HOST], SPARSE, samples=10).within
    unsigned = replace(NAMED["sin"], build=lambda x: ops.abs(ops.sin(x)))
    outcome = sweep(unsigned, [HOST], SPARSE, samples=10)
    assert outcome.tallies[HOST].signs
    assert not outcome.within


def test_distances_are_in_the_exact_results_unit() -> None:
    exact = np.array([1.0, 1.0, 1.5, 2.0**-140, math.inf, 2.0**128, 2.0**200, math.nan, math.nan])
    result = np.array([1.0, 1 + 2.0**-23, 1.5, 2.0**-139, math.inf, 3e38, math.inf, math.nan, 1.0])
    found = distances(result.astype(np.float32), exact)
    np.testing.assert_array_equal(
        found[[0, 1, 2, 3, 4, 6, 7, 8]], [0, 1, 0, 512, 0, 0, 0, math.inf]
    )
    assert found[5] > 1e6
    top = np.finfo(np.float32).max
    close = np.array([float(top) + 2.0**102, float(top)])
    over = np.array([np.inf, np.inf], np.float32)
    np.testing.assert_array_equal(distances(over, close), [0.75, 1.0])
    np.testing.assert_array_equal(distances(-over, -close), [0.75, 1.0])


def test_tally_counts_what_is_not_the_exact_result_rounded() -> None:
    x = np.arange(1, 6, dtype=np.float32)
    exact = np.array([1.0, 1.5, -0.0, math.nan, 2.0**-149])
    tally = Tally()
    rounded = exact.astype(np.float32)
    tally.add((x,), rounded, exact, rounded)
    assert (tally.count, tally.inexact, tally.signs, tally.error) == (5, 0, 0, 0.5)
    result = np.array([1.0, 1.5 + 2.0**-22, 0.0, -math.nan, 2.0**-148], np.float32)
    tally.add((x,), result, exact, rounded)
    assert (tally.count, tally.inexact, tally.signs, tally.error) == (10, 2, 1, 2.0)
    assert (tally.subnormal, tally.share) == (1.0, 0.8)
    assert [entry[1] for entry in tally.worst] == [(2.0,), (5.0,)]


def test_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "functions.md"
    options = ["--functions", "sqrt", "div", "--every", str(SPARSE), "--target", HOST]
    assert command.main([*options, "--markdown", str(page)]) == 0
    assert "sqrt" in capsys.readouterr().out
    text = page.read_text("utf-8")
    assert "| sqrt | 0.5 | 0.5 |" in text
    assert f"one operand in {SPARSE}" in text
    assert "Not measured this time: exp, log" in text
    assert text.count("| sqrt |") == 2  # its errors, and its values at the special points
    assert "| at inf | at -inf | at nan |" in text
