"""Circuits at all their inputs at once, as nodes of a graph: threshold units, ANDs of literals."""

from __future__ import annotations

from common import digits

import graphc
from graphc import ops


class Circuit:
    """Threshold units, counted as they are made, with the depth of each."""

    def __init__(self) -> None:
        self.units = 0
        self.depth: dict[graphc.Node, int] = {}

    def unit(self, threshold: float, *terms: tuple[float, graphc.Node]) -> graphc.Node:
        """1 where the weighted sum of the operands exceeds the threshold, else 0."""
        made = ops.step(sum(weight * operand for weight, operand in terms) - threshold)
        self.units += 1
        self.depth[made] = 1 + max(self.depth.get(operand, 0) for _, operand in terms)
        return made

    def xor(self, x: graphc.Node, y: graphc.Node) -> graphc.Node:
        """(x and not y) or (not x and y), of three units."""
        only_x, only_y = self.unit(0.5, (1, x), (-1, y)), self.unit(0.5, (-1, x), (1, y))
        return self.unit(0.5, (1, only_x), (1, only_y))

    def size(self, output: graphc.Node) -> graphc.Node:
        """How many units were made, and the depth of this one: int64 (2)."""
        return graphc.constant([self.units, self.depth[output]])


def bits(n: int) -> list[graphc.Node]:
    """The n bits of all inputs, 0 to 2^n - 1, each as float32 (2^n)."""
    number = ops.cast(ops.arange(2**n), "float32")
    return [ops.floor(number / 2**i) - 2 * ops.floor(number / 2 ** (i + 1)) for i in range(n)]


def ands(n: int) -> graphc.Node:
    """Where each AND of n literals is true, one of every bit: float32 (2^n inputs, 2^n ANDs)."""
    return ops.cast(ops.all(ops.equal(digits(n)[:, None], digits(n)), 2), "float32")
