"""Philox4x32-10 in numpy, slow and obvious: the oracle of the native random numbers.

J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, Parallel Random Numbers: As Easy as 1, 2, 3
(SC 2011). The counter is (position low, position high, step, stream), the key (seed low, seed
high), each 32 bits; seed, step, stream and position are integers or integer arrays that broadcast.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Words = NDArray[np.uint64]

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
MASK = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
ROUNDS = 10


def philox(counter: Sequence[Words], key: Sequence[Words]) -> tuple[Words, Words, Words, Words]:
    """Four random words from four counter words and two key words, all 32 bits in uint64."""
    a, b, c, d = counter
    first, second = key
    for _ in range(ROUNDS):
        left, right = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, b = (right >> HALF) ^ b ^ first, right & MASK
        c, d = (left >> HALF) ^ d ^ second, left & MASK
        first, second = (first + WEYL[0]) & MASK, (second + WEYL[1]) & MASK
    return a, b, c, d


def bits(number: ArrayLike) -> Words:
    """A signed integer's 64 bits."""
    return np.asarray(number, dtype=np.int64).astype(np.uint64)


def words(
    seed: ArrayLike, step: ArrayLike, stream: ArrayLike, position: ArrayLike
) -> tuple[Words, Words, Words, Words]:
    """The four words of each position of a stream at a step."""
    place, key = bits(position), bits(seed)
    counter = (place & MASK, place >> HALF, bits(step) & MASK, bits(stream) & MASK)
    return philox(counter, (key & MASK, key >> HALF))


def uniform(
    seed: ArrayLike, step: ArrayLike, stream: ArrayLike, position: ArrayLike
) -> NDArray[np.float32]:
    """float32 in [0, 1): the first 24 bits of word 0."""
    top = words(seed, step, stream, position)[0] >> np.uint64(8)
    return (top.astype(np.float64) * 2.0**-24).astype(np.float32)


def uniform64(
    seed: ArrayLike, step: ArrayLike, stream: ArrayLike, position: ArrayLike
) -> NDArray[np.float64]:
    """float64 in [0, 1): the first 53 bits of words 0 and 1."""
    high, low, _, _ = words(seed, step, stream, position)
    return fraction(high, low)


def fraction(high: Words, low: Words) -> NDArray[np.float64]:
    """The first 53 bits of two words as a number in [0, 1)."""
    joined = ((high << HALF) | low) >> np.uint64(11)
    return joined.astype(np.float64) * 2.0**-53


def normal(
    seed: ArrayLike, step: ArrayLike, stream: ArrayLike, position: ArrayLike
) -> NDArray[np.float32]:
    """float32 of the standard normal distribution, from words 0 and 1 (Box and Muller, 1958).

    The formula sqrt(-2*log(u)) * cos(2*pi*v) evaluated in float64; the native one is within 2**-20.
    """
    word, angle, _, _ = words(seed, step, stream, position)
    # In float32, as the native code has it: near 1 the rounding of u decides the radius.
    half = (word >> np.uint64(1)).astype(np.float32) * np.float32(2.0**-31)
    u = (half + np.float32(2.0**-32)).astype(np.float64)
    return box_muller(u, angle.astype(np.float64) * 2.0**-32).astype(np.float32)


def normal64(
    seed: ArrayLike, step: ArrayLike, stream: ArrayLike, position: ArrayLike
) -> NDArray[np.float64]:
    """float64 of the standard normal distribution: u from words 0 and 1, v from words 2 and 3."""
    a, b, c, d = words(seed, step, stream, position)
    return box_muller(fraction(a, b) + 2.0**-54, fraction(c, d))


def box_muller(u: NDArray[np.float64], turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """sqrt(-2*log(u)) * cos(2*pi*turns), for u in (0, 1]."""
    radius = np.sqrt(-2.0 * np.log(u))
    return np.asarray(radius * np.cos(2.0 * np.pi * turns))
