"""graphc: one native call a step, on numpy arrays, the loss read back each time as its users do."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc as compiler
from graphc import nn, ops, optim
from tests.benchmarks.peers import FAST, Session
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
from tests.benchmarks.workloads.net import RING, Array, Net, samples
from tests.benchmarks.workloads.training import Training


def begin() -> None:
    """A program's start, which its compile time leaves out: what is imported when first used."""
    for library in ("sympy.tensor.tensor", "networkx", "llvmlite.binding", "graphc.train"):
        importlib.import_module(library)


def describe() -> dict[str, object]:
    """graphc's version; it compiles, and keeps what it compiled."""
    return {"version": compiler.__version__, "compiles": True}


def variants(workload: Workload) -> list[str]:
    """Training with new arrays at each step, and over resident ones where graphc has a call for it.

    Where a step is so short that a loop around it counts, a user's whole call of fit is timed too;
    where windows slide over images, or a norm predicts, so is math="fast". Layouts are the
    compiler's business.
    """
    if isinstance(workload, Kernel):
        return ["default"]
    predicts = isinstance(workload, Inference) and workload.net.has(BatchNorm2d)
    fast = [FAST] if workload.net.slides or predicts else []
    if not isinstance(workload, Training):
        return ["default", *fast]
    xs, ys = workload.ring[0]
    if len(xs) != len(ys):
        return ["step"]
    return ["step", "resident", *(["fit"] if tiny(workload) else []), *fast]


def tiny(workload: Training) -> bool:
    """Whether a step takes microseconds, so that a call makes thousands of them."""
    return workload.flops <= 1e6


def prepare(workload: Workload, variant: str, threads: int) -> Session:
    """Declare and compile: what a user waits for before the first step."""
    os.environ["GRAPHC_THREADS"] = str(threads)
    match workload:
        case Training() if variant == "resident":
            return resident(workload, threads)
        case Training() if variant == "fit":
            return fitted(workload, threads)
        case Training():
            return Trainer(compiled(workload, threads, math_of(variant)), workload.ring)
        case Inference():
            return predictor(workload, math_of(variant))
        case Kernel():
            return Repeated(kernel_of(workload))
    raise NotImplementedError(workload.name)


def math_of(variant: str) -> str:
    """The arithmetic of a variant."""
    return "fast" if variant == FAST else "exact"


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
        case Conv2d(channels, filters, size, stride, padding, groups):
            options = {"stride": stride, "padding": padding, "groups": groups}
            return nn.Conv2d(channels, filters, size, floor=True, **options)
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


def compiled(workload: Training, threads: int, math: str = "exact") -> Any:
    """The compiled step, at the workload's weights."""
    x, y = workload.ring[0]
    return compiler.compile_train_step(
        model_of(workload.net, workload.seed),
        workload.loss,
        optimizer_of(workload.optimizer),
        inputs={"x": (x.shape, x.dtype.name)},
        targets={"y": (y.shape, y.dtype.name)},
        threads=threads,
        math=math,
    )


@dataclass
class Trainer:
    """A compiled step and the place in its ring of batches."""

    step: Any
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

    def planned(self) -> dict[str, int]:
        """The arena of a step."""
        return planned(self.step)

    def _next(self) -> float:
        x, y = self.ring[self.done % len(self.ring)]
        self.done += 1
        return float(self.step(x=x, y=y)["loss"])


def resident(workload: Training, threads: int) -> Resident:
    """Many steps a call, round a ring of batches that lie one after the other in memory."""
    xs, ys = (np.concatenate(arrays) for arrays in zip(*workload.ring, strict=True))
    grain = RING * (512 if tiny(workload) else 1)
    ring = np.arange(len(xs)).reshape(RING, -1)
    order = np.ascontiguousarray(np.tile(ring, (grain // RING, 1)))
    return Resident(compiled(workload, threads), {"x": xs, "y": ys}, order)


@dataclass
class Resident:
    """A compiled step, its batches, and the rows that the steps of one call take."""

    step: Any
    data: dict[str, Array]
    order: Array

    @property
    def grain(self) -> int:
        """Steps of one call."""
        return len(self.order)

    def check(self, steps: int) -> list[float]:
        """The losses of so many steps."""
        order = np.resize(self.order, (steps, self.order.shape[1]))
        return [float(loss) for loss in self.step.run(self.data, order)["loss"]]

    def run(self, steps: int) -> None:
        """So many steps, in calls of `grain`."""
        for _ in range(steps // self.grain):
            self.step.run(self.data, self.order)

    def planned(self) -> dict[str, int]:
        """The arena of a step."""
        return planned(self.step)


def fitted(workload: Training, threads: int) -> Fitted:
    """graphc's own loop: epochs of thousands of steps round the ring, as it lies in memory."""
    trainer = compiler.train.Trainer(
        model_of(workload.net, workload.seed),
        workload.loss,
        optimizer_of(workload.optimizer),
        threads=threads,
    )
    return Fitted(trainer, workload.ring, workload.batch)


@dataclass
class Fitted:
    """A trainer and its examples: the ring, 512 times."""

    trainer: Any
    ring: list[tuple[Array, Array]]
    batch: int
    grain: int = RING * 512

    def __post_init__(self) -> None:
        xs, ys = (np.concatenate(arrays) for arrays in zip(*self.ring, strict=True))
        self.x, self.y = (np.tile(a, (512, *[1] * (a.ndim - 1))) for a in (xs, ys))

    def check(self, steps: int) -> list[float]:
        """The losses of so many steps, each an epoch."""
        return [self._epochs(*self.ring[step % RING], 1) for step in range(steps)]

    def run(self, steps: int) -> None:
        """So many steps, in epochs of `grain`."""
        self._epochs(self.x, self.y, steps // self.grain)

    def _epochs(self, x: Array, y: Array, epochs: int) -> float:
        fit = self.trainer.fit
        fit(x, y, batch_size=self.batch, epochs=epochs, shuffle=False, verbose=0)
        return float(self.trainer.history.last["loss"])


def planned(step: Any) -> dict[str, int]:
    """Bytes of a step's arena, and what it must hold."""
    found = step.program.memory()
    return {"arena": found.arena, "must": found.must}


def predictor(workload: Inference, math: str) -> Predictor:
    """The compiled forward pass, at the workload's weights."""
    ring = workload.ring
    model = model_of(workload.net, workload.seed)
    x = ring[0].shape, ring[0].dtype.name
    program = compiler.compile(model, inputs={"x": x}, freeze=True, math=math)
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


Results = tuple[Array, ...]


def kernel_of(workload: Kernel) -> Callable[[], Results]:
    """A kernel as a program on its operands."""
    match workload:
        case Product(form=form):
            a, b = arrays = workload.operands()
            left, right = compiler.input("a", a.shape), compiler.input("b", b.shape)
            left = left.T if form[0] == "t" else left
            right = right.T if form[1] == "t" else right
            return called(compiler.compile([left @ right]), arrays)
        case Pass():
            return both_ways(workload)
        case CrossEntropy():
            arrays = workload.operands()
            logits = compiler.input("logits", arrays[0].shape)
            labels = compiler.input("labels", arrays[1].shape, "int64")
            loss = ops.cross_entropy(logits, labels)
            return called(compiler.compile([loss, *compiler.grad(loss, logits)]), arrays)
        case Update(optimizer=optimizer):
            weights, gradient = workload.operands()
            given = compiler.input("gradient", gradient.shape)
            parameter = nn.Parameter(weights)
            rule = optimizer_of(optimizer)
            rule.attach([("weights", parameter)])
            program = compiler.compile([], rule.updates({parameter: given}))

            def update() -> Results:
                program(gradient)
                return (parameter.value,)

            return update
        case Chain():
            arrays = workload.operands()
            a, b, c = (compiler.input(name, arrays[0].shape) for name in "abc")
            return called(compiler.compile([ops.relu(a * b + c) - a * 0.1]), arrays)
    raise NotImplementedError(workload.name)


def both_ways(workload: Pass) -> Callable[[], Results]:
    """y, dx and the gradients of the weights, those that are wanted."""
    model = model_of(workload.net, 0)
    x = compiler.input("x", workload.shape)
    y, updates = nn.trace(model, {"x": x}, training=True)
    dy = compiler.input("dy", y.shape)
    variables = {"dx": [x], "dw": [p.node for p in model.parameters()]}
    wanted = [v for part, found in variables.items() if part in workload.parts for v in found]
    results = [y] if "y" in workload.parts else []
    if wanted:
        results += compiler.vjp(y, wanted, dy)
    program = compiler.compile(results, updates, math=workload.math)
    taken = {node.op.name for node in program.inputs}
    given = dict(zip(("x", "dy"), workload.operands(), strict=True))
    return lambda: program(**{name: given[name] for name in taken})


def called(program: Callable[..., Results], arrays: Iterable[Array]) -> Callable[[], Results]:
    """The program on the same arrays each time."""
    return lambda: program(*arrays)


@dataclass
class Repeated:
    """A kernel; its results are new arrays at each call."""

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
