"""The whole report that the page shows, as plain data ready for JSON."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from graphc import __version__
from graphc.explorer.changes import changes
from graphc.explorer.code import code, kernels
from graphc.explorer.nodes import Numbers, described
from graphc.explorer.plan import plan
from graphc.explorer.source import sources
from graphc.machine import processor
from graphc.runtime.memory import assume
from graphc.runtime.program import Program
from graphc.runtime.threads import available


def report(
    program: Program,
    title: str,
    numbers: Numbers,
    *,
    extents: Mapping[str, int] | None = None,
    roofline: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    layers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Everything that the page shows of a program.

    Sizes, work and memory are stated for the run-time `extents`, those not given taken as 1.
    `roofline` and `training` are what the panes of these names show; without them they say so.
    `layers` are the types of layers by their paths.
    """
    stages = program.stages
    assumed = assume(stages, dict(extents or {}))
    found = described(numbers, assumed)
    parts = ("fuse", "memory", "lower", "schedule", "emit", "codegen")
    return {
        "title": title,
        "kind": "training step" if stages.source.updates else "inference",
        "version": __version__,
        "made": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": f"{processor()}, {available()} cores, code for {stages.target.name}",
        "extents": assumed,
        "layers": dict(layers or {}),
        "files": sources([n for n in found["nodes"] if n["op"] != "constant"]),  # shared by value
        **found,
        "passes": changes(numbers),
        "stages": [[part, stages.seconds.get(part, 0.0) * 1e3] for part in parts],
        "kernels": kernels(numbers, assumed, roofline),
        "code": code(numbers),
        "memory": plan(numbers, assumed),
        "roofline": dict(roofline) if roofline is not None else None,
        "training": dict(training) if training is not None else None,
    }
