"""What a workload is made of: layers, optimisers and losses as plain data, with no library in it.

A layer knows its result's shape, its weights' shapes and its products; each peer builds it in its
own way. A new kind of layer is a dataclass here and one case in each peer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Linear:
    """y = x W^T + b over the last axis; W is [outputs, inputs]."""

    inputs: int
    outputs: int

    def shape(self, shape: Shape) -> Shape:
        """The result's shape."""
        return (*shape[:-1], self.outputs)

    def weights(self) -> dict[str, Shape]:
        """Shapes of the weights, by their name in a state dict."""
        return {"weight": (self.outputs, self.inputs), "bias": (self.outputs,)}

    def products(self, shape: Shape) -> int:
        """Multiplications in one forward pass over an input of this shape."""
        return math.prod(shape) * self.outputs


@dataclass(frozen=True)
class Conv2d:
    """Cross-correlation of [n, channels, h, w] with [filters, channels, size, size]."""

    channels: int
    filters: int
    size: int
    stride: int = 1
    padding: int = 0

    def shape(self, shape: Shape) -> Shape:
        """The result's shape."""
        batch, _, *sides = shape
        return (batch, self.filters, *(self._steps(side) for side in sides))

    def _steps(self, side: int) -> int:
        return (side + 2 * self.padding - self.size) // self.stride + 1

    def weights(self) -> dict[str, Shape]:
        """Shapes of the weights, by their name in a state dict."""
        return {
            "weight": (self.filters, self.channels, self.size, self.size),
            "bias": (self.filters,),
        }

    def products(self, shape: Shape) -> int:
        """Multiplications in one forward pass over an input of this shape."""
        return math.prod(self.shape(shape)) * self.channels * self.size**2


@dataclass(frozen=True)
class Activation:
    """A function applied to each element."""

    function: Literal["relu", "tanh"]

    def shape(self, shape: Shape) -> Shape:
        """The result's shape."""
        return shape

    def weights(self) -> dict[str, Shape]:
        """None."""
        return {}

    def products(self, shape: Shape) -> int:
        """None that are counted."""
        return 0


@dataclass(frozen=True)
class Flatten:
    """[n, ...] to [n, the rest]."""

    def shape(self, shape: Shape) -> Shape:
        """The result's shape."""
        return (shape[0], math.prod(shape[1:]))

    def weights(self) -> dict[str, Shape]:
        """None."""
        return {}

    def products(self, shape: Shape) -> int:
        """None."""
        return 0


Layer = Linear | Conv2d | Activation | Flatten


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015) with the usual betas 0.9 and 0.999 and epsilon 1e-8."""

    rate: float


@dataclass(frozen=True)
class SGD:
    """Gradient descent; velocity = momentum*velocity + gradient, weight -= rate*velocity."""

    rate: float
    momentum: float = 0.0


Optimizer = Adam | SGD
Loss = Literal["cross_entropy", "bce_with_logits"]


def shapes(layers: Iterable[Layer], shape: Shape) -> list[Shape]:
    """The input's shape, then the one after each layer. Raises ValueError if two do not fit."""
    found = [shape]
    for layer in layers:
        axis = 1 if isinstance(layer, Conv2d) else -1
        wanted = {Linear: "inputs", Conv2d: "channels"}.get(type(layer))
        if wanted and getattr(layer, wanted) != found[-1][axis]:
            raise ValueError(f"{layer} does not fit its input of shape {found[-1]}")
        found.append(layer.shape(found[-1]))
    return found
