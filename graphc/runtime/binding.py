"""Binding: a call's argument as an array that native code may read, or a refusal by name."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np

from graphc.errors import InputDTypeError, InputError, InputShapeError
from graphc.graph.node import Node
from graphc.types import Shape, is_float

Array = np.ndarray[Any, Any]


def bind(node: Node, value: Any, extents: dict[str, int]) -> Array:
    """The value as a C-contiguous, aligned, native array of the input's dtype.

    Non-contiguous, misaligned or byte-swapped arrays are copied. Floats are rounded to the float
    dtype of the input; any other conversion must change no value, and none makes floats integers.
    Fills `extents`. Raises an InputError naming the input otherwise, which is a ShapeError or a
    DTypeError too.
    """
    array = value if type(value) is np.ndarray else gathered(node, value)
    if array.dtype != node.dtype:
        array = converted(node, array)
    flags = array.flags
    if not (flags.c_contiguous and flags.aligned and array.dtype.isnative):
        array = np.require(array, np.dtype(node.dtype), ["C", "A"])
    if array.ndim != len(node.shape):
        problem = f"{len(node.shape)} axes expected, not {array.ndim}"
        raise misfit(node, array, problem)
    for axis, (wanted, size) in enumerate(zip(node.shape, array.shape, strict=True)):
        if isinstance(wanted, int):
            if wanted != size:
                raise misfit(node, array, f"axis {axis} must be {wanted}, not {size}")
        elif extents.setdefault(wanted, size) != size:
            other = f"{wanted} is {extents[wanted]} in another input and {size} here"
            problem = f"{node.type}; {other} (shape {array.shape})"
            raise refused(InputShapeError, node, problem)
    return array


def gathered(node: Node, value: Any) -> Array:
    """What is no array yet as one. Raises InputShapeError for rows of several lengths."""
    try:
        return np.asarray(value)
    except ValueError as error:
        raise refused(InputShapeError, node, f"{node.type}; this is no array: {error}") from None


def refused(kind: type[InputError], node: Node, problem: str) -> InputError:
    """An error that names the input and where it was declared."""
    site = node.site
    return kind(f"input {node.op.name!r} is {problem}\n  declared at {site.file}:{site.line}")


def misfit(node: Node, array: Array, problem: str) -> InputError:
    """The refusal of a shape, with what would make it fit."""
    way = remedy(node.op.name, node.shape, array.shape)
    text = f"{node.type}; the array has shape {array.shape}: {problem}{way}"
    return refused(InputShapeError, node, text)


def remedy(name: str, wanted: Shape, shape: tuple[int, ...]) -> str:
    """How an array of another shape becomes one that fits: an axis more or less, or their order."""

    def fits(found: tuple[int, ...]) -> bool:
        pairs = zip(wanted, found, strict=False)
        return len(wanted) == len(found) and all(isinstance(e, str) or e == n for e, n in pairs)

    offers = []
    for axis in range(len(shape) + 1):
        if fits((*shape[:axis], 1, *shape[axis:])):
            offers.append(f"{name}[{':, ' * axis}None]")
    for axis, size in enumerate(shape):
        if size == 1 and fits((*shape[:axis], *shape[axis + 1 :])):
            offers.append(f"{name}.squeeze({axis})")
    if not offers and len(shape) == len(wanted) <= 5:
        for order in permutations(range(len(shape))):
            if fits(tuple(shape[axis] for axis in order)):
                offers.append(f"{name}.transpose{order}")
    return f"\n  what fits: {', or '.join(offers[:3])}" if offers else ""


def converted(node: Node, array: Array) -> Array:
    """The array in the input's dtype, where that loses nothing. Raises InputDTypeError."""
    kind, dtype = array.dtype, node.dtype
    if kind.kind not in "biuf":
        problem = f"{dtype}; an array of {kind} cannot be converted"
        raise refused(InputDTypeError, node, problem)
    if kind.kind == "f" and not is_float(dtype):
        way = f"\n  what fits: {node.op.name}.astype({dtype!r}), where that is meant"
        raise refused(InputDTypeError, node, f"{dtype}, not an array of {kind}{way}")
    if kind.kind == "f":
        result = rounded(array, dtype)
        if result is None:
            problem = f"{dtype}; the array of {kind} has a finite value beyond its range"
            raise refused(InputDTypeError, node, problem)
        return result
    if np.can_cast(kind, dtype, "safe"):
        return array.astype(dtype)
    with np.errstate(invalid="ignore"):
        result = array.astype(dtype)
    same = np.array_equal(result.astype(kind), array)
    if not same or np.any((result < 0) != (array < 0)):  # an unsigned number may have wrapped
        problem = f"{dtype}; converting the array of {kind} would change its values"
        raise refused(InputDTypeError, node, problem)
    return result


def rounded(array: Array, dtype: str) -> Array | None:
    """Floats as another float dtype, each the nearest; None where a finite one would overflow."""
    if np.can_cast(array.dtype, dtype, "safe"):
        return array.astype(dtype, copy=False)
    with np.errstate(over="ignore"):
        result = array.astype(dtype)
    wide = ~np.isfinite(result)
    return None if wide.any() and np.isfinite(array[wide]).any() else result
