"""What is timed: each workload is declared once, with all numbers that a peer needs to run it.

`Training` is a whole step (forward, backward, optimiser); `Product` is one kernel. A workload of
another kind is a dataclass with `name`, `tolerance`, `flops`, and a case in the peers that can run
it; those that cannot say so and are left out of its table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.layers import (
    SGD,
    Activation,
    Adam,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    Loss,
    Optimizer,
    Shape,
    shapes,
)

Array = NDArray[Any]
RING = 8  # batches that a training workload goes round and round


class Workload(Protocol):
    """What the driver needs of a workload."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    @property
    def title(self) -> str:
        """Its description in the table."""

    @property
    def tolerance(self) -> float:
        """How far, relatively, the peers' check values may differ."""

    @property
    def flops(self) -> int:
        """Floating-point operations of products in one step; pointwise work is not counted."""


@dataclass(frozen=True)
class Training:
    """Steps of an optimiser over a ring of random batches. Layers are numbered from "0"."""

    name: str
    title: str
    layers: tuple[Layer, ...]
    shape: Shape
    loss: Loss
    optimizer: Optimizer
    tolerance: float = 1e-4
    seed: int = 0

    @property
    def flops(self) -> int:
        """Two for a product, three products a layer; the first has no gradient for its input."""
        total, first = 0, True
        for layer, shape in zip(self.layers, shapes(self.layers, self.shape), strict=False):
            products = layer.products(shape)
            total += 2 * products * (2 if first else 3)
            first = first and not products
        return total

    @property
    def outputs(self) -> Shape:
        """The shape of what the last layer gives."""
        return shapes(self.layers, self.shape)[-1]

    def weights(self) -> dict[str, Array]:
        """Initial weights as "0.weight": uniform within 1/sqrt(fan in), PyTorch's default."""
        random = np.random.default_rng(self.seed)
        found: dict[str, Array] = {}
        for position, layer in enumerate(self.layers):
            wanted = layer.weights()
            for name, shape in wanted.items():
                bound = 1 / math.sqrt(math.prod(wanted["weight"][1:]))
                values = random.uniform(-bound, bound, shape)
                found[f"{position}.{name}"] = values.astype(np.float32)
        return found

    def batches(self) -> list[tuple[Array, Array]]:
        """The ring: normal inputs; targets are classes (int64), or 0 and 1 (float32)."""
        random = np.random.default_rng(self.seed + 1)
        ring: list[tuple[Array, Array]] = []
        for _ in range(RING):
            x = random.standard_normal(self.shape, np.float32)
            if self.loss == "cross_entropy":
                y = random.integers(0, self.outputs[-1], self.shape[0], np.int64)
                ring.append((x, y))
            else:
                ring.append((x, random.integers(0, 2, self.outputs).astype(np.float32)))
        return ring


@dataclass(frozen=True)
class Xor(Training):
    """A training workload whose every batch is the truth table of exclusive or."""

    def batches(self) -> list[tuple[Array, Array]]:
        """The four cases, RING times."""
        x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
        y = np.array([[0], [1], [1], [0]], np.float32)
        return [(x.copy(), y.copy()) for _ in range(RING)]


@dataclass(frozen=True)
class Product:
    """One matrix product, [m, k] by [k, n], into memory that is there."""

    name: str
    title: str
    m: int
    k: int
    n: int
    tolerance: float = 1e-4
    seed: int = 0

    @property
    def flops(self) -> int:
        """A multiplication and an addition for each m, k, n."""
        return 2 * self.m * self.k * self.n

    def operands(self) -> tuple[Array, Array]:
        """Positive numbers, so that no result is near zero and relative errors mean something."""
        random = np.random.default_rng(self.seed)
        left = random.random((self.m, self.k), np.float32)
        return left, random.random((self.k, self.n), np.float32)


RELU, TANH = Activation("relu"), Activation("tanh")

WORKLOADS: tuple[Workload, ...] = (
    Training(
        name="mlp",
        title="MLP 784-512-256-10, batch 128, Adam",
        layers=(Linear(784, 512), RELU, Linear(512, 256), RELU, Linear(256, 10)),
        shape=(128, 784),
        loss="cross_entropy",
        optimizer=Adam(1e-3),
    ),
    Training(
        name="seednet",
        title="32x32x3, conv 5x5 to 6, conv 5x5 to 10, dense 10, batch 64, SGD momentum",
        layers=(Conv2d(3, 6, 5), RELU, Conv2d(6, 10, 5), RELU, Flatten(), Linear(5760, 10)),
        shape=(64, 3, 32, 32),
        loss="cross_entropy",
        optimizer=SGD(0.01, momentum=0.9),
        tolerance=5e-3,
    ),
    Xor(
        name="xor",
        title="MLP 2-8-1, batch 4, SGD",
        layers=(Linear(2, 8), TANH, Linear(8, 1)),
        shape=(4, 2),
        loss="bce_with_logits",
        optimizer=SGD(0.5),
    ),
    Product(name="matmul512", title="512x512 by 512x512, float32", m=512, k=512, n=512),
)


def named(name: str) -> Workload:
    """The workload of that name. Raises LookupError with the names there are."""
    for workload in WORKLOADS:
        if workload.name == name:
            return workload
    raise LookupError(f"no workload {name!r}; there are {', '.join(w.name for w in WORKLOADS)}")
