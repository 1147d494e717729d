"""Data sets as numpy arrays, and ways to walk through them."""

from graphc.data.dataset import Dataset
from graphc.data.errors import DataFormatError, MissingDataError, MissingPackageError
from graphc.data.idx import read_idx, write_idx
from graphc.data.images import fashion_mnist, mnist
from graphc.data.points import circle, gaussians, moons, spiral, xor
from graphc.data.sampling import batches, train_test_split
from graphc.data.small import digits

__all__ = [
    "DataFormatError",
    "Dataset",
    "MissingDataError",
    "MissingPackageError",
    "batches",
    "circle",
    "digits",
    "fashion_mnist",
    "gaussians",
    "mnist",
    "moons",
    "read_idx",
    "spiral",
    "train_test_split",
    "write_idx",
    "xor",
]
