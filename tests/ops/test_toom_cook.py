"""The matrices of Toom-Cook, as identities over exact numbers."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphc.ops.toom_cook import Matrix, transforms

NUMBERS = st.integers(-99, 99).map(Fraction)


def applied(matrix: Matrix, vector: Sequence[Fraction]) -> list[Fraction]:
    return [sum((a * b for a, b in zip(row, vector, strict=True)), Fraction()) for row in matrix]


@given(st.data(), st.integers(1, 6), st.integers(1, 6))
def test_they_correlate(data: st.DataObject, outputs: int, taps: int) -> None:
    if not 2 <= outputs + taps - 1 <= 6:
        return
    count = outputs + taps - 1
    made = transforms(outputs, taps)
    filter = data.draw(st.lists(NUMBERS, min_size=taps, max_size=taps))
    signal = data.draw(st.lists(NUMBERS, min_size=count, max_size=count))
    products = [
        a * b for a, b in zip(applied(made.filter, filter), applied(made.data, signal), strict=True)
    ]
    assert applied(made.result, products) == [
        sum((filter[k] * signal[i + k] for k in range(taps)), Fraction()) for i in range(outputs)
    ]


def test_those_of_three_taps_are_the_ones_in_print() -> None:
    made = transforms(4, 3)
    assert made.data[0] == (4, 0, -5, 0, 1, 0)  # Lavin and Gray 2016, section 4.3
    assert made.result[3] == (0, 1, -1, 8, -8, 1)
    assert made.filter[3] == (Fraction(1, 24), Fraction(1, 12), Fraction(1, 6))


def test_more_points_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match="4 outputs of 5 taps take 7 points of 5"):
        transforms(4, 5)
