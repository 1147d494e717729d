"""Activations.

Operands broadcast as in numpy, and numbers and arrays may stand for nodes. Unless an op says
otherwise, a NaN operand gives a NaN result. Formulas are written so that neither they nor their
derivatives overflow on the way, and where that is shorter a derivative reads only the result.
The derivative of an op with branches (relu, elu) at NaN is that of its last branch.
"""

from __future__ import annotations

from typing import Any

import sympy

from graphc.errors import UnsupportedOpError
from graphc.graph.node import Node
from graphc.ops import scalar
from graphc.ops.arithmetic import mul
from graphc.ops.elementary import tanh
from graphc.ops.make import as_node, as_nodes
from graphc.ops.op import op
from graphc.ops.scalar import Expr

HALF = sympy.Rational(1, 2)


@op
def sigmoid(x: Expr) -> Expr:
    """1 / (1 + e^-x); its derivative reads only the result."""
    return scalar.logistic(x)


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
def leaky_relu(x: Expr, *, negative_slope: Expr = 0.01) -> Expr:
    """x where x > 0, else negative_slope*x. The derivative at 0 is the negative slope."""
    return sympy.Piecewise((negative_slope * x, x <= 0), (x, True))


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
    return x * scalar.logistic(x)


@silu.derivative
def _(x: Expr) -> Expr:
    return scalar.logistic(x) * (1 + x * (1 - scalar.logistic(x)))


@op
def softplus(x: Expr, *, beta: Expr = 1, threshold: Expr = 20) -> Expr:
    """log(1 + e^(beta*x)) / beta, and x where beta*x > threshold.

    The derivative is sigmoid(beta*x), written 1 - e^(-beta*result), and 1 beyond the threshold.
    """
    near = scalar.log1p(sympy.exp(beta * x)) / beta
    return sympy.Piecewise((x, beta * x > threshold), (near, True))


@softplus.derivative
def _(x: Expr, result: Expr, beta: Expr, threshold: Expr) -> Expr:
    near = -scalar.expm1(-beta * result)
    return sympy.Piecewise((1, beta * x > threshold), (near, True))


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
def hardtanh(x: Expr, *, min_val: Expr = -1, max_val: Expr = 1) -> Expr:
    """x held within [min_val, max_val], with derivative 0 at both ends."""
    return sympy.Piecewise((min_val, x <= min_val), (max_val, x >= max_val), (x, True))


@op
def hardsigmoid(x: Expr) -> Expr:
    """x/6 + 1/2 held within [0, 1], with derivative 0 at both ends."""
    return sympy.Piecewise((0, x <= -3), (1, x >= 3), (x / 6 + HALF, True))


@op
def hardswish(x: Expr) -> Expr:
    """x times its hardsigmoid (Howard et al. 2019). The derivative is 0 at -3, and 1 at 3."""
    return sympy.Piecewise((0, x <= -3), (x, x >= 3), (x * (x + 3) / 6, True))
