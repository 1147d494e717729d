"""The element types of formulas: of a value, and of what is computed on the way to it.

A number has none of its own: it takes that of the symbols beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy
from sympy.logic.boolalg import BooleanFalse, BooleanTrue

from graphc.errors import UnsupportedOpError
from graphc.ops.scalar import (
    Expr,
    Symbol,
    absolute,
    bounded,
    cast,
    ceil,
    floor,
    floor_divide,
    is_nan,
    maximum,
    minimum,
    normal,
    normal64,
    power,
    remainder,
    rint,
    signum,
    trunc,
    uniform,
    uniform64,
)
from graphc.types import RANK, is_float, promote

WEAK_INT, WEAK_FLOAT = "int", "float"


def _join(kinds: list[str]) -> str:
    strong = [k for k in kinds if k not in (WEAK_INT, WEAK_FLOAT)]
    if not strong:
        return WEAK_FLOAT if WEAK_FLOAT in kinds else WEAK_INT
    best = promote(*strong)
    return "float32" if WEAK_FLOAT in kinds and not is_float(best) else best


def _kind(expr: Expr, dtypes: Mapping[Symbol, str]) -> str:
    match expr:
        case sympy.Symbol():
            return dtypes.get(expr, "int64")
        case sympy.Integer():
            return WEAK_INT
        case sympy.Number() | sympy.NumberSymbol() | sympy.nan | sympy.zoo:
            return WEAK_FLOAT
        case BooleanTrue() | BooleanFalse() | sympy.Rel() | sympy.And() | sympy.Or() | sympy.Not():
            return "bool"
        case sympy.Xor() | sympy.ITE():
            return "bool"
        case sympy.Piecewise():
            return _join([_kind(value, dtypes) for value, _ in expr.args])
        case sympy.Add() | sympy.Mul():
            joined = _join([_kind(a, dtypes) for a in expr.args])
            return "int64" if joined == "bool" else joined
        case sympy.Pow():
            kinds = [_kind(a, dtypes) for a in expr.args]
            whole = expr.exp.is_Integer and expr.exp >= 0
            return _join(kinds if whole else [*kinds, WEAK_FLOAT])
        case cast():
            return str(expr.args[1])
        case bounded():
            return _kind(expr.args[0], dtypes)
        case uniform() | normal():
            return "float32"
        case uniform64() | normal64():
            return "float64"
        case is_nan():
            return "bool"
        case maximum() | minimum() | floor_divide() | remainder() | absolute() | signum():
            return _join([_kind(a, dtypes) for a in expr.args])
        case sympy.Abs() | sympy.sign() | floor() | ceil() | trunc() | rint():
            return _join([_kind(a, dtypes) for a in expr.args])
        case power():
            return _join([_kind(a, dtypes) for a in expr.args])
        case sympy.Function():
            return _join([*(_kind(a, dtypes) for a in expr.args), WEAK_FLOAT])
    raise UnsupportedOpError(f"{expr} ({type(expr).__name__}) is not part of the scalar language")


def dtype_of(expr: Expr, dtypes: Mapping[Symbol, str], default: str = "float32") -> str:
    """The element type of a formula's value, from those of its symbols."""
    kind = _kind(expr, dtypes)
    if kind == WEAK_FLOAT:
        return default if is_float(default) else "float32"
    return "int64" if kind == WEAK_INT else kind


def common(parts: tuple[Expr, ...], dtypes: Mapping[Symbol, str], default: str = "float32") -> str:
    """The element type in which several expressions are compared."""
    kind = _join([_kind(part, dtypes) for part in parts])
    return {WEAK_INT: "int64", WEAK_FLOAT: default}.get(kind, kind)


def computed_in(expr: Expr, dtypes: Mapping[Symbol, str], want: str) -> str:
    """The element type in which an expression is computed where `want` is wanted.

    Its own; arithmetic, whose value a wider type does not change, in `want` where that is wider.
    """
    kind = dtype_of(expr, dtypes, want)
    if isinstance(expr, sympy.Add | sympy.Mul | sympy.Pow | sympy.Piecewise):
        return want if RANK[kind] < RANK[want] else kind
    return kind


def operands_in(expr: Expr, dtypes: Mapping[Symbol, str], want: str) -> str:
    """The element type to which the operands of an expression are brought."""
    match expr:
        case sympy.Rel():
            return common(expr.args, dtypes)
        case cast() | bounded() | is_nan():
            return dtype_of(expr.args[0], dtypes, want)
        case uniform() | normal() | uniform64() | normal64():
            return "int64"
    return computed_in(expr, dtypes, want)
