"""A formula where one operand is a number: the same values in the same types, as far as it can."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from sympy.logic.boolalg import BooleanFunction

from graphc.ops import numeric, scalar
from graphc.ops.dtypes import computed_in, operands_in
from graphc.ops.scalar import Expr, Symbol, variables
from graphc.types import is_float

STYLES = ("whole", "plain", "typed")
"""How a number may stand in a formula: as a whole number, as a fraction, or with its type."""


def given(
    expr: Expr, symbol: Symbol, value: Any, dtypes: Mapping[Symbol, str], dtype: str
) -> Expr | None:
    """The formula where a symbol has a value, computed in `dtype`; None where none is the same.

    A bare number takes the type of what stands beside it. Where that is not the type in which the
    operand was computed with, the number is a cast. So is a number for which sympy's algebra
    would forget another operand, as in 0*x = 0: that operand may be NaN or infinite. A value that
    is not finite, or an infinity of a constant part such as 1/0, is no number of a formula.
    """
    value = np.asarray(value, dtypes[symbol])
    for style in STYLES:
        found = Given(symbol, value, dtypes, style).value(expr, dtype)
        if found is not None and alike(found, expr, dtypes, dtype):
            return found
    return None


def alike(found: Expr, expr: Expr, dtypes: Mapping[Symbol, str], dtype: str) -> bool:
    """Whether a formula with a number in it is computed as before, in the same element type."""
    if scalar.finite(expr) and not scalar.finite(found):
        return False
    bare = found.is_Symbol or found.is_number  # read, or written, in the type that is wanted
    if not bare and computed_in(found, dtypes, dtype) != computed_in(expr, dtypes, dtype):
        return False
    return fits(found, expr, {dtype, *dtypes.values()})


@dataclass(frozen=True)
class Given:
    """One way of writing a number into formulas; its methods give None where it changes one."""

    symbol: Symbol
    number: np.ndarray[Any, Any]
    dtypes: Mapping[Symbol, str]
    style: str

    def value(self, expr: Expr, dtype: str) -> Expr | None:
        """An expression that is computed where `dtype` is wanted."""
        names = variables(expr)
        if self.symbol not in names:
            return expr
        arithmetic = isinstance(expr, sympy.Add | sympy.Mul | sympy.Pow)
        alone = names == {self.symbol} and not arithmetic and self.style != "typed"
        if alone or expr == self.symbol:
            kind = computed_in(expr, self.dtypes, dtype)
            return self.literal(self.computed(expr, kind), kind)
        if isinstance(expr, sympy.Piecewise):
            return self.choice(expr, computed_in(expr, self.dtypes, dtype))
        if isinstance(expr, BooleanFunction):
            return self.rebuilt(expr, [self.condition(a) for a in expr.args])
        kind = operands_in(expr, self.dtypes, dtype)
        found = self.rebuilt(expr, [self.value(a, kind) for a in expr.args])
        if found is None or arithmetic or operands_in(found, self.dtypes, dtype) == kind:
            return found
        return None

    def rebuilt(self, expr: Expr, args: list[Expr | None]) -> Expr | None:
        """The expression of other arguments, none of which it may forget."""
        known = [a for a in args if a is not None]
        if len(known) < len(args):
            return None
        found: Expr = expr.func(*known)
        logic = isinstance(expr, BooleanFunction)
        kept = logic or variables(found) == set().union(*map(variables, known))
        return found if kept else None

    def choice(self, expr: Expr, dtype: str) -> Expr | None:
        """A Piecewise: what a condition now excludes is not computed."""
        pairs = []
        for value, condition in expr.args:
            branch, where = self.value(value, dtype), self.condition(condition)
            if branch is None or where is None:
                return None
            pairs.append((branch, where))
        return sympy.Piecewise(*pairs)

    def condition(self, expr: Expr) -> Expr | None:
        """An expression of which only matters whether it is 0."""
        if variables(expr) == {self.symbol}:
            return scalar.truth(bool(self.computed(expr, "bool")))
        return self.value(expr, "bool")

    def computed(self, expr: Expr, dtype: str) -> np.ndarray[Any, Any]:
        """The value of an expression of nothing but the number."""
        return numeric.evaluate(expr, {self.symbol: self.number}, self.dtypes, dtype)

    def literal(self, value: np.ndarray[Any, Any], dtype: str) -> Expr | None:
        """A number of an element type as this style writes it. A formula cannot write -0.0."""
        number = value.item()
        if is_float(dtype):
            if not math.isfinite(number) or (number == 0 and math.copysign(1, number) < 0):
                return None
            whole = self.style != "plain" and number.is_integer() and abs(number) < 2**24
            number = int(number) if whole else number
        plain = scalar.constant(int(number) if isinstance(number, bool) else number)
        return scalar.cast(plain, Symbol(dtype)) if self.style == "typed" else plain


def fits(expr: Expr, before: Expr, dtypes: set[str]) -> bool:
    """Whether the numbers that are new in a formula are numbers of the types it is computed in."""
    widest = np.float64 if "float64" in dtypes else np.float32
    with np.errstate(all="ignore"):
        for number in expr.atoms(sympy.Number) - before.atoms(sympy.Number):
            held = widest(float(number))
            if not np.isfinite(held) or (held == 0) != (number == 0):
                return False
            if number.is_Integer and not -(2**63) <= int(number) < 2**63:
                return False
    return True
