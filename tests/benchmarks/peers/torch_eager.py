"""PyTorch, eager, in its best setting: fused optimisers, both memory formats for images.

Batches come as numpy arrays and are wrapped, which copies nothing; in channels_last their layout
is changed within the step. No loss is read back, gradients are set to None, and denormal numbers
are flushed to zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

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
    Loss,
    MaxPool2d,
    Optimizer,
    Position,
    Recurrent,
    Residual,
    Rows,
)
from tests.benchmarks.workloads.net import Array, Net, samples
from tests.benchmarks.workloads.training import Training

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def describe() -> dict[str, object]:
    """PyTorch's version."""
    return {"version": torch.__version__}


def variants(workload: Workload) -> list[str]:
    """Contiguous tensors, and channels_last where there are images."""
    match workload:
        case Training(net=net) | Inference(net=net) if net.has(Conv2d):
            return ["contiguous", "channels_last"]
        case Pass(convolution=layer) if layer:
            return ["contiguous", "channels_last"]
        case Pass(shape=shape) if len(shape) == 4:
            return ["contiguous", "channels_last"]
    return ["contiguous"]


def prepare(workload: Workload, variant: str, threads: int) -> Session:
    """Build the model."""
    start(threads)
    layout = LAYOUTS[variant]
    match workload:
        case Training():
            model = model_of(workload.net, workload.seed, layout)
            loss = LOSSES[workload.loss]
            step = step_of(lambda x, y: loss(model(x), y), optimizer_of(workload.optimizer, model))
            return Trainer(step, workload.ring, layout)
        case Inference():
            model = model_of(workload.net, workload.seed, layout).eval()
            return Predictor(model, workload.ring, layout)
        case Kernel():
            return Repeated(kernel_of(workload, layout, lambda function: function))
    raise NotImplementedError(workload.name)


def start(threads: int) -> None:
    """Set what holds for the process."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)


class Steps(nn.Module):
    """Adds a trained row to each step."""

    def __init__(self, steps: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(steps, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight


class Heads(nn.Module):
    """Causal self-attention by torch's fused kernel, with the names of nn.MultiheadAttention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        joined = functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in joined.chunk(3, dim=2)
        )
        result = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out_proj(result.transpose(1, 2).flatten(2))


class Outputs(nn.Module):
    """The outputs of a recurrent layer, without its last state; weights by the layer's names."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0]


class Skip(nn.Module):
    """x + body(x), or shortcut(x) + body(x)."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.body(x)


class Mean(nn.Module):
    """The mean of each channel."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}
RECURRENT: dict[str, type[nn.RNNBase]] = {"lstm": nn.LSTM, "gru": nn.GRU}
LOSSES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": functional.cross_entropy,
    "bce_with_logits": functional.binary_cross_entropy_with_logits,
    "mse": functional.mse_loss,
}


def build(layer: Layer) -> nn.Module:
    """The torch module of a layer."""
    match layer:
        case Linear(inputs, outputs):
            return nn.Linear(inputs, outputs)
        case Conv2d(channels, filters, size, stride, padding, groups):
            return nn.Conv2d(channels, filters, size, stride, padding, groups=groups)
        case MaxPool2d(size):
            return nn.MaxPool2d(size)
        case GlobalAveragePool():
            return Mean()
        case BatchNorm2d(channels):
            return nn.BatchNorm2d(channels)
        case LayerNorm(width):
            return nn.LayerNorm(width)
        case Embedding(rows, width):
            return nn.Embedding(rows, width)
        case Position(steps, width):
            return Steps(steps, width)
        case Recurrent(kind, inputs, hidden):
            return Outputs(RECURRENT[kind](inputs, hidden, batch_first=True))
        case Attention(width, heads):
            return Heads(width, heads)
        case Activation(function):
            return ACTIVATIONS[function]()
        case Flatten():
            return nn.Flatten()
        case Rows():
            return nn.Flatten(0, 1)
        case Residual(body, shortcut):
            return Skip(sequence(body), sequence(shortcut))
    raise NotImplementedError(layer)


def sequence(layers: Iterable[Layer]) -> nn.Sequential:
    """The torch module of layers one after the other."""
    return nn.Sequential(*map(build, layers))


def model_of(net: Net, seed: int, layout: torch.memory_format) -> nn.Sequential:
    """The net with its weights, in a memory format."""
    model = sequence(net.layers)
    names = [name.replace(".layer.", ".") for name in model.state_dict()]  # of Outputs
    given = net.weights(seed) | net.buffers()
    values = [torch.from_numpy(given.pop(name)) for name in names]
    assert not given, f"the model has no {', '.join(given)}"
    model.load_state_dict(dict(zip(model.state_dict(), values, strict=True)))
    model.to(memory_format=layout)  # type: ignore[call-overload]  # missing in torch's stubs
    return model


def optimizer_of(description: Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """The fused torch optimiser."""
    match description:
        case Adam(rate, 0.0):
            return torch.optim.Adam(model.parameters(), rate, fused=True)
        case Adam(rate, decay):
            return torch.optim.AdamW(model.parameters(), rate, weight_decay=decay, fused=True)
        case SGD(rate, momentum):
            return torch.optim.SGD(model.parameters(), rate, momentum, fused=True)


def step_of(
    loss: Callable[[Tensor, Tensor], Tensor], optimizer: torch.optim.Optimizer
) -> Callable[[Tensor, Tensor], Tensor]:
    """A step: forward, backward, optimiser; its result is the loss before the update."""

    def step(x: Tensor, y: Tensor) -> Tensor:
        value = loss(x, y)
        optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        optimizer.step()
        return value.detach()

    return step


def wrapped(array: Array, layout: torch.memory_format) -> Tensor:
    """An array as a tensor; images are copied where the memory format asks for it."""
    tensor = torch.from_numpy(array)
    return tensor.contiguous(memory_format=layout) if tensor.dim() == 4 else tensor


@dataclass
class Trainer:
    """A training step and the place in its ring of batches."""

    step: Callable[[Tensor, Tensor], Tensor]
    ring: list[tuple[Array, Array]]
    layout: torch.memory_format
    done: int = 0
    grain: int = 1

    def next(self) -> Tensor:
        """One step on the next batch."""
        x, y = self.ring[self.done % len(self.ring)]
        self.done += 1
        return self.step(wrapped(x, self.layout), torch.from_numpy(y))

    def check(self, steps: int) -> list[float]:
        """The losses of so many steps."""
        return [float(self.next()) for _ in range(steps)]

    def run(self, steps: int) -> None:
        """So many steps, their losses not read."""
        for _ in range(steps):
            self.next()


@dataclass
class Predictor:
    """A model, and the place in its ring of batches."""

    model: Callable[[Tensor], Tensor]
    ring: list[Array]
    layout: torch.memory_format
    done: int = 0
    grain: int = 1

    def next(self) -> Array:
        """The outputs of the next batch."""
        x = self.ring[self.done % len(self.ring)]
        self.done += 1
        found: Any = self.model(wrapped(x, self.layout))
        return found.numpy()

    def check(self, steps: int) -> list[float]:
        """Samples of the outputs of so many batches."""
        with torch.inference_mode():
            return [value for _ in range(steps) for value in samples(self.next())]

    def run(self, steps: int) -> None:
        """So many batches."""
        with torch.inference_mode():
            for _ in range(steps):
                self.next()


Results = tuple[Tensor, ...]
Wrap = Callable[[Any], Any]
"""What is done to a function before it is called: nothing, or torch.compile."""


def kernel_of(workload: Kernel, layout: torch.memory_format, wrap: Wrap) -> Callable[[], Results]:
    """A kernel on its operands; its results are those of its declaration, in order."""
    match workload:
        case Product(form=form):
            a, b = (
                torch.from_numpy(array).T if turned == "t" else torch.from_numpy(array)
                for array, turned in zip(workload.operands(), form, strict=True)
            )
            out = torch.empty(workload.m, workload.n)
            return lambda: (torch.mm(a, b, out=out),)
        case Pass(convolution=layer) if layer:
            return convolution(workload, layer, layout)
        case Pass():
            return both_ways(workload, layout, wrap)
        case CrossEntropy():
            logits, labels = map(torch.from_numpy, workload.operands())
            logits.requires_grad_()
            loss = wrap(functional.cross_entropy)

            def loss_and_gradient() -> Results:
                value = loss(logits, labels)
                return value.detach(), *torch.autograd.grad(value, [logits])

            return loss_and_gradient
        case Update(optimizer=Adam(rate)):
            weights, gradient = map(torch.from_numpy, workload.operands())
            optimizer = torch.optim.Adam([weights.requires_grad_()], rate, fused=True)
            weights.grad = gradient

            def update() -> Results:
                optimizer.step()
                return (weights.detach(),)

            return update
        case Chain():
            a, b, c = map(torch.from_numpy, workload.operands())
            chain = wrap(lambda a, b, c: torch.relu(a * b + c) - a * 0.1)
            return lambda: (chain(a, b, c),)
    raise NotImplementedError(workload.name)


def convolution(
    workload: Pass, layer: Conv2d, layout: torch.memory_format
) -> Callable[[], Results]:
    """Forward, or one gradient, by the operators that modules and autograd call.

    Images come and go as every other library's do, n c h w; weights lie as the layer keeps them.
    """
    x, dy = workload.operands()
    given = workload.net.weights(0)
    weight, bias = wrapped(given["0.weight"], layout), torch.from_numpy(given["0.bias"])
    stride, padding = [layer.stride] * 2, [layer.padding] * 2
    if workload.parts == ("y",):
        return lambda: (
            plain(functional.conv2d(wrapped(x, layout), weight, bias, stride, padding)),
        )
    backward, slope = torch.ops.aten.convolution_backward, workload.parts == ("dw",)
    options = ([layer.filters], stride, padding, [1, 1], False, [0, 0], 1)
    mask = [not slope, slope, slope]
    shape = torch.empty(x.shape).contiguous(memory_format=layout)  # dx takes no more of the image

    def gradients() -> Results:
        image = wrapped(x, layout) if slope else shape
        found = backward(wrapped(dy, layout), image, weight, *options, mask)
        return tuple(plain(one) for one in found if one is not None)

    return gradients


def plain(tensor: Tensor) -> Tensor:
    """A result in the order of its axes."""
    return tensor.contiguous()


def both_ways(workload: Pass, layout: torch.memory_format, wrap: Wrap) -> Callable[[], Results]:
    """y, dx, and the gradients of the weights, by autograd; images as in `convolution`."""
    operands = workload.operands()
    model = model_of(workload.net, 0, layout)
    call = wrap(model)
    weights = list(model.parameters()) if "dw" in workload.parts else []

    def run() -> Results:
        x, dy = (wrapped(array, layout) for array in operands)
        y = call(x.requires_grad_())
        found = torch.autograd.grad(y, [x, *weights], dy)
        return plain(y.detach()), plain(found[0]), *found[1:]

    return run


@dataclass
class Repeated:
    """A kernel."""

    call: Callable[[], Results]
    grain: int = 1

    def check(self, steps: int) -> list[float]:
        """Samples of the results of the last call of so many."""
        for _ in range(steps):
            results = self.call()
        return scaled(tuple(result.numpy() for result in results))

    def run(self, steps: int) -> None:
        """So many calls."""
        for _ in range(steps):
            self.call()
