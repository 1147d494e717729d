"""What is measured: each function as graphc's op, its exact values, its symmetry and its bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import scipy.special
import sympy

import graphc
from graphc import ops
from graphc.graph.node import Node
from graphc.llvm.functions import ULP
from graphc.ops.scalar import Expr
from tests.exhaustive.error import Array


@dataclass(frozen=True)
class Subject:
    """A function: graphc's, numpy's or scipy's in float64, and mpmath's in any precision.

    `mirror` is the sign of f(-x) beside f(x), 0 where there is no such law.
    """

    name: str
    bound: float
    build: Callable[..., Node]
    reference: Callable[..., Array]
    precise: Callable[..., Any]
    mirror: int = 0
    arity: int = 1


@graphc.op
def sinh(x: Expr) -> Expr:
    """The hyperbolic sine, an op of formulas only."""
    return sympy.sinh(x)


@graphc.op
def cosh(x: Expr) -> Expr:
    """The hyperbolic cosine, an op of formulas only."""
    return sympy.cosh(x)


@graphc.op
def atan(x: Expr) -> Expr:
    """The arc tangent, an op of formulas only."""
    return sympy.atan(x)


def _rsqrt(x: Any) -> Any:
    return 1 / mpmath.sqrt(x) if x else mpmath.inf


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


SUBJECTS: tuple[Subject, ...] = (
    Subject("exp", ULP["exp"], ops.exp, np.exp, mpmath.exp),
    Subject("log", ULP["log"], ops.log, np.log, mpmath.log),
    Subject("expm1", ULP["expm1"], ops.expm1, np.expm1, mpmath.expm1),
    Subject("log1p", ULP["log1p"], ops.log1p, np.log1p, mpmath.log1p),
    Subject("tanh", ULP["tanh"], ops.tanh, np.tanh, mpmath.tanh, -1),
    Subject("sigmoid", ULP["logistic"], ops.sigmoid, lambda x: 1 / (1 + np.exp(-x)), _sigmoid),
    Subject("erf", ULP["erf"], ops.erf, scipy.special.erf, mpmath.erf, -1),
    Subject("sin", ULP["sin"], ops.sin, np.sin, mpmath.sin, -1),
    Subject("cos", ULP["cos"], ops.cos, np.cos, mpmath.cos, 1),
    Subject("tan", ULP["tan"], ops.tan, np.tan, mpmath.tan, -1),
    Subject("atan", ULP["atan"], atan, np.arctan, mpmath.atan, -1),
    Subject("sinh", ULP["sinh"], sinh, np.sinh, mpmath.sinh, -1),
    Subject("cosh", ULP["cosh"], cosh, np.cosh, mpmath.cosh, 1),
    Subject("sqrt", ULP["sqrt"], ops.sqrt, np.sqrt, mpmath.sqrt),
    Subject("rsqrt", ULP["rsqrt"], ops.rsqrt, lambda x: 1 / np.sqrt(x), _rsqrt),
    Subject("reciprocal", 0.5, ops.reciprocal, lambda x: 1 / x, lambda x: 1 / x, -1),
    Subject("div", 0.5, ops.div, np.divide, lambda x, y: x / y, arity=2),
    Subject("pow", ULP["pow"], ops.pow, np.power, mpmath.power, arity=2),
)
NAMED = {subject.name: subject for subject in SUBJECTS}
