"""The pointwise ops: arithmetic, elementary functions, activations, comparisons, rounding, logic.

Operands broadcast as in numpy, and numbers and arrays may stand for nodes. Unless an op says
otherwise, a NaN operand gives a NaN result, and integers become float32 where the formula leaves
the integers. A formula is written so that neither it nor its derivatives overflow on the way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy

from graphc.errors import DTypeError, UnsupportedOpError
from graphc.graph.node import Node, Overload, operators
from graphc.ops import scalar
from graphc.ops.formula import ELEMENTWISE, Op, apply, as_node, as_nodes, fail, fill, op
from graphc.ops.scalar import Expr, argument
from graphc.types import dtype_name, is_float

HALF = sympy.Rational(1, 2)

# --- arithmetic -----------------------------------------------------------------------------


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
    is 0 where x^y is 0, and where x is 0 and y >= 0.
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


# --- elementary functions -------------------------------------------------------------------


@op
def exp(x: Expr) -> Expr:
    """e^x."""
    return sympy.exp(x)


@op
def expm1(x: Expr) -> Expr:
    """e^x - 1, accurate near 0."""
    return scalar.expm1(x)


@op
def log(x: Expr) -> Expr:
    """The natural logarithm; -inf at 0, NaN below."""
    return sympy.log(x)


@op
def log1p(x: Expr) -> Expr:
    """log(1 + x), accurate near 0; -inf at -1, NaN below."""
    return scalar.log1p(x)


@op
def logit(x: Expr) -> Expr:
    """log(x / (1 - x)), the inverse of sigmoid; NaN outside [0, 1]."""
    return sympy.log(x) - scalar.log1p(-x)


@op
def sin(x: Expr) -> Expr:
    """The sine of x radians."""
    return sympy.sin(x)


@op
def cos(x: Expr) -> Expr:
    """The cosine of x radians."""
    return sympy.cos(x)


@op
def tan(x: Expr) -> Expr:
    """The tangent of x radians."""
    return sympy.tan(x)


@op
def tanh(x: Expr) -> Expr:
    """The hyperbolic tangent; its derivative reads only the result."""
    return sympy.tanh(x)


@op
def erf(x: Expr) -> Expr:
    """The error function, 2/sqrt(pi) * integral of e^(-t^2) for t from 0 to x."""
    return sympy.erf(x)


# --- activations ----------------------------------------------------------------------------


@op
def sigmoid(x: Expr) -> Expr:
    """1 / (1 + e^-x); its derivative reads only the result."""
    return 1 / (1 + sympy.exp(-x))


@sigmoid.derivative
def _(result: Expr) -> Expr:
    return result * (1 - result)


@op
def log_sigmoid(x: Expr) -> Expr:
    """log(1 / (1 + e^-x)) = min(x, 0) - log(1 + e^-|x|), finite for every finite x."""
    return scalar.minimum(x, 0) - scalar.log1p(sympy.exp(-scalar.absolute(x)))


@log_sigmoid.derivative
def _(result: Expr) -> Expr:
    return -scalar.expm1(result)


@op
def step(x: Expr) -> Expr:
    """1 where x > 0, else 0, with derivative 0."""
    return scalar.maximum(scalar.signum(x), 0)


@step.derivative
def _() -> Expr:
    return sympy.Integer(0)


@op
def relu(x: Expr) -> Expr:
    """x where x > 0, else 0. The derivative at 0 is 0, and reads only the result."""
    return sympy.Piecewise((0, x <= 0), (x, True))


@relu.derivative
def _(result: Expr) -> Expr:
    return sympy.Piecewise((0, result <= 0), (1, True))


@op
def relu6(x: Expr) -> Expr:
    """x held within [0, 6], with derivative 0 at both ends."""
    return sympy.Piecewise((0, x <= 0), (6, x >= 6), (x, True))


@op
def leaky_relu(x: Expr, *, slope: Expr = 0.01) -> Expr:
    """x where x > 0, else slope*x. The derivative at 0 is the slope."""
    return sympy.Piecewise((slope * x, x <= 0), (x, True))


@op(name="prelu")
def _prelu(x: Expr, weight: Expr) -> Expr:
    return sympy.Piecewise((weight * x, x <= 0), (x, True))


@op("n c ..., c -> n c ...", name="prelu")
def _channel_prelu(x: Expr, weight: Expr) -> Expr:
    return sympy.Piecewise((weight * x, x <= 0), (x, True))


def prelu(x: Any, weight: Any) -> Node:
    """x where x > 0, else weight*x with a learnt weight (He et al. 2015).

    A weight of one axis and several elements has one for each channel, axis 1 of x; any other
    weight broadcasts.
    """
    x, weight = as_nodes([x, weight])
    channels = len(weight.shape) == 1 and weight.shape != (1,) and len(x.shape) > 1
    return (_channel_prelu if channels else _prelu)(x, weight)


@op
def elu(x: Expr, *, alpha: Expr = 1) -> Expr:
    """x where x > 0, else alpha*(e^x - 1) (Clevert et al. 2015). At 0 the derivative is alpha."""
    return sympy.Piecewise((alpha * scalar.expm1(x), x <= 0), (x, True))


@elu.derivative
def _(x: Expr, result: Expr, alpha: Expr) -> Expr:
    if alpha > 0:
        return sympy.Piecewise((result + alpha, result <= 0), (1, True))
    return sympy.Piecewise((alpha * sympy.exp(x), x <= 0), (1, True))


SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@op
def selu(x: Expr) -> Expr:
    """scale * elu(x, alpha) with the constants that keep mean 0 and variance 1.

    Klambauer et al., Self-Normalizing Neural Networks, 2017: alpha = 1.67326..., scale = 1.0507...
    """
    below = SELU_SCALE * SELU_ALPHA * scalar.expm1(x)
    return sympy.Piecewise((below, x <= 0), (SELU_SCALE * x, True))


@selu.derivative
def _(result: Expr) -> Expr:
    below = result + SELU_SCALE * SELU_ALPHA
    return sympy.Piecewise((below, result <= 0), (SELU_SCALE, True))


@op
def celu(x: Expr, *, alpha: Expr = 1) -> Expr:
    """x where x > 0, else alpha*(e^(x/alpha) - 1) (Barron 2017): elu with a continuous derivative.

    alpha is not 0.
    """
    return sympy.Piecewise((alpha * scalar.expm1(x / alpha), x <= 0), (x, True))


@celu.derivative
def _(x: Expr, alpha: Expr) -> Expr:
    return sympy.Piecewise((sympy.exp(x / alpha), x <= 0), (1, True))


@op
def gelu(x: Expr, *, approximate: str = "none") -> Expr:
    """x * Phi(x), Phi the normal distribution function (Hendrycks and Gimpel 2016).

    approximate="none" computes Phi by erf, "tanh" by tanh(sqrt(2/pi) * (x + 0.044715 x^3)).
    """
    if approximate == "tanh":
        inner = sympy.sqrt(2 / sympy.pi) * (x + 0.044715 * x**3)
        return x * (1 + sympy.tanh(inner)) / 2
    if approximate != "none":
        raise UnsupportedOpError(f"gelu: approximate={approximate!r} is neither 'none' nor 'tanh'")
    return x * (1 + sympy.erf(x / sympy.sqrt(2))) / 2


@op
def silu(x: Expr) -> Expr:
    """x / (1 + e^-x), x times its sigmoid."""
    return x / (1 + sympy.exp(-x))


@silu.derivative
def _(x: Expr) -> Expr:
    sigmoid = 1 / (1 + sympy.exp(-x))
    # Below -80 it is less than 1e-32, and e^-x would overflow in the next derivative.
    return sympy.Piecewise((0, x < -80), (sigmoid * (1 + x * (1 - sigmoid)), True))


@op
def softplus(x: Expr, *, beta: Expr = 1, threshold: Expr = 20) -> Expr:
    """log(1 + e^(beta*x)) / beta, and x where beta*x > threshold.

    The derivative, sigmoid(beta*x), reads only the result: it is 1 - e^(-beta*result).
    """
    near = scalar.log1p(sympy.exp(beta * x)) / beta
    return sympy.Piecewise((x, beta * x > threshold), (near, True))


@softplus.derivative
def _(result: Expr, beta: Expr, threshold: Expr) -> Expr:
    near = -scalar.expm1(-beta * result)
    return sympy.Piecewise((1, beta * result > threshold), (near, True))


def mish(x: Any) -> Node:
    """x * tanh(softplus(x)) (Misra 2019)."""
    x = as_node(x)
    return mul(x, tanh(softplus(x)))


@op
def softsign(x: Expr) -> Expr:
    """x / (1 + |x|)."""
    return x / (1 + scalar.absolute(x))


@softsign.derivative
def _(x: Expr) -> Expr:
    return 1 / (1 + scalar.absolute(x)) ** 2


@op
def hardtanh(x: Expr, *, low: Expr = -1, high: Expr = 1) -> Expr:
    """x held within [low, high], with derivative 0 at both ends."""
    return sympy.Piecewise((low, x <= low), (high, x >= high), (x, True))


@op
def hardsigmoid(x: Expr) -> Expr:
    """x/6 + 1/2 held within [0, 1], with derivative 0 at both ends."""
    return sympy.Piecewise((0, x <= -3), (1, x >= 3), (x / 6 + HALF, True))


@op
def hardswish(x: Expr) -> Expr:
    """x times its hardsigmoid (Howard et al. 2019). The derivative is 0 at -3, and 1 at 3."""
    return sympy.Piecewise((0, x <= -3), (x, x >= 3), (x * (x + 3) / 6, True))


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


# --- comparisons and logic: the result is bool ----------------------------------------------


@op
def equal(a: Expr, b: Expr) -> Expr:
    """Whether a = b; never for NaN."""
    return sympy.Eq(a, b)


@op
def not_equal(a: Expr, b: Expr) -> Expr:
    """Whether a and b differ; always for NaN."""
    return sympy.Ne(a, b)


@op
def less(a: Expr, b: Expr) -> Expr:
    """Whether a < b; never for NaN."""
    return a < b


@op
def less_equal(a: Expr, b: Expr) -> Expr:
    """Whether a <= b; never for NaN."""
    return a <= b


@op
def greater(a: Expr, b: Expr) -> Expr:
    """Whether a > b; never for NaN."""
    return a > b


@op
def greater_equal(a: Expr, b: Expr) -> Expr:
    """Whether a >= b; never for NaN."""
    return a >= b


@op
def logical_and(a: Expr, b: Expr) -> Expr:
    """Whether both hold; a number holds where it is not 0."""
    return sympy.And(a, b)


@op
def logical_or(a: Expr, b: Expr) -> Expr:
    """Whether either holds; a number holds where it is not 0."""
    return sympy.Or(a, b)


@op
def logical_xor(a: Expr, b: Expr) -> Expr:
    """Whether exactly one holds; a number holds where it is not 0."""
    return sympy.Xor(a, b)


@op
def logical_not(x: Expr) -> Expr:
    """Whether x does not hold; a number holds where it is not 0."""
    return sympy.Not(x)


@op
def isnan(x: Expr) -> Expr:
    """Whether x is NaN."""
    return scalar.is_nan(x)


@op(name="isinf")
def _isinf(x: Expr, *, largest: Expr) -> Expr:
    return scalar.absolute(x) > largest


@op(name="isfinite")
def _isfinite(x: Expr, *, largest: Expr) -> Expr:
    return scalar.absolute(x) <= largest


def isinf(x: Any) -> Node:
    """Whether x is inf or -inf: beyond the largest number of its type."""
    x = as_node(x)
    return _isinf(x, largest=_largest(x))


def isfinite(x: Any) -> Node:
    """Whether x is neither NaN nor an infinity."""
    x = as_node(x)
    return _isfinite(x, largest=_largest(x))


def _largest(x: Node) -> float:
    return float(np.finfo(x.dtype).max) if is_float(x.dtype) else float("inf")


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


# --- Python's operators ---------------------------------------------------------------------


def _logic(sign: str, function: Op) -> Overload:
    def apply_to(*operands: Any) -> Node:
        nodes = as_nodes(operands)
        if numbers := [n for n in nodes if n.dtype != "bool"]:
            problem = f"`{sign}` is logical and takes bool, not {numbers[0].dtype}"
            raise fail(DTypeError, sign, nodes, problem)
        return function(*nodes)

    return apply_to


operators |= {
    "__add__": add,
    "__sub__": sub,
    "__mul__": mul,
    "__truediv__": div,
    "__floordiv__": floor_divide,
    "__mod__": remainder,
    "__pow__": pow,
    "__neg__": neg,
    "__abs__": abs,
    "__lt__": less,
    "__le__": less_equal,
    "__gt__": greater,
    "__ge__": greater_equal,
    "__invert__": _logic("~", logical_not),
    "__and__": _logic("&", logical_and),
    "__or__": _logic("|", logical_or),
    "__xor__": _logic("^", logical_xor),
}
