"""Six defects of a well-known library of the lecture's time, ConvNetJS, that graphc has not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, ops, optim
from graphc.errors import ShapeError

Array = np.ndarray[Any, Any]


def test_the_gradient_of_local_response_normalisation_is_right() -> None:
    """It was not that of the forward pass; here, for n = 3, it is the central differences.

    They are those of a forward pass that is right by numpy.
    """
    x = graphc.input("x", (2, 5, 3), "float64")
    weight = np.linspace(-1, 2, 30).reshape(2, 5, 3)  # so that no two results count alike
    layer = nn.LocalResponseNorm(3, alpha=0.9, beta=0.75, k=1.0)
    value = ops.sum(layer(x) * weight)
    point = np.random.default_rng(0).standard_normal((2, 5, 3))
    near = [point[:, max(i - 1, 0) : i + 2] for i in range(5)]  # each channel and its neighbours
    size = np.stack([1.0 + 0.9 / 3 * np.square(some).sum(1) for some in near], 1)
    np.testing.assert_allclose(graphc.compile(layer(x))(point)[0], point / size**0.75, rtol=1e-14)
    (slope,) = graphc.compile(graphc.grad(value, [x]))(point)
    measure = graphc.compile(value)

    def difference(place: tuple[int, ...]) -> float:
        step = np.zeros_like(point)
        step[place] = 1e-5
        return float(measure(point + step)[0] - measure(point - step)[0]) / 2e-5

    central = np.array([difference(place) for place in np.ndindex(point.shape)])
    assert np.abs(slope.ravel() - central).max() < 1e-6
    assert np.abs(slope).min() > 1e-3  # every element has a slope that could be wrong


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_the_first_step_of_adam_is_the_rate(size: float) -> None:
    """It multiplied by 1 - beta**t what is to be divided by it; the first step is lr*sign(g)."""
    layer = nn.Linear(1, 1, bias=False, dtype="float64")
    before = layer.weight.value.copy()

    def loss(prediction: Any, target: Any) -> Any:
        return ops.sum(prediction * target)

    shapes = {"x": (1, 1)}, {"y": (1, 1)}
    step = graphc.compile_train_step(layer, loss, optim.Adam(0.01), *shapes)
    step(x=np.ones((1, 1)), y=np.full((1, 1), size))
    np.testing.assert_allclose(before - layer.weight.value, 0.01, rtol=2e-4)  # eps beside 1e-4


def test_dropout_keeps_the_mean() -> None:
    """What is kept in training is divided by 1 - p, so that evaluation needs no factor."""
    x = graphc.input("x", (200_000,))
    ones = np.ones(200_000, np.float32)
    layer = nn.Dropout(0.3)
    (trained,) = graphc.compile(layer.train()(x))(ones)
    (evaluated,) = graphc.compile(layer.eval()(x))(ones)
    assert 0.29 < (trained == 0).mean() < 0.31
    assert abs(trained.mean() - evaluated.mean()) < 0.01
    np.testing.assert_array_equal(evaluated, ones)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tanh_of_400_is_1(dtype: str) -> None:
    """(exp(2x) - 1)/(exp(2x) + 1) is infinity by infinity, and so was its gradient."""
    x = graphc.input("x", (2,), dtype)
    y = ops.tanh(x)
    (slope,) = graphc.grad(ops.sum(y), [x])
    found, slopes = graphc.compile([y, slope])(np.array([400.0, -400.0]))
    assert found.tolist() == [1.0, -1.0]
    assert slopes.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("padding", [0, 1])
def test_max_pooling_knows_values_below_any_constant(padding: int) -> None:
    """The search began at -99999, so that lower values were lost, and their gradient too."""
    x = graphc.input("x", (1, 1, 4, 4))
    y = ops.max_pool2d(x, 2, padding=padding)
    (slope,) = graphc.grad(ops.sum(y), [x])
    values = -1e6 - np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    found, slopes = graphc.compile([y, slope])(values)
    assert found.max() == -1e6  # the first element is the largest
    assert (found <= -1e6).all()
    assert slopes.sum() == found.size
    assert slopes[0, 0, 0, 0] == 1


@pytest.mark.parametrize("batch", [1, 2])
def test_a_window_for_each_result_of_one_channel_is_searched(batch: int) -> None:
    """Only the window was left for lanes, which a search has none of: KeyError."""
    x = graphc.input("x", (batch, 1, 4, 4))
    y = ops.max_pool2d(x, 2, padding=1)
    (slope,) = graphc.grad(ops.sum(y), [x])
    values = np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
    for found, wanted in zip(
        graphc.compile([y, slope])(values), graphc.evaluate([y, slope], {"x": values}), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)


def test_a_size_that_does_not_fit_is_no_silent_floor() -> None:
    """(7 - 3)/3 became 1 without a word; here it is an error, unless floor is asked for."""
    x = graphc.input("x", (1, 1, 7, 7))
    with pytest.raises(ShapeError, match=r"\(7 - 3\)/3 is not a whole number"):
        nn.Conv2d(1, 1, 3, stride=3)(x)
    with pytest.raises(ShapeError, match=r"\(7 - 2\)/2 is not a whole number"):
        nn.MaxPool2d(2)(x)
    assert nn.Conv2d(1, 1, 3, stride=3, floor=True)(x).shape == (1, 1, 2, 2)
    assert nn.MaxPool2d(2, floor=True)(x).shape == (1, 1, 3, 3)
