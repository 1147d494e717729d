"""What the kernels of a program cost by their formulas: operations, bytes, and their ratio."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from graphc.graph.node import Node
from graphc.graph.show import aligned
from graphc.graph.site import Site
from graphc.ops.cost import points, together
from graphc.passes import layout
from graphc.passes.group import Group
from graphc.passes.memory import operands
from graphc.runtime.memory import assume
from graphc.runtime.stages import Stages
from graphc.types import SIZE

HEADER = ("kernel", "ops", "FLOPs", "bytes", "FLOPs/byte", "source")


@dataclass(frozen=True)
class KernelCost:
    """One kernel's work. `bytes` counts what it must read and write, each buffer once."""

    kernel: str
    ops: tuple[str, ...]
    flops: int
    bytes: int
    sites: tuple[Site, ...]

    @property
    def intensity(self) -> float:
        """FLOPs for each byte of memory traffic."""
        return self.flops / self.bytes if self.bytes else 0.0


@dataclass(frozen=True)
class Cost:
    """The work of every kernel in order, for stated extents. str() gives a table."""

    rows: tuple[KernelCost, ...]
    extents: Mapping[str, int]

    @property
    def flops(self) -> int:
        """Operations of one call."""
        return sum(row.flops for row in self.rows)

    @property
    def bytes(self) -> int:
        """Bytes that the kernels of one call read and write."""
        return sum(row.bytes for row in self.rows)

    def __iter__(self) -> Iterator[KernelCost]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def cells(self) -> list[tuple[str, ...]]:
        """The table's lines below HEADER, the sum as the last."""
        total = KernelCost("total", (), self.flops, self.bytes, ())
        return [
            (
                row.kernel,
                shortened(row.ops),
                f"{row.flops:,}",
                f"{row.bytes:,}",
                f"{row.intensity:.2f}",
                shortened(list(map(str, row.sites)), 2),
            )
            for row in (*self.rows, total)
        ]

    def __str__(self) -> str:
        given = ", ".join(f"{name} = {extent}" for name, extent in self.extents.items())
        head = [f"# for {given}"] if given else []
        return "\n".join([*head, *aligned([HEADER, *self.cells()], right=(2, 3, 4))])


def cost(stages: Stages, extents: Mapping[str, int]) -> Cost:
    """The cost of every kernel. Raises InputError for an extent that the program does not have."""
    assumed = assume(stages, extents)
    rows = [kernel_cost(stages, number, assumed) for number in range(len(stages.lowered))]
    return Cost(tuple(rows), assumed)


def kernel_cost(stages: Stages, number: int, extents: Mapping[str, int]) -> KernelCost:
    """The cost of one kernel."""
    group, kernel = stages.plan.groups[number], stages.lowered[number]
    return KernelCost(
        kernel.name,
        tuple(node.op.name for node in group.nodes),
        together(group.nodes, extents),
        traffic(group, stages, extents),
        kernel.sites,
    )


def traffic(group: Group, stages: Stages, extents: Mapping[str, int]) -> int:
    """Bytes read and written at least: each buffer once, and no more of it than is asked for."""
    fused = stages.fused
    asked: dict[Node, int] = dict.fromkeys(operands(group, fused), 0)
    for node in group.nodes:
        for operand in node.inputs:
            home = fused.home(operand)
            if home in asked:
                asked[home] += points(node, extents)
    read = sum(
        min(layout.elements(node.type, extents), wanted) * SIZE[node.dtype]
        for node, wanted in asked.items()
    )
    stored = dict.fromkeys(map(fused.home, group.roots))
    written = sum(layout.elements(root.type, extents) * SIZE[root.dtype] for root in stored)
    return read + written


def shortened(words: tuple[str, ...] | list[str], most: int = 4) -> str:
    """The first few words, and how many more there are."""
    shown = ", ".join(words[:most])
    return shown if len(words) <= most else f"{shown}, {len(words) - most} more"
