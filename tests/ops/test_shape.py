"""Ops of shapes against numpy and PyTorch: arranging, slicing, joining, padding, creating."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.autodiff import grad
from graphc.errors import DTypeError, IndexError, ShapeError
from graphc.graph.leaf import input
from graphc.graph.node import Node
from graphc.llvm import targets
from graphc.ops import create, join, reduce, shape, slicing
from graphc.ops.reference import evaluate
from tests.support import random, run, same

X = random(2, 3, 4)
EMPTY = random(2, 0, 4)
RESHAPES = [
    (6, 4),
    (24,),
    (2, 12),
    (4, 6),
    (3, 8),
    (2, 2, 6),
    (2, 3, 2, 2),
    (1, 2, 3, 1, 4),
    (8, -1),
]


@pytest.mark.parametrize("target", RESHAPES)
def test_reshape(torch: Any, target: tuple[int, ...]) -> None:
    same(torch, lambda x: shape.reshape(x, target), lambda x: x.reshape(target), X, order=1)


def test_reshape_is_one_formula_where_axes_align() -> None:
    """Merged axes are written at a compound index, divided ones read at one."""
    x = input("x", (2, 3, 4, 5))
    merged = shape.flatten(x, 1)
    assert merged.op.describe() == "[i0, 20*i1 + 5*i2 + i3] += x  where x[i0, i1, i2, i3]"
    assert merged.inputs == (x,)
    divided = shape.reshape(merged, x.shape)
    assert divided.op.describe() == "[i0, i1, i2, i3] = x  where x[i0, 20*i1 + 5*i2 + i3]"
    assert shape.reshape(x, x.shape) is x


def test_reshape_keeps_a_run_time_extent() -> None:
    x = input("x", ("batch", 3, 4))
    assert shape.reshape(x, (-1, 12)).shape == ("batch", 12)
    assert shape.reshape(x, ("batch", -1, 2)).shape == ("batch", 6, 2)
    assert shape.flatten(x, 1).shape == ("batch", 12)
    for target in [(12, "batch"), (-1,), ("batch", 5), (3, "batch", 4), (7, "batch", -1)]:
        with pytest.raises(ShapeError, match="'batch' must stay an axis by itself"):
            shape.reshape(x, target)
    with pytest.raises(ShapeError, match="cannot be merged"):
        shape.flatten(x)
    with pytest.raises(ShapeError, match="24 elements against 5"):
        shape.reshape(input("y", (2, 3, 4)), (5, -1))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (shape.transpose, np.transpose),
        (lambda x: shape.transpose(x, 2, 0, 1), lambda x: np.transpose(x, (2, 0, 1))),
        (lambda x: shape.permute(x, (1, 2, 0)), lambda x: np.transpose(x, (1, 2, 0))),
        (lambda x: shape.swapaxes(x, 0, -1), lambda x: np.swapaxes(x, 0, -1)),
        (lambda x: shape.moveaxis(x, 0, -1), lambda x: np.moveaxis(x, 0, -1)),
        (lambda x: shape.moveaxis(x, (0, 1), (1, 2)), lambda x: np.moveaxis(x, (0, 1), (1, 2))),
        (shape.flatten, np.ravel),
        (lambda x: shape.expand_dims(x, (0, -1)), lambda x: np.expand_dims(x, (0, -1))),
        (
            lambda x: shape.broadcast_to(x, (5, *x.shape)),
            lambda x: np.broadcast_to(x, (5, *x.shape)),
        ),
        (lambda x: x[-1], lambda x: x[-1]),
        (lambda x: x[..., 1:3], lambda x: x[..., 1:3]),
        (lambda x: x[:, :, ::-1], lambda x: x[:, :, ::-1]),
        (lambda x: x[1, None, :, 3:0:-2], lambda x: x[1, None, :, 3:0:-2]),
        (lambda x: x[:, 5:], lambda x: x[:, 5:]),
        (lambda x: x[..., -3::2, None], lambda x: x[..., -3::2, None]),
        (slicing.flip, np.flip),
        (lambda x: slicing.flip(x, -1), lambda x: np.flip(x, -1)),
        (lambda x: join.roll(x, 3, 2), lambda x: np.roll(x, 3, 2)),
        (lambda x: join.roll(x, -1, 0), lambda x: np.roll(x, -1, 0)),
        (lambda x: join.tile(x, (3, 1, 2)), lambda x: np.tile(x, (3, 1, 2))),
        (lambda x: join.tile(x, (2, 1, 1, 1)), lambda x: np.tile(x, (2, 1, 1, 1))),
        (lambda x: join.tile(x, 0), lambda x: np.tile(x, 0)),
        (lambda x: join.repeat(x, 3, 1), lambda x: np.repeat(x, 3, 1)),
        (lambda x: join.pad(x, 1), lambda x: np.pad(x, 1)),
        (
            lambda x: join.pad(x, ((0, 2), (1, 0), (3, 1)), value=5),
            lambda x: np.pad(x, ((0, 2), (1, 0), (3, 1)), constant_values=5),
        ),
        (create.tril, np.tril),
        (lambda x: create.triu(x, 1), lambda x: np.triu(x, 1)),
        (lambda x: join.concat([x, x[:, :1], x], 1), lambda x: np.concatenate([x, x[:, :1], x], 1)),
        (lambda x: join.stack([x, x], -1), lambda x: np.stack([x, x], -1)),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("empty", [False, True])
def test_as_numpy(
    ours: Callable[[Node], Node], theirs: Callable[[Any], Any], dtype: str, empty: bool
) -> None:
    """Values of every dtype, zero-sized too; the gradient sends each element home once."""
    x = (EMPTY if empty else np.arange(24).reshape(2, 3, 4) + 1).astype(dtype)
    found, wanted = run(ours, x), theirs(x)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)
    if dtype == "float64":
        node = input("x0", x.shape, "float64")
        y = ours(node)
        weights = random(*wanted.shape)
        (slope,) = grad(reduce.sum(y * weights), [node])
        back = np.zeros(x.shape)
        origin = theirs(np.arange(1.0, 1 + x.size).reshape(x.shape)).astype(int)
        made = wanted != theirs(np.zeros(x.shape))
        np.add.at(back.reshape(-1), origin[made] - 1, weights[made])
        np.testing.assert_allclose(evaluate([slope], {"x0": x})[0], back)


@pytest.mark.parametrize("mode", ["reflect", "edge"])
@pytest.mark.parametrize("widths", [(0, 0), (1, 0), (0, 2), (2, 2)])
def test_pad_modes(mode: str, widths: tuple[int, int]) -> None:
    each = ((0, 0), (1, 2), widths)
    for x in (X, np.arange(24).reshape(2, 3, 4), X > 0):
        np.testing.assert_array_equal(
            run(lambda x: join.pad(x, each, mode), x), np.pad(x, each, mode)
        )


def test_pad_reflect_gradient(torch: Any) -> None:
    def theirs(x: Any) -> Any:
        return torch.nn.functional.pad(x, (2, 1), mode="reflect")

    same(torch, lambda x: join.pad(x, ((0, 0), (0, 0), (2, 1)), "reflect"), theirs, X)


def test_negative_width_takes_away() -> None:
    found = run(lambda x: join.pad(x, ((0, 0), (-1, 1), (0, -2))), X)
    np.testing.assert_array_equal(found, np.pad(X[:, 1:, :-2], ((0, 0), (0, 1), (0, 0))))


def test_joins_keep_nan_and_infinity_in_place() -> None:
    x = np.array([np.nan, np.inf, 1.0])
    y = np.array([-np.inf, 2.0])
    found = run(lambda x, y: join.concat([x, y]), x, y)
    np.testing.assert_array_equal(found, np.concatenate([x, y]))
    found = run(lambda x: join.pad(x, 1, value=np.inf), x)
    np.testing.assert_array_equal(found, np.pad(x, 1, constant_values=np.inf))
    masked = run(create.tril, np.full((2, 2), np.nan))
    np.testing.assert_array_equal(masked, np.array([[np.nan, 0], [np.nan, np.nan]]))


def test_split_and_unstack() -> None:
    first, second = run(lambda x: slicing.split(x, [1, 3], 2), X)
    np.testing.assert_array_equal(first, X[..., :1])
    np.testing.assert_array_equal(second, X[..., 1:])
    for found, wanted in zip(
        run(lambda x: slicing.split(x, 3, 1), X), np.split(X, 3, 1), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)
    for k, found in enumerate(run(lambda x: slicing.unstack(x, 1), X)):
        np.testing.assert_array_equal(found, X[:, k])
    with pytest.raises(ShapeError, match="4/3 is not a whole number"):
        run(lambda x: slicing.split(x, 3, 2), X)
    with pytest.raises(ShapeError, match="do not add up to 4"):
        run(lambda x: slicing.split(x, [1, 2], 2), X)


def test_joins_under_a_run_time_batch() -> None:
    x = input("x", ("batch", 2))
    y = join.concat([x, join.pad(x, ((0, 0), (1, 0)))], 1)
    assert y.shape == ("batch", 5)
    array = random(3, 2).astype("float32")
    wanted = np.concatenate([array, np.zeros((3, 1)), array], 1)
    np.testing.assert_array_equal(evaluate([y], {"x": array})[0], wanted)
    for wrong in (
        lambda: x[1:],
        lambda: x[0],
        lambda: slicing.flip(x, 0),
        lambda: join.concat([x, x]),
    ):
        with pytest.raises(ShapeError, match="run-time extent 'batch'"):
            wrong()


def test_index_by_a_node(torch: Any) -> None:
    where = np.array([[0, 2], [2, 2]])
    same(torch, lambda x, i: x[:, i], lambda x, i: x[:, i], X, where)
    same(torch, lambda x, i: x[1, i, ::2], lambda x, i: x[1][:, ::2][i], X, where)


def test_created() -> None:
    values = evaluate(
        [
            create.arange(5),
            create.arange(5, 0, -2),
            create.arange(0.5, 2, 0.5, dtype="float64"),
            create.eye(2, 3, 1),
            create.iota((2, 3), 1),
            create.full((2,), float("inf")),
            create.ones_like(input("x", (2, 1), "int32")),
        ]
    )
    wanted = [
        np.arange(5),
        np.arange(5, 0, -2),
        np.arange(0.5, 2, 0.5),
        np.eye(2, 3, 1, dtype="float32"),
        np.array([[0, 1, 2]] * 2),
        np.full(2, np.inf, "float32"),
        np.ones((2, 1), "int32"),
    ]
    for found, right in zip(values, wanted, strict=True):
        np.testing.assert_array_equal(found, right)
        assert found.dtype == right.dtype
    assert create.zeros(("batch", 2)).shape == ("batch", 2)


def test_errors() -> None:
    x = input("x", (2, 3))
    with pytest.raises(IndexError, match=r"index 3 on axis 1 is not in \[-3, 3\)"):
        x[0, 3]
    with pytest.raises(ShapeError, match="too many entries"):
        x[0, 0, 0]
    with pytest.raises(ShapeError, match=r"axis 2 is not in \[-2, 2\)"):
        shape.moveaxis(x, 2, 0)
    with pytest.raises(ShapeError, match="does not broadcast"):
        shape.broadcast_to(x, (2, 2, 2))
    with pytest.raises(ShapeError, match="all axes but 0 must agree"):
        join.concat([x, input("y", (2, 2))])
    with pytest.raises(DTypeError, match="cast the operands to float32"):
        join.concat([x, input("y", (2, 3), "int32")])
    with pytest.raises(ShapeError, match="reflect cannot pad axis 0 of extent 2"):
        join.pad(x, 2, "reflect")
    with pytest.raises(ShapeError, match="not 1"):
        shape.squeeze(x, 0)


@pytest.mark.parametrize("axis", ["a", 1.0, None])
def test_an_axis_is_a_whole_number(axis: Any) -> None:
    x = graphc.input("x", (2, 3))
    with pytest.raises(DTypeError, match=f"squeeze: axis {axis!r} is no whole number"):
        ops.squeeze(x, axis) if axis is not None else ops.squeeze(x, [axis])
    assert ops.flip(x, np.int64(1)) is ops.flip(x, 1)


def test_numpys_numbers_are_sizes_and_axes() -> None:
    """Where a size, an axis or an index is expected; and roll takes several of them."""
    four, three = np.int64(4), np.int64(3)
    x = input("x", (three, four))
    assert x.shape == (3, 4) and all(type(e) is int for e in x.shape)
    assert ops.reshape(x, (four, three)).shape == ops.full((four, three), 1).shape == (4, 3)
    assert ops.sum(x, np.int64(0)).shape == (4,)
    assert ops.expand_dims(x, np.int64(0)).shape == (1, 3, 4)
    assert x[np.int64(1)].shape == (4,) and len(ops.split(x, np.int64(2), np.int64(1))) == 2
    image, kernel = input("image", (1, 1, 5, 5)), input("kernel", (1, 1, 3, 3))
    assert ops.conv2d(image, kernel, stride=np.int64(2)).shape == (1, 1, 2, 2)
    given = np.arange(12, dtype=np.float32).reshape(3, 4)
    (found,) = evaluate([ops.roll(x, (1, 2), (0, 1))], {"x": given})
    np.testing.assert_array_equal(found, np.roll(given, (1, 2), (0, 1)))
    with pytest.raises(ShapeError, match="1 shifts for the axes"):
        ops.roll(x, (1,), (0, 1))


@pytest.mark.parametrize("target", [None, "sse2"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8"])
def test_blocks_are_turned_over_in_registers(dtype: str, target: str | None) -> None:
    """Blocks of every element's size, several of them, and what remains beside them."""
    if not targets.target(target).native:
        pytest.skip(f"this machine does not run {target}")
    given = np.arange(70 * 100).astype(dtype).reshape(70, 100)
    program = graphc.compile(ops.transpose(input("x", (70, 100), dtype), (1, 0)), target=target)
    assert "turned over in registers" in program.explain("k00")
    assert np.array_equal(program(given)[0], given.T)
