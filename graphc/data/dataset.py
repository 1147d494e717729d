"""What a loader of a labelled image set returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Labelled images, split into a training and a held-out part.

    x_train, x_test: float32 in [0, 1], of shape (n, 1, height, width), or (n, height*width) where
    the loader was asked for flat images. y_train, y_test: int64 of shape (n,), an index into
    `classes`, the names of the classes. Two data sets are equal only if they are the same object.
    """

    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]
    classes: tuple[str, ...]

    def __repr__(self) -> str:
        parts = ("x_train", "y_train", "x_test", "y_test")
        arrays = ", ".join(f"{part}: {_type(getattr(self, part))}" for part in parts)
        return f"Dataset({arrays}, {len(self.classes)} classes)"


def _type(array: NDArray[np.generic]) -> str:
    return f"{array.dtype}[{','.join(map(str, array.shape))}]"
