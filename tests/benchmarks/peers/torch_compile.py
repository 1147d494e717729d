"""PyTorch with torch.compile: forward and backward, or the whole step with its optimiser.

`model` compiles forward and backward and keeps the fused optimiser of eager PyTorch; `step`
compiles the step as it is written, its optimiser included. In inference the weights are constants.
It needs a C++ compiler; the peer is left out where there is none.
"""

from __future__ import annotations

import shutil

import torch
import torch._inductor.config as inductor
from torch import nn

from tests.benchmarks.peers import Session, torch_eager
from tests.benchmarks.peers.torch_eager import LAYOUTS, Predictor, Repeated, Trainer
from tests.benchmarks.workloads import Workload
from tests.benchmarks.workloads.inference import Inference
from tests.benchmarks.workloads.kernel import Kernel, Pass, Product, Update
from tests.benchmarks.workloads.layers import SGD, Adam, Conv2d, Optimizer
from tests.benchmarks.workloads.training import Training

if not any(map(shutil.which, ("g++", "clang++", "c++"))):
    raise ImportError("torch.compile needs a C++ compiler; there is no g++, clang++ or c++ here")


def describe() -> dict[str, object]:
    """PyTorch's version; it compiles, and keeps what it compiled."""
    return {"version": torch.__version__, "compiles": True}


def variants(workload: Workload) -> list[str]:
    """Of images channels_last, which is the better with compiled code.

    A kernel that it would leave to eager PyTorch's library is not run again.
    """
    match workload:
        case Training():
            return ["model", "step"]
        case Product() | Pass(convolution=Conv2d()) | Update():
            return []
    return ["default"]


def prepare(workload: Workload, variant: str, threads: int) -> Session:
    """Build the model; compilation happens at the first call."""
    torch_eager.start(threads)
    match workload:
        case Training(net=net) | Inference(net=net):
            layout = LAYOUTS["channels_last" if net.has(Conv2d) else "contiguous"]
            model = torch_eager.model_of(net, workload.seed, layout)
    match workload:
        case Training():
            loss = torch_eager.LOSSES[workload.loss]
            if variant == "model":
                optimizer = torch_eager.optimizer_of(workload.optimizer, model)
                compiled = torch.compile(lambda x, y: loss(model(x), y))
                step = torch_eager.step_of(compiled, optimizer)
            else:
                optimizer = optimizer_of(workload.optimizer, model)
                step = torch.compile(torch_eager.step_of(lambda x, y: loss(model(x), y), optimizer))
            return Trainer(step, workload.ring, layout)
        case Inference():
            inductor.freezing = True
            return Predictor(torch.compile(model.eval()), workload.ring, layout)
        case Kernel():
            layout = LAYOUTS["contiguous"]
            return Repeated(torch_eager.kernel_of(workload, layout, torch.compile))
    raise NotImplementedError(workload.name)


def optimizer_of(description: Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser in the form that is compiled best: over all weights together."""
    match description:
        case Adam(rate, 0.0):
            return torch.optim.Adam(model.parameters(), rate, foreach=True)
        case Adam(rate, decay):
            return torch.optim.AdamW(model.parameters(), rate, weight_decay=decay, foreach=True)
        case SGD(rate, momentum):
            return torch.optim.SGD(model.parameters(), rate, momentum, foreach=True)
