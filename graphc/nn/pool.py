"""Pooling layers: the maximum or average of a window, as torch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from graphc import ops
from graphc.errors import ShapeError
from graphc.graph.node import Node
from graphc.nn.conv import Sizes, each
from graphc.nn.module import Module


class MaxPool(Module):
    """What the maximum pools share. A tie sends its gradient to the first maximum.

    stride defaults to kernel_size. Sizes that the stride does not divide are refused, unless
    floor=True drops the rest, as torch does by default, or ceil_mode=True gives the rest a shorter
    window.
    """

    rank: ClassVar[int]
    function: ClassVar[Callable[..., Node]]

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        *,
        floor: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size = each(kernel_size, self.rank, "kernel_size")
        self.stride = each(kernel_size if stride is None else stride, self.rank, "stride")
        self.padding = each(padding, self.rank, "padding")
        self.dilation = each(dilation, self.rank, "dilation")
        self.floor, self.ceil_mode = floor, ceil_mode

    def forward(self, x: Node) -> Node:
        """[n, c, *sizes] -> [n, c, *sizes]"""
        return type(self).function(
            x,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            floor=self.floor,
            ceil_mode=self.ceil_mode,
        )

    def extra_repr(self) -> str:
        """The window."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool1d(MaxPool):
    """Maximum over windows of one axis: [n, c, w]."""

    rank = 1
    function = staticmethod(ops.max_pool1d)


class MaxPool2d(MaxPool):
    """Maximum over windows of two axes: [n, c, h, w]."""

    rank = 2
    function = staticmethod(ops.max_pool2d)


class MaxPool3d(MaxPool):
    """Maximum over windows of three axes: [n, c, d, h, w]."""

    rank = 3
    function = staticmethod(ops.max_pool3d)


class AvgPool(Module):
    """What the average pools share; count_include_pad says whether padding counts as zeros.

    stride, floor and ceil_mode are as in the maximum pools.
    """

    rank: ClassVar[int]
    function: ClassVar[Callable[..., Node]]

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        *,
        floor: bool = False,
    ) -> None:
        self.kernel_size = each(kernel_size, self.rank, "kernel_size")
        self.stride = each(kernel_size if stride is None else stride, self.rank, "stride")
        self.padding = each(padding, self.rank, "padding")
        self.count_include_pad, self.floor, self.ceil_mode = count_include_pad, floor, ceil_mode

    def forward(self, x: Node) -> Node:
        """[n, c, *sizes] -> [n, c, *sizes]"""
        return type(self).function(
            x,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            count_include_pad=self.count_include_pad,
            floor=self.floor,
            ceil_mode=self.ceil_mode,
        )

    def extra_repr(self) -> str:
        """The window."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(AvgPool):
    """Average over windows of one axis: [n, c, w]."""

    rank = 1
    function = staticmethod(ops.avg_pool1d)


class AvgPool2d(AvgPool):
    """Average over windows of two axes: [n, c, h, w]."""

    rank = 2
    function = staticmethod(ops.avg_pool2d)


class AvgPool3d(AvgPool):
    """Average over windows of three axes: [n, c, d, h, w]."""

    rank = 3
    function = staticmethod(ops.avg_pool3d)


class AdaptiveAvgPool2d(Module):
    """Average over equal windows that give output_size, which must divide the input's size."""

    def __init__(self, output_size: Any) -> None:
        self.output_size = each(output_size, 2, "output_size")

    def forward(self, x: Node) -> Node:
        """[n, c, h, w] -> [n, c, *output_size]"""
        return ops.adaptive_avg_pool(x, self.output_size)

    def extra_repr(self) -> str:
        """The size."""
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(Module):
    """Maximum over equal windows that give output_size, which must divide the input's size."""

    def __init__(self, output_size: Any) -> None:
        self.output_size = each(output_size, 2, "output_size")

    def forward(self, x: Node) -> Node:
        """[n, c, h, w] -> [n, c, *output_size]"""
        return ops.adaptive_max_pool(x, self.output_size)

    def extra_repr(self) -> str:
        """The size."""
        return f"output_size={self.output_size}"


class GlobalAvgPool(Module):
    """The average over all but the first two axes: [n, c, ...] -> [n, c]."""

    def forward(self, x: Node) -> Node:
        """[n, c, ...] -> [n, c]"""
        if len(x.shape) < 3:
            raise ShapeError(f"GlobalAvgPool needs axes after [n, c] to average, not {x.type}")
        return ops.mean(x, axis=tuple(range(2, len(x.shape))))
