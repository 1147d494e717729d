"""The scalar language of formulas: sympy's functions and a few of our own.

A formula may use numbers, + - * /, powers, comparisons, logic, Piecewise, sympy's exp log sin cos
tan tanh sinh cosh atan erf Abs sign sqrt, and the functions defined here. Each of ours states its
derivative. `dtypes` gives the element type of a formula's value.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import TypeAlias

import numpy as np
import sympy
from sympy.logic.boolalg import Boolean

from graphc.errors import UnsupportedOpError
from graphc.types import is_float

Expr: TypeAlias = sympy.Basic
Symbol: TypeAlias = sympy.Symbol


@cache
def argument(name: str) -> Symbol:
    """The symbol that stands for an operand's element."""
    return Symbol(name, real=True)


@cache
def position(name: str) -> Symbol:
    """The symbol that stands for the value of an index."""
    return Symbol(name, integer=True)


class ScalarFunction(sympy.Function):  # type: ignore[misc]  # sympy has no types
    """Base of graphc's own scalar functions; real-valued."""

    is_real = True
    is_commutative = True


class expm1(ScalarFunction):
    """e^x - 1, accurate near 0."""

    def fdiff(self, argindex: int = 1) -> Expr:
        """expm1' = expm1 + 1, so that backward reads only the result."""
        return self + 1


class log1p(ScalarFunction):
    """log(1 + x), accurate near 0."""

    def fdiff(self, argindex: int = 1) -> Expr:
        """1/(1 + x)."""
        return 1 / (1 + self.args[0])


class logistic(ScalarFunction):
    """1 / (1 + e^-x), without overflow."""

    def fdiff(self, argindex: int = 1) -> Expr:
        """logistic' = logistic * (1 - logistic), so that backward reads only the result."""
        return self * (1 - self)


class power(ScalarFunction):
    """x**y with a run-time exponent."""

    def fdiff(self, argindex: int = 1) -> Expr:
        """y*x^(y-1), 0 where y is 0; x^y*log(x), 0 where x^y is 0 or x is 0 and y >= 0."""
        x, y = self.args
        if argindex == 1:
            return sympy.Piecewise((0, sympy.Eq(y, 0)), (y * power(x, y - 1), True))
        flat = sympy.Or(sympy.Eq(self, 0), sympy.And(sympy.Eq(x, 0), y >= 0))
        return sympy.Piecewise((0, flat), (self * sympy.log(x), True))


class maximum(ScalarFunction):
    """The larger of two; NaN if either is. A tie sends half the gradient to each."""

    def fdiff(self, argindex: int = 1) -> Expr:
        """1, 0, or 1/2 at a tie."""
        mine, other = self.args if argindex == 1 else reversed(self.args)
        half = sympy.Rational(1, 2)
        return sympy.Piecewise((1, mine > other), (0, mine < other), (half, True))


class minimum(ScalarFunction):
    """The smaller of two; NaN if either is. A tie sends half the gradient to each."""

    def fdiff(self, argindex: int = 1) -> Expr:
        """1, 0, or 1/2 at a tie."""
        mine, other = self.args if argindex == 1 else reversed(self.args)
        half = sympy.Rational(1, 2)
        return sympy.Piecewise((1, mine < other), (0, mine > other), (half, True))


class Flat(ScalarFunction):
    """Base of the functions whose derivative is zero wherever it exists."""

    def fdiff(self, argindex: int = 1) -> Expr:
        """0."""
        return sympy.Integer(0)


class floor(Flat):
    """The largest whole number not above x."""


class ceil(Flat):
    """The smallest whole number not below x."""


class trunc(Flat):
    """The whole part of x."""


class rint(Flat):
    """The nearest whole number, ties to even."""


class floor_divide(Flat):
    """floor(x / y); on integers a zero divisor gives 0."""


class remainder(ScalarFunction):
    """x - y*floor(x / y): the sign is the divisor's."""

    def fdiff(self, argindex: int = 1) -> Expr:
        """1, and -floor(x / y)."""
        return sympy.Integer(1) if argindex == 1 else -floor_divide(*self.args)


class absolute(ScalarFunction):
    """|x|."""

    def fdiff(self, argindex: int = 1) -> Expr:
        """The sign of x; 0 at 0."""
        return signum(self.args[0])


class signum(Flat):
    """-1, 0 or 1; NaN stays NaN."""


class is_nan(Flat):
    """Whether x is NaN, a bool."""


class cast(ScalarFunction):
    """x converted to another element type: cast(x, name)."""

    def fdiff(self, argindex: int = 1) -> Expr:
        """1 between floats; casts to and from integers carry no cotangent by their dtype."""
        return sympy.Integer(1)


class bounded(Flat):
    """i if 0 <= i < n, else the program raises IndexError and i reads as 0: bounded(i, n)."""


class uniform(Flat):
    """A float32 in [0, 1): a function of (seed, step, stream, element)."""


class normal(Flat):
    """A float32 from N(0, 1): a function of (seed, step, stream, element)."""


class uniform64(Flat):
    """As uniform, float64."""


class normal64(Flat):
    """As normal, float64."""


NAMED = {"Abs": "abs", "sign": "sign", "absolute": "abs", "signum": "sign", "power": "pow"}


def name_of(function: Expr) -> str:
    """The name under which a function stands in the tables of every back end."""
    name = type(function).__name__
    return NAMED.get(name, name)


def variables(expr: Expr) -> set[Symbol]:
    """The operands and indices that a formula reads: its symbols but for the names of types."""
    return {symbol for symbol in expr.free_symbols if symbol.is_real}


@cache
def spelled(expr: Expr) -> str:
    """The formula as text that tells every two formulas apart."""
    if not expr.args:
        return str(sympy.srepr(expr))
    return f"{type(expr).__name__}({', '.join(map(spelled, expr.args))})"


def written(value: object) -> str:
    """A value as text that tells it apart: a formula spelled, anything else by its repr."""
    return spelled(value) if isinstance(value, sympy.Basic) else repr(value)


ZERO: Expr = sympy.Integer(0)


def whole(value: int) -> Expr:
    """A whole number as a formula's constant."""
    return sympy.Integer(value)


def constant(value: float | int) -> Expr:
    """A number as a formula's constant, exactly."""
    return sympy.Integer(value) if isinstance(value, int) else sympy.Float(value, 17)


def ratio(value: Fraction) -> Expr:
    """A fraction as a formula's constant, exactly."""
    return sympy.Rational(value.numerator, value.denominator)


def truth(value: bool) -> Expr:
    """A condition that always, or never, holds."""
    return sympy.true if value else sympy.false


def finite(expr: Expr) -> bool:
    """Whether a formula holds no infinity, and no constant that is undefined or not real."""
    return not expr.has(sympy.oo, -sympy.oo, sympy.zoo, sympy.nan, sympy.I)


def with_value(expr: Expr, symbol: Symbol, value: int) -> Expr:
    """The formula where a symbol has a value."""
    return expr.subs(symbol, value)


@cache
def is_sum(expr: Expr, symbols: tuple[Symbol, ...]) -> bool:
    """Whether a formula is a sum of some symbols, each times something else, and no more."""
    slopes = {symbol: sympy.diff(expr, symbol) for symbol in symbols}
    if any(slope.free_symbols & set(symbols) for slope in slopes.values()):
        return False
    whole = sum((slope * symbol for symbol, slope in slopes.items()), ZERO)
    return bool(sympy.expand(whole - expr) == 0)


def is_checked(expr: Expr, symbol: Symbol) -> bool:
    """Whether a symbol's value must lie in a bound: it is an index, and looked at when run."""
    return any(symbol in part.free_symbols for part in expr.atoms(bounded))


def factors(expr: Expr) -> tuple[Expr, ...]:
    """The factors of a product; of another formula none."""
    return tuple(expr.args) if isinstance(expr, sympy.Mul) else ()


def cofactor(expr: Expr, symbol: Symbol) -> Expr | None:
    """What a symbol is multiplied by, on each branch; None where a formula is not such a product.

    A branch that is 0 is none, as it stays 0 where the symbol is infinite.
    """
    if expr == 0:
        return None
    if isinstance(expr, sympy.Piecewise):
        pairs = [(cofactor(value, symbol), where) for value, where in expr.args]
        if any(value is None or symbol in where.free_symbols for value, where in pairs):
            return None
        return sympy.Piecewise(*pairs)
    others = [factor for factor in sympy.Mul.make_args(expr) if factor != symbol]
    rest = sympy.Mul(*others)
    return rest if sympy.Mul(symbol, rest) == expr and symbol not in rest.free_symbols else None


@cache
def elementary(expr: Expr) -> bool:
    """Whether an expression has an elementary function in it, such as exp."""
    return bool(functions(expr))


def functions(expr: Expr) -> list[Expr]:
    """The elementary functions in an expression, outer ones first."""
    found = [part for part in expr.atoms(sympy.Function) if not isinstance(part, CHEAP)]
    return sorted(found, key=lambda part: (-part.count_ops(), str(part)))


CHEAP = (sympy.Piecewise, maximum, minimum, absolute, signum, cast, bounded, is_nan)
"""Functions that take an instruction or two."""


def within(value: Expr, bound: Expr | int) -> Expr:
    """0 <= value < bound."""
    return sympy.And(value >= 0, value < bound)


def equals(left: Expr, right: Expr | int) -> Expr:
    """left == right, as a condition."""
    return sympy.Eq(left, right)


def identity(how: str, dtype: str) -> Expr:
    """What a reduction starts from."""
    if how in ("max", "min"):
        if is_float(dtype):
            return sympy.oo if how == "min" else -sympy.oo
        if dtype == "bool":
            return sympy.true if how == "min" else sympy.false
        info = np.iinfo(dtype)
        return sympy.Integer(int(info.max if how == "min" else info.min))
    return {"sum": ZERO, "prod": sympy.Integer(1), "any": sympy.false, "all": sympy.true}[how]


@cache
def differentiate(expr: Expr, symbol: Symbol) -> Expr:
    """d expr / d symbol, not simplified: sympy.simplify hides shared subterms."""
    if isinstance(expr, Boolean) and not isinstance(expr, sympy.Symbol):
        return sympy.Integer(0)
    derivative = sympy.diff(expr, symbol)
    if derivative.has(sympy.DiracDelta, sympy.Derivative, sympy.Subs):
        raise UnsupportedOpError(f"cannot differentiate {expr} with respect to {symbol}")
    return derivative
