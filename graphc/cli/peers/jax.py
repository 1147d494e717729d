"""JAX: the model's layers as functions of jax.numpy and jax.lax, compiled as one; no training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from graphc import nn
from graphc.cli.peers import Inexpressible, Session, Standin, Table, Work, entry, only, own
from graphc.nn.conv import Conv1d, Conv2d, Conv3d
from graphc.nn.module import Module
from graphc.nn.norm import BatchNorm
from graphc.nn.pool import AvgPool, MaxPool

Function = Callable[..., Any]


def prepare(work: Work) -> Session:
    """The model, compiled at its first call."""
    if work.trains:
        raise Inexpressible("a training step is not expressible")
    wide = any(array.dtype == np.float64 for array in work.inputs)
    if wide:
        jax.config.update("jax_enable_x64", True)
    call = jax.jit(function(work.model))
    inputs = [jnp.asarray(array) for array in work.inputs]
    return Session(
        f"jax {jax.__version__}",
        lambda: jax.block_until_ready(call(*inputs)),
        lambda result: list(map(np.asarray, jax.tree_util.tree_leaves(result))),
    )


def function(layer: Module) -> Function:
    """A layer as a function of arrays."""
    build = entry(TABLE, layer)
    if build is not None:
        found: Function = build(layer)
        return found
    parts: dict[str, Any] = {name: jnp.asarray(value) for name, value in own(layer).items()}
    parts |= {name: function(child) for name, child in layer.named_children()}
    return Standin(layer, {**parts, "training": False})


def sequential(layer: Module) -> Function:
    """One after the other."""
    functions = [function(child) for child in layer.children()]

    def call(x: Any) -> Any:
        for each in functions:
            x = each(x)
        return x

    return call


def residual(layer: Any) -> Function:
    """nn.Residual."""
    body = function(layer.body)
    shortcut = function(nn.Identity() if layer.shortcut is None else layer.shortcut)
    return lambda x: shortcut(x) + body(x)


def linear(layer: Any) -> Function:
    """x W^T + b."""
    weight, bias = layer.weight.value.T, own(layer).get("bias", 0)
    return lambda x: x @ weight + bias


def convolution(layer: Any) -> Function:
    """A convolution with zeros around its image."""
    values = own(layer)
    padding = layer.padding if isinstance(layer.padding, str) else [(p, p) for p in layer.padding]
    bias = values["bias"].reshape(-1, *[1] * layer.rank) if "bias" in values else 0
    return lambda x: (
        bias
        + lax.conv_general_dilated(
            x,
            values["weight"],
            layer.stride,
            padding.upper() if isinstance(padding, str) else padding,
            rhs_dilation=layer.dilation,
            feature_group_count=layer.groups,
        )
    )


def window(
    layer: Any, start: float, step: Any, dilation: tuple[int, ...] | None = None
) -> Function:
    """A reduction of windows."""
    only(layer, ceil_mode=False)
    size, stride = (1, 1, *layer.kernel_size), (1, 1, *layer.stride)
    padding = [(0, 0), (0, 0), *((p, p) for p in layer.padding)]
    wide = None if dilation is None else (1, 1, *dilation)
    return lambda x: lax.reduce_window(x, start, step, size, stride, padding, window_dilation=wide)


def average(layer: Any) -> Function:
    """An average of windows, zeros around the image counted."""
    only(layer, count_include_pad=True)
    total, size = window(layer, 0.0, lax.add), math.prod(layer.kernel_size)
    return lambda x: total(x) / size


def batch_norm(layer: Any) -> Function:
    """By the running statistics."""
    only(layer, track_running_stats=True)
    values = own(layer)
    factor = values.get("weight", 1) / np.sqrt(values["running_var"] + layer.eps)
    shift = values.get("bias", 0) - values["running_mean"] * factor

    def call(x: Any) -> Any:
        shape = (-1, *[1] * (x.ndim - 2))
        return x * factor.astype(x.dtype).reshape(shape) + shift.astype(x.dtype).reshape(shape)

    return call


def layer_norm(layer: Any) -> Function:
    """Over the last axes."""
    axes = tuple(range(-len(layer.normalized_shape), 0))
    weight, bias = own(layer).get("weight", 1), own(layer).get("bias", 0)

    def call(x: Any) -> Any:
        mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        return (x - mean) * lax.rsqrt(variance + layer.eps) * weight + bias

    return call


def flatten(layer: Any) -> Function:
    """All axes but the batch's."""
    only(layer, start_dim=1, end_dim=-1)
    return lambda x: x.reshape(x.shape[0], -1)


def embedding(layer: Any) -> Function:
    """Rows of a table."""
    table = jnp.asarray(layer.weight.value)
    return lambda x: table[x]


TABLE: Table = {
    nn.Sequential: sequential,
    nn.Residual: residual,
    nn.ModuleList: lambda m: [function(child) for child in m.children()],
    nn.Linear: linear,
    nn.Embedding: embedding,
    nn.Flatten: flatten,
    nn.Identity: lambda m: lambda x: x,
    nn.Dropout: lambda m: lambda x: x,
    Conv1d: convolution,
    Conv2d: convolution,
    Conv3d: convolution,
    MaxPool: lambda m: window(m, -math.inf, lax.max, m.dilation),
    AvgPool: average,
    nn.GlobalAvgPool: lambda m: lambda x: x.mean(range(2, x.ndim)),
    BatchNorm: batch_norm,
    nn.LayerNorm: layer_norm,
    nn.ReLU: lambda m: jax.nn.relu,
    nn.ReLU6: lambda m: jax.nn.relu6,
    nn.LeakyReLU: lambda m: lambda x: jax.nn.leaky_relu(x, m.negative_slope),
    nn.ELU: lambda m: lambda x: jax.nn.elu(x, m.alpha),
    nn.SELU: lambda m: jax.nn.selu,
    nn.GELU: lambda m: lambda x: jax.nn.gelu(x, approximate=m.approximate == "tanh"),
    nn.SiLU: lambda m: jax.nn.silu,
    nn.Sigmoid: lambda m: jax.nn.sigmoid,
    nn.Tanh: lambda m: jnp.tanh,
    nn.Softmax: lambda m: lambda x: jax.nn.softmax(x, m.dim),
}
"""For each class of layers its function; one lower in a class's ancestry goes before."""
