"""Memory of results: each its own while it is held, and used again after."""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.runtime import arrays


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "free", {})


def place(array: np.ndarray) -> int:
    return array.ctypes.data


def test_memory_is_used_again_once_no_array_holds_it() -> None:
    first = arrays.empty((600, 500), "float32")
    where, view = place(first), first[::2, 1]
    del first
    assert place(arrays.empty((600, 500), "float32")) != where, "a view holds it"
    del view
    again = arrays.empty((500, 600), np.int32)
    assert place(again) == where
    assert again.shape == (500, 600)
    assert again.dtype == np.int32
    assert again.flags.c_contiguous and again.flags.writeable


@pytest.mark.parametrize("shape", [(1 << 18,), (513, 515), (3, 1, 99999)])
def test_large_results_begin_a_line(shape: tuple[int, ...]) -> None:
    held = [arrays.empty(shape, dtype) for dtype in ("float32", "float64", "int64")]
    assert all(place(array) % 64 == 0 for array in held)
    for number, array in enumerate(held):
        array[...] = number
    assert [float(array.mean()) for array in held] == [0, 1, 2]


def test_small_results_and_empty_ones_are_plain() -> None:
    assert arrays.empty((3, 4), "float32").base is None
    assert arrays.empty((0, 1 << 30), "float32").shape == (0, 1 << 30)
    assert not arrays.free


def test_no_more_is_kept_than_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "KEPT", 3 * arrays.LARGE)
    held = [arrays.empty((arrays.LARGE + 64 * n,), "uint8") for n in range(8)]
    del held
    assert 0 < arrays.kept() <= arrays.KEPT
    one = arrays.empty((4 * arrays.LARGE,), "uint8")
    del one
    assert arrays.kept() <= arrays.KEPT


def test_results_that_are_held_are_not_written() -> None:
    x = graphc.input("x", (512, 520))
    double = graphc.compile(x * 2)
    results = [double(np.full((512, 520), n, np.float32))[0] for n in range(5)]
    assert [float(result.max()) for result in results] == [0, 2, 4, 6, 8]
    copy = pickle.loads(pickle.dumps(results[3]))
    np.testing.assert_array_equal(copy, results[3])


def test_a_number_that_is_shown_with_axes_is_not_written_again() -> None:
    x = graphc.input("x", (5,))
    total = ops.sum(x)
    program = graphc.compile([ops.reshape(total, (1,)), ops.reshape(total, (1, 1)), total])
    first = program(np.ones(5, np.float32))
    program(np.zeros(5, np.float32))
    assert [np.shape(array) for array in first] == [(1,), (1, 1), ()]
    assert all((array == 5).all() for array in first)


def test_many_threads_never_share_a_result() -> None:
    wrong: list[int] = []

    def work(mark: int) -> None:
        for _ in range(300):
            array = arrays.empty((arrays.LARGE,), "uint8")
            array[::4096] = mark
            if (array[::4096] != mark).any():
                wrong.append(mark)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert not wrong


def test_results_that_outlive_the_program_end_in_silence() -> None:
    """Results held by modules and by cycles are among the last things that an interpreter frees."""
    script = """
import builtins, numpy as np, graphc
program = graphc.compile(graphc.input("x", (512, 512)) * 2)
class Cycle: pass
cycle = Cycle()
ones = np.ones((512, 512), np.float32)
cycle.me, cycle.result, builtins.held, np.held = cycle, program(ones), program(ones), program(ones)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert not done.stderr
