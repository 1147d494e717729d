"""Training steps: forward, backward, optimiser, on a ring of batches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from tests.benchmarks.workloads.layers import Conv2d, Loss, Optimizer, Shape
from tests.benchmarks.workloads.net import RING, Array, Net


@dataclass(frozen=True)
class Training:
    """Steps of an optimiser over a ring of random batches; the loss is the mean over the batch.

    Its check values are losses, each compared with the other peers' in relation to itself.
    """

    name: str
    title: str
    net: Net
    batch: int
    loss: Loss
    optimizer: Optimizer
    held_out: bool = False
    seed: int = 0
    group: ClassVar = "train"
    compared: ClassVar[Literal["each"]] = "each"
    bytes: ClassVar = 0

    @property
    def tolerance(self) -> float:
        """How far, relatively, the peers' losses may differ: rounding grows in deep sums."""
        return 5e-3 if self.net.has(Conv2d) else 1e-4

    @property
    def flops(self) -> int:
        """Two for a product, three products a layer; the first has no gradient for its input."""
        total, first = self.net.products(self.batch)
        return 6 * total - 2 * first

    @property
    def shape(self) -> Shape:
        """A batch's shape."""
        return (self.batch, *self.net.example)

    @cached_property
    def ring(self) -> list[tuple[Array, Array]]:
        """The ring: inputs, and classes (int64), zeros and ones, or the inputs again (float32)."""
        random = np.random.default_rng(self.seed + 1)
        outputs = self.net.outputs(self.batch)
        ring: list[tuple[Array, Array]] = []
        for _ in range(RING):
            x = self.net.inputs(self.batch, random)
            if self.loss == "cross_entropy":
                y = random.integers(0, outputs[-1], outputs[0], np.int64)
            elif self.loss == "mse":
                y = x.copy()
            else:
                y = random.integers(0, 2, outputs).astype(np.float32)
            ring.append((x, y))
        return ring


@dataclass(frozen=True)
class Xor(Training):
    """A training workload whose every batch is the truth table of exclusive or."""

    @cached_property
    def ring(self) -> list[tuple[Array, Array]]:
        """The four cases, RING times."""
        x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
        y = np.array([[0], [1], [1], [0]], np.float32)
        return [(x.copy(), y.copy()) for _ in range(RING)]
