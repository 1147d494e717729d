"""Limits on gradients: of each element, and of the norm of all together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

from graphc import ops
from graphc.graph.node import Node


def clip(gradients: Sequence[Node], norm: float | None, value: float | None) -> list[Node]:
    """The gradients limited by element, then by their common norm; None is no limit."""
    found = list(gradients)
    if value is not None:
        found = clip_value(found, value)
    return found if norm is None or not found else clip_norm(found, norm)


def clip_value(gradients: Sequence[Node], limit: float) -> list[Node]:
    """Each element limited to [-limit, limit]."""
    return [ops.clip(g, -limit, limit) for g in gradients]


def clip_norm(gradients: Sequence[Node], limit: float) -> list[Node]:
    """All gradients times min(1, limit / (norm + 1e-6)), norm the Euclidean one of all together.

    Source: Pascanu, Mikolov, Bengio, arXiv:1211.5063, algorithm 1; the 1e-6 is torch's.
    """
    factor = ops.minimum(limit / (global_norm(gradients) + 1e-6), 1.0)
    return [g * ops.cast(factor, g.dtype) for g in gradients]


def global_norm(gradients: Sequence[Node]) -> Node:
    """The square root of the sum of squares of all elements of all gradients, a scalar."""
    return ops.sqrt(reduce(add, [ops.sum(g * g) for g in gradients]))
