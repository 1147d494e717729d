"""Physical layout: where an element of a tensor lies in its buffer.

Row-major, except that a run-time extent is always outermost: every stride is then a number, and a
new extent needs no new code.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphc.ops.index import Affine, Bound, Runtime
from graphc.types import Shape, TensorType


def strides(shape: Shape) -> tuple[int, ...]:
    """Elements between neighbours along each axis."""
    result = [0] * len(shape)
    step = 1
    for axis in sorted(range(len(shape)), key=lambda a: (isinstance(shape[a], str), -a)):
        result[axis] = step
        extent = shape[axis]
        step *= extent if isinstance(extent, int) else 1
    return tuple(result)


def size(shape: Shape) -> Bound:
    """Number of elements, run-time extents included."""
    total, name = 1, None
    for extent in shape:
        if isinstance(extent, str):
            name = extent
        else:
            total *= extent
    return Runtime(name, total) if name else total


def elements(type: TensorType, extents: Mapping[str, int]) -> int:
    """Number of elements once the extents are known."""
    bound = size(type.shape)
    return bound if isinstance(bound, int) else bound.scale * extents[bound.name]


def offset(shape: Shape, position: tuple[Affine, ...]) -> Affine:
    """The element offset of an index tuple."""
    total = Affine()
    for stride, e in zip(strides(shape), position, strict=True):
        total = total + e * stride
    return total
