"""Four kinds of pictures: curves, a row of weights, grids of small images, clouds of points."""

from __future__ import annotations

from typing import Any

import numpy as np


def curves(lines: dict[str, tuple[Any, Any]], figure: Any, **settings: Any) -> None:
    """Lines by name, the points of each as x and y; settings are those of matplotlib's axes."""
    axes = figure.subplots()
    for name, (x, y) in lines.items():
        axes.plot(x, y, marker="." if len(x) < 30 else None, label=name)
    axes.set(**settings)
    axes.legend()


def weights(rows: dict[str, Any], figure: Any) -> None:
    """Images of weights by title, in one row: red below 0, blue above."""
    places = figure.subplots(1, len(rows))
    for place, (title, image) in zip(places, rows.items(), strict=True):
        place.imshow(image, cmap="RdBu", vmin=-abs(image).max(), vmax=abs(image).max())
        place.set_title(title, fontsize=7)
        place.axis("off")


def grids(parts: dict[str, tuple[int, Any]], figure: Any) -> None:
    """Four squares of images: title -> (images a side, the images)."""
    squares = figure.subfigures(2, 2).flat
    for square, (title, (side, images)) in zip(squares, parts.items(), strict=True):
        square.suptitle(title)
        for place, image in zip(square.subplots(side, side).flat, images, strict=True):
            place.imshow(image, cmap="gray", interpolation="nearest")
            place.axis("off")


def clouds(spaces: dict[str, Any], labels: Any, figure: Any) -> None:
    """Points (n, features) of each space in its two directions of most variance, by label."""
    places = figure.subplots(1, len(spaces))
    for place, (title, points) in zip(places, spaces.items(), strict=True):
        left, size, _ = np.linalg.svd(points - points.mean(0), full_matrices=False)
        place.scatter(*(left * size)[:, :2].T, c=labels, cmap="tab10", s=1)
        place.set_title(title)
        place.axis("off")
