"""Ops whose index is data: an axis read, or written, where an operand of integers says."""

from __future__ import annotations

import sympy

from graphc.errors import DTypeError, ShapeError
from graphc.graph import leaf
from graphc.graph.node import Node, operators
from graphc.ops import scalar
from graphc.ops.index import Index, Lookup, index
from graphc.ops.known import kept
from graphc.ops.make import as_node, fail, place
from graphc.ops.scalar import Expr, argument
from graphc.ops.shape import axis_of
from graphc.ops.signature import Resolved
from graphc.types import Extent, dtype_name

X, WHERE, UPDATES = argument("x"), argument("index"), argument("updates")
INTEGERS = ("int32", "int64", "uint8")


def _indices(name: str, x: Node, where: object) -> Node:
    node = as_node(where)
    if node.dtype not in INTEGERS:
        raise fail(
            DTypeError, name, [x, node],
            f"the index has dtype {node.dtype}; {', '.join(INTEGERS)} can be an index{_way(node)}",
        )  # fmt: skip
    return node


def _way(node: Node) -> str:
    """How an operand of another dtype becomes an index."""
    if not isinstance(node.op, leaf.Input):
        return '\n  what fits: cast(index, "int64")'
    return f"\n  what fits: {node.op.name!r} declared as ({node.shape}, 'int64')"


def gather(x: Node, where: object, axis: int = 0) -> Node:
    """result[a, n, c] = x[a, index[n], c]: slices of x along `axis`, chosen by an index.

    x (A..., K, C...), index any shape (N...) of an integer dtype, a node or an array; the result
    (A..., N..., C...) has x's dtype. The gradient adds each slice's cotangent where it was read.

    Running raises IndexError, with the index, its position and the bound K, for an index outside
    [0, K); negative ones do not count from the end. Source: numpy.take.
    """
    return _gathered("gather", x, where, axis)


def _gathered(name: str, x: Node, where: object, axis: int) -> Node:
    """Slices of x under the name of the op that the user called."""
    node = _indices(name, x, where)
    axis = axis_of(name, x, axis)
    before = [f"a{i}" for i in range(axis)]
    middle = [f"n{i}" for i in range(node.type.rank)]
    after = [f"c{i}" for i in range(x.type.rank - axis - 1)]
    names = [*before, *middle, *after]
    shape = (*x.shape[:axis], *node.shape, *x.shape[axis + 1 :])
    reads: Index = (*map(index, before), Lookup(1), *map(index, after))
    space = Resolved(
        (reads, tuple(map(index, middle))),
        tuple(map(index, names)),
        tuple(zip(names, shape, strict=True)),
        shape,
    )
    return place(name, (X, WHERE), X, space, [x, node], "sum", x.dtype)


def embedding(where: object, table: Node) -> Node:
    """result[n, :] = table[index[n], :]: gather of rows, operands in the order of torch.

    index any shape (N...) of an integer dtype, table (K, D); the result (N..., D). IndexError as
    gather's. Source: torch.nn.functional.embedding.
    """
    if table.type.rank != 2:
        raise fail(ShapeError, "embedding", [table], "the table must have two axes, (rows, width)")
    return _gathered("embedding", table, where, 0)


def take_along_axis(x: Node, where: object, axis: int = -1) -> Node:
    """result[a, n, c] = x[a, index[a, n, c], c]: one element of x for each index.

    x and index have equally many axes and the same extents but for `axis`; the result has index's
    shape and x's dtype. IndexError as gather's. Source: numpy.take_along_axis.
    """
    node = _indices("take_along_axis", x, where)
    axis = axis_of("take_along_axis", x, axis)
    _agree("take_along_axis", x, node, axis)
    names = [f"i{a}" for a in range(x.type.rank)]
    places = tuple(map(index, names))
    reads: Index = tuple(Lookup(1) if a == axis else e for a, e in enumerate(places))
    domain = tuple(zip(names, node.shape, strict=True))
    space = Resolved((reads, places), places, domain, node.shape)
    return place("take_along_axis", (X, WHERE), X, space, [x, node], "sum", x.dtype)


def _agree(name: str, x: Node, node: Node, axis: int) -> None:
    """Refuse an index whose shape differs from x's elsewhere than along `axis`."""
    mine, other = (tuple(e for a, e in enumerate(s) if a != axis) for s in (x.shape, node.shape))
    if len(node.shape) != len(x.shape) or mine != other:
        raise fail(
            ShapeError, name, [x, node],
            f"x {x.shape} and index {node.shape} must agree on all axes but {axis}",
        )  # fmt: skip


def scatter_add(x: Node, where: object, updates: Node, axis: int = 0) -> Node:
    """x, plus updates[a, n, c] at [a, index[n], c]; updates to the same place are summed.

    x (A..., K, C...), index (N...) of an integer dtype, updates (A..., N..., C...) of x's dtype;
    the result is x's type. What gather's gradient is, and gather is the gradient of the updates.

    Running raises IndexError for an index outside [0, K); ShapeError or DTypeError where the
    updates do not fit. Source: numpy.add.at.
    """
    node = _indices("scatter_add", x, where)
    axis = axis_of("scatter_add", x, axis)
    shape = (*x.shape[:axis], *node.shape, *x.shape[axis + 1 :])
    if updates.shape != shape:
        raise fail(
            ShapeError, "scatter_add", [x, node, updates],
            f"updates must have shape {shape}: x's with axis {axis} replaced by the index's",
        )  # fmt: skip
    if updates.dtype != x.dtype:
        raise fail(DTypeError, "scatter_add", [x, node, updates], "updates must have x's dtype")
    before = [f"a{i}" for i in range(axis)]
    middle = [f"n{i}" for i in range(node.type.rank)]
    after = [f"c{i}" for i in range(x.type.rank - axis - 1)]
    names = [*before, *middle, *after]
    writes: Index = (*map(index, before), Lookup(1), *map(index, after))
    reads = (tuple(map(index, names)), tuple(map(index, middle)))
    domain: tuple[tuple[str, Extent], ...] = tuple(zip(names, shape, strict=True))
    how = "any" if x.dtype == "bool" else "sum"
    space = Resolved(reads, writes, domain, x.shape)
    name = "scatter_add"
    added = place(name, (UPDATES, WHERE), UPDATES, space, [updates, node], how, x.dtype)
    return operators["__or__" if how == "any" else "__add__"](x, added)


@kept
def hot(depth: int) -> Expr:
    """1 at the place of an index, else 0."""
    label = scalar.bounded(WHERE, sympy.Integer(depth))
    return sympy.Piecewise((1, sympy.Eq(label, scalar.position("k"))), (0, True))


def one_hot(where: object, depth: int, dtype: object = "float32") -> Node:
    """result[n, k] = 1 where index[n] = k, else 0.

    index any shape (N...) of an integer dtype; the result (N..., depth) of `dtype`. Running raises
    IndexError for an index outside [0, depth). Source: torch.nn.functional.one_hot.
    """
    node = as_node(where)
    node = _indices("one_hot", node, node)
    if depth < 1:
        raise fail(ShapeError, "one_hot", [node], f"depth {depth} must be positive")
    names = [f"n{i}" for i in range(node.type.rank)]
    space = Resolved(
        (tuple(map(index, names)),),
        (*map(index, names), index("k")),
        (*zip(names, node.shape, strict=True), ("k", depth)),
        (*node.shape, depth),
    )
    return place("one_hot", (WHERE,), hot(depth), space, [node], "sum", dtype_name(dtype))
