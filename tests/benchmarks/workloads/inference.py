"""Inference: a net's outputs for one batch after the other, weights fixed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from tests.benchmarks.workloads.layers import Shape
from tests.benchmarks.workloads.net import RING, Array, Net


@dataclass(frozen=True)
class Inference:
    """Outputs, as numpy arrays, of a ring of random batches.

    Its check values are samples of outputs, compared in relation to the largest of them.
    """

    name: str
    title: str
    net: Net
    batch: int
    held_out: bool = False
    seed: int = 0
    group: ClassVar = "infer"
    compared: ClassVar[Literal["largest"]] = "largest"
    bytes: ClassVar = 0

    @property
    def tolerance(self) -> float:
        """How far the peers' outputs may differ."""
        return 1e-4

    @property
    def flops(self) -> int:
        """Two for a product."""
        return 2 * self.net.products(self.batch)[0]

    @property
    def shape(self) -> Shape:
        """A batch's shape."""
        return (self.batch, *self.net.example)

    @cached_property
    def ring(self) -> list[Array]:
        """The ring of inputs."""
        random = np.random.default_rng(self.seed + 1)
        return [self.net.inputs(self.batch, random) for _ in range(RING)]
