"""A value in the place of a part of a formula, where the rest is computed as before.

The operands of sums and products are sorted, by names among others: x - m - log(t) with k for its
logarithm is x - k - m, which is another number.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from graphc.ops.scalar import Expr, Symbol


def instead(expr: Expr, parts: Sequence[Expr], symbol: Symbol) -> Expr | None:
    """A formula with a symbol in the place of some parts; None where its order would change."""
    found = expr.xreplace(dict.fromkeys(parts, symbol))
    return found if same(expr, found, parts, symbol) else None


def same(expr: Expr, other: Expr, parts: Sequence[Expr], symbol: Symbol) -> bool:
    """Whether two formulas are computed alike, but for what a symbol stands for."""
    if expr in parts:
        return bool(other == symbol)
    if type(expr) is not type(other) or not expr.args:
        return bool(expr == other)
    mine, theirs = computed(expr), computed(other)
    if [*map(len, mine)] != [*map(len, theirs)]:
        return False

    def paired(a: Sequence[Expr], b: Sequence[Expr]) -> bool:
        return all(same(x, y, parts, symbol) for x, y in zip(a, b, strict=True))

    first, *rest = zip(mine, theirs, strict=True)
    swapped = len(first[0]) == 2 and len(mine) == 2 and paired(first[0], first[1][::-1])
    return (paired(*first) or swapped) and all(paired(*pair) for pair in rest)


def computed(expr: Expr) -> list[list[Expr]]:
    """The operands of a formula in their order: of a sum or product first what comes first.

    Of that, two may be swapped: what is added, or multiplied, before the rest is taken off it.
    """
    args = list(expr.args)
    if isinstance(expr, sympy.Add):
        late = [a for a in args if a.could_extract_minus_sign()]
    elif isinstance(expr, sympy.Mul):
        args = args[1:] if args[0] == -1 else args
        late = [a for a in args if isinstance(a, sympy.Pow) and a.exp == -1]
    else:
        return [args]
    return [[a for a in args if a not in late], late]
