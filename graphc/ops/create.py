"""Tensors made of nothing but their indices: constants, ranges, the identity, triangles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import sympy

from graphc.errors import ShapeError
from graphc.graph.node import Node
from graphc.ops import scalar
from graphc.ops.formula import Formula
from graphc.ops.index import index
from graphc.ops.make import fail, fill, place
from graphc.ops.scalar import Expr, argument
from graphc.ops.signature import Resolved
from graphc.types import Extent, TensorType, dtype_name, numbers

Sizes = int | Sequence[Extent]


def made(name: str, expr: Expr | float, shape: Sizes, dtype: object) -> Node:
    """A formula of the indices i0, i1, ... of a shape."""
    extents = numbers(shape)
    domain = tuple((f"i{axis}", extent) for axis, extent in enumerate(extents))
    writes = tuple(index(letter) for letter, _ in domain)
    op = Formula(name, (), sympy.sympify(expr), (), writes, domain)
    return op((), TensorType(dtype_name(dtype), extents))


def full(shape: Sizes, value: float, dtype: object = "float32") -> Node:
    """result[i] = value, of any dtype; an extent may be a name. Source: numpy.full."""
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    return fill(number, TensorType(dtype_name(dtype), numbers(shape)), "full")


def zeros(shape: Sizes, dtype: object = "float32") -> Node:
    """result[i] = 0. Source: numpy.zeros."""
    return full(shape, 0, dtype)


def ones(shape: Sizes, dtype: object = "float32") -> Node:
    """result[i] = 1. Source: numpy.ones."""
    return full(shape, 1, dtype)


def full_like(x: Node, value: float, dtype: object | None = None) -> Node:
    """result[i] = value, of x's shape, and of x's dtype unless one is given."""
    return full(x.shape, value, x.dtype if dtype is None else dtype)


def zeros_like(x: Node, dtype: object | None = None) -> Node:
    """result[i] = 0, of x's shape, and of x's dtype unless one is given."""
    return full_like(x, 0, dtype)


def ones_like(x: Node, dtype: object | None = None) -> Node:
    """result[i] = 1, of x's shape, and of x's dtype unless one is given."""
    return full_like(x, 1, dtype)


def iota(shape: Sizes, axis: int = 0, dtype: object = "int64") -> Node:
    """result[i0, i1, ...] = i_axis: each element's own position along an axis.

    The extents may be names. Raises ShapeError where there is no such axis. Source:
    jax.lax.broadcasted_iota.
    """
    rank = len(numbers(shape))
    if not -rank <= axis < rank:
        raise fail(ShapeError, "iota", [], f"axis {axis} is not in [{-rank}, {rank})")
    return made("iota", scalar.position(f"i{axis % rank}"), shape, dtype)


def arange(
    start: float, stop: float | None = None, step: float = 1, *, dtype: object | None = None
) -> Node:
    """result[i] = start + i*step, for as long as it lies before stop.

    One argument is the stop, with start 0. The extent is ceil((stop - start)/step); the dtype int64
    where all three are ints, else float32. Raises ShapeError for step 0. Source: numpy.arange.
    """
    first, last = (0, start) if stop is None else (start, stop)
    if step == 0:
        raise fail(ShapeError, "arange", [], "step 0 never arrives")
    count = max(math.ceil((last - first) / step), 0)
    whole = all(isinstance(v, int) for v in (first, last, step))
    kind = ("int64" if whole else "float32") if dtype is None else dtype
    value = sympy.sympify(first) + scalar.position("i0") * sympy.sympify(step)
    return made("arange", value, count, kind)


def eye(rows: int, columns: int | None = None, k: int = 0, dtype: object = "float32") -> Node:
    """result[i, j] = 1 where j = i + k, else 0; as many columns as rows unless given.

    Source: numpy.eye.
    """
    i, j = scalar.position("i0"), scalar.position("i1")
    shape = (rows, rows if columns is None else columns)
    return made("eye", sympy.Piecewise((1, sympy.Eq(j, i + k)), (0, True)), shape, dtype)


def tril(x: Node, k: int = 0) -> Node:
    """result[..., i, j] = x[..., i, j] where j <= i + k, else 0.

    x (..., M, N) of any dtype; infinities and NaN above the diagonal become 0. tril(ones((m, n),
    bool)) is the mask alone. Raises ShapeError for fewer than two axes. Source: numpy.tril.
    """
    return _triangle("tril", x, lambda i, j: j <= i + k)


def triu(x: Node, k: int = 0) -> Node:
    """result[..., i, j] = x[..., i, j] where j >= i + k, else 0: tril's other half.

    Shapes, dtypes and errors as tril's. Source: numpy.triu.
    """
    return _triangle("triu", x, lambda i, j: j >= i + k)


def _triangle(name: str, x: Node, keep: Callable[[Expr, Expr], Expr]) -> Node:
    rank = x.type.rank
    if rank < 2:
        raise fail(ShapeError, name, [x], "two axes at least expected")
    names = [f"i{axis}" for axis in range(rank)]
    where = keep(scalar.position(names[-2]), scalar.position(names[-1]))
    expr = sympy.Piecewise((argument("x"), where), (0, True))
    at = tuple(map(index, names))
    space = Resolved((at,), at, tuple(zip(names, x.shape, strict=True)), x.shape)
    return place(name, (argument("x"),), expr, space, [x], "sum", x.dtype)
