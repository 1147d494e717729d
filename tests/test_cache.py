"""The cache: where it lies, and that processes may share it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from graphc import cache


def test_the_users_folder_can_be_written_as_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", "~/x")
    assert cache.folder() == Path.home() / "x"


def test_forgotten_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "cache"))
    cache.write("a", b"1")
    assert cache.read("a") == b"1"
    cache.forget("a")
    assert cache.read("a") is None
    cache.forget("a")


SHARED = """
import sys, time
import numpy as np
import graphc
from graphc import ops

x = graphc.input("x", (7, 5))
start = float(sys.argv[1])
time.sleep(max(0.0, start - time.time()))
for count in (1, 2, 3, int(sys.argv[2])):
    y = x
    for _ in range(count):
        y = ops.tanh(y * 1.5 + ops.sum(y, 1, keepdims=True))
    (value,) = graphc.compile(y)(np.linspace(-1, 1, 35, dtype=np.float32).reshape(7, 5))
    print(count, value.tobytes().hex())
"""


def test_processes_that_share_a_cache_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four at once, with programs that all compile and one that each has alone; then four again."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(folder))
    runs = []
    for _ in range(2):
        start = str(time.time() + 3)
        running = [
            subprocess.Popen(
                [sys.executable, "-c", SHARED, start, str(own)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for own in (4, 5, 6, 7)
        ]
        lines = [process.communicate(timeout=120)[0].splitlines() for process in running]
        assert [process.returncode for process in running] == [0] * 4
        assert all(shown[:3] == lines[0][:3] for shown in lines), "what all compile is the same"
        runs.append(lines)
    assert runs[0] == runs[1]
    left = {path.name for path in folder.iterdir()}
    assert all(name.endswith(".o") and not name.startswith(".") for name in left)
    assert all(cache.read(name.removesuffix(".o")) is not None for name in left)
