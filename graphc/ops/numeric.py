"""Formulas' values in numpy: what each scalar function computes, and so which ones there are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
import sympy
from sympy.logic.boolalg import BooleanFalse, BooleanTrue

from graphc.errors import DTypeError, UnsupportedOpError
from graphc.ops import philox
from graphc.ops.scalar import Expr, Symbol, bounded, cast, common, dtype_of, is_nan, name_of
from graphc.types import is_float

Array = np.ndarray[Any, Any]

_erf = np.vectorize(math.erf, otypes=[float])


def _integer_safe(function: Any) -> Any:
    def safe(x: Array, y: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(function(x, y))

    return safe


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
    "pow": np.power,
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


def check_language(expr: Expr, name: str) -> None:
    """Raise UnsupportedOpError if a formula leaves the scalar language."""
    for part in sympy.preorder_traversal(expr):
        known = not isinstance(part, sympy.Function) or name_of(part) in VALUES | RANDOM
        if not known and not isinstance(part, cast | bounded | sympy.Piecewise):
            raise UnsupportedOpError(f"{name}: the scalar function {name_of(part)} is unknown")
        if part in (sympy.zoo, sympy.I):
            raise DTypeError(f"{name}: {part} is not a real number")
