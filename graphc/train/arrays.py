"""What fit, evaluate and predict are given: named arrays of examples, checked once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.data.sampling import batches
from graphc.errors import DTypeError, IndexError, InputError, ShapeError
from graphc.runtime.binding import rounded
from graphc.types import DTYPES, TensorType

Array = NDArray[Any]
Data = Any
"""An array, or a dict of arrays by the name of an input."""

BATCH = "batch"


@dataclass(frozen=True)
class Examples:
    """Inputs and targets by name, all of one length and contiguous."""

    inputs: dict[str, Array]
    targets: dict[str, Array]
    first: int = 0
    """The row of the first example in the arrays that were given."""

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def named(self) -> dict[str, Array]:
        """Inputs and targets together."""
        return {**self.inputs, **self.targets}

    @property
    def specs(self) -> tuple[dict[str, TensorType], dict[str, TensorType]]:
        """The types of inputs and targets, the first extent named "batch"."""
        return _types(self.inputs), _types(self.targets)

    def steps(self, batch_size: int) -> int:
        """The number of batches."""
        return math.ceil(len(self) / batch_size)

    def part(self, start: int, stop: int) -> Examples:
        """The examples from start to stop."""
        return Examples(
            {name: array[start:stop] for name, array in self.inputs.items()},
            {name: array[start:stop] for name, array in self.targets.items()},
            self.first + start,
        )

    def split(self, part: float) -> tuple[Examples, Examples]:
        """Without this part of the examples at their end, and that part."""
        kept = len(self) - round(part * len(self))
        if not 0 < kept < len(self):
            raise InputError(
                f"validation_split={part} of {len(self)} examples leaves {kept} to train on and "
                f"{len(self) - kept} to validate on"
            )
        return self.part(0, kept), self.part(kept, len(self))

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        epoch: int = 0,
        skip: int = 0,
    ) -> Iterator[dict[str, Array]]:
        """Batches by name, without the first `skip`; shuffled by (seed, epoch) alone."""
        named = self.named
        rows = batches(list(named.values()), batch_size, shuffle=shuffle, seed=seed, epoch=epoch)
        for parts in islice(rows, skip, None):
            yield dict(zip(named, parts, strict=True))

    def applied(self, program: Callable[..., Any], batch_size: int) -> Iterator[tuple[Any, int]]:
        """What a program gives for each batch, in order, and the batch's size."""
        first = next(iter(self.inputs))
        for number, batch in enumerate(self.batches(batch_size)):
            try:
                yield program(**batch), len(batch[first])
            except IndexError as error:
                when = f"batch {number + 1}"
                raise self.located(error, number * batch_size, when) from None

    def located(
        self, error: IndexError, start: int, when: str, order: Array | None = None
    ) -> IndexError:
        """The error of a batch, with the place in the arrays that were given.

        The batch begins with example `start` of an epoch, which takes them in `order`.
        """
        if error.axis != BATCH:
            return error
        number = start + error.position[0]
        row = self.first + int(number if order is None else order[number])
        place = (row, *error.position[1:])
        at = f"[{', '.join(map(str, place))}]"
        names = " and ".join(f"{name}{at}" for name in error.inputs)
        example = f"  example {row}{names and f': {names}'}, in {when}"
        first, *rest = str(error).split("\n")
        found = IndexError("\n".join([first, example, *rest]))
        found.position, found.inputs, found.axis = place, error.inputs, error.axis
        return found


def check_numbers(**numbers: tuple[int, int]) -> None:
    """Refuse what is no whole number, or less than the least, given as name=(number, least)."""
    for name, (number, least) in numbers.items():
        whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
        if not whole or number < least:
            raise InputError(f"{name}={number!r} must be a whole number of at least {least}")


def examples(x: Data, y: Data, dtype: str, wanted: str | None) -> Examples:
    """Inputs and targets as Examples.

    An array is named "x", or "y". Floats become `dtype`, rounded; integers and bools stay, but for
    targets of a loss that wants numbers (`wanted` is `dtype`), which become it, or labels
    (`wanted` is "int64"), whose integers do; see nn.loss.target_dtype. Raises InputError for no
    examples or a float beyond `dtype`, ShapeError where lengths differ, DTypeError for arrays of no
    numbers.
    """
    inputs = {
        name: _converted(name, array, lambda a: _number_dtype(a, dtype))
        for name, array in _named(x, "x").items()
    }
    targets = {
        name: _converted(name, array, lambda a: _target_dtype(a, dtype, wanted))
        for name, array in ({} if y is None else _named(y, "y")).items()
    }
    if both := set(inputs) & set(targets):
        raise InputError(f"{sorted(both)[0]!r} names an input and a target")
    lengths = {name: len(array) for name, array in {**inputs, **targets}.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        hint = "; several inputs are given as a dict by name" if isinstance(x, tuple) else ""
        raise ShapeError(f"inputs and targets need the same number of examples: {listed}{hint}")
    if not inputs or not next(iter(lengths.values())):
        raise InputError(f"there are no examples: {', '.join(lengths) or 'no input'} is empty")
    return Examples(inputs, targets)


def _named(data: Data, name: str) -> dict[str, Array]:
    if isinstance(data, Mapping):
        return {str(key): _array(str(key), value) for key, value in data.items()}
    return {name: _array(name, data)}


def _array(name: str, value: Any) -> Array:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise InputError(
            f"{name!r} is no array: {error}. Several inputs are given as a dict by the names of "
            'forward\'s parameters, {"left": ..., "right": ...}'
        ) from None


def _converted(name: str, array: Array, dtype_of: Callable[[Array], str]) -> Array:
    if array.ndim == 0:
        raise ShapeError(f"{name!r} needs a first axis of examples; it is a single number")
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"{name!r} has dtype {array.dtype}; arrays of numbers are needed")
    dtype = dtype_of(array)
    if array.dtype.kind == "f":
        found = rounded(array, dtype)
        if found is None:
            raise InputError(f"{name!r} has a finite {array.dtype} beyond the range of {dtype}")
        return np.ascontiguousarray(found)
    return np.ascontiguousarray(array, dtype=dtype)


def _number_dtype(array: Array, dtype: str) -> str:
    if array.dtype.kind == "f":
        return dtype
    return array.dtype.name if array.dtype.name in DTYPES else "int64"


def _target_dtype(array: Array, dtype: str, wanted: str | None) -> str:
    if wanted == "int64" and array.dtype.kind in "iu":
        return "int64"
    return dtype if wanted == dtype else _number_dtype(array, dtype)


def _types(arrays: dict[str, Array]) -> dict[str, TensorType]:
    return {
        name: TensorType(array.dtype.name, (BATCH, *array.shape[1:]))
        for name, array in arrays.items()
    }
