"""Formulas' values in numpy: what each scalar function computes, and so which ones there are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
import sympy
from sympy.functions.elementary.piecewise import ExprCondPair
from sympy.logic.boolalg import BooleanFalse, BooleanTrue

from graphc.errors import UnsupportedOpError
from graphc.ops import philox
from graphc.ops.dtypes import common, computed_in, dtype_of
from graphc.ops.scalar import Expr, Symbol, bounded, cast, is_nan, name_of
from graphc.types import is_float

Array = np.ndarray[Any, Any]

_erf = np.vectorize(math.erf, otypes=[float])


def _integer_safe(function: Any) -> Any:
    def safe(x: Array, y: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(function(x, y))

    return safe


def _power(x: Array, y: Array) -> Array:
    if is_float(x.dtype.name):
        return np.asarray(np.power(x, y))
    x, y = (v.astype(np.uint8) if v.dtype == bool else v for v in (x, y))
    power = np.power(x, np.maximum(y, 0))
    return np.where(y < 0, np.where(np.abs(x) == 1, np.where(y % 2 == 0, 1, x), 0), power)


def _logistic(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, small, np.ones_like(small)) / (1 + small))


VALUES: dict[str, Any] = {
    "exp": np.exp,
    "log": np.log,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "logistic": _logistic,
    "tanh": np.tanh,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "atan": np.arctan,
    "erf": lambda x: _erf(x).astype(x.dtype),
    "abs": np.abs,
    "sign": np.sign,
    "expm1": np.expm1,
    "log1p": np.log1p,
    "pow": _power,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "rint": np.rint,
    "floor_divide": _integer_safe(np.floor_divide),
    "remainder": _integer_safe(np.remainder),
    "is_nan": np.isnan,
}
RANDOM: dict[str, Any] = {
    "uniform": philox.uniform,
    "normal": philox.normal,
    "uniform64": philox.uniform64,
    "normal64": philox.normal64,
}
RELATIONS: list[tuple[Any, Any]] = [
    (sympy.StrictLessThan, np.less),
    (sympy.LessThan, np.less_equal),
    (sympy.StrictGreaterThan, np.greater),
    (sympy.GreaterThan, np.greater_equal),
    (sympy.Equality, np.equal),
    (sympy.Unequality, np.not_equal),
]


def evaluate(
    expr: Expr, values: Mapping[Symbol, Array], dtypes: Mapping[Symbol, str], dtype: str
) -> Array:
    """The formula's value in numpy, elementwise, in the element type `dtype`."""

    def at(part: Expr, want: str) -> Array:
        return np.asarray(raw(part, want)).astype(want)

    def own(part: Expr, default: str) -> str:
        return dtype_of(part, dtypes, default)

    def raw(part: Expr, want: str) -> Any:
        if isinstance(part, sympy.Add | sympy.Mul | sympy.Pow | sympy.Piecewise):
            want = computed_in(part, dtypes, want)
        match part:
            case sympy.Symbol():
                return values[part]
            case BooleanTrue() | BooleanFalse():
                return np.bool_(bool(part))
            case sympy.Number() | sympy.NumberSymbol() | sympy.nan:
                return np.asarray(float(part) if is_float(want) else int(part)).astype(want)
            case sympy.Add():
                return reduce(np.add, [at(a, want) for a in part.args])
            case sympy.Mul():
                below = [a for a in part.args if a.is_Pow and a.exp.is_Integer and a.exp < 0]
                above = [at(a, want) for a in part.args if a not in below]
                top = reduce(np.multiply, above, np.dtype(want).type(1))
                if not below:
                    return top
                return top / reduce(np.multiply, [at(1 / a, want) for a in below])
            case sympy.Pow():
                base, exponent = part.args
                if exponent == sympy.Rational(1, 2):
                    return np.sqrt(at(base, want))
                if exponent == sympy.Rational(-1, 2):
                    return 1 / np.sqrt(at(base, want))
                if base == sympy.E:
                    return np.exp(at(exponent, want))
                if exponent.is_Integer and exponent < 0:
                    return 1 / np.power(at(base, want), -int(exponent))
                if exponent.is_Integer:
                    return np.power(at(base, want), int(exponent))
                return np.power(at(base, want), at(exponent, want))
            case sympy.Piecewise():
                branches = [(at(v, want), at(c, "bool")) for v, c in part.args]
                return np.select([c for _, c in branches], [v for v, _ in branches], 0)
            case sympy.And():
                return reduce(np.logical_and, [at(a, "bool") for a in part.args])
            case sympy.Or():
                return reduce(np.logical_or, [at(a, "bool") for a in part.args])
            case sympy.Xor():
                return reduce(np.logical_xor, [at(a, "bool") for a in part.args])
            case sympy.Not():
                return np.logical_not(at(part.args[0], "bool"))
            case cast():
                kind = str(part.args[1])
                with np.errstate(invalid="ignore"):
                    return at(part.args[0], own(part.args[0], kind)).astype(kind)
            case bounded():
                return at(part.args[0], own(part.args[0], "int64"))
            case is_nan():
                return np.isnan(at(part.args[0], own(part.args[0], "float32")))
        for relation, compare in RELATIONS:
            if isinstance(part, relation):
                kind = common(part.args, dtypes)
                return compare(at(part.args[0], kind), at(part.args[1], kind))
        name = name_of(part)
        if name in RANDOM:
            return RANDOM[name](*(at(a, "int64") for a in part.args))
        if name not in VALUES:
            raise UnsupportedOpError(f"no value for {name} in {expr}")
        kind = own(part, want)
        if not is_float(kind) and name in ("floor", "ceil", "trunc", "rint"):
            return at(part.args[0], kind)
        return VALUES[name](*(at(a, kind) for a in part.args))

    with np.errstate(all="ignore"):
        return at(expr, dtype)


LANGUAGE = (
    *(sympy.Symbol, sympy.Number, sympy.NumberSymbol, sympy.Add, sympy.Mul, sympy.Pow),
    *(sympy.Piecewise, ExprCondPair, sympy.Rel, BooleanTrue, BooleanFalse),
    *(sympy.And, sympy.Or, sympy.Not, sympy.Xor, sympy.ITE, cast, bounded),
)
INSTEAD = {
    "Max": "maximum",
    "Min": "minimum",
    "ceiling": "ceil",
    "floor": "floor",
    "Mod": "remainder",
    "frac": "remainder",
}
"""sympy's functions that one of our own stands for."""


def outside(expr: Expr) -> str:
    """Why a formula is outside of the scalar language; "" where it is inside."""
    for part in sympy.preorder_traversal(expr):
        ours = isinstance(part, sympy.Function) and name_of(part) in VALUES | RANDOM
        foreign = type(part) in (sympy.floor, sympy.frac)
        if (ours and not foreign) or isinstance(part, LANGUAGE) or part is sympy.nan:
            continue
        if part in (sympy.zoo, sympy.I):
            return f"{part} is not a real number; a formula is one of real numbers"
        name = type(part).__name__
        what = "scalar function" if isinstance(part, sympy.Function) else "expression"
        way = (
            f"graphc.ops.scalar.{INSTEAD[name]} stands for it"
            if name in INSTEAD
            else "graphc/ops/scalar.py lists what a formula may use"
        )
        return f"the {what} {name} is unknown in {expr}; {way}"
    return ""
