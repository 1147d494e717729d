"""A compiled program as a drawing, and as a table for notebooks."""

from __future__ import annotations

from graphc import html
from graphc.errors import InputError, near
from graphc.files import Path
from graphc.graph import draw as drawing
from graphc.runtime.cost import HEADER, Cost
from graphc.runtime.stages import Stages
from graphc.runtime.text import names_of

DRAWN = ("graph", "simplified", "fused")


def draw(stages: Stages, path: Path, stage: str, detail: str | None) -> None:
    """Write the drawing of a stage. Raises InputError for one that is none of DRAWN."""
    if stage not in DRAWN:
        known = ", ".join(DRAWN)
        raise InputError(f"no drawing of a stage {stage!r}; there are {known}{near(stage, DRAWN)}")
    graph = stages.source if stage == "graph" else stages.graph
    groups = None
    if stage == "fused":
        kernels = zip(stages.lowered, stages.plan.groups, strict=True)
        groups = {kernel.name: group.nodes for kernel, group in kernels}
    drawing.draw(graph, path, detail=detail, names=names_of(stages), groups=groups)


def as_html(caption: str, cost: Cost) -> str:
    """A program's kernels and their work as a table."""
    for_extents = ", ".join(f"{name} = {extent}" for name, extent in cost.extents.items())
    caption += f", work for {for_extents}" if for_extents else ""
    return html.table(
        HEADER, cost.cells(), caption=caption, right=(2, 3, 4), everything="print(program.cost())"
    )
