"""The lecture's pictures: curves, planes, images, and clouds of points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from graphc import data

FIRES = "#cfe3f7"
FUNCTIONS = (  # of x0 and x1; bit i of the number is the value at (0, 0), (0, 1), (1, 0), (1, 1)
    "false", "nor", "not $x_0$ and $x_1$", "not $x_0$", "$x_0$ and not $x_1$", "not $x_1$", "xor",
    "nand", "and", "not xor", "$x_1$", "not $x_0$ or $x_1$", "$x_0$", "$x_0$ or not $x_1$", "or",
    "true",
)  # fmt: skip


def plain(axis: Any) -> None:
    """Ticks as one says them: whole numbers; on a short logarithmic axis 0.2, 0.5, 1, not 10^x."""
    from matplotlib import ticker

    if axis.get_scale() != "log":
        axis.set_major_locator(ticker.MaxNLocator(integer=True))
        return
    low, high = sorted(axis.get_view_interval())
    if high / low > 1e4:
        return
    fine = (1, 1.5, 2, 3, 5, 7) if high / low < 10 else (1, 2, 5) if high / low < 100 else (1,)
    axis.set_major_locator(ticker.LogLocator(subs=fine))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def curves(lines: dict[str, tuple[Any, Any]], figure: Any, **settings: Any) -> None:
    """Lines by name, the points of each as x and y; settings are those of matplotlib's axes."""
    lined(figure.subplots(), lines, **settings)


def lined(axes: Any, lines: dict[str, tuple[Any, Any]], **settings: Any) -> None:
    """Lines by name in one of a picture's axes."""
    for name, (x, y) in lines.items():
        axes.plot(x, y, marker="." if len(x) < 30 else None, label=name)
    axes.set(**settings)
    if all(len(x) == 1 for x, _ in lines.values()):
        axes.set_xlim(0, 2)  # points alone: no range of their own
    plain(axes.xaxis)
    if axes.get_yscale() == "log":
        plain(axes.yaxis)
    axes.legend()


def mistakes_below(allowed: Any, made: Any, figure: Any) -> None:
    """The mistakes of perceptrons against what is allowed, the line."""
    axes, ends = figure.subplots(), [allowed.min(), allowed.max()]
    axes.loglog(allowed, made, ".", markersize=2, label="1,000 sets")
    axes.loglog(
        ends, ends, color="black", linewidth=1, label="the bound: as many as $(R/\\gamma)^2$"
    )
    axes.set(xlabel="$(R/\\gamma)^2$", ylabel="mistakes until none is left")
    plain(axes.xaxis)
    plain(axes.yaxis)
    figure.legend(loc="outside upper center", ncols=2, fontsize=7)


def panels(
    titles: Iterable[str],
    lines: dict[str, tuple[Any, Any, str]],
    labels: Sequence[str],
    figure: Any,
) -> None:
    """Six panels, each with its column of every line: name -> x (n), y (n, 6), and its format."""
    places = figure.subplots(2, 3).flat
    for k, (place, title) in enumerate(zip(places, titles, strict=True)):
        for name, (x, y, style) in lines.items():
            place.loglog(x, y[:, k], style, label=name, markersize=4)
        place.set_title(title)
        plain(place.xaxis)
        plain(place.yaxis)
    figure.legend(*places[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    figure.supxlabel(labels[0])
    figure.supylabel(labels[1])


def plane(axes: Any, surface: Any, threshold: float, below: str = "w") -> None:
    """Where a surface over [-0.4, 1.4]^2 exceeds a threshold in blue, elsewhere as `below`."""
    fine = np.linspace(-0.4, 1.4, len(surface))
    axes.contourf(fine, fine, surface, [-9, threshold, 9], colors=[below, FIRES])


def corners(axes: Any, values: Iterable[Any]) -> None:
    """A function of two bits, at (0, 0), (0, 1), (1, 0) and (1, 1): dots, filled where true."""
    for i, value in enumerate(values):
        axes.plot(i // 2, i % 2, "o", color="black", markerfacecolor="k" if value else "w")
    axes.set(xticks=[0, 1], yticks=[0, 1], aspect="equal", xlim=(-0.4, 1.4), ylim=(-0.4, 1.4))


def two_inputs(units: dict[int, Any], refuted: Iterable[tuple[Any, Any]], figure: Any) -> None:
    """Each function of two inputs: where its unit (w, t) fires, or the diagonals that meet."""
    places, fine = figure.subplots(2, 8).flat, np.linspace(-0.4, 1.4, 100)
    for code, (a, b, t) in units.items():  # x0 to the right, x1 up
        plane(places[code], a * fine + b * fine[:, None] - t, 0, "#f4f4f4")
    for against, tables in refuted:
        for sign, colour in ((1, "tab:blue"), (-1, "tab:red")):
            (points,) = np.nonzero(against * sign > 0)
            places[tables[0]].plot(points // 2, points % 2, color=colour)
    for code, (axes, name) in enumerate(zip(places, FUNCTIONS, strict=True)):
        corners(axes, [code >> i & 1 for i in range(4)])
        axes.set(xticks=[], yticks=[])
        axes.set_title(name, fontsize=8)
    figure.supxlabel(
        "$x_0$ to the right, $x_1$ up; a dot is filled where the function is true, blue is where "
        "the unit fires.\nxor: the points where it is true (blue line) and where it is false (red) "
        "have the same middle: no line parts them.",
        fontsize=8,
    )


def xor(surfaces: Sequence[Any], truth: Any, losses: Any, figure: Any) -> None:
    """XOR over the plane, composed and learned, and the losses (step) of the nets that learn it."""
    places = figure.subplots(1, 3)
    titles = ("composed of three units", "learned, the first net")
    for axes, surface, title in zip(places, surfaces, titles, strict=False):
        plane(axes, surface, 0.5)
        corners(axes, truth)
        axes.set(xlabel="$x_0$", ylabel="$x_1$", title=title)
    places[2].semilogy(losses)
    places[2].set(xlabel="step", ylabel="mean loss of the nets", title="learning")
    figure.supxlabel("dots: filled where xor is 1; blue: where the output exceeds 0.5", fontsize=8)


def depth(
    inputs: Sequence[int], units: dict[str, Any], learned: dict[str, float], figure: Any
) -> None:
    """The units of circuits against their inputs, and by net the part of the seeds that learned."""
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    axes = {"yscale": "log", "xlabel": "inputs n", "ylabel": "units", "title": "circuits"}
    lined(left, {name: (inputs, counts) for name, counts in units.items()}, **axes)
    bars = right.bar(list(learned), list(learned.values()), width=0.6)
    right.bar_label(bars, fmt="%.0f %%", padding=2)
    right.set(ylim=(0, 112), xlim=(-0.6, max(1, len(learned)) - 0.4), yticks=[0, 50, 100])
    right.set(xlabel="hidden layers x width", ylabel="seeds, %", title="parity of 8 bits, learned")


def codes(values: Any, figure: Any) -> None:
    """The hidden values of the first four encoders, each of 8 inputs by 3 units."""
    places = figure.subplots(1, 4, sharey=True)
    for k, axes in enumerate(places):
        drawn = axes.imshow(values[:, k], cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
        axes.set(xticks=range(3), yticks=range(8), xlabel="hidden unit", title=f"net {k}")
    places[0].set_ylabel("the input that is on")
    figure.colorbar(drawn, ax=places, label="value of the unit", ticks=[-1, 0, 1])


def times(bars: dict[str, float], figure: Any) -> None:
    """Milliseconds by name, of one thread, as bars on a logarithmic axis."""
    axes = figure.subplots()
    axes.barh(list(bars), list(bars.values()))
    axes.bar_label(axes.containers[0], fmt="%.4g ms", padding=3)
    axes.set(xscale="log", xlim=(1, 1e4), xlabel="milliseconds, one thread")
    plain(axes.xaxis)
    axes.invert_yaxis()


def weights(titles: Sequence[str], images: Any, figure: Any) -> None:
    """Images of weights in one row: red below 0, blue above."""
    places = figure.subplots(1, len(titles))
    for place, title, image in zip(places, titles, images, strict=True):
        size = abs(image).max()
        drawn = place.imshow(image, cmap="RdBu", vmin=-size, vmax=size)
        place.set_title(title, fontsize=7)
        place.axis("off")
    bar = figure.colorbar(drawn, ax=places, ticks=[-size, 0, size])
    bar.ax.set_yticklabels(["-max", "0", "max"], fontsize=7)


def images(named: dict[str, Any], figure: Any) -> None:
    """A photograph, and images by title, in two rows, each image between its least and largest."""
    places = [*figure.subplots(2, (len(named) + 1) // 2).flat]
    for place in places:
        place.axis("off")
    for place, (title, image) in zip(places, named.items(), strict=False):
        drawn = place.imshow(image, cmap="magma")
        place.set_title(title)
    bar = figure.colorbar(drawn, ax=places, ticks=drawn.get_clim(), shrink=0.6)
    bar.ax.set_yticklabels(["least", "largest"])
    bar.set_label("of each map", labelpad=-20)


def grids(parts: dict[str, tuple[int, Any]], figure: Any) -> None:
    """Four squares of images on one scale each: title -> (images a side, the images)."""
    squares = figure.subfigures(2, 2).flat
    for square, (title, (side, images)) in zip(squares, parts.items(), strict=True):
        low, high = np.min(images), np.max(images)
        square.suptitle(f"{title}\nblack to white: {low:.2g} to {high:.2g}", fontsize=9)
        for place, image in zip(square.subplots(side, side).flat, images, strict=True):
            place.imshow(image, cmap="gray", interpolation="nearest", vmin=low, vmax=high)
            place.axis("off")


def patches(images: Any, seen: dict[str, Any]) -> list[Any]:
    """The nine patches that a unit answers to most: 14x14 pixels at places of a map of 8x8.

    Of each image, seen has the unit's largest answer ("most") and where on the map ("place").
    """
    found = []
    for image in np.argsort(seen["most"])[::-1][:9]:
        row, column = 2 * np.array(divmod(seen["place"][image], 8))
        found.append(images[image, 0, row : row + 14, column : column + 14])
    return found


def clouds(spaces: dict[str, Any], images: data.Dataset, figure: Any) -> None:
    """Test images (n, ...) in each space's two directions of most variance, by class."""
    places = figure.subplots(1, len(spaces))
    for place, (title, points) in zip(places, spaces.items(), strict=True):
        points = points.reshape(len(points), -1)
        left, size, _ = np.linalg.svd(points - points.mean(0), full_matrices=False)
        labels, flat = images.y_test[: len(points)], (left * size)[:, :2]
        for k, name in enumerate(images.classes):
            place.scatter(*flat[labels == k].T, color=f"C{k}", s=2, label=name)
        place.set(title=title, xticks=[], yticks=[])
    places[0].set(xlabel="direction of most variance", ylabel="second direction")
    handles, names = places[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=5, fontsize=8, markerscale=3)
