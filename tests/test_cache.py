"""The cache of object code: where it lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphc.llvm import cache


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
