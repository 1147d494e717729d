"""What a net is made of: layers, optimisers and losses as plain data, with no library in it.

A layer knows its result's shape, its weights and its products; each peer builds it in its own
way. A new kind of layer is a dataclass here and one case in each peer. Weights are named as in
PyTorch's state dicts; those of a layer inside another by their path.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Weight:
    """An array that is trained: its initial values are uniform within centre -+ bound."""

    shape: Shape
    bound: float
    centre: float = 0.0


class Plain:
    """A layer that keeps its input's shape, without weights or products; others override."""

    def shape(self, shape: Shape) -> Shape:
        """The result's shape."""
        return shape

    def weights(self) -> dict[str, Weight]:
        """The weights by their name in a state dict."""
        return {}

    def products(self, shape: Shape) -> int:
        """Multiplications of products in one forward pass over an input of this shape."""
        return 0


@dataclass(frozen=True)
class Linear(Plain):
    """y = x W^T + b over the last axis; W is [outputs, inputs]."""

    inputs: int
    outputs: int

    def shape(self, shape: Shape) -> Shape:
        if shape[-1] != self.inputs:
            raise ValueError(f"{self} does not fit its input of shape {shape}")
        return (*shape[:-1], self.outputs)

    def weights(self) -> dict[str, Weight]:
        bound = self.inputs**-0.5
        return {
            "weight": Weight((self.outputs, self.inputs), bound),
            "bias": Weight((self.outputs,), bound),
        }

    def products(self, shape: Shape) -> int:
        return math.prod(shape) * self.outputs


@dataclass(frozen=True)
class Conv2d(Plain):
    """Cross-correlation of [n, channels, h, w] with [filters, channels / groups, size, size].

    What the stride leaves over at the end of an axis is dropped.
    """

    channels: int
    filters: int
    size: int
    stride: int = 1
    padding: int = 0
    groups: int = 1

    def shape(self, shape: Shape) -> Shape:
        batch, channels, *sides = shape
        if channels != self.channels:
            raise ValueError(f"{self} does not fit its input of shape {shape}")
        return (batch, self.filters, *(self._steps(side) for side in sides))

    def _steps(self, side: int) -> int:
        return (side + 2 * self.padding - self.size) // self.stride + 1

    def weights(self) -> dict[str, Weight]:
        taps = (self.channels // self.groups, self.size, self.size)
        bound = math.prod(taps) ** -0.5
        return {
            "weight": Weight((self.filters, *taps), bound),
            "bias": Weight((self.filters,), bound),
        }

    def products(self, shape: Shape) -> int:
        return math.prod(self.shape(shape)) * self.channels // self.groups * self.size**2


@dataclass(frozen=True)
class MaxPool2d(Plain):
    """The maximum of each window of [n, channels, h, w]; windows of size x size, side by side."""

    size: int

    def shape(self, shape: Shape) -> Shape:
        batch, channels, *sides = shape
        return (batch, channels, *(side // self.size for side in sides))


@dataclass(frozen=True)
class GlobalAveragePool(Plain):
    """[n, channels, h, w] to the mean of each channel, [n, channels]."""

    def shape(self, shape: Shape) -> Shape:
        return shape[:2]


@dataclass(frozen=True)
class BatchNorm2d(Plain):
    """Each channel of [n, channels, h, w] by mean and variance, those of the batch in training.

    Then the running ones move by a tenth towards them (the variance unbiased); epsilon is 1e-5.
    """

    channels: int

    def weights(self) -> dict[str, Weight]:
        return {
            "weight": Weight((self.channels,), 0.1, centre=1.0),
            "bias": Weight((self.channels,), 0.1),
        }


@dataclass(frozen=True)
class LayerNorm(Plain):
    """The last axis by its mean and variance, then weight and bias; epsilon is 1e-5."""

    width: int

    def weights(self) -> dict[str, Weight]:
        return {
            "weight": Weight((self.width,), 0.1, centre=1.0),
            "bias": Weight((self.width,), 0.1),
        }


@dataclass(frozen=True)
class Embedding(Plain):
    """Integers [n, t] to rows of a table, [n, t, width]."""

    rows: int
    width: int

    def shape(self, shape: Shape) -> Shape:
        return (*shape, self.width)

    def weights(self) -> dict[str, Weight]:
        return {"weight": Weight((self.rows, self.width), 0.2)}


@dataclass(frozen=True)
class Position(Plain):
    """Adds a trained row to each step of [n, steps, width]."""

    steps: int
    width: int

    def weights(self) -> dict[str, Weight]:
        return {"weight": Weight((self.steps, self.width), 0.2)}


@dataclass(frozen=True)
class Recurrent(Plain):
    """An LSTM or GRU over [n, t, inputs] from a state of zeros; its outputs [n, t, hidden].

    Gates are in the order i f g o, or r z n with the reset after the product.
    """

    kind: Literal["lstm", "gru"]
    inputs: int
    hidden: int

    @property
    def rows(self) -> int:
        """Of its weights: one for each gate and hidden unit."""
        return {"lstm": 4, "gru": 3}[self.kind] * self.hidden

    def shape(self, shape: Shape) -> Shape:
        return (*shape[:-1], self.hidden)

    def weights(self) -> dict[str, Weight]:
        bound = self.hidden**-0.5
        return {
            "weight_ih_l0": Weight((self.rows, self.inputs), bound),
            "weight_hh_l0": Weight((self.rows, self.hidden), bound),
            "bias_ih_l0": Weight((self.rows,), bound),
            "bias_hh_l0": Weight((self.rows,), bound),
        }

    def products(self, shape: Shape) -> int:
        return math.prod(shape[:-1]) * self.rows * (self.inputs + self.hidden)


@dataclass(frozen=True)
class Attention(Plain):
    """Causal self-attention in heads over [n, t, width], with a projection before and after."""

    width: int
    heads: int

    def weights(self) -> dict[str, Weight]:
        bound = self.width**-0.5
        return {
            "in_proj_weight": Weight((3 * self.width, self.width), bound),
            "in_proj_bias": Weight((3 * self.width,), bound),
            "out_proj.weight": Weight((self.width, self.width), bound),
            "out_proj.bias": Weight((self.width,), bound),
        }

    def products(self, shape: Shape) -> int:
        """What the mask makes unnecessary is counted too, as is usual."""
        batch, steps, width = shape
        return batch * steps * width * (4 * width + 2 * steps)


@dataclass(frozen=True)
class Activation(Plain):
    """A function applied to each element; gelu is the exact one."""

    function: Literal["relu", "tanh", "gelu"]


@dataclass(frozen=True)
class Flatten(Plain):
    """[n, ...] to [n, the rest]."""

    def shape(self, shape: Shape) -> Shape:
        return (shape[0], math.prod(shape[1:]))


@dataclass(frozen=True)
class Rows(Plain):
    """[n, t, width] to [n t, width]."""

    def shape(self, shape: Shape) -> Shape:
        return (math.prod(shape[:-1]), shape[-1])


@dataclass(frozen=True)
class Residual(Plain):
    """x + body(x), or shortcut(x) + body(x)."""

    body: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()

    def shape(self, shape: Shape) -> Shape:
        result, aside = shapes(self.body, shape)[-1], shapes(self.shortcut, shape)[-1]
        if result != aside:
            raise ValueError(f"a body gives {result}, its shortcut {aside}")
        return result


Layer = (
    Linear
    | Conv2d
    | MaxPool2d
    | GlobalAveragePool
    | BatchNorm2d
    | LayerNorm
    | Embedding
    | Position
    | Recurrent
    | Attention
    | Activation
    | Flatten
    | Rows
    | Residual
)


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015) with the usual betas 0.9 and 0.999 and epsilon 1e-8.

    decay shrinks the weights themselves (AdamW, Loshchilov and Hutter 2017).
    """

    rate: float
    decay: float = 0.0


@dataclass(frozen=True)
class SGD:
    """Gradient descent; velocity = momentum*velocity + gradient, weight -= rate*velocity."""

    rate: float
    momentum: float = 0.0


Optimizer = Adam | SGD
Loss = Literal["cross_entropy", "bce_with_logits", "mse"]


def shapes(layers: Iterable[Layer], shape: Shape) -> list[Shape]:
    """The input's shape, then the one after each layer. Raises ValueError if two do not fit."""
    found = [shape]
    for layer in layers:
        found.append(layer.shape(found[-1]))
    return found


def walk(
    layers: Iterable[Layer], shape: Shape, path: str = ""
) -> Iterator[tuple[str, Layer, Shape]]:
    """Every layer without layers inside, in order, with its path and its input's shape."""
    for position, layer in enumerate(layers):
        if isinstance(layer, Residual):
            yield from walk(layer.body, shape, f"{path}{position}.body.")
            yield from walk(layer.shortcut, shape, f"{path}{position}.shortcut.")
        else:
            yield f"{path}{position}.", layer, shape
        shape = layer.shape(shape)
