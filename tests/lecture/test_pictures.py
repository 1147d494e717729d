"""The lecture's pictures: ticks as one says them, a name for every line, colours as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.test_lecture import example

Figure = pytest.importorskip("matplotlib.figure").Figure


def ticks(axis: Any) -> list[str]:
    """The texts of an axis that lie in view, minor ones too."""
    low, high = sorted(axis.get_view_interval())
    labels = [*axis.get_ticklabels(), *axis.get_ticklabels(minor=True)]
    places = [*axis.get_ticklocs(), *axis.get_ticklocs(minor=True)]
    seen = zip(labels, places, strict=True)
    return [label.get_text() for label, place in seen if low <= place <= high and label.get_text()]


def test_ticks_are_read_as_they_are_said(request: pytest.FixtureRequest) -> None:
    """A short logarithmic axis has plain numbers, one of many decades powers; counts are whole."""
    pictures = example("pictures", request)
    figure = Figure()
    lines = {"one": ([1, 2, 3], [0.3, 0.5, 2.0]), "other": ([1, 2, 3], [0.4, 0.6, 0.9])}
    pictures.curves(lines, figure, yscale="log", xlabel="passes")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert ticks(axes.xaxis) == ["1", "2", "3"]
    assert ticks(axes.yaxis) == ["0.3", "0.5", "0.7", "1", "1.5", "2"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["one", "other"]
    figure = Figure()
    pictures.curves({"far": ([1, 2], [1e-9, 1.0])}, figure, yscale="log")
    figure.draw_without_rendering()
    assert all("10^{" in text for text in ticks(figure.axes[0].yaxis))


def test_a_single_point_has_room(request: pytest.FixtureRequest) -> None:
    figure = Figure()
    example("pictures", request).curves({"one": ([1], [0.3])}, figure)
    figure.draw_without_rendering()
    assert ticks(figure.axes[0].xaxis) == ["0", "1", "2"]


def test_a_picture_keeps_its_colours(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """1,024 colours of an image, a pixel each: all are in the file."""
    example("03_xor", request)
    from common import Lesson  # beside the example

    red, green = np.divmod(np.arange(1024), 32)
    image = np.stack([8 * red, 8 * green, 0 * red], 1).reshape(32, 32, 3).astype(np.uint8)
    lesson = Lesson("A title", ["--out", str(tmp_path)])
    lesson.draw("image.png", lambda figure: figure.figimage(image), (1, 1))
    drawn = pytest.importorskip("matplotlib.image").imread(tmp_path / "image.png")
    colours = {tuple(pixel) for pixel in (255 * drawn[..., :3]).round().astype(int).reshape(-1, 3)}
    assert {tuple(pixel) for pixel in image.reshape(-1, 3)} <= colours
