"""Initial values: torch's distributions, repeatable by seed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import InputError, ShapeError
from graphc.nn import init

Array = np.ndarray[Any, Any]


def uniform_within(array: Array, bound: float) -> None:
    """Held by the bound, the mean and the variance of a uniform distribution."""
    assert np.abs(array).max() <= bound * (1 + 1e-6)
    assert np.abs(array).max() > 0.9 * bound
    assert abs(array.mean()) < 4 * bound / math.sqrt(3 * array.size)
    assert array.std() == pytest.approx(bound / math.sqrt(3), rel=0.15)


def test_defaults_are_torch_s() -> None:
    """Uniform within 1/sqrt(fan in) or 1/sqrt(hidden); Xavier for attention; normal for tables."""
    graphc.seed(0)
    linear = nn.Linear(64, 100)
    uniform_within(linear.weight.value, 1 / 8)
    uniform_within(linear.bias.value, 1 / 8)
    conv = nn.Conv2d(8, 64, 3, groups=2)
    uniform_within(conv.weight.value, 1 / 6)
    uniform_within(conv.bias.value, 1 / 6)
    transposed = nn.ConvTranspose2d(8, 16, 3)
    uniform_within(transposed.weight.value, 1 / 12)
    for parameter in nn.LSTM(5, 16).parameters():
        uniform_within(parameter.value, 1 / 4)
    attention = nn.MultiheadAttention(32, 4)
    uniform_within(attention.in_proj_weight.value, math.sqrt(6 / (4 * 32)))
    assert not attention.in_proj_bias.value.any() and not attention.out_proj.bias.value.any()
    table = nn.Embedding(100, 30, padding_idx=3).weight.value
    assert table.std() == pytest.approx(1, rel=0.1) and not table[3].any()


def test_drawing_in_blocks_draws_the_same() -> None:
    """Numbers and the generator's place afterwards are those of one draw of the whole."""
    shape = (3, init.BLOCK - 5)
    for fill, name in ((init.uniform_, "uniform"), (init.normal_, "normal")):
        whole, parts = (np.random.Generator(np.random.Philox(7)) for _ in range(2))
        expected = getattr(whole, name)(-0.5, 2.0, shape).astype(np.float32)
        drawn = np.zeros(shape, np.float32)
        fill(drawn, -0.5, 2.0, rng=parts)
        assert np.array_equal(drawn, expected)
        apart = np.zeros((*shape, 2), np.float32)[..., 0]
        fill(apart, -0.5, 2.0, rng=parts)
        assert np.array_equal(apart, getattr(whole, name)(-0.5, 2.0, shape).astype(np.float32))


def test_fans_equal_torch(torch: Any) -> None:
    """Bounds of the functions, by what torch would draw."""
    weight = nn.Parameter(np.zeros((40, 30, 3)))
    theirs = torch.empty(40, 30, 3)
    cases: list[tuple[str, dict[str, Any]]] = [
        ("xavier_uniform_", {"gain": 2.0}),
        ("kaiming_uniform_", {"mode": "fan_out", "nonlinearity": "relu"}),
        ("xavier_normal_", {}),
        ("kaiming_normal_", {"a": 0.2}),
    ]
    for name, options in cases:
        getattr(init, name)(weight, **options)
        getattr(torch.nn.init, name)(theirs, **options)
        assert weight.value.std() == pytest.approx(theirs.std().item(), rel=0.06), name
    for name in ("relu", "tanh", "selu", "linear"):
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


def test_functions() -> None:
    """Orthogonal rows or columns, truncation, constants."""
    for shape in ((4, 7), (7, 4), (3, 2, 2)):
        weight = nn.Parameter(np.zeros(shape))
        init.orthogonal_(weight, gain=2.0)
        flat = weight.value.reshape(shape[0], -1)
        gram = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
        np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-12)
    array = np.zeros(1000)
    init.trunc_normal_(array, std=2.0)
    assert np.abs(array).max() <= 2
    init.ones_(array)
    assert array.all()
    square = nn.Parameter(np.zeros((2, 3)))
    init.eye_(square)
    np.testing.assert_array_equal(square.value, np.eye(2, 3))


def test_a_seed_repeats_the_model() -> None:
    """Whatever was drawn before; and layers differ from each other."""

    def model() -> dict[str, Array]:
        return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).state_dict()

    graphc.seed(5)
    one = model()
    graphc.seed(5)
    two = model()
    three = model()
    np.testing.assert_array_equal(one["0.weight"], two["0.weight"])
    assert (one["0.weight"] != one["1.weight"]).all()
    assert (one["0.weight"] != three["0.weight"]).all()


def test_errors() -> None:
    """What has no fan, gain or mode."""
    with pytest.raises(ShapeError, match="two axes"):
        init.xavier_uniform_(np.zeros(3))
    with pytest.raises(InputError, match="no gain for 'gelu'"):
        init.calculate_gain("gelu")
    with pytest.raises(InputError, match="fan_in"):
        init.kaiming_normal_(np.zeros((2, 2)), mode="both")
