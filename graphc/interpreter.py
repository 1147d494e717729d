"""Python while a program is made: its collector waits, its threads take short turns."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
_lock = threading.RLock()  # a signal handler may compile while its own thread begins to
_calls = 0  # calls in progress
_resumes = False  # whether the collector runs again after the last of them
_turn = 0.0  # how long a thread's turn was before the first
TURN, HALF = 5e-4, 5e-7
"""Seconds after which a thread gives way to one that waits for the interpreter; and a half of the
microsecond down to which Python rounds them."""


def waiting(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorator: during calls the collector waits, where it is not off anyway, and turns are short.

    A compilation makes many objects, of which most stay. So the collector starts again and again,
    looks at them all, and at those of every import, and finds next to nothing. Threads that
    generate code need the interpreter only between LLVM's calls; for each they would wait while
    kernels are written, up to ten times as long.
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
    global _calls, _resumes, _turn
    with _lock:
        _calls += 1
        if _calls == 1:
            _resumes, _turn = gc.isenabled(), sys.getswitchinterval()
            gc.disable()
            sys.setswitchinterval(min(TURN, _turn + HALF))


def end() -> None:
    """A call is over; after the last one all is as it was."""
    global _calls
    with _lock:
        if not _calls:
            return  # it began in the parent of this process
        _calls -= 1
        if not _calls:
            restore()


def restore() -> None:
    """The collector and the turns as they were before."""
    if _resumes:
        gc.enable()
    sys.setswitchinterval(_turn + HALF)


def begin_anew() -> None:
    """In a child of fork() no other thread's call goes on."""
    global _calls, _lock
    _lock = threading.RLock()
    if _calls:
        _calls = 0
        restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=begin_anew)
