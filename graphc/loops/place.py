"""Where values lie: a buffer of the kernel, seen as a tensor, at a step of the loops around it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphc.graph.node import Node
from graphc.loops.ir import Access, Buffer
from graphc.ops.index import Affine, Bound, Runtime
from graphc.passes import layout
from graphc.passes.group import Key
from graphc.types import Extent, Shape

Position = tuple[Affine, ...]
"""An index expression for each axis of a value."""
BEGIN = Affine()


@dataclass(frozen=True)
class Place:
    """Where a value lies: a buffer, by what it holds, from an element on, as a tensor of `shape`.

    `apart` are the elements between neighbours on a run-time axis of part of a buffer.
    """

    key: Key
    shape: Shape
    start: Affine = BEGIN
    apart: int | None = None

    def at(self, position: Affine) -> Place:
        """One step of a value whose first axis is stepped through."""
        first, *rest = self.strides(self.shape)
        named = [s for s, e in zip(rest, self.shape[1:], strict=True) if isinstance(e, str)]
        apart = named[0] if named else None
        return Place(self.key, self.shape[1:], self.start + position * first, apart)

    def seen(self, shape: Shape) -> Place:
        """The same memory, or the first of it, seen with another shape."""
        return replace(self, shape=shape)

    def buffer(self, buffers: dict[Key, Buffer]) -> Buffer:
        """The kernel's argument, one for each place."""
        if self.key not in buffers:
            node = self.key if isinstance(self.key, Node) else self.key[1]
            name = f"b{len(buffers)}"
            buffers[self.key] = Buffer(name, node.dtype, layout.size(node.shape))
        return buffers[self.key]

    def strides(self, shape: Shape) -> tuple[int, ...]:
        """Elements between neighbours of a value of a shape: a run-time axis as in the buffer."""
        own = zip(layout.strides(shape), shape, strict=True)
        return tuple(s if self.apart is None or isinstance(e, int) else self.apart for s, e in own)

    def offset(self, shape: Shape, position: tuple[Affine, ...]) -> Affine:
        """The element offset of an index tuple of a value of this shape."""
        total = self.start
        for stride, e in zip(self.strides(shape), position, strict=True):
            total = total + e * stride
        return total


@dataclass(frozen=True)
class Row:
    """A member at one step of the outer loops: its axes but the first `skip`, on the stack.

    `start`: its first element, where it lies within a border.
    """

    buffer: Buffer
    skip: int
    strides: tuple[int, ...]
    start: int = 0

    def at(self, position: Position, lookups: tuple[tuple[str, int], ...] = ()) -> Access:
        """The element at a position of the member."""
        total = Affine((), self.start)
        for stride, e in zip(self.strides, position[self.skip :], strict=True):
            total = total + e * stride
        return Access(self.buffer, total, lookups)


def bound(extent: Extent) -> Bound:
    """An extent as a loop bound."""
    return extent if isinstance(extent, int) else Runtime(extent)
