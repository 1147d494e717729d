"""Search: where the largest of a long row is, is looked for once it is known how large that is.

p[i] argmax= f(x[i, k])   ->   m[i] max= f(x[i, k]);  p[i] min= k where f(x[i, k]) = m[i]

A search that keeps the best so far goes element by element; both of these go by whole vectors. The
largest is mostly there anyway: its derivative asks for the place.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.graph.rewrite import rewrite
from graphc.machine import Machine
from graphc.ops import scalar
from graphc.ops.chain import first_at
from graphc.ops.dtypes import dtype_of
from graphc.ops.formula import Formula
from graphc.passes.fit import kind, order_over, within
from graphc.types import TensorType, is_float

LONG = 64
"""Elements that are worth the ends of two more sums."""
BEST = scalar.argument("best")


def search(graph: Graph, machine: Machine) -> Graph:
    """Apply it to every search along the lanes of long rows."""
    return rewrite(graph, [found])


def found(node: Node) -> Node | None:
    """The place where a formula is as large, or as small, as it is anywhere: the first such one."""
    op = node.op
    if not isinstance(op, Formula) or op.how not in ("argmax", "argmin") or kind(node) != "rows":
        return None
    extents = [op.extents[name] for name in op.summed]
    whole = replace(op, name=op.how[3:], how=op.how[3:], derivatives=())
    known = [extent for extent in extents if isinstance(extent, int)]
    if len(known) < len(extents) or prod(known) < LONG:
        return None
    shapes = tuple([operand.shape for operand in node.inputs])
    if not all(within(op, read, shape) for read, shape in zip(op.reads, shapes, strict=True)):
        return None  # where nothing is in a row, its place is 0
    dtypes = {a: i.dtype for a, i in zip(op.args, node.inputs, strict=True)}
    if order_over(whole, shapes) != "lanes":
        return None
    dtype = dtype_of(op.expr, dtypes)
    best = whole(node.inputs, TensorType(dtype, node.shape))
    expr = first_at(op.expr, BEST, op.flat, node.dtype, is_float(dtype))
    args, reads = (*op.args, BEST), (*op.reads, op.writes)
    first = Formula(op.name, args, expr, reads, op.writes, op.domain, "min")
    return first((*node.inputs, best), node.type)
