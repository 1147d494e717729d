"""Lazy layers: convolutions and batch norms whose channels are those of the first input."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.graph.node import Node
from graphc.graph.site import current_path
from graphc.nn import init
from graphc.nn.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    Convolution,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Sizes,
    TransposedConvolution,
    check_groups,
)
from graphc.nn.linear import materialize, misfit, uniform_by_fan_in
from graphc.nn.module import Module
from graphc.nn.norm import BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d
from graphc.nn.parameter import Parameter


class LazyConvolution(Convolution):
    """A convolution whose in_channels is that of the first input it is traced with."""

    def __init__(
        self,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        floor: bool = False,
        dtype: str = "float32",
    ) -> None:
        self._configure(out_channels, kernel_size, stride, padding, dilation, groups, floor)
        reserve(self, bias, dtype)

    def forward(self, x: Node) -> Node:
        """[n, in, *sizes] -> [n, out, *sizes]"""
        weight = self._parameters["weight"]
        assert weight is not None
        if not weight.ready:
            channels = channels_of(self, x, self.rank + 2, self.groups)
            grow(self, (self.out_channels, channels // self.groups, *self.kernel_size))
        self.in_channels = weight.shape[1] * self.groups
        return super().forward(x)


class LazyTransposedConvolution(TransposedConvolution):
    """A transposed convolution whose in_channels is that of the first input it is traced with."""

    def __init__(
        self,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        *,
        dtype: str = "float32",
    ) -> None:
        self._configure(
            out_channels, kernel_size, stride, padding, output_padding, groups, dilation
        )
        reserve(self, bias, dtype)

    def forward(self, x: Node) -> Node:
        """[n, in, *sizes] -> [n, out, *sizes]"""
        weight = self._parameters["weight"]
        assert weight is not None
        if not weight.ready:
            channels = channels_of(self, x, self.rank + 2, self.groups)
            grow(self, (channels, self.out_channels // self.groups, *self.kernel_size))
        self.in_channels = weight.shape[0]
        return super().forward(x)


class LazyConv1d(LazyConvolution, Conv1d):
    """Conv1d whose in_channels is that of the first input it is traced with."""


class LazyConv2d(LazyConvolution, Conv2d):
    """Conv2d whose in_channels is that of the first input it is traced with."""


class LazyConv3d(LazyConvolution, Conv3d):
    """Conv3d whose in_channels is that of the first input it is traced with."""


class LazyConvTranspose1d(LazyTransposedConvolution, ConvTranspose1d):
    """ConvTranspose1d whose in_channels is that of the first input it is traced with."""


class LazyConvTranspose2d(LazyTransposedConvolution, ConvTranspose2d):
    """ConvTranspose2d whose in_channels is that of the first input it is traced with."""


class LazyConvTranspose3d(LazyTransposedConvolution, ConvTranspose3d):
    """ConvTranspose3d whose in_channels is that of the first input it is traced with."""


class LazyBatchNorm(BatchNorm):
    """A batch norm whose num_features is that of the first input it is traced with."""

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: str = "float32",
    ) -> None:
        super().__init__(0, eps, momentum, affine, track_running_stats, dtype=dtype)
        self.dtype = dtype
        for name in ("weight", "bias"):
            self.register_parameter(name, Parameter(None) if affine else None)
        for name in ("running_mean", "running_var") if track_running_stats else ():
            self.reserve_buffer(name)

    def forward(self, x: Node) -> Node:
        """[n, c, ...] -> [n, c, ...]"""
        if not self.num_features:
            self.num_features = self._known() or channels_of(self, x, len(x.shape), 1)
            self._grow()
        return super().forward(x)

    def _known(self) -> int:
        """The features that a state has brought; 0 where none was loaded."""
        weight, mean = self._parameters["weight"], self._buffers["running_mean"]
        if weight is not None and weight.ready:
            return weight.shape[0]
        return 0 if mean is None else len(mean.value)

    def _grow(self) -> None:
        """Make what has no shape yet."""
        shape, path = (self.num_features,), current_path()
        for name, parameter in self._parameters.items():
            if parameter is not None and not parameter.ready:
                materialize(self, name, shape)
                parameter.value[...] = name == "weight"
        for name in sorted(self._reserved):
            start = np.ones if name == "running_var" else np.zeros
            self.register_buffer(name, start(shape, self.dtype))
            cell = self._buffers[name]
            assert cell is not None
            cell.name = f"{path}.{name}" if path else name


class LazyBatchNorm1d(LazyBatchNorm, BatchNorm1d):
    """BatchNorm1d whose num_features is that of the first input it is traced with."""


class LazyBatchNorm2d(LazyBatchNorm, BatchNorm2d):
    """BatchNorm2d whose num_features is that of the first input it is traced with."""


class LazyBatchNorm3d(LazyBatchNorm, BatchNorm3d):
    """BatchNorm3d whose num_features is that of the first input it is traced with."""


def reserve(layer: Any, bias: bool, dtype: str) -> None:
    """Parameters without a shape, and the generator that will draw them."""
    check_groups(layer.groups, 0, layer.out_channels)
    layer.in_channels, layer.dtype = 0, dtype
    layer.weight = Parameter(None)
    layer.register_parameter("bias", Parameter(None) if bias else None)
    layer._rng = init.generator()


def grow(layer: Any, shape: tuple[int, ...]) -> None:
    """Give the parameters of a convolution their shapes, and initial values."""
    bias = layer._parameters["bias"]
    materialize(layer, "weight", shape)
    if bias is not None and not bias.ready:
        materialize(layer, "bias", (layer.out_channels,))
    uniform_by_fan_in(layer, layer._rng)


def channels_of(layer: Module, x: Node, rank: int, groups: int) -> int:
    """The second extent of an input of so many axes. Raises ShapeError where it has none."""
    channels = x.shape[1] if len(x.shape) == rank > 1 else None
    if not isinstance(channels, int) or channels % groups:
        divided = f" that groups={groups} divides" if groups > 1 else ""
        raise misfit(
            f"{type(layer).__name__} takes {rank} axes, the second a known number of channels"
            f"{divided}; its input is {x.type}",
            "",
        )
    return channels
