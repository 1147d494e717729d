"""Python's operators on nodes: `a + b`, `-a`, `a < b`, `a & b` are ops."""

from __future__ import annotations

from typing import Any

from graphc.errors import DTypeError
from graphc.graph.node import Node, Overload, operators
from graphc.ops.arithmetic import abs, add, div, floor_divide, mul, neg, pow, remainder, sub
from graphc.ops.logic import (
    greater,
    greater_equal,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
)
from graphc.ops.make import as_nodes, fail
from graphc.ops.op import Op


def _logic(sign: str, function: Op) -> Overload:
    def apply_to(*operands: Any) -> Node:
        nodes = as_nodes(operands)
        if numbers := [n for n in nodes if n.dtype != "bool"]:
            problem = f"`{sign}` is logical and takes bool, not {numbers[0].dtype}"
            raise fail(DTypeError, sign, nodes, problem)
        return function(*nodes)

    return apply_to


operators |= {
    "__add__": add,
    "__sub__": sub,
    "__mul__": mul,
    "__truediv__": div,
    "__floordiv__": floor_divide,
    "__mod__": remainder,
    "__pow__": pow,
    "__neg__": neg,
    "__abs__": abs,
    "__lt__": less,
    "__le__": less_equal,
    "__gt__": greater,
    "__ge__": greater_equal,
    "__invert__": _logic("~", logical_not),
    "__and__": _logic("&", logical_and),
    "__or__": _logic("|", logical_or),
    "__xor__": _logic("^", logical_xor),
}
