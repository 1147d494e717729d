"""A buffer and the array that a user sees of it: run-time extents are outermost in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.passes import layout
from graphc.types import Shape, resolve

Array = np.ndarray[Any, Any]


def named(extent: int | str) -> bool:
    """Whether an extent is known only when the program runs."""
    return isinstance(extent, str)


def physical(shape: Shape, extents: dict[str, int]) -> tuple[int, ...]:
    """The shape of a buffer: run-time extents first."""
    order = sorted(range(len(shape)), key=lambda a: (not isinstance(shape[a], str), a))
    return resolve(tuple(shape[a] for a in order), extents)


def logical(array: Array, shape: Shape, extents: dict[str, int]) -> Array:
    """A buffer as an array of a value's shape."""
    if any(isinstance(e, str) for e in shape[1:]):
        step = array.itemsize
        steps = tuple(s * step for s in layout.strides(shape))
        whole = resolve(shape, extents)
        return np.ascontiguousarray(np.lib.stride_tricks.as_strided(array, whole, steps))
    return array.reshape(resolve(shape, extents))
