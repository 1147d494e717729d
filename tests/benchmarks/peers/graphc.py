"""graphc: one native call a step, on numpy arrays, the loss read back each time as its users do."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc as compiler
from graphc import nn, optim
from tests.benchmarks.peers import Session
from tests.benchmarks.workloads import Workload
from tests.benchmarks.workloads.inference import Inference
from tests.benchmarks.workloads.layers import (
    SGD,
    Activation,
    Adam,
    Attention,
    BatchNorm2d,
    Conv2d,
    Embedding,
    Flatten,
    GlobalAveragePool,
    Layer,
    LayerNorm,
    Linear,
    MaxPool2d,
    Optimizer,
    Position,
    Recurrent,
    Residual,
    Rows,
)
from tests.benchmarks.workloads.net import Array, Net, samples
from tests.benchmarks.workloads.training import Training

# A program's start, which its compile time leaves out: what is imported when it is first used.
for library in ("sympy", "networkx", "llvmlite.binding", "graphc.train"):
    importlib.import_module(library)


def describe() -> dict[str, object]:
    """graphc's version; it compiles, and keeps what it compiled."""
    return {"version": compiler.__version__, "compiles": True}


def variants(workload: Workload) -> list[str]:
    """Training with new arrays at each step; layouts are the compiler's business."""
    match workload:
        case Training():
            return ["step"]
        case Inference():
            return ["default"]
    return []


def prepare(workload: Workload, variant: str, threads: int) -> Session:
    """Declare and compile: what a user waits for before the first step."""
    match workload:
        case Training():
            return trainer(workload, threads)
        case Inference():
            return predictor(workload)
    raise NotImplementedError(workload.name)


class Steps(nn.Module):
    """Adds a trained row to each step."""

    def __init__(self, steps: int, width: int) -> None:
        self.weight = nn.Parameter(np.zeros((steps, width), np.float32))

    def forward(self, x: Any) -> Any:
        """[n, t, width] -> the same"""
        return x + self.weight


class Causal(nn.MultiheadAttention):
    """Self-attention that looks back."""

    def forward(self, x: Any) -> Any:  # type: ignore[override]  # in a sequence x is all there is
        """[n, t, width] -> the same"""
        return super().forward(x, is_causal=True)[0]


class LSTM(nn.LSTM):
    """The outputs, without the last state."""

    def forward(self, x: Any) -> Any:  # type: ignore[override]  # see above
        """[n, t, in] -> [n, t, hidden]"""
        return super().forward(x)[0]


class GRU(nn.GRU):
    """The outputs, without the last state."""

    def forward(self, x: Any) -> Any:  # type: ignore[override]  # see above
        """[n, t, in] -> [n, t, hidden]"""
        return super().forward(x)[0]


ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}
RECURRENT: dict[str, type[nn.Module]] = {"lstm": LSTM, "gru": GRU}


def build(layer: Layer) -> nn.Module:
    """The graphc module of a layer."""
    match layer:
        case Linear(inputs, outputs):
            return nn.Linear(inputs, outputs)
        case Conv2d(channels, filters, size, stride, padding):
            return nn.Conv2d(channels, filters, size, stride=stride, padding=padding, floor=True)
        case MaxPool2d(size):
            return nn.MaxPool2d(size, floor=True)
        case GlobalAveragePool():
            return nn.GlobalAvgPool()
        case BatchNorm2d(channels):
            return nn.BatchNorm2d(channels)
        case LayerNorm(width):
            return nn.LayerNorm(width)
        case Embedding(rows, width):
            return nn.Embedding(rows, width)
        case Position(steps, width):
            return Steps(steps, width)
        case Recurrent(kind, inputs, hidden):
            return RECURRENT[kind](inputs, hidden, batch_first=True)
        case Attention(width, heads):
            return Causal(width, heads, batch_first=True)
        case Activation(function):
            return ACTIVATIONS[function]()
        case Flatten():
            return nn.Flatten()
        case Rows():
            return nn.Flatten(0, 1)
        case Residual(body, ()):
            return nn.Residual(sequence(body))
        case Residual(body, shortcut):
            return nn.Residual(sequence(body), sequence(shortcut))
    raise NotImplementedError(layer)


def sequence(layers: Iterable[Layer]) -> nn.Sequential:
    """The graphc module of layers one after the other."""
    return nn.Sequential(*map(build, layers))


def model_of(net: Net, seed: int) -> nn.Sequential:
    """The net with its weights."""
    model = sequence(net.layers)
    model.load_state_dict(net.weights(seed) | net.buffers())
    return model


def optimizer_of(description: Optimizer) -> Any:
    """The graphc optimiser."""
    match description:
        case Adam(rate, 0.0):
            return optim.Adam(rate)
        case Adam(rate, decay):
            return optim.AdamW(rate, weight_decay=decay)
        case SGD(rate, momentum):
            return optim.SGD(rate, momentum=momentum)


def trainer(workload: Training, threads: int) -> Trainer:
    """The compiled step, at the workload's weights."""
    ring = workload.batches()
    x, y = ring[0]
    step = compiler.compile_train_step(
        model_of(workload.net, workload.seed),
        workload.loss,
        optimizer_of(workload.optimizer),
        inputs={"x": (x.shape, x.dtype.name)},
        targets={"y": (y.shape, y.dtype.name)},
        threads=threads,
    )
    return Trainer(step, ring)


@dataclass
class Trainer:
    """A compiled step and the place in its ring of batches."""

    step: Callable[..., Any]
    ring: list[tuple[Array, Array]]
    done: int = 0
    grain: int = 1

    def check(self, steps: int) -> list[float]:
        """The losses of so many steps."""
        return [self._next() for _ in range(steps)]

    def run(self, steps: int) -> None:
        """So many steps."""
        for _ in range(steps):
            self._next()

    def _next(self) -> float:
        x, y = self.ring[self.done % len(self.ring)]
        self.done += 1
        return float(self.step(x=x, y=y)["loss"])


def predictor(workload: Inference) -> Predictor:
    """The compiled forward pass, at the workload's weights."""
    ring = workload.batches()
    model = model_of(workload.net, workload.seed)
    program = compiler.compile(model, inputs={"x": (ring[0].shape, ring[0].dtype.name)})
    return Predictor(program, ring)


@dataclass
class Predictor:
    """A compiled forward pass, and the place in its ring of batches."""

    program: Callable[..., Any]
    ring: list[Array]
    done: int = 0
    grain: int = 1

    def check(self, steps: int) -> list[float]:
        """Samples of the outputs of so many batches."""
        return [value for _ in range(steps) for value in samples(self._next())]

    def run(self, steps: int) -> None:
        """So many batches."""
        for _ in range(steps):
            self._next()

    def _next(self) -> Array:
        x = self.ring[self.done % len(self.ring)]
        self.done += 1
        (result,) = self.program(x)
        return result
