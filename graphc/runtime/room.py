"""Room: native code that may keep panels on the stack runs on a thread that has room for them.

A kernel's frame is not probed page by page, so that one beyond the end of a small stack would be
written over what lies there. Python's threads have the stacks that `threading.stack_size` says, and
that is 1 MiB or less on some systems.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

from graphc.runtime.threads import STACK

ENOUGH = 7 << 20
"""Bytes of a stack on which every kernel runs: what panels take at most, and some to spare."""
USUAL = 8 << 20
"""What a stack is taken to have where the system does not say."""
DEEP = 1_000_000
"""Operations of a call from which on a kernel may have copied a panel worth speaking of."""
OPAQUE = 256
"""Bytes that hold a pthread_attr_t: it takes 64 at most."""

_local = threading.local()
_lock = threading.Lock()


def within(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, run on another thread where this one's stack is too small."""

    def call(*args: Any) -> Any:
        try:
            enough = _local.enough
        except AttributeError:
            enough = _local.enough = size() >= ENOUGH
        return function(*args) if enough else apart(function, args)

    return call


def size() -> int:
    """Bytes of this thread's stack."""
    try:
        library = ctypes.CDLL(None)
        library.pthread_self.restype = ctypes.c_void_p
        own, attributes = library.pthread_self(), ctypes.create_string_buffer(OPAQUE)
        found = ctypes.c_size_t()
        if library.pthread_getattr_np(ctypes.c_void_p(own), attributes):
            return USUAL
        library.pthread_attr_getstacksize(attributes, ctypes.byref(found))
        library.pthread_attr_destroy(attributes)
    except (OSError, AttributeError):  # no such functions
        return USUAL
    return found.value


def apart(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """What a function returns or raises, run on a thread with a large stack."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(function(*args))
        except BaseException as error:  # raised again where it was called
            errors.append(error)

    thread = threading.Thread(target=work, name="graphc-room", daemon=True)
    with _lock:
        before = threading.stack_size(STACK)
        try:
            thread.start()
        finally:
            threading.stack_size(before)
    try:
        thread.join()
    finally:  # an interrupt must not leave the buffers while they are written
        thread.join()
    if errors:
        raise errors[0]
    return results[0]
