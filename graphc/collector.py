"""Python's collector of cycles, which waits while a program is made."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
_lock = threading.RLock()  # a signal handler may compile while its own thread begins to
_calls = 0  # calls in progress for which the collector waits
_resumes = False  # whether it runs again after the last of them


def waiting(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorator: the collector waits during calls, where it is not off anyway.

    A compilation makes many objects, of which most stay. So the collector starts again and again,
    looks at them all, and at those of every import, and finds next to nothing.
    """

    @wraps(function)
    def calm(*args: Arguments.args, **keywords: Arguments.kwargs) -> Result:
        begin()
        try:
            return function(*args, **keywords)
        finally:
            end()

    return calm


def begin() -> None:
    """A call begins, in any thread."""
    global _calls, _resumes
    with _lock:
        if not _calls:
            _resumes = gc.isenabled()
            gc.disable()
        _calls += 1


def end() -> None:
    """A call is over; after the last one the collector is as it was."""
    global _calls
    with _lock:
        if not _calls:
            return  # it began in the parent of this process
        _calls -= 1
        if not _calls and _resumes:
            gc.enable()


def begin_anew() -> None:
    """In a child of fork() no other thread's call goes on."""
    global _calls, _lock
    _lock = threading.RLock()
    if _calls:
        _calls = 0
        if _resumes:
            gc.enable()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=begin_anew)
