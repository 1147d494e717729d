"""Generated points: types, determinism, and the shapes that the formulas promise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from graphc.data import circle, gaussians, moons, spiral, xor
from graphc.errors import InputError

Generate = Callable[..., tuple[NDArray[np.float32], NDArray[np.int64]]]

GENERATORS: tuple[Generate, ...] = (circle, xor, gaussians, spiral, moons)


@pytest.mark.parametrize("generate", GENERATORS)
@pytest.mark.parametrize("n", [2, 7, 500])
def test_types_and_shapes(generate: Generate, n: int) -> None:
    for noise in (0.0, 0.3):
        x, y = generate(n, noise=noise)
        assert (x.shape, x.dtype.name, y.shape, y.dtype.name) == ((n, 2), "float32", (n,), "int64")
        assert x.flags.c_contiguous and np.isfinite(x).all() and set(y.tolist()) <= {0, 1}


@pytest.mark.parametrize("generate", GENERATORS)
def test_a_function_of_its_arguments(generate: Generate) -> None:
    x, y = generate(50, noise=0.1, seed=3)
    again_x, again_y = generate(50, noise=0.1, seed=3)
    np.testing.assert_array_equal(x, again_x)
    np.testing.assert_array_equal(y, again_y)
    assert not np.array_equal(x, generate(50, noise=0.1, seed=4)[0])


@pytest.mark.parametrize("generate", GENERATORS)
def test_classes_are_mixed_and_even(generate: Generate) -> None:
    _, y = generate(400, noise=0.0)
    assert abs(int(y.sum()) - 200) <= (40 if generate is xor else 0)
    assert 50 < y[:200].sum() < 150


@pytest.mark.parametrize("generate", GENERATORS)
def test_arguments_out_of_range(generate: Generate) -> None:
    for wrong in ({"n": 1}, {"noise": -0.1}, {"noise": float("nan")}, {"seed": -1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            generate(**wrong)


def test_circle() -> None:
    x, y = circle(1000)
    radius = np.hypot(*x.T)
    assert radius[y == 1].max() <= 2.5 and radius[y == 0].min() >= 3.5 and radius.max() <= 5
    assert radius[y == 1].min() < 0.1  # the radius is uniform, not the area


def test_xor() -> None:
    x, y = xor(1000)
    np.testing.assert_array_equal(y, x[:, 0] * x[:, 1] > 0)
    assert np.abs(x).min() >= 0.3 and np.abs(x).max() <= 5.3


@pytest.mark.parametrize("generate", [circle, xor])
def test_noise_blurs_the_labels_and_moves_no_point(generate: Generate) -> None:
    x, y = generate(1000, seed=1)
    noisy_x, noisy_y = generate(1000, noise=0.5, seed=1)
    np.testing.assert_array_equal(x, noisy_x)
    assert 50 < (y != noisy_y).sum() < 500


@pytest.mark.parametrize(("noise", "variance"), [(0.0, 0.5), (0.5, 4.0)])
def test_gaussians(noise: float, variance: float) -> None:
    x, y = gaussians(20_000, noise=noise)
    for label, centre in ((1, 2.0), (0, -2.0)):
        np.testing.assert_allclose(x[y == label].mean(axis=0), centre, atol=0.1)
        np.testing.assert_allclose(x[y == label].var(axis=0), variance, rtol=0.05)


def test_spiral() -> None:
    x, y = spiral(200)
    for label, turned in ((1, 0.0), (0, np.pi)):
        arm = x[y == label]
        arm = arm[np.argsort(np.hypot(*arm.T))]
        part = np.arange(100) / 100
        angle = 2 * np.pi * 1.75 * part + turned
        expected = np.stack((5 * part * np.sin(angle), 5 * part * np.cos(angle)), axis=1)
        np.testing.assert_allclose(arm, expected, atol=1e-6)
    moved = np.abs(spiral(200, noise=0.5)[0]).max()
    assert 4.5 < moved <= 5.5


def test_moons_are_those_of_scikit_learn() -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="compares with make_moons")
    for n in (100, 101):
        x, y = moons(n, noise=0.0)
        expected_x, expected_y = datasets.make_moons(n, shuffle=False)
        for label in (0, 1):
            ours, theirs = x[y == label], expected_x[expected_y == label]
            order, reference = np.argsort(ours[:, 0]), np.argsort(theirs[:, 0])
            np.testing.assert_allclose(ours[order], theirs[reference], atol=1e-6)
