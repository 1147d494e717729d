"""Copies: nodes that hold what others hold, at other places."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.graph.node import Node
from graphc.ops import scalar
from graphc.ops.formula import Formula
from graphc.ops.index import Domain, Index, index
from graphc.types import Extent, TensorType


def copied(
    name: str, node: Node, read: Index, writes: Index, domain: Domain, shape: Sequence[Extent]
) -> Node:
    """[writes] = x[read], 0 where `read` leaves the node."""
    symbol = scalar.argument("x")
    op = Formula(name, (symbol,), symbol, (read,), writes, domain)
    return op((node,), TensorType(node.dtype, tuple(shape)))


def permuted(
    node: Node, order: Sequence[int], name: str, shape: Sequence[Extent] | None = None
) -> Node:
    """A copy of a node with its axes in another order, cut to a shape where one is given."""
    shape = [node.shape[axis] for axis in order] if shape is None else shape
    names = [f"b{axis}" for axis in range(len(order))]
    read = tuple(index(names[list(order).index(axis)]) for axis in range(len(order)))
    domain = tuple(zip(names, shape, strict=True))
    return copied(name, node, read, tuple(map(index, names)), domain, shape)
