"""Tensor types: an element type and a shape whose extents are numbers or names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.errors import DTypeError, ShapeError

Extent = int | str
Shape = tuple[Extent, ...]

SHORT = {
    "float32": "f32",
    "float64": "f64",
    "int32": "i32",
    "int64": "i64",
    "uint8": "u8",
    "bool": "bool",
}
DTYPES = tuple(SHORT)
RANK = {"bool": 0, "uint8": 1, "int32": 2, "int64": 3, "float32": 4, "float64": 5}
NAMES: dict[object, str] = {kind: n for n in DTYPES for kind in (n, np.dtype(n))}
SIZE = {name: np.dtype(name).itemsize for name in DTYPES}


@dataclass(frozen=True, slots=True)
class TensorType:
    """Element type and shape of a node's value. A named extent is known when the program runs."""

    dtype: str
    shape: Shape

    def __post_init__(self) -> None:
        if self.dtype not in SHORT:
            raise DTypeError(f"unknown dtype {self.dtype!r}; graphc has {', '.join(DTYPES)}")
        for extent in self.shape:
            if isinstance(extent, bool) or not isinstance(extent, int | str):
                raise ShapeError(
                    f"extent {extent!r} in shape {self.shape} is no whole number, and no name"
                )
            if isinstance(extent, int) and extent < 0:
                raise ShapeError(f"negative extent {extent} in shape {self.shape}")

    def __str__(self) -> str:
        return f"{SHORT[self.dtype]}[{','.join(map(str, self.shape))}]"

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The named extents, in order of appearance."""
        return tuple(dict.fromkeys(e for e in self.shape if isinstance(e, str)))


def whole(value: Any) -> Any:
    """numpy's whole number as Python's; anything else as it is."""
    return int(value) if isinstance(value, np.integer) else value


def numbers(value: Any) -> tuple[Any, ...]:
    """One size, axis or extent, or several, as a tuple of Python's numbers (and names)."""
    value = whole(value)
    return (value,) if isinstance(value, int | str) else tuple(map(whole, value))


def dtype_name(dtype: object) -> str:
    """The name graphc uses for a numpy dtype, type object or string. Raises DTypeError."""
    known = NAMES.get(dtype) if isinstance(dtype, str | np.dtype) else None
    if known is not None:
        return known
    try:
        name = np.dtype(dtype).name  # type: ignore[call-overload]  # numpy accepts any object here
    except TypeError:
        name = str(dtype)
    if name not in SHORT:
        raise DTypeError(f"dtype {name!r} is not supported; graphc has {', '.join(DTYPES)}")
    return str(name)


def promote(*dtypes: str) -> str:
    """The smallest of graphc's dtypes that holds every operand's values; floats win over ints."""
    best = max(dtypes, key=RANK.__getitem__)
    if best == "float32" and "float64" in dtypes:
        return "float64"
    return best


def is_float(dtype: str) -> bool:
    """Whether dtype is float32 or float64."""
    return dtype.startswith("float")


def resolve(shape: Shape, extents: dict[str, int]) -> tuple[int, ...]:
    """The shape with every name replaced by its run-time extent."""
    return tuple(extents[e] if isinstance(e, str) else e for e in shape)


def count(shape: tuple[int, ...]) -> int:
    """Number of elements of a concrete shape."""
    return math.prod(shape)
