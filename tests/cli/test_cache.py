"""`graphc cache`: what it lists, what it deletes, and what it leaves alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import graphc
from graphc import cache
from graphc.cli import main
from graphc.inspect.host import kind_of
from graphc.llvm import tuned
from tests.cli.processes import on_terminal


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with a program in it, something tuned, and files that are none of graphc's."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(folder))
    x = graphc.input("x", (3,))
    graphc.compile(graphc.exp(x) * 3.5)(np.ones(3, np.float32))
    cache.write(cache.digest("known"), b'{"a": 1}')
    cache.write(cache.digest("tuned"), b"{}", tuned.ROOM)
    for name in ("mine.o", "notes.txt"):
        (folder / name).write_text("not graphc's")
    (folder / f"{'0' * 64}.o").write_bytes(b"damaged")
    (folder / ".new-abc").write_bytes(b"cut short")
    return folder


def run(*arguments: str) -> Result:
    """A verb's outcome."""
    return CliRunner().invoke(main, ["cache", *arguments])


def test_list(folder: Path) -> None:
    """Every entry with its kind, the newest first; nothing of others."""
    os.utime(folder / ".new-abc", (0, 0))
    found = json.loads(run("list", "--json").stdout)
    kinds = {"damaged", "derivations", "image", "object", "tuned", "unfinished"}
    assert {entry["kind"] for entry in found} == kinds
    assert [entry["age"] for entry in found] == sorted(entry["age"] for entry in found)
    assert found[-1]["path"] == str(folder / ".new-abc")
    assert all(Path(entry["path"]).stat().st_size == entry["bytes"] for entry in found)
    text = run("list").stdout
    assert text == run().stdout and "mine" not in text
    assert len(text.splitlines()) == 1 + len(found) == 1 + len(cache.entries())
    assert text.splitlines()[-1].split()[:2] == ["unfinished", "9"] and " d  " in text


def test_size(folder: Path) -> None:
    """The sum of each kind, and of all."""
    found = json.loads(run("size", "--json").stdout)
    assert found["folder"] == str(folder) and found["kinds"]["tuned"]["entries"] == 1
    count = len(cache.entries())
    assert found["total"]["entries"] == count
    assert found["total"]["bytes"] == sum(kind["bytes"] for kind in found["kinds"].values())
    assert run("size").stdout.splitlines()[-1].split()[:2] == ["all", str(count)]


def test_clear_deletes_graphcs_files_alone(folder: Path) -> None:
    """Once it is told to; a program is then compiled anew."""
    count = len(cache.entries())
    assert json.loads(run("clear", "--yes", "--json").stdout)["deleted"] == count >= 6
    left = sorted(path.name for path in folder.rglob("*") if path.is_file())
    assert left == ["mine.o", "notes.txt"] and cache.entries() == []
    assert run("list").stdout == "the cache is empty\n"
    assert run("clear").stdout == "deleted 0 entries, 0 bytes\n"
    graphc.compile(graphc.exp(graphc.input("x", (3,))) * 3.5)
    assert {kind_of(entry) for entry in cache.entries()} >= {"image", "object"}


def test_clear_asks(folder: Path) -> None:
    """On a terminal; no leaves all as it is."""
    count = len(cache.entries())
    no = on_terminal(["cache", "clear"], "n\n")
    assert f"Delete {count} entries" in no.stdout and "Aborted" in no.stdout and no.code == 1
    assert len(cache.entries()) == count
    yes = on_terminal(["cache", "clear"], "y\n")
    assert yes.code == 0 and f"deleted {count} entries" in yes.stdout and cache.entries() == []


def test_what_is_not_ours_is_left_alone(folder: Path, tmp_path: Path) -> None:
    """Links, and folders that others may write to."""
    outside = tmp_path / f"{'1' * 64}.o"
    outside.write_bytes(b"x")
    (folder / f"{'2' * 64}.o").symlink_to(outside)
    (folder / "linked").symlink_to(tmp_path)
    (folder / tuned.ROOM).chmod(0o777)
    assert not {"tuned", "linked"} & {kind_of(entry) for entry in cache.entries()}
    assert run("clear", "--yes").exit_code == 0 and outside.exists()
    assert len(list((folder / tuned.ROOM).iterdir())) == 1
    folder.chmod(0o777)
    result = run("clear", "--yes")
    assert result.exit_code == 2 and "others may write there" in result.stderr


def test_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a cache each verb says so."""
    monkeypatch.setenv("GRAPHC_CACHE_DIR", "off")
    for verb in (["list"], ["size"], ["clear", "--yes"]):
        result = run(*verb)
        assert result.exit_code == 2 and "the cache is off" in result.stderr


def test_no_folder_yet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache is no error."""
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "none"))
    assert run("list").stdout == "the cache is empty\n"
    assert json.loads(run("size", "--json").stdout)["total"] == {"entries": 0, "bytes": 0}
