"""The leaves of a graph: inputs, variables with their storage, constants and run-time extents."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graphc.errors import DTypeError, InputError, ShapeError
from graphc.graph.node import Node, make
from graphc.graph.site import here
from graphc.types import SIZE, Shape, TensorType, count, dtype_name, numbers

_serial = itertools.count(1)
_declared: WeakKeyDictionary[Node, int] = WeakKeyDictionary()
Array = NDArray[Any]


@dataclass(eq=False, slots=True)
class Cell:
    """Where a variable's value lives between calls: one aligned, C-contiguous array."""

    name: str
    value: Array
    trainable: bool = True
    serial: int = field(default_factory=lambda: next(_serial))

    def assign(self, value: ArrayLike) -> None:
        """Overwrite the value in place. Raises InputError if shape does not fit."""
        array = np.asarray(value)
        if array.shape != self.value.shape:
            raise InputError(
                f"variable {self.name!r} has shape {self.value.shape}, the new value {array.shape}"
            )
        self.value[...] = array


@dataclass(frozen=True, slots=True)
class Leaf:
    """Common to all leaves: they have no operands, so no cotangent flows through them."""

    name: str

    def vjp(self, position: int, cotangent: Node, node: Node) -> Node | None:
        """A leaf has no operands."""
        return None

    def describe(self) -> str:
        """Nothing beyond the name."""
        return ""


@dataclass(frozen=True, slots=True)
class Input(Leaf):
    """A value given at each call, by name."""


@dataclass(frozen=True, slots=True)
class Variable(Leaf):
    """A value that lives in a cell between calls and that `updates` may overwrite."""

    cell: Cell = field(repr=False)


@dataclass(frozen=True, slots=True)
class Extent(Leaf):
    """The run-time number behind a named extent, as an int64 scalar."""


@dataclass(frozen=True, slots=True)
class Constant(Leaf):
    """A fixed array. Two constants with the same bits are one node."""

    data: bytes = field(repr=False)
    dtype: str = ""
    shape: tuple[int, ...] = ()

    @property
    def array(self) -> Array:
        """The value, read-only."""
        return np.frombuffer(self.data, np.dtype(self.dtype)).reshape(self.shape)

    def describe(self) -> str:
        """The value where it is short."""
        array = self.array
        return f"= {array.item()!r}" if array.size == 1 else ""


def input(name: str, shape: Shape, dtype: object = "float32") -> Node:
    """A value given at each call. A str in `shape` names an extent known at run time.

    Only the leading axis may be named: its extent then changes from call to call at no cost. A
    program takes its inputs in the order in which they were declared, last if several times.
    """
    shape = numbers(shape)
    for axis, extent in enumerate(shape):
        if axis and isinstance(extent, str):
            raise ShapeError(
                f"input {name!r}: axis {axis} of shape {shape} is named {extent!r}; only the "
                f"leading axis may have a run-time extent. Give this one as a number{here()}"
            )
    node = make(Input(name), (), _type(f"input {name!r}", dtype, shape))
    _declared[node] = next(_serial)
    return node


def declared(node: Node) -> int:
    """A number that is larger the later an input was declared; 0 for one made otherwise."""
    return _declared.get(node, 0)


def _type(what: str, dtype: object, shape: Shape) -> TensorType:
    """The type. Raises DTypeError or ShapeError with the user's line."""
    try:
        return TensorType(dtype_name(dtype), shape)
    except (DTypeError, ShapeError) as error:
        raise type(error)(f"{what}: {error}{here()}") from None


def parameter(
    name: str,
    shape: Shape | None = None,
    dtype: object | None = None,
    *,
    value: ArrayLike | None = None,
    trainable: bool = True,
) -> Node:
    """A variable: storage that outlives calls. `value` defaults to zeros of `shape`.

    Without `dtype` it is float32 where a shape is given, else what `constant` makes of the value.
    """
    if value is None and shape is None:
        raise InputError(f"parameter {name!r} needs a shape or a value{here()}")
    if shape is not None:
        shape, dtype = numbers(shape), "float32" if dtype is None else dtype
    if value is None:
        assert shape is not None
        if any(isinstance(e, str) for e in shape):
            raise ShapeError(f"parameter {name!r}: shape {shape} must be numbers{here()}")
        kind = _type(f"parameter {name!r}", dtype, shape).dtype
        value = np.zeros([int(e) for e in shape], kind)
    array = aligned(_array(f"parameter {name!r}", value, dtype))
    if shape is not None and array.shape != tuple(shape):
        problem = f"shape {tuple(shape)}, but its value {array.shape}"
        raise ShapeError(f"parameter {name!r}: {problem}{here()}")
    return variable(Cell(name, array, trainable))


def variable(cell: Cell) -> Node:
    """The node that reads a cell."""
    type = TensorType(dtype_name(cell.value.dtype), tuple(cell.value.shape))
    return make(Variable(cell.name, cell), (), type)


def constant(value: ArrayLike, dtype: object | None = None) -> Node:
    """A fixed array. Unless `dtype` says otherwise, a numpy array keeps its dtype.

    Python's floats, alone or in lists, are float32, its ints int64. Raises DTypeError for a value
    that the dtype cannot hold: an integer beyond its range, a fraction where it has none.
    """
    kind: type = type(value)
    alone = kind is float and isinstance(dtype, str | None)
    op = _number(repr(value), dtype) if alone else _fixed(_array("constant", value, dtype))
    return make(op, (), TensorType(op.dtype, op.shape))


@lru_cache(maxsize=4096)
def _number(text: str, dtype: str | None) -> Constant:
    """A Python float by its text, which tells 0.0 and -0.0 apart."""
    return _fixed(_array("constant", float(text), dtype))


def _fixed(array: Array) -> Constant:
    return Constant("constant", array.tobytes(), array.dtype.name, array.shape)


def _array(what: str, value: Any, dtype: object | None) -> Array:
    """The value as an array of one of graphc's dtypes, in native byte order."""
    if dtype is None and python_kind(value) is float:
        dtype = "float32"
    wanted = None if dtype is None else _type(what, dtype, ()).dtype
    try:
        given = np.asarray(value)
        if given.dtype in ("O", "uint64") and python_kind(value) is not None:
            given = np.asarray(value, wanted or "int64")  # beyond int64
        if given.dtype.kind not in "biuf":
            raise DTypeError(f"{what}: {_short(value)} is no number or array of numbers{here()}")
        with np.errstate(invalid="ignore", over="ignore"):
            array = given.astype(wanted or _type(what, given.dtype, ()).dtype)
            back = array.astype(given.dtype)
    except OverflowError:
        problem = f"{what}: {wanted or 'int64'} cannot hold {_short(value)}"
        raise DTypeError(f"{problem}{here()}") from None
    except ValueError as error:
        raise DTypeError(f"{what}: {_short(value)} is no array: {error}{here()}") from None
    whole = array.dtype.kind in "iu" and given.dtype.kind in "iuf"
    if whole and (np.any(back != given) or np.any((array < 0) != (given < 0))):
        raise DTypeError(f"{what}: {array.dtype.name} cannot hold {_short(value)}{here()}")
    return array


def python_kind(value: Any) -> type | None:
    """The widest of Python's float, int and bool in a number or nested lists; else None."""
    if isinstance(value, tuple | list):
        kinds = {python_kind(part) for part in value}
        return None if None in kinds else next((k for k in NUMBERS if k in kinds), float)
    return next((k for k in reversed(NUMBERS) if isinstance(value, k)), None)


NUMBERS: tuple[type, ...] = (float, int, bool)  # a bool is an int: the narrowest is met last


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def extent(name: str) -> Node:
    """The run-time extent of a named axis, an int64 scalar."""
    return make(Extent(name), (), TensorType("int64", ()))


def filled(shape: tuple[int, ...], dtype: str, value: float = 0.0) -> Array:
    """An array of one value, its first element on a cache line."""
    array = reserved(count(shape) * SIZE[dtype]).view(dtype).reshape(shape)
    array[...] = value
    return array


def aligned(array: Array) -> Array:
    """A C-contiguous writable copy whose first element lies on a cache line."""
    copy = reserved(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


ALIGNED = 1 << 20
"""Bytes of a result from which on it begins on a cache line, as all that is reserved does. Less
memory the allocator has at hand once some was freed, sooner than an array is told of other."""
HUGE, LARGE = 2 << 20, 4 << 20
"""Bytes of a large page, and of an array from which on numpy asks the system for such pages."""
STAGGER, PLACES = 13 * 64, 4
"""Large arrays begin at one of so many places, so many bytes apart, at a large page's beginning.

The system lays them one beside the other, a page apart but for their size. A kernel that goes
through several whose size is a power of two then meets other rows of the same banks of memory. At
one place of their pages they would crowd each other out of the nearest cache.
"""
_large = itertools.count()


def reserved(size: int) -> Array:
    """So many bytes, not yet written, from a 64-byte address on; the large ones in large pages."""
    large = size >= LARGE
    boundary, place = (HUGE, next(_large) % PLACES * STAGGER) if large else (64, 0)
    raw = np.empty(size + boundary + place, np.uint8)
    start = -raw.ctypes.data % boundary + place
    return raw[start : start + size]
