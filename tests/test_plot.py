"""Plots: what is drawn, where it is written, and what is refused."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from graphc import plot
from graphc.errors import InputError, WriteError
from graphc.train.history import History

pytest.importorskip("matplotlib", reason="pip install '.[plot]' brings matplotlib")


@dataclass(frozen=True)
class Point:
    """A kernel of a roofline."""

    kernel: str
    intensity: float
    gflops: float
    seconds: float


POINTS = [Point("k00", 0.25, 5.0, 1e-5), Point("k01", 20.0, 60.0, 9e-5), Point("k02", 0, 0, 1e-6)]
ROOFS = {"float32 FMA": 80.0}, {"L1": 200.0, "memory": 15.0}


def trained() -> History:
    """Two epochs."""
    history = History()
    history.append(1, {"loss": 2.0, "accuracy": 0.5, "val_loss": 2.5})
    history.append(2, {"loss": 1.0, "accuracy": 0.75})
    return history


@pytest.mark.parametrize(
    ("name", "begins"), [("h.png", b"\x89PNG"), ("h.svg", b"<?xml"), ("h.PDF", b"%PDF")]
)
def test_history_is_written(tmp_path: Path, name: str, begins: bytes) -> None:
    """As the kind of file that its name says."""
    trained().plot(tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_history_has_a_panel_for_each_name() -> None:
    """A value and its val_ counterpart share one."""
    loss, accuracy = trained().plot().axes
    assert (loss.get_title(), accuracy.get_title()) == ("loss", "accuracy")
    training, validation = loss.get_lines()
    assert list(training.get_xdata()) == [1, 2] and list(training.get_ydata()) == [2.0, 1.0]
    assert validation.get_ydata()[0] == 2.5 and len(accuracy.get_lines()) == 1


def test_roofline(tmp_path: Path) -> None:
    """A line for each roof, a point for each kernel that computes, in proportion to its time."""
    figure = plot.roofline(POINTS, *ROOFS, tmp_path / "r.svg")
    (panel,) = figure.axes
    assert len(panel.get_lines()) == 3
    (dots,) = panel.collections
    assert dots.get_offsets().tolist() == [[0.25, 5.0], [20.0, 60.0]]
    small, large = dots.get_sizes()
    assert large > 3 * small
    said = " ".join(text.get_text() for text in panel.texts)
    assert all(word in said for word in ("k00", "k01", "L1 200 GB/s", "float32 FMA 80 GFLOP/s"))
    assert "k02" not in said and (tmp_path / "r.svg").stat().st_size > 1000


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A suffix, a folder, a history without epochs, roofs of one kind, and no matplotlib."""
    with pytest.raises(InputError, match=r"ends in \.jpg; a picture is one of \.svg, \.png"):
        trained().plot(tmp_path / "h.jpg")
    with pytest.raises(WriteError, match=r"cannot save .*No such file or directory"):
        trained().plot(tmp_path / "none" / "h.png")
    with pytest.raises(InputError, match="no epochs"):
        History().plot()
    with pytest.raises(InputError, match="a roof of each kind"):
        plot.roofline(POINTS, {}, {"L1": 1.0})
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"needs matplotlib: pip install 'graphc\[plot\]'"):
        trained().plot()
