"""Circuits of threshold units, built gate by gate as nodes of a graph, and counted."""

from __future__ import annotations

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
