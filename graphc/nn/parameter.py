"""A parameter: a named, trainable array of a module, and the variable that graphs read it by."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graphc.errors import InputError, ShapeError
from graphc.graph.leaf import Cell, aligned, filled, variable
from graphc.graph.node import Node
from graphc.graph.site import here
from graphc.types import TensorType, dtype_name, numbers

Array = NDArray[Any]


class Parameter:
    """Storage for a trainable array. The same object in two modules is one variable.

    value is copied: float32 or float64 (a Python number, list or other dtype becomes float32);
    it can be overwritten in place through `.value` or `assign`, also between steps. In a module's
    forward, `self.weight` reads as the node of the variable; elsewhere as this object. With
    trainable=False no optimiser changes it. One made of None is lazy: it has no shape until
    `materialize`, or until a state is loaded.
    """

    def __init__(
        self, value: ArrayLike | None, *, trainable: bool = True, dtype: Any = None
    ) -> None:
        self._cell: Cell | None = None
        self._trainable = trainable
        if value is not None:
            self.materialize(_as_float(value) if dtype is None else np.asarray(value, dtype))

    @classmethod
    def zeros(cls, shape: tuple[int, ...], dtype: object) -> Parameter:
        """A parameter that starts at 0, in memory of its own at once.

        Raises ShapeError where an extent is no whole number of at least 0.
        """
        kind, extents = dtype_name(dtype), numbers(shape)
        try:
            TensorType(kind, extents)
        except ShapeError as error:
            raise ShapeError(f"parameter: {error}{here()}") from None
        parameter = cls(None)
        parameter.place(filled(extents, kind))
        return parameter

    def materialize(self, value: Array, name: str = "parameter") -> None:
        """Give a parameter made with the value None its value, and with it shape and dtype."""
        self.place(aligned(value), name)

    def place(self, value: Array, name: str = "parameter") -> None:
        """Have it live in this very array."""
        self._cell = Cell(name, value, self._trainable)

    @property
    def ready(self) -> bool:
        """Whether it has a shape: a lazy layer's parameters have none before the first trace."""
        return self._cell is not None

    @property
    def cell(self) -> Cell:
        """The storage. Raises InputError for a lazy parameter before its first trace."""
        if self._cell is None:
            raise InputError(
                "this parameter belongs to a lazy layer and has no shape before the first trace; "
                "compile the model, or call nn.trace(model, inputs) or model.summary(shape) first"
            )
        return self._cell

    @property
    def node(self) -> Node:
        """The variable by which a graph reads it."""
        return variable(self.cell)

    @property
    def value(self) -> Array:
        """The array itself: writing to its elements changes the parameter."""
        return self.cell.value

    def assign(self, value: ArrayLike) -> None:
        """Overwrite the value in place. Raises InputError if the shape does not fit."""
        self.cell.assign(value)

    @property
    def trainable(self) -> bool:
        """Whether optimisers compiled from now on change it."""
        return self._trainable

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        self._trainable = trainable
        if self._cell is not None:
            self._cell.trainable = trainable

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents."""
        return tuple(self.value.shape)

    @property
    def dtype(self) -> str:
        """Element type's name."""
        return dtype_name(self.value.dtype)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def to(self, dtype: object) -> None:
        """Convert to another dtype. Programs compiled before keep the old storage."""
        if self._cell is not None and self.dtype != dtype_name(dtype):
            self._cell = Cell(
                self._cell.name, aligned(self.value.astype(dtype_name(dtype))), self._trainable
            )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = np.asarray(self.value, dtype)
        return array.copy() if copy else array

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        twin = _restore(self.value if self.ready else None, self._trainable)
        memo[id(self)] = twin
        return twin

    def __reduce__(self) -> Any:
        return _restore, (self.value if self.ready else None, self._trainable)

    def __repr__(self) -> str:
        if self._cell is None:
            return "Parameter(not yet shaped)"
        return f"Parameter({self.dtype}{list(self.shape)})\n{self.value}"


def _as_float(value: ArrayLike) -> Array:
    """As numpy array: float32, unless it is an array of float64."""
    array = np.asarray(value)
    wide = array.dtype == np.float64 and isinstance(value, np.ndarray | np.generic)
    return array.astype(np.float64 if wide else np.float32)


def _restore(value: Array | None, trainable: bool) -> Parameter:
    return Parameter(value, trainable=trainable)
