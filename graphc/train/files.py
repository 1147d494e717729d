"""Named arrays in a safetensors file, written whole or not at all.

Format: https://huggingface.co/docs/safetensors: the length of a JSON header as a little-endian
64-bit number, the header, then the elements of every array.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from graphc.errors import DTypeError, GraphcError, InputError
from graphc.errors import WriteError as WriteError
from graphc.files import writing as writing

DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
}
RESERVED = "__metadata__"
PREFIX = 8  # bytes that hold the header's length

Arrays = dict[str, NDArray[Any]]


class MissingArraysError(GraphcError, FileNotFoundError):
    """The file to load, or the folder to save to, does not exist."""


class ArraysFormatError(GraphcError, ValueError):
    """The file is truncated, or no safetensors file."""


def check_place(path: str | os.PathLike[str]) -> None:
    """Refuse a path that save_arrays could not write to, before there is anything to save.

    Raises as save_arrays does. Nothing is left behind.
    """
    with writing(path):
        trial = _temporary(_target(path))
        trial.open("xb").close()
        trial.unlink()


def save_arrays(
    path: str | os.PathLike[str],
    arrays: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named arrays and a dictionary of strings to a safetensors file, atomically.

    Arrays are of any shape, no axis included, any memory layout and byte order, and of dtype bool,
    uint8 to uint64, int8 to int64, or float16 to float64. The file is written beside its final
    place, flushed to the disk and then renamed: a reader, or a run after a crash, finds the old
    content or the new. On failure nothing is left behind.

    Raises DTypeError for another dtype, InputError for a name or metadata that is not a string (or
    the reserved name __metadata__), MissingArraysError where the folder does not exist, and
    WriteError, an OSError, where the system refuses.
    """
    named = {name: _storable(name, array) for name, array in arrays.items()}
    strings = dict(metadata or {})
    for key, value in strings.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InputError(f"metadata must map strings to strings, got {key!r}: {value!r}")
    # Not save_file, whose files only their owner may read; and {} for no arrays would be misread.
    content = save(named, metadata=strings or None)
    with writing(path):
        target = _target(path)
        temporary = _temporary(target)
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            with suppress(OSError):
                temporary.unlink()
        _flush_folder(target.parent)


def _target(path: str | os.PathLike[str]) -> Path:
    """Where a path leads, through links, so that the links themselves survive."""
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise MissingArraysError(f"cannot save {path}: there is no folder {target.parent}")
    if target.is_dir():
        raise InputError(f"cannot save {path}: it is a folder")
    return target


def _temporary(target: Path) -> Path:
    """A new name beside the target."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")


def load_arrays(path: str | os.PathLike[str]) -> tuple[Arrays, dict[str, str]]:
    """The arrays and the metadata of a safetensors file, as save_arrays wrote them.

    Every array is C-contiguous, writable, and of its own memory. Raises MissingArraysError where
    there is no such file, ArraysFormatError where it is truncated or no safetensors file, and
    DTypeError for an element type that numpy does not have.
    """
    if not Path(path).is_file():
        raise MissingArraysError(f"cannot load {path}: there is no such file")
    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
            for name in names:
                stored = file.get_slice(name).get_dtype()
                if stored not in DTYPES:
                    raise DTypeError(
                        f"{path}: array {name!r} is of type {stored}; "
                        f"graphc reads {', '.join(DTYPES)}"
                    )
            arrays = {name: np.array(file.get_tensor(name), order="C") for name in names}
            return arrays, dict(file.metadata() or {})
    except SafetensorError as error:
        raise ArraysFormatError(f"cannot load {path}: {_diagnose(Path(path))} ({error})") from error


def _storable(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """The array as safetensors wants it: contiguous, little-endian and of a known dtype."""
    if not isinstance(name, str) or name == RESERVED:
        raise InputError(f"an array's name must be a string other than {RESERVED}, got {name!r}")
    array = np.asarray(array)
    if array.dtype.name not in DTYPES.values():
        known = ", ".join(DTYPES.values())
        raise DTypeError(f"array {name!r} is of dtype {array.dtype}; a file holds {known}")
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _flush_folder(path: Path) -> None:
    """Have the system write a folder's entries, the new name among them, to the disk."""
    if os.name == "nt":  # Windows cannot open a folder
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _diagnose(path: Path) -> str:
    """Why safetensors could not read a file, in words."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(PREFIX + 1)
    header = int.from_bytes(start[:PREFIX], "little")
    if start[PREFIX:] != b"{" and size > PREFIX:
        return "not a safetensors file, or a damaged one"
    if size < PREFIX + header:
        return f"truncated: expected a header of {header} bytes after the first {PREFIX}, " + (
            f"found {max(size - PREFIX, 0)}"
        )
    return f"truncated or damaged: its {size} bytes do not hold what its header lists"
