"""PyTorch, eager, in its best setting: fused optimisers, both memory formats for images.

The batches are tensors before the clock starts, no loss is read back, gradients are set to None,
and denormal numbers are flushed to zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tests.benchmarks.layers import SGD, Activation, Adam, Conv2d, Flatten, Layer, Linear, Optimizer
from tests.benchmarks.peers import Session
from tests.benchmarks.workloads import Product, Training, Workload


def describe() -> dict[str, object]:
    """PyTorch's version."""
    return {"version": torch.__version__}


def variants(workload: Workload) -> list[str]:
    """Contiguous tensors, and channels_last where there are images."""
    match workload:
        case Training(layers=layers) if any(isinstance(layer, Conv2d) for layer in layers):
            return ["contiguous", "channels_last"]
        case Training() | Product():
            return ["contiguous"]
    return []


def prepare(workload: Workload, variant: str, threads: int) -> Session:
    """Build the model, or allocate the product's result."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    match workload:
        case Training():
            return trainer(workload, variant)
        case Product():
            left, right = map(torch.from_numpy, workload.operands())
            return Multiplier(left, right, torch.empty(workload.m, workload.n))
    raise NotImplementedError(workload.name)


def build(layer: Layer) -> nn.Module:
    """The torch module of a layer."""
    match layer:
        case Linear(inputs, outputs):
            return nn.Linear(inputs, outputs)
        case Conv2d(channels, filters, size, stride, padding):
            return nn.Conv2d(channels, filters, size, stride, padding)
        case Activation("relu"):
            return nn.ReLU()
        case Activation("tanh"):
            return nn.Tanh()
        case Flatten():
            return nn.Flatten()
    raise NotImplementedError(layer)


def optimizer_of(description: Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """The fused torch optimiser."""
    match description:
        case Adam(rate):
            return torch.optim.Adam(model.parameters(), rate, fused=True)
        case SGD(rate, momentum):
            return torch.optim.SGD(model.parameters(), rate, momentum, fused=True)


def trainer(workload: Training, variant: str) -> Trainer:
    """The model with the workload's weights, and its batches, in the variant's memory format."""
    images = variant == "channels_last"
    layout = torch.channels_last if images else torch.contiguous_format
    model = nn.Sequential(*map(build, workload.layers))
    model.load_state_dict({k: torch.from_numpy(v) for k, v in workload.weights().items()})
    model.to(memory_format=layout)  # type: ignore[call-overload]  # missing in torch's stubs
    losses = {
        "cross_entropy": nn.CrossEntropyLoss(),
        "bce_with_logits": nn.BCEWithLogitsLoss(),
    }
    ring = [
        (torch.from_numpy(x).contiguous(memory_format=layout), torch.from_numpy(y))
        for x, y in workload.batches()
    ]
    optimizer = optimizer_of(workload.optimizer, model)
    return Trainer(model, losses[workload.loss], optimizer, ring)


@dataclass
class Trainer:
    """A training step and the place in its ring of batches."""

    model: nn.Module
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    ring: list[tuple[Tensor, Tensor]]
    done: int = field(default=0)

    def step(self) -> Tensor:
        """Forward, backward, optimiser; the loss before the update."""
        x, y = self.ring[self.done % len(self.ring)]
        self.done += 1
        loss: Tensor = self.loss(self.model(x), y)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        self.optimizer.step()
        return loss.detach()

    def check(self, steps: int) -> list[float]:
        """The losses of so many steps."""
        return [float(self.step()) for _ in range(steps)]

    def run(self, steps: int) -> None:
        """So many steps, their losses not read."""
        for _ in range(steps):
            self.step()


@dataclass
class Multiplier:
    """One product into a result that is allocated once."""

    left: Tensor
    right: Tensor
    out: Tensor

    def check(self, steps: int) -> list[float]:
        """So many elements of the result, evenly spread."""
        self.run(1)
        flat = self.out.flatten()
        return [float(flat[i * (len(flat) - 1) // max(1, steps - 1)]) for i in range(steps)]

    def run(self, steps: int) -> None:
        """The product, so many times."""
        with torch.inference_mode():
            for _ in range(steps):
                torch.mm(self.left, self.right, out=self.out)
