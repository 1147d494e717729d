"""Elementary functions: exponentials, logarithms, trigonometric functions and their like.

Operands broadcast as in numpy, and numbers and arrays may stand for nodes. Unless an op says
otherwise, a NaN operand gives a NaN result, and an integer operand gives float32.
"""

from __future__ import annotations

import sympy

from graphc.ops import scalar
from graphc.ops.op import op
from graphc.ops.scalar import Expr


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
    """The sine of x radians. In float64 NaN beyond 1e8, where float32 has no bound."""
    return sympy.sin(x)


@op
def cos(x: Expr) -> Expr:
    """The cosine of x radians. In float64 NaN beyond 1e8, where float32 has no bound."""
    return sympy.cos(x)


@op
def tan(x: Expr) -> Expr:
    """The tangent of x radians. In float64 NaN beyond 1e8, where float32 has no bound."""
    return sympy.tan(x)


@op
def tanh(x: Expr) -> Expr:
    """The hyperbolic tangent; its derivative reads only the result."""
    return sympy.tanh(x)


@op
def erf(x: Expr) -> Expr:
    """The error function, 2/sqrt(pi) * integral of e^(-t^2) for t from 0 to x."""
    return sympy.erf(x)
