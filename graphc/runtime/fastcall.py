"""The compiled entry as Python callables: a few nanoseconds between Python and native code."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy._core import multiarray

from graphc.llvm.fastcall import DATA, DTYPE, EXTENTS, FLAGS, RANK, WANTED_FLAGS, WORDS

METH_FASTCALL = 0x0080
LEAVE = WORDS.index("leave")
"""The word of the block from which on stand the functions that let other threads run."""
HELD = (0, 0)
"""What stands there where they wait."""
SCALAR, EMPTY = 60, 184
"""PyArray_Scalar and PyArray_Empty in the table of numpy's C functions, in every version."""


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
    empty, scalar = numpys(EMPTY, 4), numpys(SCALAR, 3)
    shape, kind = (ctypes.c_int64 * 2)(3, 5), probe.dtype
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(kind))  # the array takes it
    made = empty(2, ctypes.addressof(shape), id(kind), 0)
    return bool(
        word(8, ctypes.c_void_p) == id(np.ndarray)
        and word(DATA, ctypes.c_void_p) == probe.ctypes.data
        and word(RANK, ctypes.c_int) == 2
        and word(DTYPE, ctypes.c_void_p) == id(probe.dtype)
        and word(FLAGS, ctypes.c_int) & WANTED_FLAGS == WANTED_FLAGS
        and not word_flags(probe.T) & 1
        and (ctypes.c_int64 * 2).from_address(dims)[:] == [3, 5]
        and (type(made), made.shape, made.dtype) == (np.ndarray, (3, 5), kind)
        and type(scalar(probe.ctypes.data, id(kind), None)) is np.float32
    )


def numpys(place: int, arguments: int) -> Any:
    """A function of numpy's C interface that gives a new object, by its place in the table."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    table = get(multiarray._ARRAY_API, None)
    function = (ctypes.c_void_p * (place + 1)).from_address(table)[place]
    types = (ctypes.c_void_p,) * arguments
    return ctypes.PYFUNCTYPE(ctypes.py_object, *types)(function or 0)


def word_flags(array: np.ndarray[Any, Any]) -> int:
    """The flags of an array as its object holds them."""
    return int(ctypes.c_int.from_address(id(array) + FLAGS).value)


def address_of(function: Any) -> int:
    """Where a function of the interpreter lies."""
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)


class FastCall:
    """Holds what the native functions point at.

    `call(*inputs, *results)` gives the step's code, or -1; `make(*inputs)` the results, or None.
    """

    def __init__(
        self,
        call: int,
        make: int,
        table: Any,
        sizes: Any,
        context: Any,
        dtypes: Sequence[str],
    ) -> None:
        api = ctypes.pythonapi
        self.dtypes = [np.dtype(name) for name in dtypes]
        words = [
            id(np.ndarray),
            ctypes.addressof(table),
            ctypes.addressof(sizes),
            ctypes.addressof(context),
            address_of(api.PyLong_FromLongLong),
            *HELD,
            address_of(api.PyTuple_New),
            address_of(api.PyTuple_SetItem),
            address_of(numpys(EMPTY, 4)),
            address_of(numpys(SCALAR, 3)),
            address_of(api.Py_IncRef),
            address_of(api.Py_DecRef),
            id(None),
            *(id(dtype) for dtype in self.dtypes),
        ]
        self.held = (table, sizes, context)
        self.block = np.array(words, np.int64)
        self.methods = [MethodDef(b"graphc_call", at, METH_FASTCALL, None) for at in (call, make)]
        create = api.PyCFunction_NewEx
        create.restype = ctypes.py_object
        create.argtypes = (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
        callables = [create(ctypes.addressof(m), self.block, None) for m in self.methods]
        self.call: Callable[..., int] = callables[0]
        self.make: Callable[..., tuple[Any, ...] | None] = callables[1]

    def let(self, run: bool) -> None:
        """Whether other threads of Python run during a call: where it is worth the way there."""
        api = ctypes.pythonapi
        away = (address_of(api.PyEval_SaveThread), address_of(api.PyEval_RestoreThread))
        self.block[LEAVE : LEAVE + 2] = away if run else HELD
