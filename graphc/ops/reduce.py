"""Reductions over any axes: sums, products, extremes, moments, and where extremes stand.

`axis` is None (all axes), a number or several; negative ones count from the end. `keepdims` leaves
the reduced axes in place with extent 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from math import prod as multiply
from typing import Any

import sympy

from graphc.errors import DTypeError, ShapeError
from graphc.graph import leaf
from graphc.graph.node import Node
from graphc.ops import arithmetic, elementary, logic
from graphc.ops.known import kept
from graphc.ops.make import apply, as_node, fail
from graphc.ops.op import op
from graphc.ops.scalar import Expr, argument
from graphc.ops.shape import axes_of, expand_dims
from graphc.types import is_float

Axes = int | Sequence[int] | None
X = argument("x")
CENTRE = argument("centre")


def _reduce(
    name: str,
    operands: Sequence[Node],
    axis: Axes,
    keepdims: bool,
    expr: Expr,
    how: str = "sum",
    dtype: str | None = None,
) -> Node:
    """`expr` of x, and of one number for each of its results, reduced over axes of x."""
    x = operands[0]
    reduced = _axes(name, x, axis)
    names = [f"i{i}" for i in range(len(x.shape))]
    kept = [n for i, n in enumerate(names) if i not in reduced]
    ones = [f"u{i}" if i in reduced else n for i, n in enumerate(names)]
    result = " ".join(ones if keepdims else kept)
    reads = ", ".join([" ".join(names), " ".join(kept)][: len(operands)])
    return apply(
        name,
        f"{reads} -> {result}",
        (X, CENTRE)[: len(operands)],
        expr,
        operands,
        extents={f"u{i}": 1 for i in reduced} if keepdims else None,
        how=how,
        dtype=dtype,
    )


def _axes(name: str, x: Node, axis: Axes) -> list[int]:
    return axes_of(name, x, range(len(x.shape)) if axis is None else axis)


def _size(name: str, x: Node, axis: Axes, dtype: str) -> Node:
    """How many elements are reduced into one, as a scalar of a float type."""
    extents = [x.shape[a] for a in _axes(name, x, axis)]
    count = leaf.constant(multiply(e for e in extents if isinstance(e, int)), dtype)
    for extent in extents:
        if isinstance(extent, str):
            count = arithmetic.mul(count, arithmetic.cast(leaf.extent(extent), dtype))
    return count


def _some(name: str, x: Node, axis: Axes) -> None:
    """Refuse a reduction without elements where it has no value."""
    if 0 in [x.shape[a] for a in _axes(name, x, axis)]:
        raise fail(ShapeError, name, [x], f"an axis of {axis=} is empty: there is no {name}")


def _float(name: str, x: Node) -> str:
    return x.dtype if is_float(x.dtype) else "float32"


# --- sums and products ----------------------------------------------------------------------


def sum(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Node:
    """The sum over axes, 0 where they are empty. Of bool, uint8 and int32 it is an int64."""
    x = as_node(x)
    return _reduce("sum", [x], axis, keepdims, X, "sum", x.dtype if is_float(x.dtype) else "int64")


def prod(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Node:
    """The product over axes, 1 where they are empty. Of bool, uint8 and int32 it is an int64.

    The gradient multiplies the other elements, so that a zero among them does no harm; it takes
    time quadratic in their number.
    """
    x = as_node(x)
    dtype = x.dtype if is_float(x.dtype) else "int64"
    return _reduce("prod", [x], axis, keepdims, X, "prod", dtype)


def mean(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Node:
    """The sum over axes divided by their size; NaN where they are empty. Of integers a float32."""
    x = as_node(x)
    dtype = _float("mean", x)
    total = _reduce("sum", [x], axis, keepdims, X, "sum", dtype)
    return arithmetic.div(total, _size("mean", x, axis, dtype))


def var(
    x: Any,
    axis: Axes = None,
    *,
    correction: float = 1,
    unbiased: bool | None = None,
    keepdims: bool = False,
) -> Node:
    """The mean square distance from the mean, over size - correction instead of size.

    correction=1 (Bessel's) is the unbiased estimate, 0 the population's; unbiased=True or False
    says the same. NaN where size <= correction and there is nothing to divide. In two passes.
    """
    x = as_node(x)
    if not is_float(x.dtype):
        raise fail(DTypeError, "var", [x], "takes a float; cast it first")
    if unbiased is not None:
        correction = 1 if unbiased else 0
    total = _reduce("var", [x, mean(x, axis)], axis, keepdims, (X - CENTRE) ** 2)
    size = _size("var", x, axis, x.dtype)
    return arithmetic.div(total, arithmetic.maximum(arithmetic.sub(size, correction), 0))


def std(
    x: Any,
    axis: Axes = None,
    *,
    correction: float = 1,
    unbiased: bool | None = None,
    keepdims: bool = False,
) -> Node:
    """The square root of var; its gradient where the variance is 0 is taken as 0."""
    squared = var(x, axis, correction=correction, unbiased=unbiased, keepdims=keepdims)
    return _root(squared)


@op(name="sqrt")
def _root(x: Expr) -> Expr:
    """The square root of a sum of squares: where it is 0 the gradient is 0."""
    return sympy.sqrt(x)


@_root.derivative
def _(result: Expr) -> Expr:
    return sympy.Piecewise((0, sympy.Eq(result, 0)), (1 / (2 * result), True))


def norm(x: Any, ord: float = 2, axis: Axes = None, *, keepdims: bool = False) -> Node:
    """(the sum over axes of |x|^ord)^(1/ord); inf and -inf give the extremes of |x|, 0 a count.

    The Euclidean norm of zeros has gradient 0.
    """
    x = as_node(x)
    if not is_float(x.dtype):
        raise fail(DTypeError, "norm", [x], "takes a float; cast it first")
    if ord == 2:
        return _root(_reduce("norm", [x], axis, keepdims, X**2))
    size = arithmetic.abs(x)
    if ord == inf:
        return max(size, axis, keepdims=keepdims)
    if ord == -inf:
        return min(size, axis, keepdims=keepdims)
    if ord == 0:
        return sum(arithmetic.cast(logic.not_equal(x, 0), x.dtype), axis, keepdims=keepdims)
    if ord == 1:
        return sum(size, axis, keepdims=keepdims)
    total = sum(arithmetic.pow(size, ord), axis, keepdims=keepdims)
    return arithmetic.pow(total, 1 / ord)


@kept
def risen() -> Expr:
    """e^x, measured from a centre."""
    return sympy.exp(X - CENTRE)


def logsumexp(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Node:
    """log of the sum over axes of e^x, without overflow; -inf where all are, or there are none.

    As max + log(sum of e^(x - max)), with 0 for a maximum that is not finite. The gradient is the
    softmax.
    """
    x = as_node(x)
    if not is_float(x.dtype):
        x = arithmetic.cast(x, "float32")
    largest = _reduce("max", [x], axis, False, X, "max")
    finite = arithmetic.where(logic.isfinite(largest), largest, 0)
    centre = arithmetic.stop_gradient(finite)
    total = _reduce("sumexp", [x, centre], axis, False, risen())
    result = arithmetic.add(elementary.log(total), centre)
    return expand_dims(result, _axes("logsumexp", x, axis)) if keepdims else result


# --- extremes -------------------------------------------------------------------------------


def max(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Node:
    """The largest over axes; NaN is the largest of all. The first maximum gets the gradient.

    Raises ShapeError where there are no elements; where a run-time extent is 0 the result is the
    identity of the maximum, -inf or the least integer.
    """
    x = as_node(x)
    _some("max", x, axis)
    return _reduce("max", [x], axis, keepdims, X, "max", x.dtype)


def min(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Node:
    """The smallest over axes; NaN is the smallest of all. The first minimum gets the gradient.

    Raises ShapeError where there are no elements; where a run-time extent is 0 the result is the
    identity of the minimum, inf or the greatest integer.
    """
    x = as_node(x)
    _some("min", x, axis)
    return _reduce("min", [x], axis, keepdims, X, "min", x.dtype)


def argmax(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Node:
    """Where the first maximum stands: its row-major position among the reduced axes, an int64.

    The first NaN, where there is one. Raises ShapeError where there are no elements; where a
    run-time extent is 0 the result is 0.
    """
    x = as_node(x)
    _some("argmax", x, axis)
    return _reduce("argmax", [x], axis, keepdims, X, "argmax", "int64")


def argmin(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Node:
    """Where the first minimum stands: its row-major position among the reduced axes, an int64.

    The first NaN, where there is one. Raises ShapeError where there are no elements; where a
    run-time extent is 0 the result is 0.
    """
    x = as_node(x)
    _some("argmin", x, axis)
    return _reduce("argmin", [x], axis, keepdims, X, "argmin", "int64")


def any(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Node:
    """Whether any holds (is not 0) over axes; not where they are empty."""
    x = as_node(x)
    return _reduce("any", [x], axis, keepdims, _holds(x), "any", "bool")


def all(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Node:
    """Whether all hold (are not 0) over axes; so they do where these are empty."""
    x = as_node(x)
    return _reduce("all", [x], axis, keepdims, _holds(x), "all", "bool")


def _holds(x: Node) -> Expr:
    return X if x.dtype == "bool" else sympy.Ne(X, 0)
