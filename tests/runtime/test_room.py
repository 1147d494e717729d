"""Room: calls from threads with small stacks."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from graphc.runtime import room

SMALL = """
import threading
import numpy as np
import graphc

a, b = graphc.input("a", (48, 8192)), graphc.input("b", (8192, 64))
program = graphc.compile([a @ b, a[0, 0]], threads=1)
given = np.ones((48, 8192), np.float32), np.ones((8192, 64), np.float32)
found = []

def call():
    for _ in range(3):
        found.append(program(*given)[0])
    found.append(program(a=given[0], b=given[1].tolist())[0])

threading.stack_size(256 << 10)
thread = threading.Thread(target=call)
thread.start()
thread.join()
assert len(found) == 4 and all((f == 8192).all() for f in found)
"""
"""A kernel of it keeps half a megabyte on the stack, or more."""


def test_a_thread_with_a_small_stack_calls_as_any_other() -> None:
    done = subprocess.run([sys.executable, "-c", SMALL], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def on(stack: int) -> tuple[int, str]:
    """The size of a thread's stack as it is seen there, and the thread that runs what needs room.

    What needs room raises an error where it is asked for 1 divided by 0.
    """
    seen: list[tuple[int, str]] = []
    errors: list[BaseException] = []

    def work() -> None:
        name = room.within(lambda: threading.current_thread().name)()
        try:
            room.within(lambda: 1 // 0)()
        except ZeroDivisionError as error:
            errors.append(error)
        seen.append((room.size(), name))

    before = threading.stack_size(stack)
    thread = threading.Thread(target=work, name="mine")
    thread.start()
    threading.stack_size(before)
    thread.join()
    assert errors
    return seen[0]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the size of a stack")
def test_what_needs_room_runs_where_there_is_some() -> None:
    size, name = on(256 << 10)
    assert abs(size - (256 << 10)) < 1 << 16 and name == "graphc-room"
    size, name = on(16 << 20)
    assert size >= room.ENOUGH and name == "mine"
