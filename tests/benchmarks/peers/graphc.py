"""graphc: one native call a step, on numpy arrays, the loss read back each time as its users do."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import graphc as compiler
from graphc import nn, optim
from tests.benchmarks.layers import SGD, Activation, Adam, Conv2d, Flatten, Layer, Linear, Optimizer
from tests.benchmarks.peers import Session
from tests.benchmarks.workloads import Array, Product, Training, Workload

# A program's start, which its compile time leaves out: what is imported when it is first used.
for library in ("sympy", "networkx", "llvmlite.binding", "graphc.train"):
    importlib.import_module(library)


def describe() -> dict[str, object]:
    """graphc's version; it compiles, and keeps what it compiled."""
    return {"version": compiler.__version__, "compiles": True}


def variants(workload: Workload) -> list[str]:
    """One: layouts are the compiler's business."""
    return ["default"] if isinstance(workload, Training | Product) else []


def prepare(workload: Workload, variant: str, threads: int) -> Session:
    """Declare and compile: what a user waits for before the first step."""
    match workload:
        case Training():
            return trainer(workload, threads)
        case Product():
            return multiplier(workload)
    raise NotImplementedError(workload.name)


def build(layer: Layer) -> nn.Module:
    """The graphc module of a layer."""
    match layer:
        case Linear(inputs, outputs):
            return nn.Linear(inputs, outputs)
        case Conv2d(channels, filters, size, stride, padding):
            return nn.Conv2d(channels, filters, size, stride=stride, padding=padding)
        case Activation("relu"):
            return nn.ReLU()
        case Activation("tanh"):
            return nn.Tanh()
        case Flatten():
            return nn.Flatten()
    raise NotImplementedError(layer)


def optimizer_of(description: Optimizer) -> Any:
    """The graphc optimiser."""
    match description:
        case Adam(rate):
            return optim.Adam(rate)
        case SGD(rate, momentum):
            return optim.SGD(rate, momentum=momentum)


def trainer(workload: Training, threads: int) -> Trainer:
    """The compiled step, at the workload's weights."""
    model = nn.Sequential(*map(build, workload.layers))
    model.load_state_dict(workload.weights())
    ring = workload.batches()
    step = compiler.compile_train_step(
        model,
        workload.loss,
        optimizer_of(workload.optimizer),
        inputs={"x": workload.shape},
        targets={"y": ring[0][1].shape},
        threads=threads,
    )
    return Trainer(step, ring)


@dataclass
class Trainer:
    """A compiled step and the place in its ring of batches."""

    step: Callable[..., Any]
    ring: list[tuple[Array, Array]]
    done: int = 0

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


def multiplier(workload: Product) -> Multiplier:
    """The compiled product."""
    a = compiler.input("a", (workload.m, workload.k))
    b = compiler.input("b", (workload.k, workload.n))
    left, right = workload.operands()
    return Multiplier(compiler.compile([a @ b]), left, right)


@dataclass
class Multiplier:
    """A compiled product and its operands."""

    program: Callable[..., Any]
    left: Array
    right: Array

    def check(self, steps: int) -> list[float]:
        """So many elements of the result, evenly spread."""
        (result,) = self.program(a=self.left, b=self.right)
        flat = result.ravel()
        return [float(flat[i * (len(flat) - 1) // max(1, steps - 1)]) for i in range(steps)]

    def run(self, steps: int) -> None:
        """The product, so many times."""
        for _ in range(steps):
            self.program(a=self.left, b=self.right)
