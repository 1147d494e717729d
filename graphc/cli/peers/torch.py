"""PyTorch in eager mode: the module of the same name for each layer, with the same weights."""

from __future__ import annotations

from typing import Any

import torch

from graphc import nn, optim
from graphc.cli.peers import Array, Inexpressible, Session, Standin, Table, Work, entry, only
from graphc.nn.activation import Pointwise
from graphc.nn.conv import Convolution
from graphc.nn.module import Module
from graphc.nn.norm import BatchNorm
from graphc.nn.pool import AvgPool, MaxPool
from graphc.nn.recurrent import Recurrent
from graphc.optim.optimizer import Optimizer


def prepare(work: Work) -> Session:
    """The model as a torch.nn.Module; in training with loss and optimiser."""
    torch.set_num_threads(work.threads)
    model = module(work.model, work.trains)
    state = {k: torch.from_numpy(v) for k, v in work.model.state_dict().items()}
    model.load_state_dict(state)
    inputs = [torch.from_numpy(array) for array in work.inputs]
    label = f"torch {torch.__version__}, eager"
    if work.trains:
        return training(work, model.train(), inputs, label)
    model.eval()

    def run() -> Any:
        with torch.inference_mode():
            return model(*inputs)

    return Session(label, run, values)


def training(work: Work, model: Any, inputs: list[Any], label: str) -> Session:
    """A training step."""
    assert work.optimizer is not None
    loss, optimizer = loss_of(work.loss), optimizer_of(work.optimizer, model)
    targets = [torch.from_numpy(array) for array in work.targets]

    def run() -> Any:
        optimizer.zero_grad(set_to_none=True)
        value = loss(model(*inputs), *targets)
        value.backward()
        optimizer.step()
        return value.detach()

    return Session(label, run, values)


def values(result: Any) -> list[Array]:
    """Tensors as arrays. Raises Inexpressible for what is none."""
    parts = result if isinstance(result, tuple | list) else [result]
    if not all(isinstance(part, torch.Tensor) for part in parts):
        raise Inexpressible(f"a result of type {type(result).__name__} is not expressible")
    return [part.numpy() for part in parts]


def module(layer: Module, trains: bool) -> Any:
    """A layer as a module of torch."""
    if trains and isinstance(layer, nn.Dropout) and layer.p:
        raise Inexpressible("Dropout in training draws other numbers, and is not comparable")
    build = entry(TABLE, layer)
    children = {name: module(child, trains) for name, child in layer.named_children()}
    found = Own(layer) if build is None else build(layer)
    for name, child in children.items():
        found.add_module(name, child)
    return found


class Own(torch.nn.Module):  # type: ignore[misc]  # torch is not looked into
    """A module with a forward of the user's own, run on torch's parts."""

    def __init__(self, layer: Module) -> None:
        super().__init__()
        self.layer = [layer]  # in a list, so that torch does not take it for a part
        for name, parameter in layer._parameters.items():
            trained = parameter is not None and parameter.trainable
            value = (
                None
                if parameter is None
                else torch.nn.Parameter(torch.from_numpy(parameter.value.copy()), trained)
            )
            self.register_parameter(name, value)
        for name, cell in layer._buffers.items():
            self.register_buffer(
                name, None if cell is None else torch.from_numpy(cell.value.copy())
            )

    def forward(self, *inputs: Any) -> Any:
        """What the user wrote."""
        parts = {**self._parameters, **self._buffers, **self._modules, "training": self.training}
        return Standin(self.layer[0], parts)(*inputs)


class Added(torch.nn.Module):  # type: ignore[misc]  # torch is not looked into
    """nn.Residual."""

    def forward(self, x: Any) -> Any:
        """The sum."""
        shortcut = self._modules.get("shortcut")
        return (x if shortcut is None else shortcut(x)) + self._modules["body"](x)


class Averaged(torch.nn.Module):  # type: ignore[misc]  # torch is not looked into
    """nn.GlobalAvgPool."""

    def forward(self, x: Any) -> Any:
        """[n, c, ...] -> [n, c]"""
        return x.flatten(2).mean(2)


def same(*options: str) -> Any:
    """The module of the same name, with these options of the layer's."""

    def build(layer: Any) -> Any:
        named = {name: getattr(layer, name) for name in options}
        return counterpart(layer)(**named)

    return build


def counterpart(layer: Any) -> Any:
    """The class of the same name."""
    name = type(layer).__name__.removeprefix("Lazy")
    if not hasattr(torch.nn, name):
        raise Inexpressible(f"{name} is not expressible")
    return getattr(torch.nn, name)


def has(layer: Any, name: str) -> bool:
    """Whether a layer has a parameter."""
    return layer._parameters.get(name) is not None


def convolution(layer: Any) -> Any:
    """A convolution."""
    return counterpart(layer)(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.groups,
        has(layer, "bias"),
    )


def recurrent(layer: Any) -> Any:
    """An RNN, LSTM or GRU, whose dropout does not act."""
    only(layer, dropout=0.0)
    names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "bidirectional")
    options = {name: getattr(layer, name) for name in names}
    if isinstance(layer, nn.RNN):
        options["nonlinearity"] = layer.nonlinearity
    return counterpart(layer)(**options)


TABLE: Table = {
    nn.Linear: lambda m: torch.nn.Linear(m.in_features, m.out_features, has(m, "bias")),
    nn.Embedding: same("num_embeddings", "embedding_dim", "padding_idx"),
    nn.Flatten: same("start_dim", "end_dim"),
    nn.Unflatten: same("dim", "unflattened_size"),
    nn.Identity: same(),
    nn.Dropout: same("p"),
    nn.Softmax: same("dim"),
    nn.PReLU: same("num_parameters"),
    nn.Sequential: lambda m: torch.nn.Sequential(),
    nn.ModuleList: lambda m: torch.nn.ModuleList(),
    nn.Residual: lambda m: Added(),
    nn.GlobalAvgPool: lambda m: Averaged(),
    nn.AdaptiveAvgPool2d: same("output_size"),
    nn.AdaptiveMaxPool2d: same("output_size"),
    nn.GroupNorm: same("num_groups", "num_channels", "eps", "affine"),
    nn.RMSNorm: same("normalized_shape", "eps", "elementwise_affine"),
    nn.LocalResponseNorm: same("size", "alpha", "beta", "k"),
    nn.LayerNorm: lambda m: torch.nn.LayerNorm(
        m.normalized_shape, m.eps, m.elementwise_affine, has(m, "bias")
    ),
    BatchNorm: same("num_features", "eps", "momentum", "affine", "track_running_stats"),
    MaxPool: same("kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    AvgPool: same("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"),
    Convolution: convolution,
    Recurrent: recurrent,
    Pointwise: lambda m: counterpart(m)(**{name: getattr(m, name) for name in m.options}),
}
"""For each class of layers its module of torch; one lower in a class's ancestry goes before."""

LOSSES = (
    nn.MSELoss,
    nn.L1Loss,
    nn.HuberLoss,
    nn.SmoothL1Loss,
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    nn.CrossEntropyLoss,
    nn.NLLLoss,
)


def loss_of(loss: Any) -> Any:
    """A loss as a module of torch's."""
    options = getattr(loss, "options", {})
    if type(loss) not in LOSSES or not options.keys() <= {"reduction", "delta", "beta"}:
        name = getattr(loss, "__name__", type(loss).__name__)
        shown = loss.extra_repr() if options else ""
        raise Inexpressible(f"the loss {name}({shown}) is not expressible")
    return getattr(torch.nn, type(loss).__name__)(**options)


OPTIMIZERS = {
    optim.SGD: ("momentum", "dampening", "weight_decay", "nesterov"),
    optim.Adam: ("betas", "eps", "weight_decay", "amsgrad"),
    optim.AdamW: ("betas", "eps", "weight_decay", "amsgrad"),
}


def optimizer_of(optimizer: Optimizer, model: Any) -> Any:
    """An optimiser of torch with the same options, at the rate that ours has now."""
    name, names = type(optimizer).__name__, OPTIMIZERS.get(type(optimizer))
    plain = len(optimizer.groups) == 1 and optimizer.clip_norm is optimizer.clip_value is None
    if names is None or not plain or optimizer.options["l1_decay"]:
        what = name if names is None else f"{name} with groups, clipping or l1_decay"
        raise Inexpressible(f"{what} is not expressible")
    options = {name: optimizer.options[name] for name in names}
    return getattr(torch.optim, name)(model.parameters(), lr=optimizer.lr, **options)
