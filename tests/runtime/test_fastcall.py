"""The step as C functions of Python objects: results that native code makes."""

from __future__ import annotations

import gc
import sys
import threading
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.llvm.fastcall import BUSY
from graphc.runtime.fastcall import supported

pytestmark = pytest.mark.skipif(not supported(), reason="this interpreter has no such calls")


def several(dtype: str = "float32") -> tuple[Any, tuple[Any, ...]]:
    """A program with results of every kind, one of them twice; and what it is called with."""
    x = graphc.input("x", ("n", 3), dtype)
    total, doubled = ops.sum(x), x + x
    program = graphc.compile([total, doubled, ops.max(x), doubled])
    return program, (np.arange(6, dtype=dtype).reshape(2, 3),)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_are_those_of_the_slow_path(dtype: str) -> None:
    program, given = several(dtype)
    slow = program(*given)
    assert program.direct is not None
    for found in (program(*given), program(x=given[0])):
        assert [type(value) for value in found] == [type(value) for value in slow]
        for one, other in zip(found, slow, strict=True):
            np.testing.assert_array_equal(one, other)
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert found[1].flags.owndata and found[1].flags.writeable
        assert found[1] is found[3]


def test_results_by_name_keep_their_order() -> None:
    x = graphc.input("x", (3,))
    program = graphc.compile({"b": ops.sum(x), "a": x * 2, "c": ops.max(x)})
    for _ in range(2):
        found = program(x=np.arange(3, dtype=np.float32))
        assert list(found) == ["b", "a", "c"]
        assert (found["b"], found["a"].tolist(), found["c"]) == (3, [0, 2, 4], 2)


def test_what_is_not_as_wanted_goes_another_way() -> None:
    program, (x,) = several()
    program(x)
    direct = program.direct
    assert direct(x) is not None
    others = [x.astype(np.float64), x[:1], x.T, x.tolist(), None, x[:, ::-1], 3]
    assert [direct(other) for other in others] == [None] * len(others)
    assert direct() is None and direct(x, x) is None
    assert program(x[:, ::-1])[0] == 15 and program(x[:1])[0] == 3


def test_nothing_is_made_while_a_call_has_the_buffers() -> None:
    program, (x,) = several()
    program(x)
    with program.turn():
        assert program.direct(x) is None
        assert program(x)[0] == 15, "a program of its own"
    assert program.direct(x) is not None
    program.fast.let(True)  # others of Python would run in it
    assert program.direct(x) is None


def test_no_object_is_lost_or_held_once_too_often() -> None:
    program, (x,) = several()
    operands = graphc.input("rows", (4, 3)), graphc.input("i", (1,), "int64")
    picked = graphc.compile([ops.gather(*operands)])
    rows, index = np.ones((4, 3), np.float32), np.array([4])
    picked(rows, index - 1)
    watched = [None, np.dtype("float32"), x, rows, index]
    kept = [*program(x)]

    def counts() -> list[int]:
        gc.collect()
        return [sys.getrefcount(one) for one in watched]

    before, alive = counts(), len(gc.get_objects())
    for _ in range(1000):
        program(x), program.direct(x[:1])
        assert picked.direct(rows, index) is None, "an index that is refused"
    assert max(abs(a - b) for a, b in zip(before, counts(), strict=True)) < 100
    assert len(gc.get_objects()) < alive + 100
    del program
    gc.collect()
    assert kept[0] == 15 and kept[1].tolist() == (2 * x).tolist()


def test_memory_that_there_is_not_is_an_error() -> None:
    x = graphc.input("x", ("n", 1))
    program = graphc.compile([x + x, ops.sum(x)])
    one = np.ones((1, 1), np.float32)
    program(one)
    for extent, error in ((1 << 62, ValueError), (1 << 55, MemoryError)):
        program.frame.sizes[0] = extent
        with pytest.raises(error):
            program.fast.make(one)


def test_threads_with_batches_of_their_own_get_their_own_results() -> None:
    program, _ = several()
    wrong: list[Any] = []

    def calls(rows: int) -> None:
        x = np.full((rows, 3), rows, np.float32)
        for _ in range(300):
            total, doubled, *_ = program(x)
            if total != 3 * rows * rows or doubled.shape != x.shape or (doubled != 2 * rows).any():
                wrong.append((rows, total, doubled))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=calls, args=(rows,)) for rows in (1, 2, 2, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not wrong
    assert not program.frame.context[BUSY]


def test_results_of_another_shape_are_made_in_it() -> None:
    """What is flattened at the end lies in memory as what it was: no view of an array is made."""
    x = graphc.input("x", (2, 3, 4))
    program = graphc.compile([ops.reshape(ops.exp(x), (6, 4)), ops.reshape(x + 1.0, (24,))])
    given = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 24
    for _ in range(2):
        first, second = program(given)
        np.testing.assert_allclose(first, np.exp(given).reshape(6, 4), rtol=1e-6)
        np.testing.assert_array_equal(second, given.reshape(24) + 1)
    assert program.direct is not None
    assert first.flags.owndata and second.flags.owndata


def test_a_result_in_two_shapes_is_one_array() -> None:
    x = graphc.input("x", (2, 3))
    y = ops.exp(x)
    program = graphc.compile([y, ops.reshape(y, (6,)), ops.reshape(y, (3, 2))])
    given = np.arange(6, dtype=np.float32).reshape(2, 3) / 6
    for found, shape in zip(program(given), [(2, 3), (6,), (3, 2)], strict=True):
        np.testing.assert_allclose(found, np.exp(given).reshape(shape), rtol=1e-6)
