"""What has an exact answer: rounding, division, signs, extremes; floats and integers.

The rounding functions are built from additions: the intrinsics would become library calls on
processors older than SSE4.1.
"""

from __future__ import annotations

import math

from graphc.llvm.lanes import Lanes, from_bits, layout, nearest, to_bits, where


def rint(x: Lanes) -> Lanes:
    """The nearest integer, ties to even; exact. Sign of zero, infinities and NaN stay."""
    if not x.floating:
        return x
    magnitude = abs(x)
    limit = 2.0 ** layout(x).fraction
    rounded = (magnitude + limit) - limit
    return where(magnitude < limit, rounded, magnitude).signed_as(x)


def floor(x: Lanes) -> Lanes:
    """The greatest integer not above x; exact."""
    if not x.floating:
        return x
    near = rint(x)
    return (near - where(near > x, x.constant(1.0), 0.0)).signed_as(x)


def ceil(x: Lanes) -> Lanes:
    """The least integer not below x; exact."""
    if not x.floating:
        return x
    near = rint(x)
    return (near + where(near < x, x.constant(1.0), 0.0)).signed_as(x)


def trunc(x: Lanes) -> Lanes:
    """The integer part of x, towards zero; exact."""
    return floor(abs(x)).signed_as(x) if x.floating else x


def absolute(x: Lanes) -> Lanes:
    """The magnitude; exact. The least integer stays itself, as in numpy."""
    return abs(x)


def sign(x: Lanes) -> Lanes:
    """-1, 0 or 1; exact. NaN stays NaN."""
    if x.unsigned:
        return where(x.equals(0), x, 1)
    middle = where(x.equals(0), x.constant(0), x)
    return where(x > 0, x.constant(1), where(x < 0, x.constant(-1), middle))


def maximum(a: Lanes, b: Lanes) -> Lanes:
    """The greater; exact. NaN where either is, as numpy.maximum."""
    larger = where(a > b, a, b)
    return where(a.compare("uno", a), a, larger) if a.floating else larger


def minimum(a: Lanes, b: Lanes) -> Lanes:
    """The lesser; exact. NaN where either is, as numpy.minimum."""
    lesser = where(a < b, a, b)
    return where(a.compare("uno", a), a, lesser) if a.floating else lesser


def is_nan(x: Lanes) -> Lanes:
    """Boolean lanes: true where x is NaN; exact."""
    return x.compare("uno", x) if x.floating else x.constant(False, "bool")


def divide_down(a: Lanes, b: Lanes) -> Lanes:
    """floor(a / b) of the exact quotient, rounded once; numpy's cases.

    (From 2**21 on numpy's own float32 result can be one less or more: it rounds three times.)
    Floats: a/b where b is zero, NaN where a is infinite. Integers: 0 where b is zero, and the
    least integer divided by -1 stays itself.
    """
    return divide_floats(a, b)[0] if a.floating else divide_integers(a, b)[0]


def remainder(a: Lanes, b: Lanes) -> Lanes:
    """a - b*floor(a / b) with the sign of b, rounded once; numpy's cases.

    Floats: NaN where b is zero or a infinite; in float64 also where the quotient passes 2**72.
    Integers: 0 where b is zero.
    """
    return divide_floats(a, b)[1] if a.floating else divide_integers(a, b)[1]


def divide_integers(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """Quotient towards minus infinity, and remainder; no divisor can trap."""
    zero = b.equals(0)
    if a.unsigned:
        safe = where(zero, 1, b)
        quotient = a.binary("udiv", safe)
        return where(zero, 0, quotient), a - quotient * safe
    minus = b.equals(-1)
    safe = where(zero | minus, 1, b)
    quotient = a.binary("sdiv", safe)
    rest = a - quotient * safe
    opposite = rest.differs(0) & ((rest ^ b) < 0)
    quotient = where(opposite, quotient - 1, quotient)
    return where(zero, 0, where(minus, -a, quotient)), where(opposite, rest + b, rest)


def divide_floats(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """Quotient towards minus infinity, and remainder, from the nearest quotient's remainder."""
    if a.dtype == "float32":
        wide, divisor = a.convert("fpext", "float64"), b.convert("fpext", "float64")
        rest, quotient = remainder_between(wide, divisor)
    else:
        wide, divisor = a, b
        rest, quotient = remainder_in_steps(a, b)
    opposite = where(rest < 0.0, divisor > 0.0, (rest > 0.0) & (divisor < 0.0))
    quotient = where(opposite, quotient - 1.0, quotient)
    rest = where(opposite, rest + divisor, rest)
    rest = where(rest.equals(0.0), rest.constant(0.0).signed_as(divisor), rest)
    if a.dtype == "float32":
        quotient, rest = (v.convert("fptrunc", "float32") for v in (quotient, rest))
    ratio = a / b
    quotient = where(quotient.equals(0.0), quotient.signed_as(ratio), quotient)
    zero = b.equals(0.0)
    return where(zero, ratio, quotient), where(zero, math.nan, rest)


def remainder_between(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """The remainder of float32 numbers in float64 lanes, |rest| <= |b|/2, and its quotient.

    Ten steps take 28 bits of the quotient each, 277 being the most there are; a step's product and
    difference are exact. An infinite divisor is any number greater than all.
    """
    divisor = where(abs(b).equals(math.inf), b.constant(2.0**200).signed_as(b), b)
    inverse = 1.0 / divisor
    rest = a
    for step in reversed(range(10)):
        power = 2.0 ** (28 * step)
        digits, _ = nearest(rest * (inverse * (1.0 / power)))
        rest = rest - digits * (divisor * power)
    return rest, (a - rest) / divisor


def remainder_in_steps(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """The remainder of float64 numbers, |rest| <= |b|/2, and its quotient.

    Three steps take 24 bits of the quotient each; the divisor is split so that the products are
    exact. Where the quotient passes 2**72 it is a/b and the remainder NaN.
    """
    huge = abs(a) > 2.0**1000
    unit = where(huge, a.constant(2.0**-80), 1.0)
    dividend, divisor = a * unit, b * unit
    rest = dividend
    for step in reversed(range(3)):
        multiple = divisor * 2.0 ** (24 * step)
        digits = rint(rest / multiple)
        finite = where(abs(multiple) < math.inf, multiple, 0.0)
        high = from_bits(to_bits(finite) & -(1 << 27), "float64")
        rest = (rest - digits * high) - digits * (finite - high)
    ratio = a / b
    quotient = rint((dividend - rest) / divisor)
    within = abs(ratio) < 2.0**72
    nothing = where(within, rest * where(huge, a.constant(2.0**80), 1.0), math.nan)
    beyond = where(abs(a) < math.inf, ratio, math.nan)
    return nothing, where(within, quotient, beyond)
