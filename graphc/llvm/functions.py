"""The dictionary of elementary functions: each name, its vector code and its stated error.

A function takes the builder and its operands, values of equal lanes (any number, one included) of
float32 or float64, and appends straight-line code: no branch, no fast-math flag, no call, so the
result of a lane depends on nothing but its operands. Subnormals, infinities and NaN are right.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from graphc.llvm import exponential, integer, random, rounding, trigonometric
from graphc.llvm.builder import Builder, Value
from graphc.llvm.lanes import Lanes, layout, where
from graphc.ops import numeric


def sqrt(x: Lanes) -> Lanes:
    """Square root within 0.5 ULP: the instruction."""
    return x.intrinsic("llvm.sqrt")


def rsqrt(x: Lanes) -> Lanes:
    """1/sqrt(x) within 0.9 ULP: sqrt(4/x)/2, two instructions, each rounded.

    The root halves the error of the quotient, which 1/sqrt(x) would keep whole. 4/x is a normal
    number but for the least x, which are multiplied by an even power of two first.
    """
    form = layout(x)
    power = 2 * ((form.fraction + 3) // 2)
    least = x < 4.0 * form.tiny
    quotient = 4.0 / where(least, x * 2.0**power, x)
    root = sqrt(quotient) * where(least, x.constant(2.0 ** (power // 2 - 1)), 0.5)
    return where(x > 0.0, root, where(x.equals(0.0), quotient, math.nan))


def power(x: Lanes, y: Lanes) -> Lanes:
    """x**y, of floats as exponential.power states, of whole numbers exact."""
    return exponential.power(x, y) if x.floating else integer.power(x, y)


def exposed(function: Callable[..., Lanes]) -> Callable[..., Value]:
    """The function over values of a builder."""

    @functools.wraps(function)
    def call(builder: Builder, *operands: Value) -> Value:
        return function(*(Lanes(builder, operand) for operand in operands)).value

    return call


METHODS: dict[str, Callable[..., Lanes]] = {
    "exp": exponential.exp,
    "expm1": exponential.expm1,
    "log": exponential.log,
    "log1p": exponential.log1p,
    "pow": power,
    "logistic": exponential.logistic,
    "tanh": exponential.tanh,
    "sinh": exponential.sinh,
    "cosh": exponential.cosh,
    "sin": trigonometric.sin,
    "cos": trigonometric.cos,
    "tan": trigonometric.tan,
    "atan": trigonometric.atan,
    "erf": trigonometric.erf,
    "sqrt": sqrt,
    "rsqrt": rsqrt,
    "floor": rounding.floor,
    "ceil": rounding.ceil,
    "rint": rounding.rint,
    "trunc": rounding.trunc,
    "abs": rounding.absolute,
    "sign": rounding.sign,
    "maximum": rounding.maximum,
    "minimum": rounding.minimum,
    "floor_divide": rounding.divide_down,
    "remainder": rounding.remainder,
    "is_nan": rounding.is_nan,
    "uniform": random.uniform32,
    "normal": random.normal32,
    "uniform64": random.uniform64,
    "normal64": random.normal64,
}

FUNCTIONS: dict[str, Callable[..., Value]] = {
    name: exposed(method) for name, method in METHODS.items()
}


@functools.cache
def instructions(name: str, operands: int) -> int:
    """Instructions of IR for a function of so many operands in float32; one for what is not here.

    What only reads bits as another type is none.
    """
    if name not in FUNCTIONS:
        return 1
    builder, dtype = Builder(), "int64" if name in numeric.RANDOM else "float32"
    FUNCTIONS[name](builder, *(Value(f"%x{i}", dtype, 8) for i in range(operands)))
    return sum(" = bitcast " not in line for line in builder.lines)


# The float32 bounds, in units in the last place of the exact result. What is not here is exact.
ULP: dict[str, float] = {
    "exp": 1.0,
    "expm1": 2.0,
    "log": 1.0,
    "log1p": 2.0,
    "pow": 1.0,
    "logistic": 2.0,
    "tanh": 2.0,
    "sinh": 2.5,
    "cosh": 2.0,
    "sin": 1.0,
    "cos": 1.0,
    "tan": 1.0,
    "atan": 2.0,
    "erf": 2.0,
    "sqrt": 0.5,
    "rsqrt": 1.0,
}
