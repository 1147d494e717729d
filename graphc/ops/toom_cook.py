"""Toom-Cook: exact matrices that make short correlations from fewer multiplications.

For results y[i] = sum over k of g[k]*d[i + k], i < outputs, k < taps (Winograd 1980; Lavin and Gray
2016), y = A^T ((G g) * (B^T d)), with outputs + taps - 1 multiplications instead of their product.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

Matrix = tuple[tuple[Fraction, ...], ...]

POINTS = tuple(map(Fraction, (0, 1, -1, 2, -2)))
"""Where the polynomials are evaluated, beside infinity: the fewer and smaller, the less error."""


@dataclass(frozen=True)
class Transforms:
    """`data` is B^T, of the slid operand; `filter` is G; `result` is A^T."""

    data: Matrix
    filter: Matrix
    result: Matrix


@cache
def transforms(outputs: int, taps: int) -> Transforms:
    """The matrices for so many outputs and taps, of whose sum minus 2 there must be points.

    Data and result change places in multiplying two polynomials at the points (Toom-Cook): what
    interpolates there transforms the data here.
    """
    count = outputs + taps - 2
    points = POINTS[:count]
    if len(points) < count:
        raise ValueError(f"{outputs} outputs of {taps} taps take {count} points of {len(POINTS)}")
    data, filter = [], []
    for point in points:
        others = [p for p in points if p != point]
        scale = Fraction(1)
        for other in others:
            scale *= point - other
        data.append((*roots(others), Fraction(0)))
        filter.append(tuple(point**k / scale for k in range(taps)))
    data.append(roots(points))
    filter.append(at_infinity(taps))
    result = tuple(
        (*(point**i for point in points), at_infinity(outputs)[i]) for i in range(outputs)
    )
    return Transforms(tuple(data), tuple(filter), result)


def roots(points: tuple[Fraction, ...] | list[Fraction]) -> tuple[Fraction, ...]:
    """The coefficients, lowest first, of the polynomial with these roots."""
    found = [Fraction(1)]
    for point in points:
        higher, lower = [Fraction(0), *found], [point * c for c in found]
        found = [h - low for h, low in zip(higher, [*lower, Fraction(0)], strict=True)]
    return tuple(found)


def at_infinity(count: int) -> tuple[Fraction, ...]:
    """A polynomial at infinity is its highest coefficient."""
    return (*(Fraction(0) for _ in range(count - 1)), Fraction(1))
