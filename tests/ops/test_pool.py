"""Pools against PyTorch: paddings, rests, ties, and what does not divide."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from graphc import ops
from graphc.autodiff import vjp
from graphc.errors import ShapeError
from graphc.graph.leaf import input
from graphc.graph.node import Node
from graphc.ops.make import fill
from tests.support import central_differences, random, run, same, single

IMAGE = (2, 3, 7, 6)
CASES: list[tuple[tuple[int, ...], Any, dict[str, Any]]] = [
    (IMAGE, (3, 2), {"stride": 2}),
    (IMAGE, (2, 2), {"stride": (5, 4)}),
    (IMAGE, 3, {"stride": (2, 3), "padding": (0, 1), "floor": True}),
    (IMAGE, 3, {"stride": 2, "padding": 1, "ceil_mode": True}),
    (IMAGE, 2, {"stride": 3, "ceil_mode": True}),
    (IMAGE, 2, {"floor": True}),
    (IMAGE, 1, {}),
    (IMAGE, (7, 6), {}),
    ((3, 7, 6), (3, 2), {"stride": (4, 2)}),
    ((0, 3, 4, 4), 2, {}),
    ((2, 3, 8), 2, {}),
    ((2, 3, 8), 3, {"stride": 1, "padding": 1}),
    ((1, 2, 4, 4, 6), 2, {}),
    ((1, 2, 3, 4, 5), (2, 3, 2), {"stride": 2, "padding": 1, "floor": True}),
]


def rank(image: tuple[int, ...]) -> int:
    """The number of spatial axes."""
    return 2 if image == (3, 7, 6) else len(image) - 2


def theirs(torch: Any, name: str, size: Any, options: dict[str, Any]) -> Any:
    """PyTorch's pool; it drops the rest without being asked."""
    given = {k: v for k, v in options.items() if k != "floor"}
    return lambda x: getattr(torch.nn.functional, name)(x, size, **given)


@pytest.mark.parametrize(("image", "size", "options"), CASES)
def test_max_pools_equal_pytorch(torch: Any, image: Any, size: Any, options: Any) -> None:
    name = f"max_pool{rank(image)}d"
    x = random(*image)

    def ours(x: Any) -> Any:
        return getattr(ops, name)(x, size, **options)

    same(torch, ours, theirs(torch, name, size, options), x, order=1)
    single(torch, ours, theirs(torch, name, size, options), x)


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize(("image", "size", "options"), CASES)
def test_average_pools_equal_pytorch(
    torch: Any, image: Any, size: Any, options: Any, count_include_pad: bool
) -> None:
    name = f"avg_pool{rank(image)}d"
    options = {**options, "count_include_pad": count_include_pad}

    def ours(x: Any) -> Any:
        return getattr(ops, name)(x, size, **options)

    same(torch, ours, theirs(torch, name, size, options), random(*image), order=1)
    single(torch, ours, theirs(torch, name, size, options), random(*image))


def test_pools_without_channels_are_empty() -> None:
    assert run(lambda x: ops.max_pool2d(x, 2), np.zeros((2, 0, 4, 4))).shape == (2, 0, 2, 2)
    assert run(lambda x: ops.avg_pool2d(x, 2), np.zeros((2, 0, 4, 4))).shape == (2, 0, 2, 2)


def test_dilated_max_pool_equals_pytorch(torch: Any) -> None:
    options = {"stride": 1, "dilation": 2, "padding": 1}
    same(
        torch,
        lambda x: ops.max_pool2d(x, 2, **options),
        theirs(torch, "max_pool2d", 2, options),
        random(*IMAGE),
        order=1,
    )


def pooled_gradient(x: Node) -> Node:
    """The gradient of the sum of a padded max pool."""
    y = ops.max_pool2d(x, 2, padding=1, stride=2)
    return vjp([y], [x], [fill(1, y.type)])[0]


def test_padding_never_wins_a_maximum() -> None:
    low = np.full((1, 1, 4, 4), -1e30)
    low[0, 0, 1, 1] = -math.inf
    pooled = run(lambda x: ops.max_pool2d(x, 2, padding=1, stride=2), low)
    assert (pooled == -1e30).all()
    nothing = np.full((1, 1, 2, 2), -math.inf)
    assert run(pooled_gradient, nothing)[0, 0].tolist() == [[1, 1], [1, 1]]


def test_a_tie_sends_its_gradient_to_the_first_maximum() -> None:
    def gradient(x: Node) -> Node:
        y = ops.max_pool2d(x, 2)
        return vjp([y], [x], [fill(1, y.type)])[0]

    assert run(gradient, np.zeros((1, 1, 2, 4)))[0, 0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0]]


def test_nan_is_the_largest_and_spreads_in_averages() -> None:
    x = np.zeros((1, 1, 2, 4))
    x[0, 0, 1, 0] = math.nan
    for pool in (ops.max_pool2d, ops.avg_pool2d):
        assert np.isnan(run(lambda x, pool=pool: pool(x, 2), x)).ravel().tolist() == [True, False]


def test_integers() -> None:
    x = np.arange(16).reshape(1, 1, 4, 4).astype(np.int32)
    assert run(lambda x: ops.max_pool2d(x, 2), -x)[0, 0].tolist() == [[0, -2], [-8, -10]]
    average = run(lambda x: ops.avg_pool2d(x, 2), x)
    assert average.dtype == np.float32
    assert average[0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]


def test_a_batch_known_at_run_time() -> None:
    x = input("x", ("batch", 3, 4, 4))
    assert ops.max_pool2d(x, 2).shape == ops.avg_pool2d(x, 2).shape == ("batch", 3, 2, 2)
    assert ops.max_pool2d(x, 2).op.describe() == (
        "[n, c, h, w] max= x  where x[n, c, 2*h + r, s + 2*w]"
    )
    assert ops.avg_pool2d(x, 2).op.describe() == (
        "[n, c, h, w] += x/4  where x[n, c, 2*h + r, s + 2*w]"
    )


@pytest.mark.parametrize("size", [1, (2, 3), (4, 6), (4, 1)])
def test_adaptive_pools_equal_pytorch(torch: Any, size: Any) -> None:
    functional, x = torch.nn.functional, random(2, 3, 4, 6)
    same(
        torch,
        lambda x: ops.adaptive_avg_pool(x, size),
        lambda x: functional.adaptive_avg_pool2d(x, size),
        x,
        order=1,
    )
    same(
        torch,
        lambda x: ops.adaptive_max_pool(x, size),
        lambda x: functional.adaptive_max_pool2d(x, size),
        x,
        order=1,
    )


def test_global_pools_equal_pytorch(torch: Any) -> None:
    x = random(2, 3, 4, 6)
    same(torch, ops.global_avg_pool, lambda x: x.mean((2, 3)), x)
    same(torch, ops.global_max_pool, lambda x: x.amax((2, 3)), x, order=1)
    kept = run(lambda x: ops.global_avg_pool(x, keepdims=True), x)
    assert kept.shape == (2, 3, 1, 1)


def test_second_derivative_through_pools() -> None:
    central_differences(lambda x: ops.avg_pool2d(x * x * x, 2, padding=1), random(1, 2, 4, 4))
    central_differences(lambda x: ops.max_pool2d(x * x * x, 2), random(1, 2, 4, 4))


@pytest.mark.parametrize(
    ("image", "size", "options", "problem"),
    [
        ((1, 1, 7, 7), 2, {}, "2x2 window to a 7x7 input with stride 2: (7 - 2)/2 is not a whole"),
        ((1, 1, 7, 7), 2, {}, "floor=True drops the rest; ceil_mode=True keeps it"),
        ((1, 1, 7, 7), 8, {}, "it spans 8, the input 7"),
        ((1, 1, 6, 6), 2, {"padding": 2}, "padding=2 is not less than the window's extent 2"),
        ((1, 1, 6, 6), 0, {}, "kernel_size=0 must be a number of at least 1"),
        ((6, 6), 2, {}, "not the 2 axes of f32[6,6]"),
    ],
)
def test_what_does_not_fit_is_refused(image: Any, size: Any, options: Any, problem: str) -> None:
    with pytest.raises(ShapeError, match=re.escape(problem)):
        ops.max_pool2d(input("x", image), size, **options)


def test_adaptive_sizes_must_divide() -> None:
    problem = "5x6 cannot be cut into 2x2 equal blocks: 5 is no multiple of 2"
    with pytest.raises(ShapeError, match=problem):
        ops.adaptive_avg_pool(input("x", (1, 1, 5, 6)), 2)
