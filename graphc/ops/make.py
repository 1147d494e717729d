"""Making nodes: any operand as a node, formulas applied to nodes, and errors that name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
import sympy

from graphc.errors import GraphcError, ShapeError
from graphc.graph import leaf
from graphc.graph.node import Node
from graphc.graph.site import here
from graphc.ops.dtypes import dtype_of
from graphc.ops.formula import Derivatives, Formula
from graphc.ops.index import index
from graphc.ops.remedy import remedies
from graphc.ops.scalar import Expr, Symbol, argument
from graphc.ops.signature import Resolved, Signature, parse, solve
from graphc.types import Extent, Shape, TensorType, is_float


@cache
def symbols(names: str) -> tuple[Symbol, ...]:
    """Operand symbols by their names, blank-separated."""
    return tuple(argument(n) for n in names.split())


def fail(kind: type[GraphcError], name: str, operands: Sequence[Node], problem: str) -> GraphcError:
    """An error that names the op, every operand's type, the layer, and the user's file and line."""
    types = ", ".join(str(o.type) for o in operands)
    shown = f"\n  operands: {types}" if types else ""
    return kind(f"{name}: {problem}{shown}{here()}")


def as_node(value: Any, like: str | None = None) -> Node:
    """A node as it is; a number or array as a constant, Python's numbers of the dtype `like`.

    What has a node of its own, as a parameter outside of its model has, is that node.
    """
    value = getattr(value, "node", value)
    if isinstance(value, Node):
        return value
    kind = leaf.python_kind(value)
    if kind is float:
        return leaf.constant(value, like if like is not None and is_float(like) else "float32")
    if kind is int and like != "bool":
        return leaf.constant(value, like)
    if isinstance(value, bool):
        return leaf.constant(value, like)
    if like == "float32" and getattr(value, "dtype", None) == np.float64:
        return leaf.constant(value, like)
    return leaf.constant(value)


def as_nodes(values: Sequence[Any]) -> list[Node]:
    """Operands as nodes; Python numbers take the dtype of the nodes beside them."""
    values = [getattr(v, "node", v) for v in values]
    dtypes = [v.dtype for v in values if isinstance(v, Node)]
    like = None
    if dtypes:
        floats = [d for d in dtypes if is_float(d)]
        like = (floats or [d for d in dtypes if d != "bool"] or dtypes)[0]
    return [as_node(v, like) for v in values]


ELEMENTWISE = {n: ", ".join(["..."] * n) + " -> ..." for n in range(1, 9)}


def apply(
    name: str,
    signature: str | Signature,
    args: tuple[Symbol, ...],
    expr: Expr,
    operands: Sequence[Node],
    *,
    attributes: Mapping[str, Any] | None = None,
    extents: Mapping[str, Extent] | None = None,
    shape: Shape | None = None,
    floor: bool = False,
    how: str = "sum",
    dtype: str | None = None,
    derivatives: Derivatives = (),
) -> Node:
    """The node of a formula over operands: solve the signature, infer the dtype, intern."""
    signature = parse(signature) if isinstance(signature, str) else signature
    shapes = tuple(o.shape for o in operands)
    names = tuple(a.name for a in args)
    options: dict[str, Any] = {"extents": extents, "shape": shape, "floor": floor}
    try:
        space = solve(signature, shapes, attributes or {}, operands=names, **options)
    except ShapeError as error:
        way = remedies(signature, names, shapes, attributes, **options)
        problem = f"{error}  [{signature.text}]{way}"
        raise fail(ShapeError, name, operands, problem) from None
    if dtype is None:
        try:
            dtype = result_dtype(expr, args, tuple([o.dtype for o in operands]))
        except GraphcError as error:
            raise fail(type(error), name, operands, str(error)) from None
    return place(name, args, expr, space, operands, how, dtype, derivatives)


@lru_cache(maxsize=4096)
def result_dtype(expr: Expr, args: tuple[Symbol, ...], dtypes: tuple[str, ...]) -> str:
    """The element type of a formula's value, from those of its operands."""
    default = next((dtype for dtype in dtypes if is_float(dtype)), "float32")
    return dtype_of(expr, dict(zip(args, dtypes, strict=True)), default)


def place(
    name: str,
    args: tuple[Symbol, ...],
    expr: Expr,
    space: Resolved,
    operands: Sequence[Node],
    how: str,
    dtype: str,
    derivatives: Derivatives = (),
) -> Node:
    """The node of a formula over a solved iteration space."""
    op = Formula(name, args, expr, space.reads, space.writes, space.domain, how, derivatives)
    named = {e for e in space.shape if isinstance(e, str)}
    if len(named) and sum(isinstance(e, str) for e in space.shape) > 1:
        raise fail(
            ShapeError,
            name,
            operands,
            f"the result would have the run-time extents {space.shape}; one axis at most may",
        )
    return op(tuple(operands), TensorType(dtype, space.shape))


def fill(value: Expr | float, type: TensorType, name: str = "fill") -> Node:
    """A tensor with one value everywhere, as a formula of no operands."""
    domain = tuple((f"b{axis}", extent) for axis, extent in enumerate(type.shape))
    writes = tuple(index(letter) for letter, _ in domain)
    return Formula(name, (), sympy.sympify(value), (), writes, domain)((), type)
