"""The chain rule at one point: an operand's cotangent as a formula of the result's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import sympy

from graphc.ops import scalar
from graphc.ops.known import kept
from graphc.ops.scalar import Expr, Symbol, argument, differentiate
from graphc.types import Extent

GRAD = argument("grad")
RESULT = argument("result")
WHERE = argument("where")


@kept
def pulled(expr: Expr, arg: Symbol, rule: Expr | None, grad: Symbol, result: Symbol | None) -> Expr:
    """grad * d expr / d arg, or times the rule given for it.

    Written in terms of the `result`, where there is one and that is shorter.
    """
    derivative = slope(expr, arg, rule)
    if derivative == 0:
        return sympy.Integer(0)
    if result is not None:
        known = RESULT if rule is not None else expr
        shorter = derivative.subs(known, result)
        derivative = shorter if result in shorter.free_symbols else derivative
    return times(grad, derivative)


@kept
def pulled_at(
    expr: Expr,
    arg: Symbol,
    rule: Expr | None,
    grad: Symbol,
    where: Symbol,
    summed: tuple[tuple[str, int], ...],
) -> Expr:
    """The same at one point of those that are reduced, elsewhere 0.

    `where` is the point's row-major position among the reduced indices.
    """
    derivative = slope(expr, arg, rule)
    if derivative == 0:
        return sympy.Integer(0)
    first = sympy.Eq(scalar.cast(flat(summed), sympy.Symbol(position_dtype(summed))), where)
    return times(grad, sympy.Piecewise((derivative, first), (0, True)))


@kept
def pulled_beside(expr: Expr, arg: Symbol, rule: Expr | None, grad: Symbol, others: Symbol) -> Expr:
    """The same where `others` is the product over the other points."""
    derivative = slope(expr, arg, rule)
    return sympy.Integer(0) if derivative == 0 else times(grad, times(others, derivative))


@kept
def first_at(expr: Expr, best: Symbol, place: Expr, dtype: str, unknown: bool) -> Expr:
    """The place of a point where a formula is `best`, or NaN where it may be; else one beyond all.

    The least of these is where a search for the best ends, which takes the first of equal ones.
    """
    there = sympy.Eq(expr, best)
    if unknown:
        nan = scalar.cast(scalar.is_nan(expr), sympy.Symbol("int32"))
        there = sympy.Or(there, sympy.Eq(nan, 1))
    here = scalar.cast(place, sympy.Symbol(dtype))
    return sympy.Piecewise((here, there), (scalar.identity("min", dtype), True))


@kept
def flat(summed: tuple[tuple[str, Extent], ...]) -> Expr:
    """The row-major position of a point among indices of given extents."""
    total: Expr = sympy.Integer(0)
    for name, extent in summed:
        here = scalar.position(name)
        total = total * extent + here if total != 0 else here  # the first extent is not read
    return total


def position_dtype(summed: tuple[tuple[str, int], ...]) -> str:
    """The narrowest dtype that holds a position; an extent of 0 is not known before the run."""
    return "int32" if 0 < math.prod(size for _, size in summed) < 2**31 else "int64"


def slope(expr: Expr, arg: Symbol, rule: Expr | None) -> Expr:
    """d expr / d arg, or the rule given for it."""
    return differentiate(expr, arg) if rule is None else rule


def times(factor: Symbol, local: Expr) -> Expr:
    """factor * local, taken into the branches so that 0 stays 0 beside an infinite factor."""
    if isinstance(local, sympy.Piecewise):
        return sympy.Piecewise(*((factor * value, where) for value, where in local.args))
    return factor * local


def fresh(symbol: Symbol, taken: Sequence[Symbol]) -> Symbol:
    """The symbol, primed until it differs from those taken."""
    names = {s.name for s in taken}
    while symbol.name in names:
        symbol = argument(symbol.name + "'")
    return symbol
