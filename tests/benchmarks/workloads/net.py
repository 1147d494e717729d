"""A net: layers and the examples they take, with all the numbers that a peer needs to run it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.workloads.layers import BatchNorm2d, Conv2d, Layer, Shape, shapes, walk

Array = NDArray[Any]
RING = 8  # batches that a workload goes round and round


@dataclass(frozen=True)
class Net:
    """Layers, numbered from "0", and the shape of one example.

    With a vocabulary examples are integers below it, without one they are numbers.
    """

    layers: tuple[Layer, ...]
    example: Shape
    vocabulary: int = 0

    def outputs(self, batch: int) -> Shape:
        """The shape of what the last layer gives."""
        return shapes(self.layers, (batch, *self.example))[-1]

    def products(self, batch: int) -> tuple[int, int]:
        """Multiplications of one forward pass, and those of its first layer with weights."""
        counts = [
            layer.products(shape)
            for _, layer, shape in walk(self.layers, (batch, *self.example))
            if layer.weights()
        ]
        return sum(counts), counts[0] if counts else 0

    def weights(self, seed: int) -> dict[str, Array]:
        """Initial weights by their path in a state dict, such as "0.weight"."""
        random = np.random.default_rng(seed)
        return {
            path + name: random.uniform(
                weight.centre - weight.bound, weight.centre + weight.bound, weight.shape
            ).astype(np.float32)
            for path, layer, _ in walk(self.layers, (1, *self.example))
            for name, weight in layer.weights().items()
        }

    def buffers(self) -> dict[str, Array]:
        """State that is not trained, by its path in a state dict: what batch norm keeps."""
        found: dict[str, Array] = {}
        for path, layer, _ in walk(self.layers, (1, *self.example)):
            if isinstance(layer, BatchNorm2d):
                found[path + "running_mean"] = np.zeros(layer.channels, np.float32)
                found[path + "running_var"] = np.ones(layer.channels, np.float32)
                found[path + "num_batches_tracked"] = np.zeros((), np.int64)
        return found

    def inputs(self, batch: int, random: np.random.Generator) -> Array:
        """One batch: normal numbers (float32), or integers (int64)."""
        shape = (batch, *self.example)
        if self.vocabulary:
            return random.integers(0, self.vocabulary, shape, np.int64)
        return random.standard_normal(shape, np.float32)

    @property
    def slides(self) -> bool:
        """Whether a window of 3x3 moves over an image by one in it, over all channels at once."""
        layers = (layer for _, layer, _ in walk(self.layers, (1, *self.example)))
        return any(
            isinstance(x, Conv2d) and (x.size, x.stride, x.groups) == (3, 1, 1) for x in layers
        )

    def has(self, *kinds: type) -> bool:
        """Whether a layer of one of these kinds is in it."""
        return any(
            isinstance(layer, kinds) for _, layer, _ in walk(self.layers, (1, *self.example))
        )


def samples(array: Array, count: int = 64) -> list[float]:
    """So many elements, evenly spread."""
    flat = np.asarray(array).reshape(-1)
    return [float(flat[i]) for i in np.linspace(0, flat.size - 1, count).astype(int)]
