"""The error of a result in units in the last place (ULP) of the exact one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
KEPT = 8  # how many of the worst operands are looked at again


def distances(result: Array, exact: Array) -> NDArray[np.float64]:
    """|result - exact| in the unit that the exact result's binade has in the type of `result`.

    `exact` is of a wider type. Below the least normal number the unit is the subnormals'. Infinity
    stands for the number that would come after the last, so that an exact result beyond it is met
    by it alone. NaN is 0 from NaN and infinitely far from all else.
    """
    form = np.finfo(result.dtype)
    top = 2.0 * np.ldexp(exact.dtype.type(1), form.maxexp - 1)
    with np.errstate(all="ignore"):
        goal = np.clip(exact, -top, top)
        value = np.clip(result.astype(exact.dtype), -top, top)
        _, exponent = np.frexp(np.clip(np.abs(goal), float(form.tiny), float(form.max)))
        distance = np.ldexp(np.abs(value - goal), form.nmant + 1 - exponent)
    distance[np.isnan(result) & np.isnan(exact)] = 0.0
    distance[np.isnan(distance)] = np.inf
    return distance.astype(np.float64)


@dataclass
class Tally:
    """What is known of a function's errors so far."""

    count: int = 0
    inexact: int = 0  # results that are not the exact one rounded
    signs: int = 0  # results, NaN aside, with another sign than the exact one
    subnormal: float = 0.5  # the largest error where an operand or the exact result is subnormal
    worst: list[tuple[float, tuple[float, ...], float]] = field(default_factory=list)

    @property
    def error(self) -> float:
        """The largest error; 0.5 where every result is the exact one rounded."""
        return self.worst[0][0] if self.worst else 0.5

    @property
    def share(self) -> float:
        """How many of the results are the exact one rounded."""
        return 1.0 - self.inexact / max(self.count, 1)

    def add(self, operands: tuple[Array, ...], result: Array, exact: Array, rounded: Array) -> None:
        """Compare a block of results with the exact ones, and with those rounded.

        Bits are compared first; only where they differ from those of the exact result, rounded, is
        there an error to measure: elsewhere it is at most 0.5.
        """
        self.count += result.size
        bits = f"u{result.dtype.itemsize}"
        different = np.flatnonzero(result.view(bits) != rounded.view(bits))
        undefined = different.size == result.size and np.isnan(result).all()
        if different.size and not (undefined and np.isnan(exact).all()):
            places = tuple(np.asarray(operand[different]) for operand in operands)
            self.examine(places, result[different], exact[different], rounded[different])

    def examine(
        self, operands: tuple[Array, ...], result: Array, exact: Array, rounded: Array
    ) -> None:
        """Measure results whose bits are not those expected."""
        number = ~(np.isnan(result) | np.isnan(exact))
        self.signs += int((number & (np.signbit(result) != np.signbit(exact))).sum())
        off = np.flatnonzero((result != rounded) & ~(np.isnan(result) & np.isnan(exact)))
        self.inexact += off.size
        if not off.size:
            return
        distance = distances(result[off], exact[off])
        tiny = float(np.finfo(result.dtype).tiny)
        below = [np.abs(v) < tiny for v in (exact[off], *(operand[off] for operand in operands))]
        self.subnormal = max([self.subnormal, *distance[np.logical_or.reduce(below)].tolist()])
        least = self.worst[-1][0] if len(self.worst) >= KEPT else 0.0
        if distance.max() > least:
            for place in np.argsort(distance)[-KEPT:]:
                point = tuple(float(operand[off[place]]) for operand in operands)
                self.worst.append((float(distance[place]), point, float(result[off[place]])))
            self.worst = sorted(self.worst, key=lambda entry: -entry[0])[:KEPT]
