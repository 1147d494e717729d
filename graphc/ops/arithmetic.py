"""Arithmetic, choices between operands, rounding, and conversion.

Operands broadcast as in numpy, and numbers and arrays may stand for nodes. Unless an op says
otherwise, a NaN operand gives a NaN result, and integers become float32 where the formula leaves
the integers. A formula is written so that neither it nor its derivatives overflow on the way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy

from graphc.errors import UnsupportedOpError
from graphc.graph.node import Node
from graphc.ops import scalar
from graphc.ops.make import ELEMENTWISE, apply, as_node, fail, fill
from graphc.ops.op import op
from graphc.ops.scalar import Expr, argument
from graphc.types import dtype_name, is_float


@op
def add(a: Expr, b: Expr) -> Expr:
    """a + b."""
    return a + b


@op
def sub(a: Expr, b: Expr) -> Expr:
    """a - b."""
    return a - b


@op
def mul(a: Expr, b: Expr) -> Expr:
    """a * b."""
    return a * b


@op
def div(a: Expr, b: Expr) -> Expr:
    """a / b; of integers a float32. x/0 is an infinity of x's sign, 0/0 is NaN."""
    return a / b


@op
def floor_divide(a: Expr, b: Expr) -> Expr:
    """floor(a / b), towards -inf, with derivative 0. Of integers an integer; x // 0 is then 0."""
    return scalar.floor_divide(a, b)


@op
def remainder(a: Expr, b: Expr) -> Expr:
    """a - b*floor(a / b): the sign is the divisor's. da is 1, db is -floor(a / b)."""
    return scalar.remainder(a, b)


@op
def neg(x: Expr) -> Expr:
    """-x."""
    return -x


@op
def abs(x: Expr) -> Expr:
    """|x|, with derivative 0 at 0."""
    return scalar.absolute(x)


@op
def sign(x: Expr) -> Expr:
    """-1, 0 or 1 by the sign of x, with derivative 0."""
    return scalar.signum(x)


@op
def square(x: Expr) -> Expr:
    """x^2."""
    return x**2


@op
def sqrt(x: Expr) -> Expr:
    """x^(1/2); NaN below 0. The derivative at 0 is inf."""
    return sympy.sqrt(x)


@op
def rsqrt(x: Expr) -> Expr:
    """x^(-1/2); inf at 0, NaN below."""
    return 1 / sympy.sqrt(x)


@op
def reciprocal(x: Expr) -> Expr:
    """1 / x; of integers a float32."""
    return 1 / x


@op(name="pow")
def _power(x: Expr, y: Expr) -> Expr:
    """x^y with a run-time exponent."""
    return scalar.power(x, y)


@op(name="pow")
def _constant_power(x: Expr, *, exponent: Expr) -> Expr:
    """x^exponent with a number as exponent: products and roots where it is whole or half."""
    if (2 * exponent).is_Integer:
        return x**exponent
    return scalar.power(x, exponent)


def pow(x: Any, y: Any) -> Node:
    """x^y. A whole or half number as exponent becomes products and square roots.

    NaN for x < 0 and a y that is not whole. The derivative by x is 0 where y is 0; the one by y
    is 0 where x^y is 0, and where x is 0 and y >= 0. Of integers an integer, which wraps as their
    product does; with a negative y in a node it is 0 but for x = 1 and x = -1.
    """
    y = y.item() if isinstance(y, np.generic) else y
    if not isinstance(y, int | float) or isinstance(y, bool) or not np.isfinite(y):
        return _power(x, y)
    x = as_node(x)
    if isinstance(y, float) and not is_float(x.dtype):
        x = cast(x, "float32")
    if y == 0:
        return fill(1, x.type, "pow")
    exponent = sympy.Rational(int(2 * y), 2) if float(2 * y).is_integer() else y
    return _constant_power(x, exponent=exponent)


@op
def maximum(a: Expr, b: Expr) -> Expr:
    """The larger of a and b; NaN if either is. A tie sends half the gradient to each."""
    return scalar.maximum(a, b)


@op
def minimum(a: Expr, b: Expr) -> Expr:
    """The smaller of a and b; NaN if either is. A tie sends half the gradient to each."""
    return scalar.minimum(a, b)


@op(name="clip")
def _clip(x: Expr, *, low: Expr, high: Expr) -> Expr:
    """x held between two numbers."""
    return sympy.Piecewise((low, x < low), (high, x > high), (x, True))


def clip(x: Any, low: Any = None, high: Any = None) -> Node:
    """x held within [low, high], either of which may be absent, a number, or a node.

    NaN stays NaN. The derivative is 1 within the bounds and at them, 0 outside. A bound that is a
    node gets the gradient where it holds, as minimum and maximum do.
    """
    x = as_node(x)
    numbers = [b for b in (low, high) if isinstance(b, int | float)]
    if len(numbers) + (low is None) + (high is None) == 2:
        low = -sympy.oo if low is None else low
        high = sympy.oo if high is None else high
        if low > high:
            problem = f"the lower bound {low} is above the upper bound {high}"
            raise fail(UnsupportedOpError, "clip", [x], problem)
        return _clip(x, low=low, high=high)
    if low is not None:
        x = maximum(x, low)
    return x if high is None else minimum(x, high)


@op
def where(condition: Expr, a: Expr, b: Expr) -> Expr:
    """a where the condition holds (is not 0), else b. Only the chosen one gets the gradient."""
    return sympy.Piecewise((a, condition), (b, True))


# --- rounding: derivatives are 0 ------------------------------------------------------------


@op
def floor(x: Expr) -> Expr:
    """The largest whole number not above x, with derivative 0."""
    return scalar.floor(x)


@op
def ceil(x: Expr) -> Expr:
    """The smallest whole number not below x, with derivative 0."""
    return scalar.ceil(x)


@op
def trunc(x: Expr) -> Expr:
    """x without its fraction, with derivative 0."""
    return scalar.trunc(x)


@op
def round(x: Expr) -> Expr:
    """The nearest whole number, ties to even, with derivative 0."""
    return scalar.rint(x)


# --- types and gradients --------------------------------------------------------------------


def cast(x: Any, dtype: object) -> Node:
    """x converted to another element type; the gradient is converted back.

    A float becomes an integer by dropping its fraction, a bool by not being 0. What the new type
    cannot hold is undefined.
    """
    node, name = as_node(x), dtype_name(dtype)
    if node.dtype == name:
        return node
    args = (argument("x"),)
    expr = scalar.cast(args[0], sympy.Symbol(name))
    return apply("cast", ELEMENTWISE[1], args, expr, [node], dtype=name)


@op
def stop_gradient(x: Expr) -> Expr:
    """x, with derivative 0: what leads to x is a constant for differentiation."""
    return x


@stop_gradient.derivative
def _() -> Expr:
    return sympy.Integer(0)
