"""Data sets that come inside another package, and so need no file of the user's."""

from __future__ import annotations

import numpy as np

from graphc.data.dataset import Dataset
from graphc.data.errors import MissingPackageError
from graphc.data.sampling import generator

GREYS = 16
HELD_OUT = 5  # one in five


def digits(*, flat: bool = False, seed: int = 0) -> Dataset:
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels, a fifth of each class held out.

    Images are float32 in [0, 1] of shape (n, 1, 8, 8), or (n, 64) where flat; labels are int64 of
    shape (n,). Which ones are held out is a function of seed; both parts keep the set's order.
    Raises MissingPackageError without scikit-learn, and InputError for a negative seed.

    Source: Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998 (its test part), https://doi.org/10.24432/C50P49.
    """
    try:
        from sklearn.datasets import load_digits  # optional: the extra `examples`
    except ImportError as error:
        raise MissingPackageError(
            "digits() reads the images that scikit-learn carries, and scikit-learn is not "
            "installed: pip install 'graphc[examples]'"
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / GREYS).astype(np.float32).reshape(-1, *((64,) if flat else (1, 8, 8)))
    labels = labels.astype(np.int64)
    rng = generator(seed)
    held_out = np.zeros(len(labels), bool)
    for label in range(10):
        members = rng.permutation(np.flatnonzero(labels == label))
        held_out[members[: round(len(members) / HELD_OUT)]] = True
    train = ~held_out
    classes = tuple("0123456789")
    return Dataset(images[train], labels[train], images[held_out], labels[held_out], classes)
