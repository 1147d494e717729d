"""A value in the place of a part of a formula, where the rest is computed as before."""

from __future__ import annotations

import sympy

from graphc.ops import scalar
from graphc.ops.instead import instead

X, PEAK, TOTAL = map(scalar.argument, ("x", "peak", "total"))
EARLY, LATE = scalar.argument("a"), scalar.argument("~")


def test_what_is_taken_off_stays_in_its_place() -> None:
    part = sympy.log(TOTAL)
    assert instead(X - PEAK - part, [part], EARLY) is None
    assert instead(X - PEAK - part, [part], LATE) == X - PEAK - LATE


def test_two_factors_are_in_any_order() -> None:
    part = sympy.exp(X - PEAK)
    for symbol in (EARLY, LATE):
        assert instead(part / TOTAL, [part], symbol) == symbol / TOTAL
        assert instead(-PEAK * part, [part], symbol) == -PEAK * symbol
        assert instead(1 - part * X, [part], symbol) == 1 - symbol * X


def test_a_third_factor_keeps_its_place() -> None:
    part = sympy.exp(X)
    assert instead(X * TOTAL * part, [part], EARLY) is None
    assert instead(X * TOTAL * part, [part], LATE) == X * TOTAL * LATE
