"""Pictures for docs and papers, by matplotlib: numbers over epochs, and kernels under a roof."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from graphc.errors import InputError, missing
from graphc.files import Path, suffix, writing

FILES = (".svg", ".png", ".pdf")
VALIDATION = "val_"


class Point(Protocol):
    """A kernel in a roofline; `intensity` is FLOPs a byte, `bound` the name of a roof."""

    @property
    def kernel(self) -> str:
        """Its name."""

    @property
    def intensity(self) -> float:
        """FLOPs for each byte."""

    @property
    def gflops(self) -> float:
        """1e9 FLOPs a second."""

    @property
    def seconds(self) -> float:
        """What it takes."""


def history(
    epochs: Sequence[int], values: Mapping[str, Sequence[float]], path: Path | None = None
) -> Any:
    """A matplotlib figure of values over epochs: a panel for each name, with its val_ beside it.

    It is written to the path where one is given. Raises InputError without matplotlib, for another
    suffix than FILES, and where there are no epochs; WriteError where the system refuses.
    """
    if not epochs:
        raise InputError("the history has no epochs to plot: fit first")
    names = list(dict.fromkeys(name.removeprefix(VALIDATION) for name in values))
    figure, panels = framed(len(names), path)
    for panel, name in zip(panels, names, strict=True):
        for key, label in ((name, "training"), (VALIDATION + name, "validation")):
            if key in values:
                mark = "o" if len(epochs) == 1 else ""
                panel.plot(epochs, values[key], marker=mark, label=label)
        panel.set_title(name, fontsize="medium")
        panel.set_xlabel("epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.legend(frameon=False)
    return saved(figure, path)


def roofline(
    points: Sequence[Point],
    compute: Mapping[str, float],
    bandwidth: Mapping[str, float],
    path: Path | None = None,
) -> Any:
    """A matplotlib figure of kernels by FLOPs a byte and GFLOP/s, below the roofs of the machine.

    `compute` maps names such as "float32 FMA" to GFLOP/s, `bandwidth` names such as "L1" to GB/s.
    A point's area is its share of the time. Written, and refused, as `history` is.
    """
    shown = [point for point in points if point.intensity > 0 and point.gflops > 0]
    if not compute or not bandwidth:
        raise InputError("a roofline needs a roof of each kind: GFLOP/s, and GB/s of a memory")
    figure, (panel,) = framed(1, path, wide=7.0)
    top = max(compute.values())
    ridges = [top / rate for rate in bandwidth.values()]
    low = min([p.intensity for p in shown] + [min(ridges)]) / 4
    high = max([p.intensity for p in shown] + [max(ridges)]) * 4
    for name, rate in bandwidth.items():
        panel.plot([low, top / rate], [low * rate, top], color="0.6", linewidth=1)
        panel.annotate(
            f"{name} {rate:,.0f} GB/s",
            (low, low * rate),
            va="center",
            fontsize="small",
            color="0.4",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},  # no roof strikes it out
        )
    for name, rate in compute.items():
        begin = rate / max(bandwidth.values())
        panel.plot([begin, high], [rate, rate], color="0.6", linewidth=1)
        panel.annotate(
            f"{name} {rate:,.0f} GFLOP/s",
            (high, rate),
            ha="right",
            va="bottom",
            fontsize="small",
            color="0.4",
        )
    whole = math.fsum(point.seconds for point in points) or 1.0
    panel.scatter(
        [point.intensity for point in shown],
        [point.gflops for point in shown],
        [12 + 400 * point.seconds / whole for point in shown],
        alpha=0.7,
        zorder=3,
    )
    for point in shown:
        panel.annotate(
            point.kernel,
            (point.intensity, point.gflops),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize="x-small",
        )
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel("FLOPs / byte")
    panel.set_ylabel("GFLOP/s")
    return saved(figure, path)


def framed(count: int, path: Path | None, wide: float = 4.0) -> tuple[Any, list[Any]]:
    """A figure with some panels side by side, once it is known that the path can be written to."""
    if path is not None:
        suffix(path, FILES)
    try:
        from matplotlib.figure import Figure  # optional: the extra `plot`
    except ImportError:
        raise missing("a plot", "matplotlib", "plot") from None
    figure = Figure(figsize=(wide * count, 3.2 if count > 1 else wide * 0.7), layout="constrained")
    panels = list(figure.subplots(1, count, squeeze=False)[0])
    for panel in panels:
        panel.grid(True, alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, panels


def saved(figure: Any, path: Path | None) -> Any:
    """The figure, written where a path is given."""
    if path is not None:
        with writing(path):
            figure.savefig(path, format=suffix(path, FILES))
    return figure
