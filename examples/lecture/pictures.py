"""The lecture's pictures: curves, planes, images, and clouds of points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def curves(lines: dict[str, tuple[Any, Any]], figure: Any, **settings: Any) -> None:
    """Lines by name, the points of each as x and y; settings are those of matplotlib's axes."""
    axes = figure.subplots()
    for name, (x, y) in lines.items():
        axes.plot(x, y, marker="." if len(x) < 30 else None, label=name)
    axes.set(**settings)
    axes.legend()


def mistakes_below(allowed: Any, made: Any, figure: Any) -> None:
    """The mistakes of perceptrons against what is allowed, the line."""
    axes = figure.subplots()
    axes.loglog(allowed, made, ".", markersize=2)
    axes.loglog([1, allowed.max()], [1, allowed.max()], color="black", linewidth=1)
    axes.set(xlabel="$(R/\\gamma)^2$", ylabel="mistakes")


def panels(
    titles: Iterable[str], lines: dict[str, tuple[Any, Any, str]], xlabel: str, figure: Any
) -> None:
    """Six panels, each with its column of every line: name -> x (n), y (n, 6), and its format."""
    places = figure.subplots(2, 3).flat
    for k, (place, title) in enumerate(zip(places, titles, strict=True)):
        for name, (x, y, style) in lines.items():
            place.loglog(x, y[:, k], style, label=name)
        place.set_title(title)
    places[0].legend(fontsize=7, loc="lower left")
    figure.supxlabel(xlabel)


def plane(axes: Any, surface: Any, threshold: float, below: str = "w") -> None:
    """Where a surface over [-0.4, 1.4]^2 exceeds a threshold in blue, elsewhere as `below`."""
    fine = np.linspace(-0.4, 1.4, len(surface))
    axes.contourf(fine, fine, surface, [-9, threshold, 9], colors=[below, "#cfe3f7"])


def corners(axes: Any, values: Iterable[Any]) -> None:
    """A function of two bits, at (0, 0), (0, 1), (1, 0) and (1, 1): dots, filled where true."""
    for i, value in enumerate(values):
        axes.plot(i // 2, i % 2, "o", color="black", markerfacecolor="k" if value else "w")
    axes.set(xticks=[0, 1], yticks=[0, 1], aspect="equal", xlim=(-0.4, 1.4), ylim=(-0.4, 1.4))


def weights(titles: Sequence[str], images: Any, figure: Any) -> None:
    """Images of weights in one row: red below 0, blue above."""
    places = figure.subplots(1, len(titles))
    for place, title, image in zip(places, titles, images, strict=True):
        place.imshow(image, cmap="RdBu", vmin=-abs(image).max(), vmax=abs(image).max())
        place.set_title(title, fontsize=7)
        place.axis("off")


def images(named: dict[str, Any], figure: Any) -> None:
    """Images by title, in two rows."""
    places = [*figure.subplots(2, (len(named) + 1) // 2).flat]
    for place in places:
        place.axis("off")
    for place, (title, image) in zip(places, named.items(), strict=False):
        place.imshow(image, cmap="magma")
        place.set_title(title)


def grids(parts: dict[str, tuple[int, Any]], figure: Any) -> None:
    """Four squares of images: title -> (images a side, the images)."""
    squares = figure.subfigures(2, 2).flat
    for square, (title, (side, images)) in zip(squares, parts.items(), strict=True):
        square.suptitle(title)
        for place, image in zip(square.subplots(side, side).flat, images, strict=True):
            place.imshow(image, cmap="gray", interpolation="nearest")
            place.axis("off")


def patches(images: Any, most: Any, place: Any) -> list[Any]:
    """The nine patches that a unit answers to most: 14x14 pixels at places of a map of 8x8."""
    found = []
    for image in np.argsort(most)[::-1][:9]:
        row, column = 2 * np.array(divmod(place[image], 8))
        found.append(images[image, 0, row : row + 14, column : column + 14])
    return found


def clouds(spaces: dict[str, Any], labels: Any, figure: Any) -> None:
    """Points (n, ...) of each space in its two directions of most variance, by label."""
    places = figure.subplots(1, len(spaces))
    for place, (title, points) in zip(places, spaces.items(), strict=True):
        points = points.reshape(len(points), -1)
        left, size, _ = np.linalg.svd(points - points.mean(0), full_matrices=False)
        place.scatter(*(left * size)[:, :2].T, c=labels, cmap="tab10", s=1)
        place.set_title(title)
        place.axis("off")
