"""Constants and parameters: the dtypes of Python's numbers and numpy's arrays, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import DTypeError, GraphcError
from graphc.graph import leaf


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (1.0, "float32"),
        ([1.0, 2.0], "float32"),
        ([[1, 2.0], (3, 4)], "float32"),
        ([], "float32"),
        ([1, 2], "int64"),
        ([True, False], "bool"),
        (np.ones(2), "float64"),
        (np.ones(2, ">f4"), "float32"),
        (np.ones(2, np.uint8), "uint8"),
    ],
    ids=repr,
)
def test_python_floats_are_float32_and_arrays_keep_their_dtype(value: Any, wanted: str) -> None:
    for node in (graphc.constant(value), graphc.parameter("w", value=value)):
        assert node.dtype == wanted
        assert node.shape == np.shape(value)
    assert graphc.constant(value, "float64").dtype == "float64"


def test_lists_take_the_dtype_of_the_node_beside_them() -> None:
    floats, ints = [1.0, 2.0], [1, 2]
    for dtype in ("float32", "float64"):
        x = graphc.input("x", (2,), dtype)
        assert (x * floats).dtype == (x * ints).dtype == dtype
        assert (x + 2**70).dtype == dtype
    whole = graphc.input("k", (2,), "int32")
    assert (whole * ints).dtype == "int32"
    assert (whole * floats).dtype == "float32"


def test_what_a_dtype_cannot_hold_is_refused_with_the_place() -> None:
    whole, byte = graphc.input("k", (3,), "int32"), graphc.input("u", (3,), "uint8")
    for problem, make in [
        ("int32 cannot hold 1099511627776", lambda: whole + 2**40),
        ("uint8 cannot hold 300", lambda: byte * 300),
        ("uint8 cannot hold -1", lambda: byte + -1),
        ("int64 cannot hold 9223372036854775808", lambda: graphc.constant(2**63)),
        ("int64 cannot hold 11805", lambda: graphc.constant(2**70)),
        ("int32 cannot hold 1.5", lambda: graphc.constant(1.5, "int32")),
        ("int64 cannot hold nan", lambda: graphc.constant(float("nan"), "int64")),
        ("uint8 cannot hold array", lambda: graphc.constant(np.array([256]), "uint8")),
        ("float32 cannot hold 1000", lambda: graphc.input("x", ()) + 10**400),
        ("None is no number or array of numbers", lambda: whole + None),
        ("'a' is no number", lambda: whole + "a"),
        (r"is no array: .*inhomogeneous", lambda: whole * [[1], [2, 3]]),
    ]:
        with pytest.raises(DTypeError, match=problem) as caught:
            make()
        assert "test_leaf.py" in str(caught.value)


@pytest.mark.parametrize(
    ("work", "problem"),
    [
        (lambda: graphc.input("x", (3,), "float16"), "input 'x': dtype 'float16' is not supported"),
        (lambda: graphc.input("x", (3, "n")), "input 'x': axis 1 of shape"),
        (lambda: graphc.input("x", (-3,)), "input 'x': negative extent -3"),
        (lambda: graphc.parameter("w", (3,), "complex64"), "parameter 'w': dtype 'complex64'"),
        (lambda: graphc.parameter("w", value=np.zeros(3, np.float16)), "parameter 'w': dtype"),
        (lambda: graphc.parameter("w", (3,), value=np.zeros(2)), "parameter 'w': shape"),
        (lambda: graphc.parameter("w"), "parameter 'w' needs a shape"),
    ],
)
def test_refused_leaves_say_where(work: Any, problem: str) -> None:
    with pytest.raises(GraphcError, match=problem) as caught:
        work()
    assert "test_leaf.py:" in str(caught.value)


def test_a_later_declaration_counts_as_later() -> None:
    x, y = graphc.input("x", (3,)), graphc.input("y", (3,))
    assert 0 < leaf.declared(x) < leaf.declared(y)
    assert graphc.input("x", (3,)) is x
    assert leaf.declared(x) > leaf.declared(y)
    assert leaf.declared(x + y) == 0


def test_large_arrays_begin_in_large_pages_at_places_of_their_own() -> None:
    kept = [leaf.reserved(32 << 20) for _ in range(2 * leaf.PLACES)]
    places = [array.ctypes.data % leaf.HUGE for array in kept]
    assert all(place % 64 == 0 and place < 4096 for place in places)
    assert len(set(places[: leaf.PLACES])) == len(set(places)) == leaf.PLACES
    ends = [array.base.ctypes.data + array.base.nbytes for array in kept if array.base is not None]
    assert all(a.ctypes.data + a.nbytes <= end for a, end in zip(kept, ends, strict=True))
    assert len(leaf.reserved(1000)) == 1000
