"""Time stamps beside perf's samples of the very same steps."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.benchmarks import profiles

APART = 5.0
"""Points between two shares of a kernel at most; see docs/profiles.md for what was found."""


def test_perf_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("perf") is None:
        pytest.skip("perf is not installed: there is nothing to compare with")
    monkeypatch.chdir(Path(__file__).parents[2])
    try:
        rows = profiles.perf(tmp_path, seconds=2.0)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"perf may not sample here: {error.stderr.strip()[-200:]}")
    assert sum(float(theirs[:-1]) for _, _, theirs, _ in rows) == pytest.approx(100, abs=3)
    worst = max(rows, key=lambda row: abs(float(row[3])))
    assert abs(float(worst[3])) < APART, worst
    assert float(rows[0][1][:-1]) > 15  # a convolution
