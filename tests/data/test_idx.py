"""IDX files: what is written reads back, and what is damaged is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from graphc.data import DataFormatError, MissingDataError, read_idx, write_idx
from graphc.errors import DTypeError, GraphcError, ShapeError

DTYPES = ("uint8", "int8", "int16", "int32", "float32", "float64")


@pytest.mark.parametrize("name", ["a.idx", "a.idx.gz"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip(tmp_path: Path, dtype: str, name: str) -> None:
    array = np.arange(-12, 12).astype(dtype).reshape(2, 3, 4)
    write_idx(tmp_path / name, array)
    back = read_idx(tmp_path / name)
    assert back.dtype == array.dtype and back.dtype.isnative
    assert back.flags.c_contiguous and back.flags.writeable
    np.testing.assert_array_equal(back, array)


def test_bytes_are_those_of_the_format(tmp_path: Path) -> None:
    write_idx(tmp_path / "a", np.array([[1, -2]], np.int16))
    expected = b"\0\0\x0b\x02" + b"\0\0\0\1\0\0\0\2" + b"\0\1\xff\xfe"
    assert (tmp_path / "a").read_bytes() == expected


def test_any_layout_and_byte_order_is_written(tmp_path: Path) -> None:
    array = np.arange(6, dtype=">i4").reshape(2, 3).T
    write_idx(tmp_path / "a", array)
    np.testing.assert_array_equal(read_idx(tmp_path / "a"), array)


def test_an_empty_array(tmp_path: Path) -> None:
    write_idx(tmp_path / "a", np.zeros((0, 28, 28), np.uint8))
    assert read_idx(tmp_path / "a").shape == (0, 28, 28)


def test_compression_is_told_by_content(tmp_path: Path) -> None:
    write_idx(tmp_path / "a", np.arange(5, dtype=np.uint8))
    plain = (tmp_path / "a").read_bytes()
    (tmp_path / "misnamed.gz").write_bytes(plain)
    (tmp_path / "packed").write_bytes(gzip.compress(plain))
    for name in ("misnamed.gz", "packed"):
        np.testing.assert_array_equal(read_idx(tmp_path / name), np.arange(5))


def test_compressed_bytes_depend_on_the_array_alone(tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        write_idx(tmp_path / name, np.arange(9, dtype=np.uint8))
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_what_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DTypeError, match="int64"):
        write_idx(tmp_path / "a", np.zeros(3, np.int64))
    with pytest.raises(ShapeError, match=r"shape \(\)"):
        write_idx(tmp_path / "a", np.zeros((), np.uint8))
    assert not (tmp_path / "a").exists()


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere") as error:
        read_idx(tmp_path / "nowhere")
    assert isinstance(error.value, MissingDataError) and isinstance(error.value, GraphcError)


HEADER = b"\0\0\x08\x02\0\0\0\2\0\0\0\3"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a magic of 4 bytes, found 0 bytes"),
        (b"\0\0\x08", "expected a magic of 4 bytes, found 3 bytes"),
        (b"<html>", "not an IDX file.*found 0x3c68746d"),
        (b"\0\0\x07\x01\0\0\0\0", "not an IDX file.*found 0x00000701"),
        (b"\0\0\x08\x00", "not an IDX file.*found 0x00000800"),
        (b"\0\0\x08\xff", "not an IDX file.*found 0x000008ff"),
        (HEADER[:9], "expected 2 extents of 4 bytes, found 5 bytes"),
        (HEADER + b"12345", r"expected 6 bytes of uint8 for shape \(2, 3\), found 5"),
        (HEADER + b"1234567", r"expected 6 bytes of uint8 for shape \(2, 3\), found more"),
        (b"\0\0\x0e\x02" + b"\xff" * 8 + b"12", "expected 147573952520956936200 bytes.*, found 2"),
        (b"\0\0\x0e\x03" + b"\xff" * 8 + b"\0\0\0\0", "no array can have the shape"),
    ],
)
def test_damage_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    for name, stored in (("plain", content), ("packed", gzip.compress(content))):
        (tmp_path / name).write_bytes(stored)
        with pytest.raises(DataFormatError, match=f"{name}: {message}"):
            read_idx(tmp_path / name)


def test_another_magic_than_asked_for(tmp_path: Path) -> None:
    write_idx(tmp_path / "labels", np.zeros(3, np.uint8))
    with pytest.raises(DataFormatError, match="expected magic 0x00000803, found 0x00000801"):
        read_idx(tmp_path / "labels", magic=0x803)


def test_a_damaged_gzip_stream(tmp_path: Path) -> None:
    packed = gzip.compress(HEADER + b"123456")
    cut, flipped = packed[:-9], bytearray(packed)
    flipped[-5] ^= 1  # the checksum
    garbled = packed[:10] + b"\xff" * 20
    for stored in (cut, bytes(flipped), garbled):
        (tmp_path / "a.gz").write_bytes(stored)
        with pytest.raises(DataFormatError, match=r"a\.gz: the gzip stream is damaged"):
            read_idx(tmp_path / "a.gz")
