"""The kernels for the page: why they are as they are, and their code, packed kernel by kernel."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from difflib import unified_diff
from typing import Any

from graphc.compiler import LOOP_PASSES, skipped
from graphc.explorer.nodes import Numbers
from graphc.graph.node import Node
from graphc.loops.show import show
from graphc.runtime.kernels import Kernels
from graphc.runtime.lines import lines
from graphc.runtime.stages import Stages

TEXTS = ("lowered", "loops", "llvm", "asm")


def kernels(
    numbers: Numbers, extents: dict[str, int], roofline: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Every kernel: its nodes, the reasons for its fusion, layout and tiles, its work and time."""
    stages = numbers.stages
    times = {row["number"]: row for row in (roofline or {}).get("rows", ())}
    found = []
    for view in Kernels(stages).values():
        group, cost = stages.plan.groups[view.number], view.cost(**extents)
        places = {(node.op.name, node.site) for node in view.nodes}
        layouts = dict.fromkeys(n for n in stages.graph.notes if (n.name, n.site) in places)
        like = stages.calls[view.number].like
        found.append(
            {
                "name": view.name,
                "ops": list(cost.ops),
                "nodes": numbers.of(view.nodes),
                "stored": numbers.of(group.roots),
                "over": list(map(str, group.outer)),
                "fusion": list(dict.fromkeys(group.reasons)),
                "layout": [f"{note.name}: {note.text}" for note in layouts],
                "schedule": [n for n in view.notes if n not in group.reasons],
                "sites": [[s.file, s.line, s.path] for s in view.sites],
                "flops": cost.flops,
                "bytes": cost.bytes,
                "like": view.number if like is None else like,
            }
            | {key: times[view.number][key] for key in ("seconds", "share") if times}
        )
    return found


def code(numbers: Numbers) -> list[str]:
    """The texts of every kernel, each a gzipped JSON in base64; "" where it shares another's.

    A text is a list of lines: the line, the nodes it comes from, and whether it is hot. "passes"
    are the loop passes that changed its loops, each with the difference.
    """
    stages = numbers.stages
    packed = []
    for number, call in enumerate(stages.calls):
        if call.like not in (None, number):
            packed.append("")
            continue
        scans = [n for n in stages.plan.groups[number].nodes if hasattr(n.op, "body")]
        texts: dict[str, Any] = {
            stage: [
                [line.text, numbers.of(together(line.nodes, scans)), int(line.hot)]
                for line in lines(stages, number, stage)
            ]
            for stage in TEXTS
        }
        texts["passes"] = scheduled(stages, number)
        packed.append(squeezed(texts))
    return packed


def together(nodes: Sequence[Node], scans: Sequence[Node]) -> list[Node]:
    """The nodes of a line; where one is a result of a scan, all of the scan's: they share it."""
    return [*nodes, *(scans if any(node in scans for node in nodes) else ())]


def scheduled(stages: Stages, number: int) -> list[tuple[str, list[str]]]:
    """The loop passes that changed a kernel's loops, in order, and the lines that changed."""
    kernel, left_out = stages.lowered[number], skipped()
    found: list[tuple[str, list[str]]] = []
    for step in LOOP_PASSES:
        if step.__name__ in left_out:
            continue
        before, kernel = kernel, step(kernel, stages.target.model)
        lines = list(
            unified_diff(show(before).splitlines(), show(kernel).splitlines(), lineterm="")
        )
        if lines:
            found.append((step.__name__, [line for line in lines[2:] if line[0] != "@"]))
    return found


def squeezed(value: Any) -> str:
    """A value as gzipped JSON in base64; the same bytes for the same value."""
    data = json.dumps(value, separators=(",", ":")).encode()
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode("ascii")
