"""fork() waits until no other thread is inside LLVM: in the child its locks would stay taken."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import llvmlite.binding as llvm

_changed = threading.Condition(threading.RLock())  # held while a process forks
_held = ExitStack()  # what the thread that forks holds
_inside: dict[int, int] = {}
"""The threads that generate code, and how often each has begun to."""


@contextmanager
def generating() -> Iterator[None]:
    """While a thread generates code no other one forks; while one forks none begins."""
    own = threading.get_ident()
    with _changed:
        _inside[own] = _inside.get(own, 0) + 1
    try:
        yield
    finally:
        with _changed:
            _inside[own] -= 1
            if not _inside[own]:
                del _inside[own]
            _changed.notify_all()


def short_calls() -> AbstractContextManager[Any]:
    """llvmlite's lock, which is around each of its calls."""
    lock: AbstractContextManager[Any] = getattr(llvm.ffi.lib, "_lock", nullcontext())
    return lock


def begin() -> None:
    """Before fork(): wait for the other threads, and keep them out."""
    own = threading.get_ident()
    _held.enter_context(_changed)
    _changed.wait_for(lambda: _inside.keys() <= {own})
    _held.enter_context(short_calls())


def end() -> None:
    """After fork(), in the parent and in the child, which no other thread is in."""
    _held.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=begin, after_in_parent=end, after_in_child=end)
