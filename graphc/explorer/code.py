"""The kernels for the page: why they are as they are, and their code, packed kernel by kernel."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

from graphc.explorer.nodes import Numbers
from graphc.runtime.kernels import Kernels
from graphc.runtime.lines import lines

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

    A text is a list of lines: the line, the nodes it comes from, and whether it is hot.
    """
    stages = numbers.stages
    packed = []
    for number, call in enumerate(stages.calls):
        if call.like not in (None, number):
            packed.append("")
            continue
        texts = {
            stage: [
                [line.text, numbers.of(line.nodes), int(line.hot)]
                for line in lines(stages, number, stage)
            ]
            for stage in TEXTS
        }
        packed.append(squeezed(texts))
    return packed


def squeezed(value: Any) -> str:
    """A value as gzipped JSON in base64; the same bytes for the same value."""
    data = json.dumps(value, separators=(",", ":")).encode()
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode("ascii")
