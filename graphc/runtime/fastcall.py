"""The compiled entry as a Python callable: a few nanoseconds between Python and native code."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from graphc.llvm.fastcall import DATA, DTYPE, EXTENTS, FLAGS, RANK, WANTED_FLAGS

METH_FASTCALL = 0x0080
LEAVE = 5
"""The word of the block from which on stand the functions that let other threads run."""
HELD = (0, 0)
"""What stands there where they wait."""


class MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


@lru_cache(maxsize=1)
def supported() -> bool:
    """Whether this interpreter lays its objects out as the native code expects; tried, not told."""
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    probe = np.zeros((3, 5), np.float32)

    def word(offset: int, kind: Any) -> Any:
        return kind.from_address(id(probe) + offset).value

    dims = word(EXTENTS, ctypes.c_void_p)
    return bool(
        word(8, ctypes.c_void_p) == id(np.ndarray)
        and word(DATA, ctypes.c_void_p) == probe.ctypes.data
        and word(RANK, ctypes.c_int) == 2
        and word(DTYPE, ctypes.c_void_p) == id(probe.dtype)
        and word(FLAGS, ctypes.c_int) & WANTED_FLAGS == WANTED_FLAGS
        and not word_flags(probe.T) & 1
        and (ctypes.c_int64 * 2).from_address(dims)[:] == [3, 5]
    )


def word_flags(array: np.ndarray[Any, Any]) -> int:
    """The flags of an array as its object holds them."""
    return int(ctypes.c_int.from_address(id(array) + FLAGS).value)


def address_of(function: Any) -> int:
    """Where a function of the interpreter lies."""
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)


class FastCall:
    """Holds what the native function points at; `call(*arrays)` gives its code, or -1."""

    def __init__(
        self,
        address: int,
        table: Any,
        sizes: Any,
        context: Any,
        dtypes: Sequence[str],
    ) -> None:
        make = address_of(ctypes.pythonapi.PyLong_FromLongLong)
        self.dtypes = [np.dtype(name) for name in dtypes]
        words = [
            id(np.ndarray),
            ctypes.addressof(table),
            ctypes.addressof(sizes),
            ctypes.addressof(context),
            make,
            *HELD,
            *(id(dtype) for dtype in self.dtypes),
        ]
        self.held = (table, sizes, context)
        self.block = np.array(words, np.int64)
        self.method = MethodDef(b"graphc_call", address, METH_FASTCALL, None)
        create = ctypes.pythonapi.PyCFunction_NewEx
        create.restype = ctypes.py_object
        create.argtypes = (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
        self.call: Callable[..., int] = create(ctypes.addressof(self.method), self.block, None)

    def let(self, run: bool) -> None:
        """Whether other threads of Python run during a call: where it is worth the way there."""
        api = ctypes.pythonapi
        away = (address_of(api.PyEval_SaveThread), address_of(api.PyEval_RestoreThread))
        self.block[LEAVE : LEAVE + 2] = away if run else HELD
