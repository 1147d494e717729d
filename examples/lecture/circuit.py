"""Circuits at all their inputs at once, as nodes of a graph: threshold units, ANDs of literals."""

from __future__ import annotations

from typing import Any

from common import digits

import graphc
from graphc import ops


class Circuit:
    """Gates, counted as they are made, with the depth of each."""

    def __init__(self) -> None:
        self.units: Any = 0
        self.depth: dict[graphc.Node, int] = {}

    def gates(self, made: graphc.Node, count: Any, *operands: graphc.Node) -> graphc.Node:
        """Note what so many gates made of operands: a level above the deepest of these."""
        self.units = self.units + count
        self.depth[made] = 1 + max((self.depth.get(operand, 0) for operand in operands), default=0)
        return made

    def unit(self, threshold: float, *terms: tuple[float, graphc.Node]) -> graphc.Node:
        """1 where the weighted sum of the operands exceeds the threshold, else 0."""
        made = ops.step(sum(weight * operand for weight, operand in terms) - threshold)
        return self.gates(made, 1, *(operand for _, operand in terms))

    def xor(self, x: graphc.Node, y: graphc.Node) -> graphc.Node:
        """(x and not y) or (not x and y), of three units."""
        only_x, only_y = self.unit(0.5, (1, x), (-1, y)), self.unit(0.5, (-1, x), (1, y))
        return self.unit(0.5, (1, only_x), (1, only_y))

    def size(self, output: graphc.Node) -> graphc.Node:
        """How many units were made, and the depth of this one: int64 (2)."""
        return ops.stack([ops.cast(n, "int64") for n in (self.units, self.depth[output])])


def bits(n: int) -> list[graphc.Node]:
    """The n bits of all inputs, 0 to 2^n - 1, each as float32 (2^n)."""
    number = ops.cast(ops.arange(2**n), "float32")
    return [ops.floor(number / 2**i) - 2 * ops.floor(number / 2 ** (i + 1)) for i in range(n)]


def ands(n: int) -> graphc.Node:
    """Where each AND of n literals is true, one of every bit: float32 (2^n inputs, 2^n ANDs).

    The k-th takes a bit as it is where k has it, else its opposite: n of them must be 1.
    """
    given, taken = ops.stack(bits(n), 1), ops.cast(digits(n), "float32")
    return ops.step(given @ taken.T + (1 - given) @ (1 - taken).T - (n - 0.5))


def odd(n: int) -> graphc.Node:
    """Whether the number of ones is odd, for 0 to 2^n - 1: the sequence of Thue and Morse.

    With a one in front, each beginning of 2^k of them is followed by its opposite.
    """
    parity = graphc.constant([False])
    for k in range(1, n + 1):
        parity = ops.reshape(ops.not_equal([[False], [True]], parity), (2**k,))
    return parity
