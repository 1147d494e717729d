"""Binding: a call's argument as an array that native code may read, or a refusal by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import InputError
from graphc.graph.node import Node
from graphc.types import is_float

Array = np.ndarray[Any, Any]


def bind(node: Node, value: Any, extents: dict[str, int]) -> Array:
    """The value as a C-contiguous, aligned, native array of the input's dtype.

    Non-contiguous, misaligned or byte-swapped arrays are copied; another dtype is converted where
    no value changes. Fills `extents`. Raises InputError naming the input otherwise.
    """
    name = node.op.name
    array = value if type(value) is np.ndarray else np.asarray(value)
    if array.dtype != node.dtype:
        array = converted(name, array, node.dtype)
    flags = array.flags
    if not (flags.c_contiguous and flags.aligned and array.dtype.isnative):
        array = np.require(array, np.dtype(node.dtype), ["C", "A"])
    if array.ndim != len(node.shape):
        raise InputError(f"input {name!r} is {node.type}; the array has shape {array.shape}")
    for axis, (wanted, size) in enumerate(zip(node.shape, array.shape, strict=True)):
        if isinstance(wanted, int):
            if wanted != size:
                raise InputError(
                    f"input {name!r} is {node.type}; the array has shape {array.shape}: "
                    f"axis {axis} must be {wanted}, not {size}"
                )
        elif extents.setdefault(wanted, size) != size:
            raise InputError(
                f"input {name!r} is {node.type}; {wanted} is {extents[wanted]} in another input "
                f"and {size} here (shape {array.shape})"
            )
    return array


def converted(name: str, array: Array, dtype: str) -> Array:
    """The array in another dtype, where that loses nothing. Raises InputError."""
    kind = array.dtype
    if kind.kind not in "biuf":
        raise InputError(f"input {name!r} is {dtype}; an array of {kind} cannot be converted")
    if kind.kind == "f" and is_float(dtype):
        return array.astype(dtype)
    if np.can_cast(kind, dtype, "safe"):
        return array.astype(dtype)
    with np.errstate(invalid="ignore"):
        result = array.astype(dtype)
    same = np.array_equal(result.astype(kind), array)
    if not same or np.any((result < 0) != (array < 0)):  # an unsigned number may have wrapped
        raise InputError(
            f"input {name!r} is {dtype}; converting the array of {kind} would change its values"
        )
    return result
