"""Generated points of the plane in two classes: small problems that show what a network can do.

Every function returns (x, y): x float32 of shape (n, 2), y int64 of shape (n,), 0 or 1. The
points are in shuffled order and a function of the arguments alone. Each raises InputError for n
below 2, a negative noise or a negative seed.

circle, xor, gaussians and spiral follow the TensorFlow playground (Smilkov, Carter et al.,
https://github.com/tensorflow/playground, src/dataset.ts), whose slider for noise runs from 0 to
0.5; moons follows scikit-learn.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from graphc.data.sampling import generator
from graphc.errors import InputError

Points = tuple[NDArray[np.float32], NDArray[np.int64]]
Floats = NDArray[np.float64]

RADIUS = 5.0
PADDING = 0.3
TURNS = 1.75


def circle(n: int = 500, *, noise: float = 0.0, seed: int = 0) -> Points:
    """A disc of radius 2.5, label 1, in a ring from 3.5 to 5, label 0, half of the points each.

    Radius and angle are uniform. The noise moves no point: it blurs the labels. Each is decided by
    whether the point, moved by up to 5*noise along each axis, lies within 2.5 of the centre.
    """
    rng = _start(n, noise, seed)
    inside = n - n // 2
    radius = np.concatenate(
        (
            rng.uniform(0, RADIUS / 2, inside),
            rng.uniform(0.7 * RADIUS, RADIUS, n - inside),
        )
    )
    angle = rng.uniform(0, 2 * math.pi, n)
    x = radius[:, None] * np.stack((np.sin(angle), np.cos(angle)), axis=1)
    moved = x + noise * rng.uniform(-RADIUS, RADIUS, (n, 2))
    return _finish(rng, x, np.hypot(moved[:, 0], moved[:, 1]) < RADIUS / 2)


def xor(n: int = 500, *, noise: float = 0.0, seed: int = 0) -> Points:
    """A square of four quadrants, label 1 where the coordinates agree in sign, 0 elsewhere.

    Coordinates are uniform in [-5, 5], then pushed 0.3 away from the axes. The noise blurs the
    labels: each is that of the point moved by up to 5*noise along each axis.
    """
    rng = _start(n, noise, seed)
    x = rng.uniform(-RADIUS, RADIUS, (n, 2))
    x += np.where(x > 0, PADDING, -PADDING)
    moved = x + noise * rng.uniform(-RADIUS, RADIUS, (n, 2))
    return _finish(rng, x, moved[:, 0] * moved[:, 1] >= 0)


def gaussians(n: int = 500, *, noise: float = 0.0, seed: int = 0) -> Points:
    """Normal clouds around (2, 2), label 1, and (-2, -2), label 0, half of the points each.

    The variance along each axis is 0.5 + 7*noise: 0.5 without noise, 4 at a noise of 0.5.
    """
    rng = _start(n, noise, seed)
    first = np.arange(n) < n - n // 2
    centre = np.where(first, 2.0, -2.0)[:, None]
    return _finish(rng, centre + math.sqrt(0.5 + 7 * noise) * rng.standard_normal((n, 2)), first)


def spiral(n: int = 500, *, noise: float = 0.0, seed: int = 0) -> Points:
    """Two arms of a spiral, half a turn apart, half of the points each.

    Point i of the m of an arm lies at radius 5*i/m and angle 2*pi*1.75*i/m (label 1), or that plus
    pi (label 0); x is the sine and y the cosine. It is then moved by up to `noise` along each axis.
    """
    rng = _start(n, noise, seed)
    first = np.arange(n) < n - n // 2
    x = np.concatenate((_arm(n - n // 2, 0.0), _arm(n // 2, math.pi)))
    return _finish(rng, x + noise * rng.uniform(-1, 1, (n, 2)), first)


def moons(n: int = 500, *, noise: float = 0.1, seed: int = 0) -> Points:
    """Two half circles that reach into each other, half of the points each.

    Label 0 is the upper half of the unit circle around (0, 0), label 1 the lower half of the one
    around (1, 0.5), in even steps of angle, as sklearn.datasets.make_moons has them; the noise is
    the standard deviation of a normal number added to each coordinate.
    """
    rng = _start(n, noise, seed)
    outer, inner = np.linspace(0, math.pi, n // 2), np.linspace(0, math.pi, n - n // 2)
    upper = np.stack((np.cos(outer), np.sin(outer)), axis=1)
    lower = np.stack((1 - np.cos(inner), 0.5 - np.sin(inner)), axis=1)
    x = np.concatenate((upper, lower)) + noise * rng.standard_normal((n, 2))
    return _finish(rng, x, np.arange(n) >= n // 2)


def _arm(count: int, turned: float) -> Floats:
    part = np.arange(count) / count
    angle = 2 * math.pi * TURNS * part + turned
    arm: Floats = RADIUS * part[:, None] * np.stack((np.sin(angle), np.cos(angle)), axis=1)
    return arm


def _start(n: int, noise: float, seed: int) -> np.random.Generator:
    if n < 2:
        raise InputError(f"n must be at least 2, a point of each class, got {n}")
    if not noise >= 0:
        raise InputError(f"noise must not be negative, got {noise}")
    return generator(seed)


def _finish(rng: np.random.Generator, x: Floats, first: NDArray[np.bool_]) -> Points:
    order = rng.permutation(len(x))
    return x[order].astype(np.float32), first[order].astype(np.int64)
