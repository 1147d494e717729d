"""The GRAPHC_* settings: misspelt ones are refused, not passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

import graphc
from graphc import debug, ops


def compiled() -> graphc.Program:
    """Any program, compiled anew."""
    return graphc.compile(ops.exp(graphc.input("x", (3,))))


def test_an_unknown_pass_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message lists the passes."""
    monkeypatch.setenv("GRAPHC_SKIP", "fuse,nope")
    with pytest.raises(graphc.InputError, match=r"nope.*simplify.*fuse.*tile"):
        compiled()


def test_blanks_between_passes_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_SKIP", " fuse, tile ,")
    assert debug.skipped(["fuse", "tile", "order"]) == {"fuse", "tile"}
    compiled()


def test_a_dump_goes_to_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GRAPHC_DUMP", "~/dump")
    compiled()
    assert list((tmp_path / "dump").glob("*-loops.txt"))
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRAPHC_DUMP", str(tmp_path / "file"))
    with pytest.raises(graphc.InputError, match=r"GRAPHC_DUMP=.*file: cannot write there"):
        compiled()


def test_a_level_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """GRAPHC_DEBUG is a number."""
    monkeypatch.setenv("GRAPHC_DEBUG", "loud")
    with pytest.raises(graphc.InputError, match="GRAPHC_DEBUG"):
        compiled()


def test_every_pass_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """One at a time, and all at once, the program still computes the same to rounding."""
    passes = ["fold", "simplify", "border", "pack", "fuse", "order", "tile", "parallel"]
    x = graphc.input("x", (5, 7))
    y = ops.softmax(ops.matmul(x, ops.transpose(x)) * 2.0 + 1.0)
    given = {"x": [[0.1 * i * j - 1 for j in range(7)] for i in range(5)]}
    (wanted,) = graphc.evaluate([y], given)
    for skipped in [*passes, ",".join(passes)]:
        monkeypatch.setenv("GRAPHC_SKIP", skipped)
        assert abs(graphc.compile(y)(**given)[0] - wanted).max() < 1e-6
