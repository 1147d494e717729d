"""A model as a table: every layer with its result's shape, its parameters and its work."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from graphc.graph.graph import postorder
from graphc.graph.node import Node
from graphc.nn.trace import Call, nodes_of, traced
from graphc.ops.formula import Formula

HEADER = ("layer", "type", "output", "parameters", "FLOPs")


def summary(model: Any, inputs: Any, dtype: str = "float32") -> str:
    """The table as text, traced in evaluation mode.

    inputs is a shape of one input, such as ("batch", 784) of `dtype`, or a dict of shapes by name.
    FLOPs count the arithmetic of one forward pass: a product with its addition is 2; a named
    extent counts as 1, so that with ("batch", ...) they are those of one example.
    """
    specs = inputs if isinstance(inputs, Mapping) else {"x": (tuple(inputs), dtype)}
    result, found = traced(model, specs)
    work = flops_by_path(nodes_of(result))
    rows, counted, seen = [], 0, set[int]()
    for call in sorted(found.calls, key=_position(model)):
        own = [p for p in call.module._parameters.values() if p is not None]
        size = sum(p.size for p in own if id(p) not in seen)
        counted += size
        seen |= {id(p) for p in own}
        if any(True for _ in call.module.children()) and call.path:
            rows.append(_row(call, size, None))
        elif call.path or not rows:
            rows.append(_row(call, size, work.get(call.path, 0)))
    total = sum(work.values())
    trainable = sum(p.size for p in model.parameters() if p.trainable)
    everything = sum(p.size for p in model.parameters())
    lines = _table([HEADER, *rows])
    rule = "-" * len(lines[0])
    text = [lines[0], rule, *lines[1:], rule]
    text.append(f"parameters: {everything:,}, {trainable:,} of them trainable")
    text.append(f"FLOPs of a forward pass: {total:,}")
    return "\n".join(text)


def flops_by_path(outputs: Iterable[Node]) -> dict[str, int]:
    """For each layer's path the arithmetic of the nodes made in it."""
    found: dict[str, int] = {}
    for node in postorder(outputs):
        found[node.site.path] = found.get(node.site.path, 0) + flops(node)
    return found


def flops(node: Node) -> int:
    """Operations of a node: those of its formula, and of its sum, at every point of its domain."""
    op = node.op
    if not isinstance(op, Formula):
        return 0
    points = math.prod(extent if isinstance(extent, int) else 1 for _, extent in op.domain)
    return points * (int(op.expr.count_ops()) + bool(op.summed))


def _position(model: Any) -> Any:
    """Calls are recorded when they end; the table has parents before their children."""
    order = {path: i for i, (path, _) in enumerate(model.named_modules())}
    return lambda call: order.get(call.path, len(order))


def _row(call: Call, size: int, work: int | None) -> tuple[str, ...]:
    return (
        call.path or "(model)",
        type(call.module).__name__,
        ", ".join(_shape(node) for node in nodes_of(call.result)),
        f"{size:,}" if size else "",
        f"{work:,}" if work else "",
    )


def _shape(node: Node) -> str:
    return "(" + ", ".join(map(str, node.shape)) + ")"


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
        lines.append("  ".join(left + right).rstrip())
    width = max(map(len, lines))
    return [line.ljust(width) for line in lines]
