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
    array = value if type(value) is np.ndarray else np.asarray(value)
    if array.dtype != node.dtype:
        array = converted(node, array)
    flags = array.flags
    if not (flags.c_contiguous and flags.aligned and array.dtype.isnative):
        array = np.require(array, np.dtype(node.dtype), ["C", "A"])
    if array.ndim != len(node.shape):
        problem = f"{len(node.shape)} axes expected, not {array.ndim}"
        raise refused(node, f"{node.type}; the array has shape {array.shape}: {problem}")
    for axis, (wanted, size) in enumerate(zip(node.shape, array.shape, strict=True)):
        if isinstance(wanted, int):
            if wanted != size:
                problem = f"axis {axis} must be {wanted}, not {size}"
                raise refused(node, f"{node.type}; the array has shape {array.shape}: {problem}")
        elif extents.setdefault(wanted, size) != size:
            other = f"{wanted} is {extents[wanted]} in another input and {size} here"
            raise refused(node, f"{node.type}; {other} (shape {array.shape})")
    return array


def refused(node: Node, problem: str) -> InputError:
    """An error that names the input and where it was declared."""
    site = node.site
    return InputError(f"input {node.op.name!r} is {problem}\n  declared at {site.file}:{site.line}")


def converted(node: Node, array: Array) -> Array:
    """The array in the input's dtype, where that loses nothing. Raises InputError."""
    kind, dtype = array.dtype, node.dtype
    if kind.kind not in "biuf":
        raise refused(node, f"{dtype}; an array of {kind} cannot be converted")
    if kind.kind == "f" and is_float(dtype):
        return array.astype(dtype)
    if np.can_cast(kind, dtype, "safe"):
        return array.astype(dtype)
    with np.errstate(invalid="ignore"):
        result = array.astype(dtype)
    same = np.array_equal(result.astype(kind), array)
    if not same or np.any((result < 0) != (array < 0)):  # an unsigned number may have wrapped
        raise refused(node, f"{dtype}; converting the array of {kind} would change its values")
    return result
