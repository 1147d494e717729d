"""Exponentials and logarithms: exp expm1 logistic tanh sinh cosh log log1p pow.

Notation: e**x = 2**k * e**r with k an integer and |r| <= log(2)/2; x = 2**k * (1 + f) with
-1/3 <= f < 1/3. The polynomials are minimax fits (Remez exchange in 40 digits, coefficients then
rounded to the type) of the named function over that interval, in the error relative to the result.
The methods are textbook (W. J. Cody and W. Waite, Software Manual for the Elementary Functions,
1980; J.-M. Muller, Elementary Functions, 3rd edition, 2016).
"""

from __future__ import annotations

import math

from graphc.llvm.lanes import (
    FORMATS,
    Lanes,
    at_most,
    clamp,
    from_bits,
    horner,
    layout,
    multiply_add,
    nearest,
    to_bits,
    where,
)
from graphc.llvm.rounding import rint

LOG2_E = 1.4426950408889634
# log(2) in two parts: k * high is exact for every exponent k of the type.
LN2 = {
    "float32": (0.693145751953125, 1.4286068203094173e-06),
    "float64": (0.6931471805601177, -1.7239444525614835e-13),
}
EXP_RANGE = {"float32": (-104.0, 89.0), "float64": (-746.0, 710.0)}
# Where the logistic function is 0, and long 1.
LOGISTIC_END = {"float32": 105.0, "float64": 747.0}
HYPERBOLIC_END = {"float32": 89.5, "float64": 710.6}

# (e**r - 1 - r) / r**2 over |r| <= 0.35, relative to e**r - 1: errors 2**-31.8 and 2**-61.6.
EXP = {
    "float32": (0.5, 0.166666657, 0.0416663475, 0.00833339151, 0.00139416207, 0.000198460009),
    "float64": (
        0.5,
        0.16666666666666677,
        0.04166666666666649,
        0.008333333333320772,
        0.0013888888888967713,
        0.00019841269888609586,
        2.4801587165752582e-05,
        2.7557241436025324e-06,
        2.755740523846822e-07,
        2.511008856101495e-08,
        2.087550013302347e-09,
    ),
}
# (tanh(r/2) - r/2) / r**3 in r**2 over |r| <= 0.512: errors 2**-28.1 and 2**-57.2.
TANH_HALF = {
    "float32": (-0.0416665338, 0.00416353811, -0.000400830293),
    "float64": (
        -0.041666666666665735,
        0.004166666666575922,
        -0.0004216269811328575,
        4.271379793035707e-05,
        -4.327358717934075e-06,
        4.366739806031543e-07,
        -4.0024060454338845e-08,
    ),
}
# The same as EXP for pow in float32, evaluated in float64 lanes: error 2**-37.4.
EXP_BETWEEN = (
    0.5000000000113696,
    0.16666666758958995,
    0.04166666591123785,
    0.008333287409246853,
    0.0013888988818439678,
    0.00019906093146400527,
    2.4796421085775936e-05,
)
# (log(1 + f) - f + f**2/2) / f**3 over |f| <= 1/3: errors 2**-27.7 and 2**-56.6.
LOG = {
    "float32": (
        0.333332151,
        -0.249997959,
        0.200104386,
        -0.166805774,
        0.140050963,
        -0.121828839,
        0.139891535,
        -0.128982663,
    ),
    "float64": (
        0.3333333333333323,
        -0.25000000000013395,
        0.20000000000055326,
        -0.16666666662906224,
        0.14285714276416286,
        -0.12500000391838872,
        0.11111111849531033,
        -0.09999979145284697,
        0.0909087622192385,
        -0.0833397642786148,
        0.07693197727977977,
        -0.07130722549425843,
        0.06651475588514814,
        -0.06391556315181847,
        0.0604582181131983,
        -0.04570211752464254,
        0.04199366729295069,
        -0.0863180193427498,
        0.08458543761319415,
    ),
}
# The same for pow in float32, evaluated in float64 lanes: error 2**-38.3.
LOG_BETWEEN = (
    0.33333333193564924,
    -0.24999999674719844,
    0.20000025099717897,
    -0.16666709580267264,
    0.14284246741631354,
    -0.12497939948031726,
    0.11149985847269536,
    -0.10047495272647815,
    0.08579471287822524,
    -0.07770378937625244,
    0.10881068776040037,
    -0.10372356748991503,
)


def reduce_exponent(x: Lanes, offset: int) -> tuple[Lanes, Lanes]:
    """x = k*log(2) + r: k + offset in the low bits of an integer, and r (Cody and Waite)."""
    shift = layout(x).magic + offset
    shifted = multiply_add(x, LOG2_E, shift)
    return to_bits(shifted), without(x, shifted - shift)


def without(x: Lanes, k: Lanes) -> Lanes:
    """x - k*log(2); the product with the high part is exact, fused or not."""
    high, low = LN2[x.dtype]
    return multiply_add(k, -low, multiply_add(k, -high, x))


def bias(x: Lanes) -> int:
    """What the exponent field of 2**0 holds: an offset of k by it makes 2**k a shift away."""
    return layout(x).bias


def power_of_two(k: Lanes, dtype: str) -> Lanes:
    """2**k for a k within the normal exponents; k + bias is in the low bits of the integer."""
    return from_bits(k << FORMATS[dtype].fraction, dtype)


def two_powers(k: Lanes, dtype: str) -> tuple[Lanes, Lanes]:
    """Two powers of two whose product is 2**k, which may pass the range of the type.

    k + 2*bias is in the low bits of the integer.
    """
    fraction = FORMATS[dtype].fraction
    half = (k << (fraction - 1)) & -(1 << fraction)
    return from_bits(half, dtype), from_bits((k << fraction) - half, dtype)


def scale(x: Lanes, k: Lanes) -> Lanes:
    """x * 2**k in two steps, so that a subnormal result is rounded once and rightly.

    k + 2*bias is in the low bits of the integer.
    """
    first, second = two_powers(k, x.dtype)
    return x * first * second


def exp(x: Lanes) -> Lanes:
    """e**x within 1 ULP: Cody and Waite's reduction, then 1 + r + r**2 times a minimax fit.

    What is 0 is not computed: a product that vanishes takes a processor up to 150 cycles, and of a
    causal mask half of all exponents are such.
    """
    least, most = EXP_RANGE[x.dtype]
    gone = x < least
    k, r = reduce_exponent(where(gone, 0.0, at_most(x, most)), 2 * bias(x))
    return where(gone, 0.0, scale(multiply_add(r * r, horner(r, EXP[x.dtype]), r) + 1.0, k))


def expm1_reduced(r: Lanes) -> Lanes:
    """e**r - 1 for |r| <= log(2)/2."""
    return multiply_add(r * r, horner(r, EXP[r.dtype]), r)


def expm1(x: Lanes) -> Lanes:
    """e**x - 1 within 2 ULP: 2**k * (e**r - 1) + (2**k - 1), with k - 1 so that none overflows."""
    low = {"float32": -18.0, "float64": -38.0}[x.dtype]
    k, r = reduce_exponent(clamp(x, low, EXP_RANGE[x.dtype][1]), bias(x) - 1)
    p = expm1_reduced(r)
    s = power_of_two(k, x.dtype)
    far = multiply_add(p, s, s - 0.5) * 2.0
    return where(s.equals(0.5), p, far).signed_as(x)


def logistic(x: Lanes) -> Lanes:
    """1/(1 + e**-x) within 2 ULP: a/(a + b*e**r), where e**-x = b/a * e**r.

    a and b are powers of two, each with half of the exponent: neither overflows, and a subnormal
    result comes of the division, rounded once. The larger joins the sum last, for its error's sake.
    """
    end = LOGISTIC_END[x.dtype]
    k, r = reduce_exponent(-clamp(x, -end, end), 2 * bias(x))
    inverse, b = two_powers(k, x.dtype)
    a = from_bits(2 * layout(x).one - to_bits(inverse), x.dtype)
    smaller, larger = where(a < b, a, b), where(a < b, b, a)
    return a / (larger + multiply_add(expm1_reduced(r), b, smaller))


def tanh(x: Lanes) -> Lanes:
    """Hyperbolic tangent within 2 ULP, from e**(2|x|) = s * (1 + w)/(1 - w), w = tanh(r/2).

    (s*(1 + w) - (1 - w)) / (s*(1 + w) + (1 - w)) is w itself where s = 1; from s = 4 on it is one
    less (2 - 2w) / (the same). The shift of k makes s = 2 serve the results from 1/4 to 0.54: below
    and above it the other two forms are the better ones.
    """
    magnitude = abs(x)
    end = x.constant({"float32": 10.0, "float64": 20.0}[x.dtype])
    near = where(end < magnitude, end, magnitude)
    twice = near + near
    exponent, k = nearest(multiply_add(twice, LOG2_E, -0.237), bias(x))
    r = without(twice, exponent)
    s = power_of_two(k, x.dtype)
    z = r * r
    w = multiply_add(horner(z, TANH_HALF[x.dtype]), z * r, r * 0.5)
    above, below = s + 1.0, s - 1.0
    far = s > 2.0
    numerator = where(far, (w + w) - 2.0, multiply_add(above, w, below))
    quotient = numerator / multiply_add(below, w, above)
    return (quotient + where(far, x.constant(1.0), 0.0)).signed_as(x)


def sinh(x: Lanes) -> Lanes:
    """Hyperbolic sine within 2.5 ULP: h + h/(2h + 1) with h = (e**|x| - 1)/2, and the sign of x."""
    magnitude = abs(x)
    k, r = reduce_exponent(clamp(magnitude, 0.0, HYPERBOLIC_END[x.dtype]), bias(x) - 2)
    s = power_of_two(k, x.dtype)
    h = multiply_add(expm1_reduced(r), s, s - 0.25) * 2.0
    bounded = clamp(h, 0.0, 2.0**60)
    result = h + bounded / (bounded + bounded + 1.0)
    return where(magnitude < 2.0 ** -(layout(x).fraction // 2 + 1), x, result.signed_as(x))


def cosh(x: Lanes) -> Lanes:
    """Hyperbolic cosine within 2 ULP: h + 1/(4h) with h = e**|x| / 2."""
    k, r = reduce_exponent(clamp(abs(x), 0.0, HYPERBOLIC_END[x.dtype]), bias(x) - 2)
    h = (expm1_reduced(r) + 1.0) * power_of_two(k, x.dtype) * 2.0
    return h + 0.25 / h


def decompose(x: Lanes) -> tuple[Lanes, Lanes]:
    """A positive x as 2**k * (1 + f), k as a float: f is exact, subnormals are scaled first."""
    form = layout(x)
    subnormal = x < form.tiny
    binades = form.fraction + 1
    bits = to_bits(where(subnormal, x * 2.0**binades, x))
    k, f = split(bits, bits, form.name)
    return k - where(subnormal, x.constant(binades), 0.0), f - 1.0


def split(bits: Lanes, scaled: Lanes, dtype: str) -> tuple[Lanes, Lanes]:
    """The k with 2/3 <= number/2**k < 4/3 as a float, and the number `scaled` divided by 2**k."""
    form = layout(bits.constant(0.0, dtype))
    start = {"float32": 0x3F2AAAAB, "float64": 0x3FE5555555555555}[dtype]
    k = (bits - start) >> form.fraction
    mantissa = from_bits(scaled - (k << form.fraction), dtype)
    return small_integer(k, dtype), mantissa


def small_integer(k: Lanes, dtype: str) -> Lanes:
    """An integer below 2**22 as a float, by arithmetic that every vector unit has."""
    form = layout(k.constant(0.0, dtype))
    magic = (form.bias + form.fraction << form.fraction) + (1 << form.fraction - 1)
    return from_bits(k + magic, dtype) - form.magic


def join_logarithm(k: Lanes, f: Lanes) -> Lanes:
    """k*log(2) + log(1 + f); the sum of the two large terms is kept in two parts."""
    high, low = LN2[f.dtype]
    base = k * high
    total = base + f
    lost = f - (total - base)
    squared = f * f
    rest = multiply_add(horner(f, LOG[f.dtype]), squared * f, squared * -0.5)
    return total + (multiply_add(k, low, lost) + rest)


def log(x: Lanes) -> Lanes:
    """Natural logarithm within 1 ULP: k*log(2) + f - f**2/2 + f**3 times a minimax fit."""
    regular = join_logarithm(*decompose(x))
    edge = where(x.equals(0.0), x.constant(-math.inf), math.nan)
    return where(x > 0.0, where(x < math.inf, regular, x), edge)


def log1p(x: Lanes) -> Lanes:
    """log(1 + x) within 2 ULP: k is the exponent of 1 + x, and f = x/2**k + (1/2**k - 1).

    The form of f is N. Juffa's: nothing of x is lost where k = 0.
    """
    form = layout(x)
    bits = to_bits(x)
    k, scaled = split(to_bits(x + 1.0), bits, x.dtype)
    raised = bits - to_bits(scaled)
    quadruple = from_bits((form.bias + 2 << form.fraction) - raised, x.dtype)
    f = scaled + multiply_add(quadruple, 0.25, -1.0)
    regular = join_logarithm(k, f).signed_as(x)
    edge = where(x.equals(-1.0), x.constant(-math.inf), math.nan)
    return where(x > -1.0, where(x < math.inf, regular, x), edge)


def power(x: Lanes, y: Lanes) -> Lanes:
    """x**y within 1 ULP in float32 (in float64 lanes), with the special cases of C and numpy.

    In float64 within 256 ULP where the result is extreme (the logarithm is kept in two parts, its
    cubic term in one): the error is about 2**-54 of y*log(x). A negative x needs an integer y, else
    NaN; x**0 and 1**y are 1 even for NaN.
    """
    magnitude = pow_between(abs(x), y) if x.dtype == "float32" else pow_in_two_parts(abs(x), y)
    edge = where(x.equals(0.0).compare("eq", y > 0.0), x.constant(0.0), math.inf)
    magnitude = where(abs(x).equals(math.inf) | x.equals(0.0), edge, magnitude)
    half = y * 0.5
    whole = rint(y).equals(y)
    odd = whole & rint(half).differs(half)
    result = where(odd, magnitude.signed_as(x), magnitude)
    undefined = (x < 0.0) & (x > -math.inf) & rint(y).differs(y)
    result = where(undefined | x.compare("uno", y), math.nan, result)
    return where(x.equals(1.0) | y.equals(0.0), 1.0, result)


def pow_between(x: Lanes, y: Lanes) -> Lanes:
    """x**y for a positive finite float32 x: e**(y * log(x)) in float64, rounded at the end."""
    k, f = decompose(x.convert("fpext", "float64"))
    squared = f * f
    fraction = multiply_add(horner(f, LOG_BETWEEN), squared * f, multiply_add(squared, -0.5, f))
    logarithm = multiply_add(k, math.log(2), fraction)
    exponent = clamp(y, -(2.0**60), 2.0**60).convert("fpext", "float64") * logarithm
    n, r = reduce_exponent(clamp(exponent, -120.0, 100.0), bias(exponent))
    power = multiply_add(r * r, horner(r, EXP_BETWEEN), r) + 1.0
    return (power * power_of_two(n, "float64")).convert("fptrunc", "float32")


def upper(x: Lanes) -> Lanes:
    """A float64 with its low 27 bits cleared; the rest, x - upper(x), is exact."""
    return from_bits(to_bits(x) & -(1 << 27), "float64")


def pow_in_two_parts(x: Lanes, y: Lanes) -> Lanes:
    """x**y for a positive finite float64 x; logarithm, product and reduction in high + low."""
    k, f = decompose(x)
    ln2_high, ln2_low = LN2["float64"]
    base = k * ln2_high
    total = base + f
    low = f - (total - base)
    head = upper(f)
    squared = head * head * 0.5
    log_high = total - squared
    low = low + ((total - log_high) - squared) + k * ln2_low
    low = low - (f - head) * (head + f) * 0.5 + f * f * f * horner(f, LOG["float64"])
    high = upper(log_high + low)
    low = (log_high - high) + low

    bounded = clamp(y, -(2.0**66), 2.0**66)
    left = upper(bounded)
    leading = left * high
    rest = (bounded - left) * high + bounded * low
    exponent = leading + rest
    least, most = EXP_RANGE["float64"]
    limited = clamp(exponent, least, most)
    inside = exponent.equals(limited)
    n, r = reduce_exponent(where(inside, leading, limited), 2 * bias(x))
    r = r + where(inside, rest, 0.0)
    return scale(multiply_add(r * r, horner(r, EXP["float64"]), r) + 1.0, n)
