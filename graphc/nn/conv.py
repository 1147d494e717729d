"""Convolution layers, as torch's: cross-correlation over one, two or three axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from graphc import ops
from graphc.graph.node import Node
from graphc.nn.linear import misfit, uniform_by_fan_in
from graphc.nn.module import Module
from graphc.nn.parameter import Parameter

Sizes = int | tuple[int, ...]


class Convolution(Module):
    """What Conv1d, Conv2d and Conv3d share: weight [out, in/groups, *kernel], bias [out].

    stride, padding and dilation are a number or one for each axis; padding may be "same" or
    "valid" and is filled with zeros. Sizes that the stride does not divide are refused, unless
    floor=True drops the rest, as torch always does. Both start uniform within 1/sqrt(fan_in).
    """

    rank: ClassVar[int]
    function: ClassVar[Callable[..., Node]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        floor: bool = False,
        dtype: str = "float32",
    ) -> None:
        self._configure(out_channels, kernel_size, stride, padding, dilation, groups, floor)
        if padding_mode != "zeros":
            raise misfit(f"padding_mode {padding_mode!r}: use ops.pad before, or 'zeros'", "")
        check_groups(groups, in_channels, out_channels)
        self.in_channels, self.dtype = in_channels, dtype
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter.zeros(shape, dtype)
        self.register_parameter("bias", Parameter.zeros((out_channels,), dtype) if bias else None)
        self.reset_parameters()

    def _configure(
        self,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes,
        padding: Sizes | str,
        dilation: Sizes,
        groups: int,
        floor: bool,
    ) -> None:
        self.out_channels, self.groups, self.floor = out_channels, groups, floor
        self.kernel_size = each(kernel_size, self.rank, "kernel_size")
        self.stride = each(stride, self.rank, "stride")
        self.dilation = each(dilation, self.rank, "dilation")
        self.padding: Any = (
            padding if isinstance(padding, str) else each(padding, self.rank, "padding")
        )

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        uniform_by_fan_in(self)

    def forward(self, x: Node) -> Node:
        """[n, in, *sizes] -> [n, out, *sizes]"""
        if len(x.shape) != self.rank + 2 or x.shape[1] != self.in_channels:
            letters = ", ".join("dhw"[3 - self.rank :])
            raise misfit(
                f"{type(self).__name__} takes [n, {self.in_channels}, {letters}], "
                f"its input is {x.type}",
                "images are [n, channels, height, width] here",
            )
        return type(self).function(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            floor=self.floor,
        )

    def extra_repr(self) -> str:
        """Channels and sizes."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        for name, default in (("padding", 0), ("dilation", 1)):
            if getattr(self, name) != (default,) * self.rank:
                text += f", {name}={getattr(self, name)!r}"
        text += f", groups={self.groups}" if self.groups != 1 else ""
        return text + (", bias=False" if self._parameters["bias"] is None else "")


class Conv1d(Convolution):
    """Cross-correlation over one axis: [n, in, w] -> [n, out, w]."""

    rank = 1
    function = staticmethod(ops.conv1d)


class Conv2d(Convolution):
    """Cross-correlation over two axes: [n, in, h, w] -> [n, out, h, w]."""

    rank = 2
    function = staticmethod(ops.conv2d)


class Conv3d(Convolution):
    """Cross-correlation over three axes: [n, in, d, h, w] -> [n, out, d, h, w]."""

    rank = 3
    function = staticmethod(ops.conv3d)


class TransposedConvolution(Module):
    """What the transposed convolutions share: weight [in, out/groups, *kernel], bias [out].

    The gradient of a convolution with respect to its input, so that each extent becomes
    (size - 1)*stride - 2*padding + dilation*(kernel - 1) + output_padding + 1.
    """

    rank: ClassVar[int]
    function: ClassVar[Callable[..., Node]]

    def __init__(
        self,
        in_channels: int,
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
        check_groups(groups, in_channels, out_channels)
        self.in_channels, self.dtype = in_channels, dtype
        shape = (in_channels, out_channels // groups, *self.kernel_size)
        self.weight = Parameter.zeros(shape, dtype)
        self.register_parameter("bias", Parameter.zeros((out_channels,), dtype) if bias else None)
        self.reset_parameters()

    def _configure(
        self,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes,
        padding: Sizes,
        output_padding: Sizes,
        groups: int,
        dilation: Sizes,
    ) -> None:
        self.out_channels, self.groups = out_channels, groups
        self.kernel_size = each(kernel_size, self.rank, "kernel_size")
        self.stride = each(stride, self.rank, "stride")
        self.padding = each(padding, self.rank, "padding")
        self.output_padding = each(output_padding, self.rank, "output_padding")
        self.dilation = each(dilation, self.rank, "dilation")

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        uniform_by_fan_in(self)

    def forward(self, x: Node) -> Node:
        """[n, in, *sizes] -> [n, out, *sizes]"""
        if len(x.shape) != self.rank + 2 or x.shape[1] != self.in_channels:
            raise misfit(
                f"{type(self).__name__} takes {self.rank + 2} axes, {self.in_channels} channels "
                f"in the second; its input is {x.type}",
                "",
            )
        return type(self).function(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            groups=self.groups,
            dilation=self.dilation,
        )

    def extra_repr(self) -> str:
        """Channels and sizes."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )


class ConvTranspose1d(TransposedConvolution):
    """Transposed convolution over one axis: [n, in, w] -> [n, out, w]."""

    rank = 1
    function = staticmethod(ops.conv_transpose1d)


class ConvTranspose2d(TransposedConvolution):
    """Transposed convolution over two axes: [n, in, h, w] -> [n, out, h, w]."""

    rank = 2
    function = staticmethod(ops.conv_transpose2d)


class ConvTranspose3d(TransposedConvolution):
    """Transposed convolution over three axes: [n, in, d, h, w] -> [n, out, d, h, w]."""

    rank = 3
    function = staticmethod(ops.conv_transpose3d)


def check_groups(groups: int, in_channels: int, out_channels: int) -> None:
    """Refuse groups that do not divide the channels; in_channels is 0 where it is not known yet."""
    if groups < 1 or in_channels % groups or out_channels % groups:
        known = f"in_channels={in_channels} and " if in_channels else ""
        raise misfit(f"groups={groups} must divide {known}out_channels={out_channels}", "")


def each(sizes: Sizes, rank: int, name: str) -> tuple[int, ...]:
    """One size for each axis. Raises ShapeError for a tuple of another length."""
    found = (sizes,) * rank if isinstance(sizes, int) else tuple(sizes)
    if len(found) != rank:
        raise misfit(f"{name}={sizes} must be a number or {rank} of them", "")
    return found
