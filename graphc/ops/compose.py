"""Composition: a formula of a formula, where together they are shorter than one after the other."""

from __future__ import annotations

import sympy

from graphc.graph.node import Node
from graphc.ops.formula import Formula
from graphc.ops.known import kept
from graphc.ops.scalar import Expr


def shortened(node: Node) -> Node:
    """log(x) where x[i] = exp(u)/t   ->   u - log(t): no exponential, so nothing can overflow.

    The logarithm of a product of exponentials and other factors, both pointwise at one place.
    Found when the node is made, so that its derivative is that of the shorter form.
    """
    op = node.op
    if not isinstance(op, Formula) or not isinstance(op.expr, sympy.log):
        return node
    if op.expr.args != op.args:
        return node
    inner = node.inputs[0].op
    if not isinstance(inner, Formula) or not inner.expr.has(sympy.exp) or inner.derivatives:
        return node
    alike = node.type == node.inputs[0].type and op.reads[0] == op.writes
    if not (op.pointwise and inner.pointwise and alike):
        return node
    expr = logarithm(inner.expr)
    if expr is None:
        return node
    joined = Formula(op.name, inner.args, expr, inner.reads, inner.writes, inner.domain)
    return joined(node.inputs[0].inputs, node.type)


@kept
def logarithm(expr: Expr) -> Expr | None:
    """The logarithm of a formula, if it has no exponential; else None."""
    found = sympy.expand_log(sympy.log(expr), force=True)
    if found.has(sympy.exp) or not found.free_symbols <= expr.free_symbols:
        return None
    return found
