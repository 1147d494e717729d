"""Single kernels: products, passes over a few layers, losses, updates, chains of element-wise work.

A kernel is called again and again on the same operands, which lie where its library wants them, in
the layout that it wants. Its check values are samples of its results, each result scaled to 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from tests.benchmarks.workloads.layers import Adam, Conv2d, Layer, Shape
from tests.benchmarks.workloads.net import Array, Net

Form = Literal["nn", "nt", "tn", "tt"]
Part = Literal["y", "dx", "dw"]


@dataclass(frozen=True)
class Kernel:
    """What kernels share."""

    name: str
    title: str
    group: ClassVar = "kernel"
    compared: ClassVar[Literal["largest"]] = "largest"
    held_out: ClassVar = False
    tolerance: ClassVar = 1e-4

    @property
    def flops(self) -> int:
        """No products, unless a kernel says otherwise."""
        return 0

    @property
    def bytes(self) -> int:
        """Bytes that must move, unless arithmetic is what limits."""
        return 0


@dataclass(frozen=True)
class Product(Kernel):
    """[m, k] by [k, n]; t in the form says that this operand is stored turned over."""

    m: int
    k: int
    n: int
    form: Form = "nn"

    @property
    def flops(self) -> int:
        return 2 * self.m * self.k * self.n

    def operands(self) -> tuple[Array, Array]:
        """Both as they are stored."""
        random = np.random.default_rng(0)
        sides = ((self.m, self.k), (self.k, self.n))
        left, right = (
            random.standard_normal(side[::-1] if turned == "t" else side, np.float32)
            for side, turned in zip(sides, self.form, strict=True)
        )
        return left, right


@dataclass(frozen=True)
class Pass(Kernel):
    """Layers on an input x: the result y, or gradients for a given dy: of x, of the weights.

    `math` "fast" allows what costs digits, within the tolerance of every kernel, to a library that
    has it as an option; the others do what they do.
    """

    layers: tuple[Layer, ...]
    shape: Shape
    parts: tuple[Part, ...]
    math: Literal["exact", "fast"] = "exact"

    @property
    def net(self) -> Net:
        """The layers as a net."""
        return Net(self.layers, self.shape[1:])

    @property
    def convolution(self) -> Conv2d | None:
        """The layer, where it is one convolution."""
        match self.layers:
            case (Conv2d() as layer,):
                return layer
        return None

    @property
    def flops(self) -> int:
        return 2 * self.net.products(self.shape[0])[0] * len(self.parts)

    @property
    def bytes(self) -> int:
        """x, y, and both gradients; not counted where there are products."""
        if self.flops:
            return 0
        x, y = math.prod(self.shape), math.prod(self.net.outputs(self.shape[0]))
        return 4 * (x + y * len({"y", *self.parts} - {"dw", "dx"}) + (x + y) * ("dx" in self.parts))

    def operands(self) -> tuple[Array, Array]:
        """x and dy."""
        random = np.random.default_rng(0)
        outputs = self.net.outputs(self.shape[0])
        x = random.standard_normal(self.shape, np.float32)
        return x, random.standard_normal(outputs, np.float32)


@dataclass(frozen=True)
class CrossEntropy(Kernel):
    """The mean cross-entropy of logits [rows, classes] by labels, and its gradient."""

    rows: int
    classes: int

    @property
    def bytes(self) -> int:
        """Logits in, gradient out, labels."""
        return self.rows * (8 * self.classes + 8)

    def operands(self) -> tuple[Array, Array]:
        """Logits and labels."""
        random = np.random.default_rng(0)
        logits = random.standard_normal((self.rows, self.classes), np.float32)
        return logits, random.integers(0, self.classes, self.rows, np.int64)


@dataclass(frozen=True)
class Update(Kernel):
    """A step of Adam on one array of weights, with the same gradient each time."""

    elements: int
    optimizer: Adam = Adam(1e-3)  # noqa: RUF009  # frozen

    @property
    def bytes(self) -> int:
        """Weights and both averages in and out, the gradient in."""
        return 28 * self.elements

    def operands(self) -> tuple[Array, Array]:
        """Weights and gradient."""
        random = np.random.default_rng(0)
        weights = random.standard_normal(self.elements, np.float32)
        return weights, random.standard_normal(self.elements, np.float32)


@dataclass(frozen=True)
class Chain(Kernel):
    """relu(a b + c) - a / 10, element by element."""

    elements: int

    @property
    def bytes(self) -> int:
        """Three arrays in, one out."""
        return 16 * self.elements

    def operands(self) -> tuple[Array, Array, Array]:
        """a, b and c."""
        random = np.random.default_rng(0)
        a, b, c = (random.standard_normal(self.elements, np.float32) for _ in range(3))
        return a, b, c


def scaled(results: tuple[Array, ...]) -> list[float]:
    """32 samples of each result, relative to its largest element."""
    found: list[float] = []
    for result in results:
        flat = np.asarray(result, np.float64).reshape(-1)
        places = np.linspace(0, flat.size - 1, 32).astype(int)
        found += (flat[places] / max(np.abs(flat).max(), 1e-30)).tolist()
    return found
