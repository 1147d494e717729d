"""Comparisons and logic: the result is bool.

Operands broadcast as in numpy, and numbers and arrays may stand for nodes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy

from graphc.graph.node import Node
from graphc.ops import scalar
from graphc.ops.make import as_node
from graphc.ops.op import op
from graphc.ops.scalar import Expr
from graphc.types import is_float


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
