"""The roofline: every kernel's speed beside the most that this machine allows it.

Source: Williams, Waterman, Patterson: Roofline, Communications of the ACM 52 (4), 2009.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from graphc import plot
from graphc.graph.show import aligned
from graphc.graph.site import Site
from graphc.runtime.cost import shortened
from graphc.runtime.limits import Limits
from graphc.runtime.profile import KernelTime, Profile
from graphc.runtime.stages import Stages

HEADER = (
    "kernel",
    "ops",
    "FLOPs/byte",
    "GFLOP/s",
    "GB/s",
    "of roof",
    "roof",
    "microseconds",
    "share",
    "source",
)
NOTE = "# FLOPs per byte of what a kernel must read and write, each buffer once"


@dataclass(frozen=True)
class Point:
    """One kernel: its time, the roof that bounds it, and which part of it the kernel reaches.

    `bound` names the roof: a dtype, where the arithmetic would take longest, or the nearest level
    of memory that holds all that the kernel reads and writes. `roof` is the least seconds that it
    allows.
    """

    time: KernelTime
    bound: str
    roof: float

    @property
    def kernel(self) -> str:
        """The kernel's name."""
        return self.time.kernel

    @property
    def ops(self) -> tuple[str, ...]:
        """What it computes."""
        return self.time.cost.ops

    @property
    def sites(self) -> tuple[Site, ...]:
        """Where that stands in the user's code."""
        return self.time.cost.sites

    @property
    def seconds(self) -> float:
        """Its time in a step."""
        return self.time.seconds

    @property
    def share(self) -> float:
        """Its part of the step."""
        return self.time.share

    @property
    def intensity(self) -> float:
        """FLOPs for each byte that it must read or write."""
        return self.time.cost.intensity

    @property
    def gflops(self) -> float:
        """Billions of floating-point operations a second."""
        return self.time.gflops

    @property
    def fraction(self) -> float:
        """Which part of the roof it reaches."""
        return self.roof / self.seconds if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """The point as plain data."""
        return self.time.as_json() | {
            "intensity": self.intensity,
            "bound": self.bound,
            "roof_seconds": self.roof,
            "fraction": self.fraction,
        }


@dataclass(frozen=True)
class Roofline:
    """Every kernel in order as a point below this machine's roofs. str() gives a table."""

    points: tuple[Point, ...]
    limits: Limits
    profile: Profile

    def __iter__(self) -> Iterator[Point]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)

    def __str__(self) -> str:
        return self.as_text()

    def as_text(self, points: tuple[Point, ...] | None = None) -> str:
        """The table, of other points or in another order where they are given."""
        rows = [
            (
                point.kernel,
                shortened(point.ops),
                f"{point.intensity:.2f}",
                f"{point.gflops:.2f}",
                f"{point.time.gbytes:.2f}",
                f"{point.fraction:.0%}",
                point.bound,
                f"{point.seconds * 1e6:,.3f}",
                f"{point.share:.1%}",
                shortened(list(map(str, point.sites)), 1),
            )
            for point in (self.points if points is None else points)
        ]
        lines = aligned([HEADER, *rows], right=(2, 3, 4, 5, 7, 8))
        return "\n".join([f"# {self.limits}", NOTE, self.profile.head(), *lines])

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """A matplotlib figure of the points below the roofs; with a path it is written there.

        Raises InputError without matplotlib (the extra `plot`) and for another suffix than .svg,
        .png or .pdf; WriteError where the system refuses.
        """
        levels = {level.name: level.gbytes for level in self.limits.levels}
        return plot.roofline(self.points, self.limits.gflops, levels, path)

    def as_json(self) -> dict[str, Any]:
        """All numbers as plain data."""
        found = self.profile.as_json()
        found["kernels"] = [point.as_json() for point in self.points]
        return {"limits": asdict(self.limits), **found}


def roofline(stages: Stages, profile: Profile, limits: Limits) -> Roofline:
    """The points of a profile's rows."""
    points = []
    for number, row in enumerate(profile.rows):
        level = limits.level(row.cost.bytes)
        computed = row.cost.flops / limits.gflops[dtype(stages, number)] / 1e9
        moved = row.cost.bytes / level.gbytes / 1e9
        bound = dtype(stages, number) if computed > moved else level.name
        points.append(Point(row, bound, max(computed, moved)))
    return Roofline(tuple(points), limits, profile)


def dtype(stages: Stages, number: int) -> str:
    """The dtype by whose peak a kernel is judged: float64 where it computes in it."""
    groups = stages.plan.groups
    nodes = groups[number].nodes if number < len(groups) else ()
    return "float64" if any(node.dtype == "float64" for node in nodes) else "float32"
