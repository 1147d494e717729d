"""Arrays for results: aligned memory, used again for later results once no array holds it.

A large array of the system's is new pages, and the processor stops at each when it is first
written: for a result of 8 MB that takes longer than to compute many a result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.graph.leaf import ALIGNED, reserved

Array = NDArray[Any]
Memory = tuple[Array, int]
"""Bytes, and where they begin."""

LARGE = ALIGNED
"""Bytes from which memory comes from the system as new pages, and is kept to be used again."""
KEPT = 1 << 26
"""Bytes that may lie here, held by no array."""

free: dict[int, list[Memory]] = {}
"""Memory that no array holds, by its bytes."""


class Lent:
    """Memory that an array holds, and every view of it; numpy makes the array of what is told."""

    __slots__ = ("__array_interface__", "memory")

    def __init__(self, memory: Memory, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.memory = memory
        place = (memory[1], False)
        self.__array_interface__ = {
            "shape": shape,
            "typestr": dtype.str,
            "data": place,
            "version": 3,
        }

    def __del__(self) -> None:
        if back is not None:  # else the interpreter ends, and this module's names are gone
            back(self.memory)


def back(memory: Memory) -> None:
    """Keep memory that no array holds any longer, no view either; drop others of it beyond KEPT."""
    free.setdefault(memory[0].nbytes, []).append(memory)
    if kept() > KEPT:
        for size in list(free):
            if kept() > KEPT:
                free.pop(size, None)


def kept() -> int:
    """Bytes that no array holds."""
    return sum(size * len(memories) for size, memories in list(free.items()))


def empty(shape: Sequence[int], dtype: Any) -> Array:
    """An array whose elements are what lay there before, as `numpy.empty`."""
    return maker(shape, dtype)()


def maker(shape: Sequence[int], dtype: Any) -> Callable[[], Array]:
    """What makes such arrays, one a call."""
    shape, dtype = tuple(map(int, shape)), np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    return partial(np.empty, shape, dtype) if size < LARGE else partial(lent, size, shape, dtype)


def plain(make: Callable[[], Array]) -> bool:
    """Whether that is numpy's `empty`."""
    return isinstance(make, partial) and make.func is np.empty


def lent(size: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array of so many bytes, in memory that no array holds where there is some."""
    try:
        memory = free[size].pop()  # by one thread only, of all that come here
    except (KeyError, IndexError):
        new = reserved(size)
        memory = new, new.ctypes.data
    return np.asarray(Lent(memory, shape, dtype))
