"""numpy: layers and derivatives written by hand, products by its BLAS, updates in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.benchmarks import derivatives
from tests.benchmarks.peers import Session
from tests.benchmarks.workloads import Workload
from tests.benchmarks.workloads.inference import Inference
from tests.benchmarks.workloads.kernel import (
    Chain,
    CrossEntropy,
    Kernel,
    Pass,
    Product,
    Update,
    scaled,
)
from tests.benchmarks.workloads.layers import SGD, Adam, Conv2d, Optimizer
from tests.benchmarks.workloads.net import Array, Net, samples
from tests.benchmarks.workloads.training import Training

Results = tuple[Any, ...]


def describe() -> dict[str, object]:
    """numpy's version."""
    return {"version": np.__version__}


def variants(workload: Workload) -> list[str]:
    """One; not for convolutions alone, which it has none of."""
    match workload:
        case Pass(convolution=Conv2d()):
            return []
    return ["default"]


def prepare(workload: Workload, variant: str, threads: int) -> Session:
    """Allocate."""
    match workload:
        case Training(net=net):
            weights = net.weights(workload.seed)
            update = updater(workload.optimizer, weights)
            return Trainer(workload, {**weights, **net.buffers()}, update, workload.ring)
        case Inference(net=net):
            weights = net.weights(workload.seed) | net.buffers()
            return Predictor(net, weights, workload.ring)
        case Kernel():
            return Repeated(kernel_of(workload))
    raise NotImplementedError(workload.name)


def updater(
    description: Optimizer, weights: dict[str, Array]
) -> Callable[[derivatives.Gradients], None]:
    """A function that moves the weights, in place, by their gradients."""
    first, second = ({k: np.zeros_like(v) for k, v in weights.items()} for _ in range(2))
    time = 0

    def adam(slopes: derivatives.Gradients, rate: float, decay: float) -> None:
        nonlocal time
        time += 1
        size, root = rate / (1 - 0.9**time), (1 - 0.999**time) ** 0.5
        for name, w in weights.items():
            m, v, g = first[name], second[name], slopes[name]
            m *= 0.9
            m += 0.1 * g
            v *= 0.999
            v += 0.001 * (g * g)
            w *= 1 - rate * decay
            w -= size * m / (np.sqrt(v) / root + 1e-8)

    def descend(slopes: derivatives.Gradients, rate: float, momentum: float) -> None:
        for name, w in weights.items():
            velocity = first[name]
            velocity *= momentum
            velocity += slopes[name]
            w -= rate * velocity

    match description:
        case Adam(rate, decay):
            return lambda slopes: adam(slopes, rate, decay)
        case SGD(rate, momentum):
            return lambda slopes: descend(slopes, rate, momentum)


@dataclass
class Trainer:
    """Weights, their update, and the place in the ring of batches."""

    workload: Training
    weights: dict[str, Array]
    update: Callable[[derivatives.Gradients], None]
    ring: list[tuple[Array, Array]]
    done: int = 0
    grain: int = 1

    def next(self) -> float:
        """The loss of the next step."""
        x, y = self.ring[self.done % len(self.ring)]
        self.done += 1
        outputs, back = derivatives.sequence(self.workload.net.layers, self.weights, x, True)
        loss, gradient = derivatives.loss_of(self.workload.loss, outputs, y)
        self.update(back(gradient)[1])
        return float(loss)

    def check(self, steps: int) -> list[float]:
        """The losses of so many steps."""
        return [self.next() for _ in range(steps)]

    def run(self, steps: int) -> None:
        """So many steps."""
        for _ in range(steps):
            self.next()


@dataclass
class Predictor:
    """Weights, and the place in the ring of batches."""

    net: Net
    weights: dict[str, Array]
    ring: list[Array]
    done: int = 0
    grain: int = 1

    def next(self) -> Array:
        """The outputs of the next batch."""
        x = self.ring[self.done % len(self.ring)]
        self.done += 1
        return derivatives.sequence(self.net.layers, self.weights, x, False)[0]

    def check(self, steps: int) -> list[float]:
        """Samples of the outputs of so many batches."""
        return [value for _ in range(steps) for value in samples(self.next())]

    def run(self, steps: int) -> None:
        """So many batches."""
        for _ in range(steps):
            self.next()


def kernel_of(workload: Kernel) -> Callable[[], Results]:
    """A kernel on its operands."""
    match workload:
        case Product(form=form):
            a, b = (
                array.T if turned == "t" else array
                for array, turned in zip(workload.operands(), form, strict=True)
            )
            out = np.empty((workload.m, workload.n), np.float32)
            return lambda: (np.matmul(a, b, out=out),)
        case Pass(net=net, parts=parts):
            x, dy = workload.operands()
            weights = net.weights(0) | net.buffers()

            def both_ways() -> Results:
                y, back = derivatives.sequence(net.layers, weights, x, True)
                dx, slopes = back(dy)
                return y, dx, *(slopes.values() if "dw" in parts else ())

            return both_ways
        case CrossEntropy():
            logits, labels = workload.operands()
            return lambda: derivatives.loss_of("cross_entropy", logits, labels)
        case Update(optimizer=optimizer):
            weights_, gradient = workload.operands()
            update = updater(optimizer, {"weights": weights_})

            def advance() -> Results:
                update({"weights": gradient})
                return (weights_,)

            return advance
        case Chain():
            a, b, c = workload.operands()
            out, scratch = np.empty_like(a), np.empty_like(a)

            def chain() -> Results:
                np.multiply(a, b, out=out)
                np.add(out, c, out=out)
                np.maximum(out, 0, out=out)
                np.multiply(a, np.float32(0.1), out=scratch)
                return (np.subtract(out, scratch, out=out),)

            return chain
    raise NotImplementedError(workload.name)


@dataclass
class Repeated:
    """A kernel."""

    call: Callable[[], Results]
    grain: int = 1

    def check(self, steps: int) -> list[float]:
        """Samples of the results of the last call of so many."""
        for _ in range(steps):
            results = self.call()
        return scaled(results)

    def run(self, steps: int) -> None:
        """So many calls."""
        for _ in range(steps):
            self.call()
