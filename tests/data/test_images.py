"""MNIST and Fashion-MNIST: where the files are looked for, what is refused, and the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphc.data import DataFormatError, Dataset, MissingDataError, fashion_mnist, mnist, write_idx
from graphc.data.images import FILES

LOADERS = {"mnist": mnist, "fashion-mnist": fashion_mnist}


def write_set(folder: Path, first: int = 0, suffix: str = "") -> Path:
    """A set of three and two images; the first training pixel is `first`."""
    folder.mkdir(parents=True, exist_ok=True)
    for images, labels, n in ((*FILES[:2], 3), (*FILES[2:], 2)):
        pixels = np.arange(n * 28 * 28).reshape(n, 28, 28).astype(np.uint8)
        pixels[0, 0, 0] = first
        write_idx(folder / (images + suffix), pixels)
        write_idx(folder / (labels + suffix), np.arange(n, dtype=np.uint8))
    return folder


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_shapes_types_and_range(tmp_path: Path, suffix: str) -> None:
    data = mnist(write_set(tmp_path, first=255, suffix=suffix))
    assert (data.x_train.shape, data.x_test.shape) == ((3, 1, 28, 28), (2, 1, 28, 28))
    assert (data.x_train.dtype.name, data.y_train.dtype.name) == ("float32", "int64")
    assert data.x_train[0, 0, 0, 0] == 1.0
    assert data.x_train[0, 0, 1, 23] == np.float32(0.2)  # pixel 51 of 255
    assert data.y_train.tolist() == [0, 1, 2]
    assert data.classes == tuple("0123456789")
    flat = mnist(tmp_path, flat=True)
    assert flat.x_train.shape == (3, 784)
    np.testing.assert_array_equal(flat.x_train, data.x_train.reshape(3, 784))


def test_the_names_with_a_dot(tmp_path: Path) -> None:
    for path in write_set(tmp_path).iterdir():
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert len(mnist(tmp_path).y_train) == 3


def test_places_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shared"
    write_set(shared / "mnist", first=1)
    write_set(shared / "fashion-mnist", first=2)
    write_set(shared, first=3)
    write_set(tmp_path / "own", first=4)
    monkeypatch.setenv("GRAPHC_DATA_DIR", str(shared))

    def first(data: Dataset) -> int:
        return round(float(data.x_train[0, 0, 0, 0]) * 255)

    assert (first(mnist()), first(fashion_mnist())) == (1, 2)
    assert first(mnist(tmp_path / "own")) == 4
    assert first(mnist(str(shared / "fashion-mnist"))) == 2
    # A folder that lacks one of the four is passed over: never two from here and two from there.
    (shared / "mnist" / FILES[3]).unlink()
    assert first(mnist()) == 3


def test_missing_files_say_where_and_what(tmp_path: Path) -> None:
    write_set(tmp_path / "fashion-mnist")
    (tmp_path / "fashion-mnist" / FILES[2]).unlink()
    with pytest.raises(FileNotFoundError) as error:
        fashion_mnist(tmp_path)
    message = str(error.value)
    assert isinstance(error.value, MissingDataError)
    assert "t10k-images-idx3-ubyte.gz" in message and FILES[0] not in message
    assert str(tmp_path / "fashion-mnist") in message
    assert "https://github.com/zalandoresearch/fashion-mnist" in message


def test_no_place_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAPHC_DATA_DIR", raising=False)
    with pytest.raises(
        MissingDataError, match="no root given, GRAPHC_DATA_DIR is not set"
    ) as error:
        mnist()
    assert all(name in str(error.value) for name in FILES)
    assert "ossci-datasets" in str(error.value)


def test_images_where_labels_belong(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / FILES[0]).replace(tmp_path / FILES[1])
    write_idx(tmp_path / FILES[0], np.zeros((3, 28, 28), np.uint8))
    with pytest.raises(
        DataFormatError, match=r"labels.*expected magic 0x00000801, found 0x00000803"
    ):
        mnist(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (FILES[0], np.zeros((3, 28, 27), np.uint8), "expected images of 28x28, found shape"),
        (FILES[1], np.zeros(4, np.uint8), "expected 3 labels.*found 4"),
        (FILES[3], np.array([1, 10], np.uint8), "expected labels from 0 to 9, found 10 at pos.* 1"),
    ],
)
def test_contents_that_do_not_fit(
    tmp_path: Path, name: str, content: np.ndarray, message: str
) -> None:
    write_set(tmp_path)
    write_idx(tmp_path / name, content)
    with pytest.raises(DataFormatError, match=f"{name}: {message}"):
        mnist(tmp_path)


def test_repr_shows_types_and_not_elements(tmp_path: Path) -> None:
    assert repr(mnist(write_set(tmp_path))) == (
        "Dataset(x_train: float32[3,1,28,28], y_train: int64[3], "
        "x_test: float32[2,1,28,28], y_test: int64[2], 10 classes)"
    )


@pytest.mark.parametrize("folder", LOADERS)
def test_the_real_files(folder: str, data_root: Path) -> None:
    if not (data_root / folder).is_dir():
        pytest.skip(f"there is no folder {data_root / folder}")
    data = LOADERS[folder]()
    assert data.x_train.shape == (60_000, 1, 28, 28) and data.x_test.shape == (10_000, 1, 28, 28)
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)
    assert np.bincount(data.y_test).sum() == 10_000 and len(data.classes) == 10
    if folder == "mnist":
        assert data.y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
        np.testing.assert_allclose(data.x_train.mean(dtype=np.float64), 0.1307, atol=5e-5)
    else:
        assert data.classes[data.y_train[0]] == "Ankle boot"
        assert np.bincount(data.y_train).tolist() == [6000] * 10
