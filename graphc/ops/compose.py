"""Composition: a formula of a formula, where together they are shorter than one after the other."""

from __future__ import annotations

import sympy

from graphc.graph.node import Node, make
from graphc.ops.formula import Formula


def shortened(node: Node) -> Node:
    """log(x) where x[i] = exp(u)/t   ->   u - log(t): no exponential, so nothing can overflow.

    The logarithm of a product of exponentials and other factors, both pointwise at one place.
    Found when the node is made, so that its derivative is that of the shorter form.
    """
    op = node.op
    if not isinstance(op, Formula) or len(op.args) != 1 or op.expr != sympy.log(op.args[0]):
        return node
    inner = node.inputs[0].op
    if not isinstance(inner, Formula) or not inner.expr.has(sympy.exp) or inner.derivatives:
        return node
    alike = node.type == node.inputs[0].type and op.reads[0] == op.writes
    if not (op.pointwise and inner.pointwise and alike):
        return node
    expr = sympy.expand_log(sympy.log(inner.expr), force=True)
    if expr.has(sympy.exp) or not expr.free_symbols <= inner.expr.free_symbols:
        return node
    joined = Formula(op.name, inner.args, expr, inner.reads, inner.writes, inner.domain)
    return make(joined, node.inputs[0].inputs, node.type)
