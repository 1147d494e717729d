"""Formulas with cases: one for each value of an index, or at the place that a label names."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cache

import sympy

from graphc.ops.scalar import ZERO, Expr, Symbol, bounded, cast, position


def conditions(expr: Expr) -> list[set[Symbol]]:
    """The symbols of each condition that chooses between cases of a formula."""
    chosen = [condition for part in expr.atoms(sympy.Piecewise) for _, condition in part.args]
    return [condition.free_symbols for condition in chosen if condition.free_symbols]


def only_where(value: Expr, conditions: Sequence[Expr]) -> Expr:
    """The value where all conditions hold, 0 elsewhere."""
    return sympy.Piecewise((value, sympy.And(*conditions)), (0, True))


def cases(index: str, values: Sequence[Expr]) -> Expr:
    """values[index], for an index that takes as many values."""
    here = position(index)
    pairs = [(value, sympy.Eq(here, case)) for case, value in enumerate(values[:-1])]
    return sympy.Piecewise(*pairs, (values[-1], True))


@cache
def switch(expr: Expr) -> Symbol | None:
    """The index of which a formula has a case for each value, as `cases` writes them."""
    if not isinstance(expr, sympy.Piecewise) or len(expr.args) < 3:
        return None
    first = expr.args[0][1]
    where = next(iter(first.free_symbols)) if isinstance(first, sympy.Eq) else None
    if where is None or not where.is_integer or expr.args[-1][1] != sympy.true:
        return None
    for case, (_, condition) in enumerate(expr.args[:-1]):
        if condition != sympy.Eq(where, case):
            return None
    return where


@cache
def case(expr: Expr, number: int) -> Expr:
    """What a formula with a case for each value of an index is for one value."""
    return expr.args[min(number, len(expr.args) - 1)][0]


def at_label(condition: Expr) -> tuple[Expr, Symbol] | None:
    """The two sides of `bounded(label, n) == index`."""
    if not isinstance(condition, sympy.Eq):
        return None
    sides = {isinstance(side, bounded): side for side in condition.args}
    label, place = sides.get(True), sides.get(False)
    if label is None or not isinstance(place, sympy.Symbol) or not place.is_integer:
        return None
    return label, place


def compared_in(dtype: str, expr: Expr, limit: int, indices: Set[str]) -> Expr:
    """The formula, labels below a limit compared with these indices in another element type."""
    kind, found = Symbol(dtype), {}
    for part in expr.atoms(sympy.Eq):
        sides = at_label(part)
        if sides is not None and sides[0].args[1] <= limit and sides[1].name in indices:
            found[part] = sympy.Eq(*(cast(side, kind) for side in sides))
    return expr.xreplace(found)


@dataclass(frozen=True)
class Choice:
    """value where bounded(label, bound) == index, else 0."""

    value: Expr
    index: Symbol
    label: Symbol
    bound: int


@cache
def choice(expr: Expr) -> Choice | None:
    """The parts of a formula that is a value at one place of an index, one that is data, else 0."""
    if not isinstance(expr, sympy.Piecewise) or len(expr.args) != 2:
        return None
    (value, condition), otherwise = expr.args
    sides = at_label(condition)
    if sides is None or tuple(otherwise) != (ZERO, sympy.true):
        return None
    return Choice(value, sides[1], sides[0].args[0], int(sides[0].args[1]))
