"""Initial values: torch.nn.init's functions, drawn from one generator that graphc.seed sets."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.errors import InputError, ShapeError
from graphc.nn.parameter import Parameter
from graphc.ops import random

Array = NDArray[Any]
Target = Parameter | Array
Generator = np.random.Generator
Shape = tuple[int, ...]
BLOCK = 8192
"""Numbers that are drawn at a time: in float64 they fit into a core's second cache."""

GAINS = {
    "linear": 1.0,
    "identity": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
    "conv1d": 1.0,
    "conv2d": 1.0,
    "conv3d": 1.0,
}


def generator() -> Generator:
    """The next of the generators of initial values: all follow from the number of graphc.seed.

    Each is numpy's Philox generator with the key (seed, step) of the default generator of random
    ops, whose step then goes on by one.
    """
    seed, step = random.DEFAULT.seed.value, random.DEFAULT.step.value
    key = np.array([seed, step], np.int64).astype(np.uint64)
    step += 1
    return Generator(np.random.Philox(key=key))


def uniform_(target: Target, a: float = 0.0, b: float = 1.0, rng: Generator | None = None) -> None:
    """Fill with the uniform distribution on [a, b)."""
    drawn = rng or generator()
    _fill(target, lambda size: drawn.random(size) * (b - a) + a)  # numpy's uniform, sooner


def normal_(
    target: Target, mean: float = 0.0, std: float = 1.0, rng: Generator | None = None
) -> None:
    """Fill with the normal distribution N(mean, std**2)."""
    drawn = rng or generator()
    _fill(target, lambda size: drawn.normal(mean, std, size))


def trunc_normal_(
    target: Target,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    rng: Generator | None = None,
) -> None:
    """Fill with N(mean, std**2) restricted to [a, b], by drawing again what falls outside."""
    if not a < b or (a - mean) / std > 6 or (b - mean) / std < -6:
        raise InputError(f"[{a}, {b}] holds next to nothing of a normal({mean}, {std})")
    array, rng = _array(target), rng or generator()
    drawn = rng.normal(mean, std, array.shape)
    while (outside := (drawn < a) | (drawn > b)).any():
        drawn[outside] = rng.normal(mean, std, int(outside.sum()))
    array[...] = drawn


def constant_(target: Target, value: float) -> None:
    """Fill with one value."""
    _array(target)[...] = value


def zeros_(target: Target) -> None:
    """Fill with 0."""
    constant_(target, 0.0)


def ones_(target: Target) -> None:
    """Fill with 1."""
    constant_(target, 1.0)


def eye_(target: Target) -> None:
    """Fill a matrix with the identity. Raises ShapeError for another rank."""
    array = _array(target)
    if array.ndim != 2:
        raise ShapeError(f"eye_ fills a matrix, not an array of shape {array.shape}")
    array[...] = np.eye(*array.shape)


def xavier_uniform_(target: Target, gain: float = 1.0, rng: Generator | None = None) -> None:
    """Uniform within gain * sqrt(6 / (fan_in + fan_out)).

    Source: Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", 2010, equation 16.
    """
    bound = gain * math.sqrt(6 / sum(fans(_array(target).shape)))
    uniform_(target, -bound, bound, rng)


def xavier_normal_(target: Target, gain: float = 1.0, rng: Generator | None = None) -> None:
    """Normal with standard deviation gain * sqrt(2 / (fan_in + fan_out)); source as above."""
    normal_(target, 0.0, gain * math.sqrt(2 / sum(fans(_array(target).shape))), rng)


def kaiming_uniform_(
    target: Target,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    rng: Generator | None = None,
) -> None:
    """Uniform within gain * sqrt(3 / fan), gain that of leaky_relu with slope a, or another's.

    Source: He et al., "Delving Deep into Rectifiers", arXiv:1502.01852, equations 10 and 15.
    """
    bound = math.sqrt(3) * _kaiming(_array(target).shape, a, mode, nonlinearity)
    uniform_(target, -bound, bound, rng)


def kaiming_normal_(
    target: Target,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    rng: Generator | None = None,
) -> None:
    """Normal with standard deviation gain / sqrt(fan); source as above."""
    normal_(target, 0.0, _kaiming(_array(target).shape, a, mode, nonlinearity), rng)


def orthogonal_(target: Target, gain: float = 1.0, rng: Generator | None = None) -> None:
    """Rows (or columns, if fewer) orthonormal, times gain; trailing axes are flattened.

    Source: Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", arXiv:1312.6120. Raises ShapeError for fewer than two axes.
    """
    array = _array(target)
    if array.ndim < 2:
        raise ShapeError(f"orthogonal_ needs two axes or more, not shape {array.shape}")
    rows, columns = array.shape[0], math.prod(array.shape[1:])
    drawn = (rng or generator()).normal(size=(max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(drawn)
    q *= np.sign(np.diag(r))
    array[...] = gain * (q if rows >= columns else q.T).reshape(array.shape)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a layer before this nonlinearity should scale; torch's table."""
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in GAINS:
        raise InputError(f"no gain for {nonlinearity!r}; known: {', '.join(GAINS)}, leaky_relu")
    return GAINS[nonlinearity]


def fans(shape: Shape) -> tuple[int, int]:
    """fan_in and fan_out of a weight [out, in, *window]. Raises ShapeError below two axes."""
    if len(shape) < 2:
        raise ShapeError(f"fan in and fan out need a weight of two axes or more, not {shape}")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def _kaiming(shape: Shape, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise InputError(f"mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = fans(shape)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def _fill(target: Target, draw: Callable[[Shape], Array]) -> None:
    """Draw every element in order, some at a time: the same numbers, from a nearer memory."""
    array = _array(target)
    if not array.flags.c_contiguous:
        array[...] = draw(array.shape)
        return
    flat = array.reshape(-1)
    for begin in range(0, flat.size, BLOCK):
        some = flat[begin : begin + BLOCK]
        some[...] = draw(some.shape)


def _array(target: Target) -> Array:
    return target.value if isinstance(target, Parameter) else target
