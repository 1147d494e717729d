"""What a call may be given: arrays are converted where that loses nothing, or refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.errors import InputDTypeError, InputError, InputShapeError, ShapeError
from graphc.runtime.program import Program

Array = np.ndarray[Any, Any]


def doubled(shape: Any, dtype: str = "float32") -> Program:
    """A program of one input x."""
    x = graphc.input("x", shape, dtype)
    return graphc.compile([x + x])


def numbers(*shape: int) -> Array:
    """0, 1, 2, ... as float32."""
    return np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize(
    "value",
    [
        numbers(5, 3).T,
        numbers(3, 10)[:, ::2],
        numbers(3, 5)[::-1],
        numbers(3, 5).astype(">f4"),
        numbers(3, 5).astype(">f8"),
        numbers(3, 5).astype(np.float64),
        numbers(3, 5).astype(np.float16),
        numbers(3, 5).astype(np.int64),
        numbers(3, 5).astype(np.uint8),
        numbers(3, 5) > 3,
        np.broadcast_to(numbers(5), (3, 5)),
        np.frombuffer(b"\0" + numbers(3, 5).tobytes(), np.float32, 15, 1).reshape(3, 5),
        numbers(3, 5).tolist(),
        np.asfortranarray(numbers(3, 5)),
    ],
    ids=lambda v: f"{type(v).__name__}-{getattr(v, 'dtype', '')}",
)
def test_arrays_are_converted_where_nothing_is_lost(value: Any) -> None:
    (found,) = doubled((3, 5))(value)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, 2 * np.asarray(value, np.float32))


def test_rows_of_several_lengths_are_refused_by_name() -> None:
    with pytest.raises(InputShapeError, match=r"input 'x' is f32\[2,2\]; this is no array"):
        doubled((2, 2))([[1, 2], [3]])


def test_read_only_and_misaligned_arrays_are_read_as_they_are() -> None:
    value = numbers(3, 5)
    value.setflags(write=False)
    np.testing.assert_array_equal(doubled((3, 5))(value)[0], value + value)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (numbers(3, 4), r"'x' is f32\[3,5\].*\(3, 4\).*axis 1 must be 5, not 4"),
        (numbers(15), r"'x' is f32\[3,5\].*\(15,\)"),
        (np.float32(1), r"'x' is f32\[3,5\].*\(\)"),
        (numbers(3, 5) * 1j, r"'x' is float32; an array of complex64"),
        (np.full((3, 5), "a"), r"'x' is float32; an array of <U1"),
        (np.full((3, 5), None), r"'x' is float32; an array of object"),
        (np.full((3, 5), 2**24 + 1), r"'x' is float32; converting the array of int64"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(value: Any, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        doubled((3, 5))(value)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("int32", np.array([2**40])),
        ("uint8", np.array([256])),
        ("uint8", np.array([-1])),
        ("bool", np.array([2])),
        ("int64", np.array([2**63], np.uint64)),
    ],
)
def test_numbers_that_would_change_are_refused(dtype: str, value: Array) -> None:
    x = graphc.input("x", (1,), dtype)
    with pytest.raises(InputError, match=f"'x' is {dtype}; converting"):
        graphc.compile([ops.where(x == 0, x, x)] if dtype == "bool" else [x + x])(value)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8"])
def test_whole_numbers_become_each_other_and_floats(dtype: str) -> None:
    for kind in ("int32", "int64", "uint8", dtype):
        value = np.array([0, 1, 2, 100], kind)
        (found,) = doubled((4,), dtype)(value)
        np.testing.assert_array_equal(found, (2 * value.astype(dtype)).astype(dtype))


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_floats_are_no_integers_even_where_they_are_whole(dtype: str) -> None:
    """As an index they are mostly a mistake: two arguments in the wrong order."""
    for value in (np.array([0.0, 1.0]), [0.0, 1.0]):
        with pytest.raises(InputDTypeError, match=rf"'x' is {dtype}, not(.|\n)*x\.astype"):
            doubled((2,), dtype)(value)


def test_floats_are_rounded_but_finite_ones_do_not_overflow() -> None:
    program = doubled((3,))
    with pytest.raises(InputDTypeError, match=r"'x' is float32; .* finite value beyond its range"):
        program(np.array([0, 1e300, 0]))
    (found,) = program(np.array([np.inf, np.nan, 0.1]))
    np.testing.assert_array_equal(found, np.array([np.inf, np.nan, np.float32(0.1) * 2], "f"))


@pytest.mark.parametrize(
    ("shape", "given", "way"),
    [
        (("batch", 3), (3,), "x[None]"),
        (("batch", 3), (3, 4), "x.transpose(1, 0)"),
        ((4, 1), (4,), "x[:, None]"),
        (("batch",), (4, 1), "x.squeeze(1)"),
        (("batch", 3, 8, 9), (2, 8, 9, 3), "x.transpose(0, 3, 1, 2)"),
    ],
)
def test_what_would_fit_is_offered(shape: Any, given: tuple[int, ...], way: str) -> None:
    with pytest.raises(InputShapeError) as caught:
        doubled(shape)(np.zeros(given))
    assert f"\n  what fits: {way}" in str(caught.value)
    assert isinstance(caught.value, ShapeError)


def test_inputs_by_position_are_in_the_order_of_their_declaration() -> None:
    q, k = graphc.input("q", (1,)), graphc.input("k", (1,))
    program = graphc.compile(ops.sub(k, q))
    assert [node.op.name for node in program.inputs] == ["q", "k"]
    assert program([1.0], [10.0])[0].tolist() == [9.0] == program(k=[10.0], q=[1.0])[0].tolist()
    graphc.input("q", (1,))  # declared again: now the last
    assert [n.op.name for n in graphc.compile(ops.sub(k, q)).inputs] == ["k", "q"]
    assert program([1.0], [10.0])[0].tolist() == [9.0]


def test_missing_unknown_and_doubled_inputs_are_named() -> None:
    x, y = graphc.input("x", (3,)), graphc.input("y", (3,))
    program = graphc.compile([x + y])
    with pytest.raises(InputError, match="missing input 'y'"):
        program(numbers(3))
    with pytest.raises(InputError, match="no input 'z'"):
        program(numbers(3), z=numbers(3))
    with pytest.raises(InputError, match=r"no input 'Y'.*Did you mean 'y'"):
        program(numbers(3), Y=numbers(3))
    with pytest.raises(InputError, match="'x' given twice"):
        program(numbers(3), x=numbers(3))
    with pytest.raises(InputError, match="3 inputs given"):
        program(numbers(3), numbers(3), numbers(3))


def test_a_run_time_extent_must_agree_between_inputs() -> None:
    x, y = graphc.input("x", ("batch", 3)), graphc.input("y", ("batch", 3))
    program = graphc.compile([x + y])
    with pytest.raises(InputError, match="batch is 2 in another input and 4 here"):
        program(numbers(2, 3), numbers(4, 3))
    assert program(numbers(0, 3), numbers(0, 3))[0].shape == (0, 3)


def test_an_input_that_was_simplified_away_may_still_be_given() -> None:
    x, y = graphc.input("x", (3,)), graphc.input("y", (3,))
    program = graphc.compile([x + y * 0])
    np.testing.assert_array_equal(program(x=numbers(3), y=numbers(3))[0], numbers(3))
    with pytest.raises(InputError, match="axis 0 must be 3"):
        program(x=numbers(3), y=numbers(4))


def test_an_output_shares_no_memory_with_inputs_or_state() -> None:
    x = graphc.input("x", (3,))
    w = graphc.parameter("w", value=numbers(3))
    program = graphc.compile([x, ops.reshape(x, (3, 1)), w, ops.transpose(ops.reshape(w, (1, 3)))])
    value = numbers(3)
    found = program(value)
    for result in found:
        result[...] = 7
    np.testing.assert_array_equal(value, numbers(3))
    np.testing.assert_array_equal(program(value)[2], numbers(3))


def test_a_transposed_view_of_a_run_time_extent() -> None:
    x = graphc.input("x", ("batch", 3))
    program = graphc.compile([ops.transpose(x), ops.transpose(x * 2)])
    for batch in (1, 2, 5):
        value = numbers(batch, 3)
        same, twice = program(value)
        np.testing.assert_array_equal(same, value.T)
        np.testing.assert_array_equal(twice, 2 * value.T)


def test_a_refusal_says_where_the_input_was_declared() -> None:
    program = doubled((3, 5))
    for value in (numbers(3, 4), numbers(15), np.full((3, 5), "a"), np.full((3, 5), 2**24 + 1)):
        with pytest.raises(InputError, match=r"declared at .*test_binding\.py:\d+"):
            program(value)


def test_an_extent_that_no_input_tells_is_given_by_name() -> None:
    """The gradient of a sum reads nothing of its input but how large it is."""
    x = graphc.input("x", ("n", 3))
    program = graphc.compile(graphc.grad(graphc.sum(x * 2.0), [x]))
    np.testing.assert_array_equal(program(n=2)[0], np.full((2, 3), 2.0))
    np.testing.assert_array_equal(program(n=np.int64(1))[0], np.full((1, 3), 2.0))
    for wrong in ({}, {"n": 1.5}, {"n": -1}):
        with pytest.raises(InputError, match="no input tells the extent 'n': give it by name"):
            program(**wrong)
