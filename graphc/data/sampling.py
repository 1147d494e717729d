"""Choosing examples: a held-out part, and the mini-batches of an epoch."""

from __future__ import annotations

import operator
import threading
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from graphc.errors import InputError, ShapeError

X = TypeVar("X", bound=np.generic)
Y = TypeVar("Y", bound=np.generic)

Batch = tuple[NDArray[Any], ...]
_own = threading.local()


def generator(seed: int, stream: int = 0) -> np.random.Generator:
    """numpy's Generator over Philox with the key (seed, stream): a pure function of the two.

    Both are integers from 0 to 2**64 - 1; raises InputError otherwise.
    """
    return np.random.Generator(np.random.Philox(key=_key(seed, stream)))


def _key(seed: int, stream: int) -> NDArray[np.uint64]:
    for name, value in (("seed", seed), ("stream", stream)):
        if not 0 <= operator.index(value) < 2**64:
            raise InputError(f"{name} must lie between 0 and 2**64 - 1, got {value}")
    return np.array([seed, stream], np.uint64)


def train_test_split(
    x: NDArray[X], y: NDArray[Y], *, fraction: float = 0.2, seed: int = 0
) -> tuple[NDArray[X], NDArray[X], NDArray[Y], NDArray[Y]]:
    """Hold out a random fraction: (x_train, x_test, y_train, y_test), in scikit-learn's order.

    x and y have the same first extent n; round(fraction * n) examples are held out, chosen and
    ordered by seed alone. The results are copies. Raises InputError where fraction is outside
    (0, 1) or leaves a part empty, and ShapeError where x and y differ in length.
    """
    n = _common_length((x, y))
    if not 0 < fraction < 1:
        raise InputError(f"fraction must lie between 0 and 1, got {fraction}")
    held_out = round(fraction * n)
    if not 0 < held_out < n:
        raise InputError(
            f"fraction {fraction} of {n} examples holds out {held_out}: one part would be empty"
        )
    order = generator(seed).permutation(n)
    test, train = order[:held_out], order[held_out:]
    return x[train], x[test], y[train], y[test]


def batches(
    arrays: Sequence[NDArray[Any]],
    batch_size: int,
    *,
    shuffle: bool,
    seed: int = 0,
    epoch: int = 0,
    drop_last: bool = False,
) -> Iterator[Batch]:
    """The mini-batches of one epoch: for each, a tuple with a C-contiguous part of every array.

    arrays is a tuple or list of arrays of the same first extent n, of any element type. There are
    ceil(n / batch_size) batches, the last one smaller where batch_size does not divide n, or left
    out with drop_last. With shuffle, the order is a function of (seed, epoch) and nothing else,
    so that a resumed run sees what an uninterrupted one would have; the parts are copies then, and
    views of the arrays otherwise.

    Raises InputError for a batch_size below 1, a seed or epoch below 0, or arrays that are no
    tuple or list; ShapeError where the arrays differ in length. All of it when called, not when
    first iterated.
    """
    if not isinstance(arrays, tuple | list) or not arrays:
        raise InputError("arrays must be a tuple or list of arrays: (x, y), or (x,) for one alone")
    if operator.index(batch_size) < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    n = _common_length(arrays)
    stop = n - n % batch_size if drop_last else n
    order = shuffled(n, seed=seed, epoch=epoch)
    rows = tuple(array if array.flags.c_contiguous else array.copy("C") for array in arrays)
    return _batches(rows, order if shuffle else None, batch_size, stop)


def shuffled(n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order in which an epoch takes n examples: `generator(seed, epoch).permutation(n)`.

    A new generator takes 40 microseconds, more than a short epoch; one is begun again, a thread's.
    """
    if not hasattr(_own, "generator"):
        _own.generator = generator(0)
        _own.start = _own.generator.bit_generator.state
    counted = {"counter": np.zeros(4, np.uint64), "key": _key(seed, epoch)}
    _own.generator.bit_generator.state = {**_own.start, "state": counted}
    order: NDArray[np.int64] = _own.generator.permutation(n)
    return order


def _batches(
    arrays: Batch, order: NDArray[np.int64] | None, batch_size: int, stop: int
) -> Iterator[Batch]:
    for start in range(0, stop, batch_size):
        part = slice(start, min(start + batch_size, stop))
        if order is None:
            yield tuple(array[part] for array in arrays)
        else:
            yield tuple(array[order[part]] for array in arrays)


def _common_length(arrays: Sequence[NDArray[Any]]) -> int:
    if any(array.ndim == 0 for array in arrays):
        raise ShapeError("every array needs a first axis of examples; one has no axis at all")
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1:
        shapes = " and ".join(str(array.shape) for array in arrays)
        raise ShapeError(f"arrays of the same length are needed, got the shapes {shapes}")
    return lengths.pop()
