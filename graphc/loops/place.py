"""Where values lie: a buffer of the kernel, seen as a tensor, at a step of the loops around it."""

from __future__ import annotations

from dataclasses import dataclass

from graphc.graph.node import Node
from graphc.loops.ir import Access, Buffer
from graphc.ops.index import Affine, Bound, Runtime
from graphc.passes import layout
from graphc.passes.group import Key
from graphc.types import Extent, Shape

Position = tuple[Affine, ...]
"""An index expression for each axis of a value."""


@dataclass(frozen=True)
class Place:
    """Where a value lies: a buffer, by what it holds, as a tensor of `shape`.

    `leads` are positions on its first axes that are given: the value is what remains.
    """

    key: Key
    shape: Shape
    leads: tuple[Affine, ...] = ()

    def at(self, position: Affine, shape: Shape) -> Place:
        """One step of a value whose first axis is stepped through; a step has this shape."""
        first = self.shape[len(self.leads)]
        prefix = (*self.shape[: len(self.leads)], first)
        return Place(self.key, (*prefix, *shape), (*self.leads, position))

    def seen(self, shape: Shape) -> Place:
        """The same memory seen with another shape."""
        return Place(self.key, (*self.shape[: len(self.leads)], *shape), self.leads)

    def buffer(self, buffers: dict[Key, Buffer]) -> Buffer:
        """The kernel's argument, one for each place."""
        if self.key not in buffers:
            node = self.key if isinstance(self.key, Node) else self.key[1]
            name = f"b{len(buffers)}"
            buffers[self.key] = Buffer(name, node.dtype, layout.size(node.shape))
        return buffers[self.key]

    def strides(self, shape: Shape) -> tuple[int, ...]:
        """Elements between neighbours of a value of a shape: a run-time axis as in the buffer."""
        whole = layout.strides(self.shape)
        named = [s for s, e in zip(whole, self.shape, strict=True) if isinstance(e, str)]
        own = layout.strides(shape)
        return tuple(
            named[0] if isinstance(e, str) and named else s for s, e in zip(own, shape, strict=True)
        )

    def offset(self, shape: Shape, position: tuple[Affine, ...]) -> Affine:
        """The element offset of an index tuple of a value of this shape."""
        total = Affine()
        for lead, stride in zip(self.leads, layout.strides(self.shape), strict=False):
            total = total + lead * stride
        for stride, e in zip(self.strides(shape), position, strict=True):
            total = total + e * stride
        return total


@dataclass(frozen=True)
class Row:
    """A member at one step of the outer loops: its axes but the first `skip`, on the stack."""

    buffer: Buffer
    skip: int
    strides: tuple[int, ...]

    def at(self, position: Position, lookups: tuple[tuple[str, int], ...] = ()) -> Access:
        """The element at a position of the member."""
        total = Affine()
        for stride, e in zip(self.strides, position[self.skip :], strict=True):
            total = total + e * stride
        return Access(self.buffer, total, lookups)


def bound(extent: Extent) -> Bound:
    """An extent as a loop bound."""
    return extent if isinstance(extent, int) else Runtime(extent)
