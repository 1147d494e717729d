"""What a node costs, read off its formula: operations, and the points it is evaluated at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from math import prod

import sympy
from sympy.functions.elementary.piecewise import ExprCondPair

from graphc.graph.node import Node
from graphc.machine import Machine, single
from graphc.ops.formula import Formula
from graphc.ops.scalar import Expr, Symbol, name_of, variables
from graphc.ops.scan import Scan
from graphc.types import resolve


def points(node: Node, extents: Mapping[str, int]) -> int:
    """How often a node's formula is evaluated; 0 for a leaf."""
    match node.op:
        case Formula(domain=domain):
            return prod(resolve(tuple(extent for _, extent in domain), dict(extents)))
        case Scan(length=length):
            return length
    return 0


def operations(node: Node, extents: Mapping[str, int]) -> int:
    """Floating-point operations of a node: those of its formula, times the points.

    An addition, product, quotient, comparison, selection or elementary function counts as one, so
    a fused multiply-add as two; what only moves data, or computes indices, as none. A step of a
    scan counts all that its body computes.
    """
    op = node.op
    if isinstance(op, Scan):
        return op.length * sum(operations(inner, extents) for inner in op.body.nodes)
    if not isinstance(op, Formula):
        return 0
    return points(node, extents) * per_point(op)


def together(nodes: Iterable[Node], extents: Mapping[str, int]) -> int:
    """Operations of nodes that are computed together: the results of one scan share its steps."""
    runs = {n.op.family(n) if isinstance(n.op, Scan) else n: n for n in nodes}
    return sum(operations(node, extents) for node in runs.values())


def per_point(op: Formula) -> int:
    """Operations of one evaluation, with the one that adds it to the result."""
    return _count((op.expr,), frozenset(op.args), single) + bool(op.summed)


def instructions(exprs: Sequence[Expr], machine: Machine) -> int:
    """Instructions for formulas that are evaluated together, what they share once."""
    operands = frozenset[Symbol]().union(*map(variables, exprs))
    return _count(tuple(exprs), operands, machine.instructions)


@lru_cache(maxsize=4096)
def _count(
    exprs: tuple[Expr, ...], operands: frozenset[Symbol], weigh: Callable[[str, int], int]
) -> int:
    """Operations of expressions on the operands, each distinct subterm once."""
    seen: set[Expr] = set()

    def varies(part: Expr) -> bool:
        return bool(part.free_symbols & operands)

    def visit(part: Expr) -> int:
        if part in seen or not varies(part):
            return 0
        seen.add(part)
        inner = part.args
        if isinstance(part, sympy.Mul):
            inner = tuple(1 / factor if inverse(factor) else factor for factor in inner)
        return own(part) + sum(visit(term) for term in inner)

    def own(part: Expr) -> int:
        match part:
            case sympy.Symbol() | sympy.Not() | ExprCondPair():
                return 0
            case sympy.Add() | sympy.Mul():
                moving = [term for term in part.args if varies(term)]
                fixed = part.func(*(term for term in part.args if not varies(term)))
                free = fixed in (part.func.identity, -part.func.identity)
                return len(moving) - (free and not all(inverse(term) for term in moving))
            case sympy.Pow(exp=sympy.Integer() as exponent) if abs(exponent) > 1:
                size = abs(int(exponent))
                return size.bit_length() + size.bit_count() - 2 + int(bool(exponent < 0))
            case sympy.Piecewise():
                return len(part.args) - 1
            case sympy.Function():
                return weigh(name_of(part), len(part.args))
        return 1

    return sum(map(visit, exprs))


def inverse(term: Expr) -> bool:
    """Whether a factor of a product is what the product is divided by."""
    return isinstance(term, sympy.Pow) and bool(term.exp.could_extract_minus_sign())
