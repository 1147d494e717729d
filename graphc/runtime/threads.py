"""Threads: how many a program may use, and the teams that wait to share its calls.

A team's threads are Python's, each inside one native call for good; between the steps of a program
they spin for a moment, then sleep. A child of fork() has none of them and makes its own.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from functools import cache as cache_forever

import numpy as np

from graphc import cache
from graphc.errors import InputError
from graphc.llvm import engine, targets, team
from graphc.machine import cores
from graphc.runtime import quota

VARIABLE = "GRAPHC_THREADS"
STACK = 16 << 20
"""Bytes of a thread's stack: kernels keep packed panels there."""


def available() -> int:
    """The cores this process may use: by its affinity, and by its control groups' quotas."""
    return max(1, min(cores(), quota.granted() or cores()))


def resolve(threads: int | None) -> int:
    """The number of threads to use at most: as asked, by GRAPHC_THREADS, or all available.

    Raises InputError for what is no number of threads, or below 1.
    """
    named = os.environ.get(VARIABLE)
    if threads is None and named:
        if not named.isdigit() or int(named) < 1:
            raise InputError(f"{VARIABLE} must be a whole number from 1, it is {named!r}")
        threads = int(named)
    whole = isinstance(threads, int) and not isinstance(threads, bool)
    if threads is not None and (not whole or threads < 1):
        raise InputError(f"threads must be at least 1, or None for all, got {threads!r}")
    return available() if threads is None else threads


def supported() -> bool:
    """Whether threads can wait for each other here: on Linux."""
    return team.architecture(targets.target(targets.host_level()).triple) is not None


class Team:
    """A block of memory and the threads that wait at it; `size` counts the caller too."""

    def __init__(self, size: int) -> None:
        self.size = size
        raw = np.zeros(team.BLOCK + team.LINE * (size + 1), np.uint8)
        self.memory = raw
        self.address = raw.ctypes.data + -raw.ctypes.data % 64
        loaded = load_worker()
        run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
        self.worker = run(loaded.addresses[team.WORKER_NAME])
        before = threading.stack_size(STACK)
        for number in range(1, size):
            name = f"graphc-{number}"
            threading.Thread(target=self.wait, args=(number,), name=name, daemon=True).start()
        threading.stack_size(before)
        # A launch may hold Python's lock, which a thread needs to come as far as its native loop.
        ready = ctypes.c_int32.from_address(self.address + team.READY)
        while ready.value < size - 1:
            time.sleep(0)

    def wait(self, number: int) -> None:
        """What a thread does for good; it keeps the memory that it looks at."""
        self.worker(self.address, number)


_teams: dict[int, Team] = {}
# A signal handler may ask for a team while one is made in its own thread: it gets another.
_lock = threading.RLock()
_loaded: list[engine.Loaded] = []


@cache_forever
def worker() -> tuple[str, str, targets.Target]:
    """The native code of waiting threads, as text, under what it is kept, and for which target."""
    target = targets.target(targets.host_level())
    parts = [*team.declarations(target.triple), team.worker(target.triple)]
    text = engine.module_text(target, parts)
    return text, engine.digest(text, target), target


def ahead() -> None:
    """Begin to compile what threads wait in, where there will be some and it is not kept."""
    if resolve(None) > 1 and supported() and not _loaded:
        text, key, target = worker()
        if cache.read(key) is None:
            engine.once(text, target)


def load_worker() -> engine.Loaded:
    """The native code of waiting threads, one for the process."""
    if not _loaded:
        text, key, target = worker()
        names = (team.WORKER_NAME,)
        found = engine.fetch(key, names, target)
        if found is None:
            made = engine.once(text, target)
            found = engine.load(key, lambda done: None, names, target, made)
        _loaded.append(found)
    return _loaded[0]


def team_of(size: int) -> Team:
    """The team of so many threads; made when first asked for."""
    with _lock:
        if size not in _teams:
            _teams[size] = Team(size)
        return _teams[size]


def forget() -> None:
    """In a child of fork(): the threads stayed behind with the parent."""
    global _lock
    _lock = threading.RLock()
    _teams.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)
