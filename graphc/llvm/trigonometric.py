"""Circular functions: sin cos tan atan, and the error function.

The polynomials are minimax fits (Remez exchange in 40 digits, coefficients then rounded to the
type) over the interval named beside each, with the error relative to the result.
"""

from __future__ import annotations

import math

from graphc.llvm.lanes import Lanes, horner, layout, multiply_add, nearest, where

# 2/pi * 2**0, 2**27, 2**55 and 2**83, modulo 4, each as three numbers of 28, 28 and 53 bits.
QUARTERS = (
    (0.6366197615861893, 1.0781392056902206e-08, 1.6153797880892852e-17),
    (3.44705393910408, 9.618706608982563e-09, 3.808591801500832e-17),
    (2.582001894712448, 1.022361073577116e-08, 3.376621214489414e-17),
    (2.744379609823227, 9.064048511753242e-09, 4.2754155006569136e-17),
)
SCALES = (1.0, 2.0**-27, 2.0**-55, 2.0**-83)
# Where the next bank begins: there the scaled float32 is a whole number of at most 51 bits.
BANKS = (2.0**50, 2.0**78, 2.0**106)
# pi/2 as three numbers of 27 bits and the rest (Cody and Waite).
HALF_PI = (1.570796325802803, 9.920935184482005e-10, 6.123233932053594e-17, 6.36831716351095e-25)
# Float64 arguments beyond this give NaN: their reduction would need a table.
FAR = 1.0e8

# sin(pi/2 * r) / r and cos(pi/2 * r) in r**2 for |r| <= 1/2: errors 2**-37.7 and 2**-34.
QUARTER_SINE = (
    1.5707963267877258,
    -0.645964096098231,
    0.07969258173960746,
    -0.004681259847940117,
    0.00015819328510455893,
)
QUARTER_COSINE = (
    0.9999999999441129,
    -1.2337005395618212,
    0.25366918219640866,
    -0.020859931805216173,
    0.0009033517812834497,
)
# (sin(r) - r) / r**3 and (cos(r) - 1 + r**2/2) / r**4 in r**2 for |r| <= pi/4: 2**-68.8, 2**-64.2.
SINE = (
    -0.16666666666666666,
    0.008333333333333323,
    -0.00019841269841255248,
    2.7557319214268637e-06,
    -2.5052104929059103e-08,
    1.60583685757588e-10,
    -7.578783713844185e-13,
)
COSINE = (
    0.0416666666666666,
    -0.0013888888888874188,
    2.4801587289508903e-05,
    -2.7557314357299004e-07,
    2.0875723653346204e-09,
    -1.1359655003367888e-11,
)
# (atan(t) - t) / t**3 in t**2 for 0 <= t <= 1: errors 2**-28.5 and 2**-60.2.
ATAN = {
    "float32": (
        -0.333333015,
        0.199985772,
        -0.142645195,
        0.109535173,
        -0.0840706304,
        0.0580155253,
        -0.03123229,
        0.0109423324,
        -0.0017995307,
    ),
    "float64": (
        -0.3333333333333329,
        0.19999999999991488,
        -0.1428571428509027,
        0.1111111108792916,
        -0.09090908572699247,
        0.07692300007274898,
        -0.06666586172807731,
        0.05881731198447138,
        -0.05259503988732204,
        0.04745179547903553,
        -0.04287107398146677,
        0.0382260421910174,
        -0.032813618715157124,
        0.026190954516279504,
        -0.018657175662265428,
        0.011354089166504214,
        -0.005635832502275516,
        0.0021626454153995485,
        -0.0005964965438163181,
        0.00010459659019869604,
        -8.721965804804433e-06,
    ),
}
# erf(x)/x - 1 in x**2 for |x| <= 1: errors 2**-29.6 and 2**-62.7.
ERF = {
    "float32": (
        0.128379166,
        -0.37612626,
        0.112835854,
        -0.0268538147,
        0.00518833054,
        -0.000801020244,
        7.85384982e-05,
    ),
    "float64": (
        0.1283791670955126,
        -0.3761263890318375,
        0.11283791670954858,
        -0.02686617064507296,
        0.00522397762478137,
        -0.0008548326978765149,
        0.00012055331037551108,
        -1.4925593518728226e-05,
        1.6460972954153765e-06,
        -1.635002619207727e-07,
        1.4657883530919653e-08,
        -1.136567067182716e-09,
        5.945255584223488e-11,
    ),
}
# (1 - erf(1 + t))**(1/4) in t for 1 <= 1 + t <= 4 or 6: errors 2**-28.5 and 2**-57.6 in erf.
ERFC_ROOT = {
    "float32": (
        0.629769504,
        -0.41548562,
        0.0043210662,
        0.0508568212,
        -0.00393247744,
        -0.00507533597,
        0.000875169528,
        0.000288880372,
        -0.000105196144,
        9.5543628e-06,
    ),
    "float64": (
        0.6297695139034098,
        -0.41548532216163525,
        0.0043157217270134145,
        0.05089054942005825,
        -0.004030979421068988,
        -0.004930830296730726,
        0.0007767975726711422,
        0.0002961069494673218,
        -7.338270636306194e-05,
        -9.538804366025126e-06,
        3.677003810190683e-06,
        2.0816207044903387e-07,
        -9.102276358520619e-08,
        -3.994455549799532e-08,
        1.960244227888995e-08,
        -4.950800733357297e-09,
        1.4173518796866555e-09,
        -4.3474033605965195e-10,
        1.0279770055271827e-10,
        -1.707190302119558e-11,
        1.972869920745634e-12,
        -1.5652711072718293e-13,
        8.162530616087318e-15,
        -2.5209103267590635e-16,
        3.481722020732545e-18,
    ),
}
# Where erf rounds to 1.
ERF_END = {"float32": 4.0, "float64": 6.0}


def quarter_turns(x: Lanes) -> tuple[Lanes, Lanes]:
    """x*2/pi = n + r with |r| <= 1/2, for every finite float32 magnitude x: n modulo 4, and r.

    Payne and Hanek's idea in float64: only the digits of 2/pi that matter modulo 4 are multiplied,
    chosen by the size of x, in pieces whose products are exact.
    """
    wide = x.convert("fpext", "float64")
    beyond = [wide >= edge for edge in BANKS]

    def banked(first: float, *others: float) -> Lanes:
        chosen = wide.constant(first)
        for condition, other in zip(beyond, others, strict=True):
            chosen = where(condition, other, chosen)
        return chosen

    scaled = wide * banked(*SCALES)
    high, middle, low = (banked(*digits) for digits in zip(*QUARTERS, strict=True))
    first, second, third = scaled * high, scaled * middle, scaled * low
    # 6 * 2**52: adding it rounds to a multiple of 4.
    first = first - ((first + 6.0 * 2.0**52) - 6.0 * 2.0**52)
    whole, count = nearest(second)
    second = second - whole
    whole, more = nearest((first + second) + third)
    return count + more, ((first - whole) + second) + third


def radians(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """x = n*pi/2 + (r + rest) with |r| <= pi/4, for a float64 magnitude x up to FAR."""
    n, count = nearest(where(x <= FAR, x, math.nan) * (2.0 / math.pi))
    first, second, third, last = HALF_PI
    base = (x - n * first) - n * second
    step = n * third
    head = base - step
    back = base - head
    lost = (base - (head + back)) + (back - step)
    lost = lost - n * last
    r = head + lost
    return count, r, (head - r) + lost


def sine_and_cosine(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """Quadrant of a magnitude modulo 4, and sine and cosine of the rest, in float64 lanes."""
    if layout(x).name == "float32":
        quadrant, r = quarter_turns(x)
        z = r * r
        return quadrant, r * horner(z, QUARTER_SINE), horner(z, QUARTER_COSINE)
    quadrant, r, rest = radians(x)
    z = r * r
    sine = r + multiply_add(z * r, horner(z, SINE), rest * (1.0 - z * 0.5))
    half = z * 0.5
    most = 1.0 - half
    small = multiply_add(z * z, horner(z, COSINE), -(r * rest))
    return quadrant, sine, most + (((1.0 - most) - half) + small)


def turn(quadrant: Lanes, sine: Lanes, cosine: Lanes, dtype: str) -> Lanes:
    """sin(quadrant*pi/2 + r) in the type asked for, from sine and cosine of r."""
    value = where((quadrant & 1).equals(0), sine, cosine)
    value = where((quadrant & 2).equals(0), value, -value)
    return value if dtype == "float64" else value.convert("fptrunc", "float32")


def sin(x: Lanes) -> Lanes:
    """Sine within 1 ULP of every float32, by polynomials in float64.

    In float64 within 2 ULP for |x| <= 1e8, NaN beyond.
    """
    quadrant, sine, cosine = sine_and_cosine(abs(x))
    value = turn(quadrant, sine, cosine, x.dtype)
    return where(x < 0.0, -value, where(x.equals(0.0), x, value))


def cos(x: Lanes) -> Lanes:
    """Cosine, with the bounds and the method of sin."""
    quadrant, sine, cosine = sine_and_cosine(abs(x))
    return turn(quadrant + 1, sine, cosine, x.dtype)


def tan(x: Lanes) -> Lanes:
    """Tangent within 1 ULP of every float32, the quotient of sine and cosine in float64.

    In float64 within 4 ULP for |x| <= 1e8, NaN beyond.
    """
    quadrant, sine, cosine = sine_and_cosine(abs(x))
    odd = (quadrant & 1).differs(0)
    value = where(odd, -cosine, sine) / where(odd, sine, cosine)
    value = value if x.dtype == "float64" else value.convert("fptrunc", "float32")
    return where(x < 0.0, -value, where(x.equals(0.0), x, value))


def atan(x: Lanes) -> Lanes:
    """Arc tangent within 2 ULP: t + t**3 times a minimax fit, t = |x| or 1/|x|, then pi/2 - it."""
    magnitude = abs(x)
    inverted = magnitude > 1.0
    t = where(inverted, 1.0 / magnitude, magnitude)
    z = t * t
    p = multiply_add(horner(z, ATAN[x.dtype]), z * t, t)
    high = {"float32": 1.57079637050628662109375, "float64": math.pi / 2}[x.dtype]
    low = {"float32": -4.37113900018624283e-8, "float64": 6.123233995736766e-17}[x.dtype]
    return where(inverted, high - (p - low), p).signed_as(x)


def erf(x: Lanes) -> Lanes:
    """Error function within 2 ULP: x + x*fit(x**2) up to 1, then 1 - fit(|x| - 1)**4, sign of x."""
    magnitude = abs(x)
    near = multiply_add(x, horner(x * x, ERF[x.dtype]), x)
    end = x.constant(ERF_END[x.dtype])
    root = horner(where(end < magnitude, end, magnitude) - 1.0, ERFC_ROOT[x.dtype])
    squared = root * root
    far = multiply_add(-squared, squared, 1.0)
    return where(magnitude < 1.0, near, far.signed_as(x))
