"""Reductions against PyTorch: axes, element types, extremes, NaN, and empty axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from graphc import ops
from graphc.autodiff import vjp
from graphc.errors import DTypeError, ShapeError
from graphc.graph.leaf import input
from graphc.graph.node import Node
from graphc.ops.make import fill
from graphc.ops.reference import evaluate
from tests.support import central_differences, random, run, same, single

AXES: list[Any] = [None, 0, -1, (0, 2), (1,), (0, 1, 2)]
SMOOTH = ["sum", "mean", "var", "std", "logsumexp"]


def theirs(torch: Any, name: str, axis: Any, keepdims: bool) -> Any:
    """PyTorch's reduction of that name."""

    def apply(x: Any) -> Any:
        every = tuple(range(x.ndim)) if axis is None else axis
        reduced = getattr(torch, {"max": "amax", "min": "amin"}.get(name, name))
        if name == "prod":
            for a in sorted([every] if isinstance(every, int) else every, reverse=True):
                x = torch.prod(x, a, keepdim=keepdims)
            return x
        return reduced(x, every, keepdim=keepdims)

    return apply


@pytest.mark.parametrize("name", [*SMOOTH, "prod", "max", "min"])
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_equal_pytorch(torch: Any, name: str, axis: Any, keepdims: bool) -> None:
    x = random(3, 4, 2)
    other = theirs(torch, name, axis, keepdims)

    def ours(x: Any) -> Any:
        return getattr(ops, name)(x, axis, keepdims=keepdims)

    same(torch, ours, other, x, order=2 if name in SMOOTH else 1, tolerance=1e-9)
    single(torch, ours, other, x)


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_are_the_central_differences(name: str) -> None:
    central_differences(lambda x: getattr(ops, name)(x, 1), random(3, 5))


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (1, 1)])
@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "logsumexp"])
def test_one_sized_axes(torch: Any, name: str, shape: Any) -> None:
    same(torch, lambda x: getattr(ops, name)(x, 1), theirs(torch, name, 1, False), random(*shape))


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "logsumexp"])
def test_empty_axes_give_the_identity(torch: Any, name: str) -> None:
    function = getattr(ops, name)
    for axis in (0, 1):
        same(
            torch,
            lambda x, axis=axis: function(x, axis),
            theirs(torch, name, axis, False),
            np.zeros((0, 3)),
            order=0,
        )


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_empty_axes_have_no_extremes(name: str) -> None:
    with pytest.raises(ShapeError, match=rf"axis=0 is empty: there is no {name}"):
        getattr(ops, name)(input("x", (0, 3)), 0)
    assert getattr(ops, name)(input("x", (0, 3)), 1).shape == (0,)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
def test_sums_of_integers_are_int64(torch: Any, dtype: str) -> None:
    x = (np.abs(random(3, 40)) * 60).astype(dtype)
    same(torch, lambda x: ops.sum(x, 1), lambda x: x.sum(1), x, order=0)
    same(torch, lambda x: ops.prod(x, 0), lambda x: x.prod(0), x, order=0)
    average = run(lambda x: ops.mean(x, 1), x)
    assert average.dtype == np.float32
    np.testing.assert_allclose(average, x.mean(1), rtol=1e-6)


@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions_equal_pytorch(torch: Any, name: str, axis: Any, keepdims: bool) -> None:
    x = random(3, 4, 2)
    x[0, 1, 1] = math.nan
    same(
        torch,
        lambda x: getattr(ops, name)(x, axis, keepdims=keepdims),
        lambda x: getattr(torch, name)(x, axis, keepdim=keepdims),
        x,
        order=0,
    )


def test_positions_over_several_axes_are_row_major() -> None:
    x = np.zeros((2, 3, 4))
    x[1, 2, 3] = x[1, 1, 1] = 5
    assert run(lambda x: ops.argmax(x, (1, 2)), x).tolist() == [0, 5]
    assert run(lambda x: ops.argmin(x, (0, 2)), x).tolist() == [0, 0, 0]
    assert run(lambda x: ops.argmax(x), x.astype(np.int32)).item() == 17


@pytest.mark.parametrize("name", ["any", "all"])
def test_any_and_all_equal_pytorch(torch: Any, name: str) -> None:
    for x in (random(4, 3) > 0.5, np.eye(3), np.array([[0, 2], [1, 1]]), np.zeros((2, 0))):
        other = getattr(torch, name)
        same(torch, lambda x: getattr(ops, name)(x, 1), lambda x, o=other: o(x, 1), x, order=0)
        same(torch, getattr(ops, name), other, x, order=0)
        kept = run(lambda x: getattr(ops, name)(x, 1, keepdims=True), x)
        assert kept.shape == (x.shape[0], 1)


@pytest.mark.parametrize("order", [2, 1, 0, 3, math.inf, -math.inf, 0.5])
def test_norms_equal_pytorch(torch: Any, order: float) -> None:
    same(
        torch,
        lambda x: ops.norm(x, order, 1),
        lambda x: torch.linalg.vector_norm(x, order, 1),
        random(3, 5),
        order=0 if order == 0 else 1,
    )


@pytest.mark.parametrize("correction", [0, 1, 2.5])
def test_corrections_equal_pytorch(torch: Any, correction: float) -> None:
    for name in ("var", "std"):
        same(
            torch,
            lambda x, name=name: getattr(ops, name)(x, 1, correction=correction),
            lambda x, name=name: getattr(torch, name)(x, 1, correction=correction),
            random(3, 5),
        )
    biased = run(lambda x: ops.var(x, unbiased=False), np.array([1.0, 3.0]))
    assert biased == 1
    assert np.isnan(run(ops.var, np.array([1.0])))


def test_roots_of_zero_have_gradient_zero() -> None:
    for function in (ops.norm, ops.std):

        def gradient(x: Node, function: Any = function) -> Node:
            return vjp([function(x)], [x], [fill(1, function(x).type)])[0]

        assert run(gradient, np.zeros(3)).tolist() == [0, 0, 0]


def test_logsumexp_at_extremes() -> None:
    x = np.array([[1e4, 1e4], [-1e4, -1e4], [-np.inf, -np.inf], [np.inf, 1], [np.nan, 1]])
    found = run(lambda x: ops.logsumexp(x, 1), x.astype(np.float32))
    np.testing.assert_allclose(
        found, [1e4 + math.log(2), -1e4 + math.log(2), -np.inf, np.inf, np.nan], rtol=1e-6
    )


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min", "var", "logsumexp", "norm"])
def test_nan_spreads(name: str) -> None:
    x = np.array([[1.0, math.nan, -math.inf], [1.0, 2.0, 3.0]])
    found = run(lambda x: getattr(ops, name)(x, axis=1), x)
    assert np.isnan(found).tolist() == [True, False]


def test_the_first_extreme_gets_the_gradient() -> None:
    def gradient(x: Node) -> Node:
        return vjp([ops.max(x, 1)], [x], [fill(1, ops.max(x, 1).type)])[0]

    assert run(gradient, np.array([[1.0, 2, 2], [3, 3, 3]])).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_a_zero_in_a_product_does_no_harm(torch: Any) -> None:
    for x in ([[2.0, 0, 3], [0, 0, 5]], [[1.0, 2, 3], [4, 5, 0]]):
        same(torch, lambda x: ops.prod(x, 1), lambda x: x.prod(1), np.array(x), order=1)


def test_means_over_an_extent_known_at_run_time() -> None:
    x = input("x", ("batch", 2), "float64")
    outputs = [ops.mean(x), ops.mean(x, 0), ops.var(x, 0), ops.mean(x, 1), ops.sum(x, 0)]
    assert [o.shape for o in outputs] == [(), (2,), (2,), ("batch",), (2,)]
    for rows in (3, 5):
        value = random(rows, 2)
        found = evaluate(outputs, {"x": value})
        wanted = [value.mean(), value.mean(0), value.var(0, ddof=1), value.mean(1), value.sum(0)]
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b)


def test_reductions_read_as_signatures() -> None:
    x = input("x", (2, 3, 4))
    assert ops.sum(x, 1).op.describe() == "[i0, i2] += x  where x[i0, i1, i2]"
    assert ops.max(x, (0, 2), keepdims=True).shape == (1, 3, 1)
    assert ops.sum(x, ()).shape == (2, 3, 4)


def test_errors_name_the_axis_and_the_shape() -> None:
    x = input("x", (2, 3))
    with pytest.raises(ShapeError, match=r"sum: axis 2 is not in \[-2, 2\)(.|\n)*f32\[2,3\]"):
        ops.sum(x, 2)
    with pytest.raises(ShapeError, match=r"name an axis twice"):
        ops.max(x, (0, -2))
    with pytest.raises(DTypeError, match=r"var: takes a float"):
        ops.var(input("i", (2,), "int32"))
