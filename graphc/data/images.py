"""MNIST and Fashion-MNIST, read from IDX files that the user already has."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.data.dataset import Dataset
from graphc.data.errors import DataFormatError, MissingDataError
from graphc.data.idx import read_idx

ENVIRONMENT = "GRAPHC_DATA_DIR"
IMAGES_MAGIC, LABELS_MAGIC = 0x0803, 0x0801  # uint8 of three axes, uint8 of one
SIDE = 28
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

Root = str | os.PathLike[str] | None


@dataclass(frozen=True, slots=True)
class _Source:
    title: str
    folder: str
    address: str
    classes: tuple[str, ...]


_MNIST = _Source(
    title="MNIST",
    folder="mnist",
    address="https://ossci-datasets.s3.amazonaws.com/mnist/",
    classes=tuple("0123456789"),
)
_FASHION = _Source(
    title="Fashion-MNIST",
    folder="fashion-mnist",
    address="https://github.com/zalandoresearch/fashion-mnist (folder data/fashion)",
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)


def mnist(root: Root = None, *, flat: bool = False) -> Dataset:
    """MNIST: 60,000 and 10,000 handwritten digits, in the files' order.

    Images are float32 in [0, 1] of shape (n, 1, 28, 28), or (n, 784) where flat; labels are int64
    of shape (n,). The four files (train-images-idx3-ubyte and so on, with or without .gz) are
    looked for in root, or else in the folder that the environment variable GRAPHC_DATA_DIR names:
    in its sub-folder `mnist`, then in itself. Nothing is downloaded.

    Raises MissingDataError with where the files come from and where they were looked for, and
    DataFormatError for a file that is not what its name says.

    Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE 86(11), 1998.
    """
    return _load(_MNIST, root, flat)


def fashion_mnist(root: Root = None, *, flat: bool = False) -> Dataset:
    """Fashion-MNIST: 60,000 and 10,000 product images of ten classes, in the files' order.

    Shapes, element types, places and errors are those of `mnist`; the sub-folder is
    `fashion-mnist`.

    Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
    Learning Algorithms", arXiv:1708.07747, 2017.
    """
    return _load(_FASHION, root, flat)


def _load(source: _Source, root: Root, flat: bool) -> Dataset:
    train_images, train_labels, test_images, test_labels = _locate(source, root)
    x_train, y_train = _read_part(train_images, train_labels, len(source.classes), flat)
    x_test, y_test = _read_part(test_images, test_labels, len(source.classes), flat)
    return Dataset(x_train, y_train, x_test, y_test, source.classes)


def _locate(source: _Source, root: Root) -> list[Path]:
    """The paths of FILES, all from one folder: two data sets share the names of their files."""
    place = os.environ.get(ENVIRONMENT) if root is None else os.fspath(root)
    if not place:
        raise MissingDataError(_missing(source, FILES, ()))
    base = Path(place).expanduser()
    folders = (base / source.folder, base)
    for folder in folders:
        paths = [_variant(folder, name) for name in FILES]
        if all(path is not None for path in paths):
            return [path for path in paths if path is not None]
    fullest = max(folders, key=lambda folder: sum(_variant(folder, f) is not None for f in FILES))
    missing = tuple(name for name in FILES if _variant(fullest, name) is None)
    raise MissingDataError(_missing(source, missing, folders))


def _variant(folder: Path, name: str) -> Path | None:
    """The file of that name, compressed or not; some copies have a dot before `idx`."""
    for spelling in (name, name.replace("-idx", ".idx")):
        for suffix in (".gz", ""):
            path = folder / (spelling + suffix)
            if path.is_file():
                return path
    return None


def _missing(source: _Source, names: tuple[str, ...], folders: tuple[Path, ...]) -> str:
    looked = " and ".join(map(str, folders)) or f"nowhere: no root given, {ENVIRONMENT} is not set"
    return (
        f"{source.title}: cannot find {', '.join(name + '.gz' for name in names)} (or without .gz)"
        f"\n  looked in: {looked}"
        f"\n  get it from: {source.address}"
        f"\n  then pass its folder as root, or put it into ${ENVIRONMENT}/{source.folder}"
    )


def _read_part(
    image_path: Path, label_path: Path, classes: int, flat: bool
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    images: NDArray[Any] = read_idx(image_path, magic=IMAGES_MAGIC)
    labels: NDArray[Any] = read_idx(label_path, magic=LABELS_MAGIC)
    if images.shape[1:] != (SIDE, SIDE):
        raise DataFormatError(
            f"{image_path}: expected images of {SIDE}x{SIDE}, found shape {images.shape}"
        )
    if len(images) != len(labels):
        raise DataFormatError(
            f"{label_path}: expected {len(images)} labels, one for each image of "
            f"{image_path.name}, found {len(labels)}"
        )
    if labels.size and labels.max() >= classes:
        raise DataFormatError(
            f"{label_path}: expected labels from 0 to {classes - 1}, found {labels.max()} "
            f"at position {int(labels.argmax())}"
        )
    scaled = images.astype(np.float32)
    scaled /= 255
    shape = (SIDE * SIDE,) if flat else (1, SIDE, SIDE)
    return scaled.reshape(len(images), *shape), labels.astype(np.int64)
