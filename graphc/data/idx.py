"""IDX files: a big-endian header of magic and extents, then the elements, row by row.

The magic is two zero bytes, the code of the element type, and the number of axes; each extent is
an unsigned 32-bit number. Source: http://yann.lecun.com/exdb/mnist/, "the IDX file format".
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from graphc.data.errors import DataFormatError, MissingDataError
from graphc.errors import DTypeError, ShapeError

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
CODES = {np.dtype(name).newbyteorder("=").name: code for code, name in DTYPES.items()}
GZIP = b"\x1f\x8b"
CHUNK = 1 << 24
MAX_RANK = 64  # what numpy holds
MAX_EXTENT = 2**32 - 1


def read_idx(path: str | os.PathLike[str], *, magic: int | None = None) -> NDArray[Any]:
    """The array in an IDX file, in the machine's byte order, writable and contiguous.

    A gzip stream is recognised by its content, whatever the file's name. Where `magic` is given,
    the file must carry it (0x00000803: uint8 of three axes). Raises MissingDataError, or
    DataFormatError with the expected and the found magic or size.
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == GZIP
            raw.seek(0)
            if not packed:
                return _read(raw, path, magic)
            with gzip.GzipFile(fileobj=raw) as stream:
                return _read(stream, path, magic)
    except FileNotFoundError as error:
        raise MissingDataError(f"{path}: there is no such file") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataFormatError(
            f"{path}: the gzip stream is damaged or truncated: {error}"
        ) from error


def write_idx(path: str | os.PathLike[str], array: NDArray[Any]) -> None:
    """Write an array as an IDX file, gzip-compressed where the name ends in .gz.

    The element type is one of uint8, int8, int16, int32, float32, float64 (DTypeError otherwise);
    the bytes written depend on the array alone. Raises ShapeError where the header cannot hold the
    shape: an array of no axes, or an extent of 2**32 and more.
    """
    path, name = Path(path), array.dtype.name
    if name not in CODES:
        raise DTypeError(f"{path}: IDX has no element type {name}; it has {', '.join(CODES)}")
    if array.ndim == 0 or max(array.shape) > MAX_EXTENT:
        raise ShapeError(f"{path}: shape {array.shape} does not fit the header of an IDX file")
    code = CODES[name]
    header = bytes((0, 0, code, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    body = np.ascontiguousarray(array, DTYPES[code]).tobytes()
    with path.open("wb") as raw:
        if path.suffix != ".gz":
            raw.writelines((header, body))
            return
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as stream:
            stream.write(header)
            stream.write(body)


def _read(stream: IO[bytes] | gzip.GzipFile, path: Path, magic: int | None) -> NDArray[Any]:
    start = stream.read(4)
    if len(start) < 4:
        raise DataFormatError(f"{path}: expected a magic of 4 bytes, found {len(start)} bytes")
    found, code, rank = int.from_bytes(start, "big"), start[2], start[3]
    if magic is not None and found != magic:
        raise DataFormatError(f"{path}: expected magic 0x{magic:08x}, found 0x{found:08x}")
    if start[:2] != b"\0\0" or code not in DTYPES or not 1 <= rank <= MAX_RANK:
        codes = ", ".join(f"{known:02x}" for known in DTYPES)
        raise DataFormatError(
            f"{path}: not an IDX file: expected magic 0x0000TTNN with a type TT of {codes} and a "
            f"number of axes NN from 01 to {MAX_RANK:02x}, found 0x{found:08x}"
        )
    extents = stream.read(4 * rank)
    if len(extents) < 4 * rank:
        raise DataFormatError(
            f"{path}: expected {rank} extents of 4 bytes, found {len(extents)} bytes"
        )
    shape = tuple(map(int, np.frombuffer(extents, ">u4")))
    dtype = np.dtype(DTYPES[code])
    size = math.prod(shape) * dtype.itemsize
    body = _read_up_to(stream, size + 1)
    if len(body) != size:
        more = "more than that" if len(body) > size else f"{len(body)}"
        raise DataFormatError(
            f"{path}: expected {size} bytes of {dtype.name} for shape {shape}, found {more}"
        )
    try:
        array = np.frombuffer(body, dtype).reshape(shape)
    except ValueError as error:  # one extent is 0, the others exceed what numpy can address
        raise DataFormatError(f"{path}: no array can have the shape {shape}") from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_up_to(stream: IO[bytes] | gzip.GzipFile, size: int) -> bytearray:
    """At most size bytes. In chunks: a damaged header may ask for more than there is memory."""
    body = bytearray()
    while chunk := stream.read(min(size - len(body), CHUNK)):
        body += chunk
    return body
