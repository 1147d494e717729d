"""Functions of whole numbers that no instruction computes."""

from __future__ import annotations

from graphc.llvm.lanes import Lanes, where
from graphc.types import SIZE


def power(x: Lanes, y: Lanes) -> Lanes:
    """x**y by squaring, modulo 2**bits as every product is; exact.

    With a negative exponent it is the fraction 1/x**-y without what follows the point: 1 for x = 1,
    1 or -1 for x = -1, else 0.
    """
    bits = 1 if x.dtype == "bool" else 8 * SIZE[x.dtype] - (not x.unsigned)
    result, doubled = x.constant(1), x
    for bit in range(bits):
        chosen = ((y >> bit) & 1).differs(0)
        result = where(chosen, result * doubled, result)
        doubled = doubled * doubled
    if x.unsigned:
        return result
    unit = x.equals(1) | x.equals(-1)
    sign = where((y & 1).equals(0), x * x, x)
    return where(y < 0, where(unit, sign, 0), result)
