"""A model as a table: every layer with its result's shape, its parameters and its work."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphc import html
from graphc.graph.graph import postorder
from graphc.graph.node import Node
from graphc.nn.trace import Call, nodes_of, traced
from graphc.ops.formula import Formula
from graphc.types import Extent

HEADER = ("layer", "type", "output", "parameters", "FLOPs")


@dataclass(frozen=True)
class Row:
    """One layer: its path, type, its results' shapes, and its own parameters and operations.

    `flops` is None for a layer that holds others: the work is theirs.
    """

    layer: str
    type: str
    outputs: tuple[tuple[Extent, ...], ...]
    parameters: int
    flops: int | None

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        shapes = ", ".join(f"({', '.join(map(str, shape))})" for shape in self.outputs)
        size = f"{self.parameters:,}" if self.parameters else ""
        work = f"{self.flops:,}" if self.flops else ""
        return (self.layer or "(model)", self.type, shapes, size, work)


@dataclass(frozen=True)
class Summary:
    """A model's layers in order, its parameters, those trained, and a forward pass's FLOPs.

    str() gives a table.
    """

    rows: tuple[Row, ...]
    parameters: int
    trainable: int
    flops: int

    def totals(self) -> list[str]:
        """What stands below the table."""
        return [
            f"parameters: {self.parameters:,}, {self.trainable:,} of them trainable",
            f"FLOPs of a forward pass: {self.flops:,}",
        ]

    def __str__(self) -> str:
        lines = _table([HEADER, *(row.cells() for row in self.rows)])
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:], rule, *self.totals()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The same for notebooks."""
        cells = [row.cells() for row in self.rows]
        caption = "; ".join(self.totals())
        return html.table(HEADER, cells, caption=caption, right=(3, 4), everything="print(summary)")


def summary(model: Any, inputs: Any, dtype: str = "float32") -> Summary:
    """The summary of a model, traced in evaluation mode.

    inputs is a shape of one input, such as ("batch", 784) of `dtype`, or a dict of shapes by name.
    FLOPs count the arithmetic of one forward pass: a product with its addition is 2; a named
    extent counts as 1, so that with ("batch", ...) they are those of one example.
    """
    result, found = traced(model, named(inputs, dtype))
    work = flops_by_path(nodes_of(result))
    rows, seen = [], set[int]()
    for call in sorted(found.calls, key=_position(model)):
        own = [p for p in call.module._parameters.values() if p is not None]
        size = sum(p.size for p in own if id(p) not in seen)
        seen |= {id(p) for p in own}
        holds = any(True for _ in call.module.children())
        if holds and call.path:
            rows.append(_row(call, size, None))
        elif call.path or not rows:
            rows.append(_row(call, size, work.get(call.path, 0)))
    trainable = sum(p.size for p in model.parameters() if p.trainable)
    everything = sum(p.size for p in model.parameters())
    return Summary(tuple(rows), everything, trainable, sum(work.values()))


def named(inputs: Any, dtype: str = "float32") -> Mapping[str, Any]:
    """The inputs by name, where they are the shape of a single one."""
    return inputs if isinstance(inputs, Mapping) else {"x": (tuple(inputs), dtype)}


def layers(model: Any) -> str:
    """What is known of a model without its inputs, as a table for notebooks."""
    rows = []
    for path, module in model.named_modules():
        own = [p for p in module._parameters.values() if p is not None and p.ready]
        size = sum(p.size for p in own)
        extra = module.extra_repr()
        rows.append((path or "(model)", type(module).__name__, extra, f"{size:,}" if size else ""))
    total = sum(p.size for p in model.parameters() if p.ready)
    header = ("layer", "type", "options", "parameters")
    caption = f"{type(model).__name__}, {total:,} parameters"
    return html.table(header, rows, caption=caption, right=(3,), everything="print(model)")


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


def _row(call: Call, size: int, work: int | None) -> Row:
    shapes = tuple(node.shape for node in nodes_of(call.result))
    return Row(call.path, type(call.module).__name__, shapes, size, work)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
        lines.append("  ".join(left + right).rstrip())
    width = max(map(len, lines))
    return [line.ljust(width) for line in lines]
