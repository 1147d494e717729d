"""Normalisation layers, with torch's names and defaults."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from graphc import ops
from graphc.errors import ShapeError
from graphc.graph import leaf
from graphc.graph.node import Node
from graphc.graph.site import here
from graphc.nn.linear import misfit
from graphc.nn.module import Module
from graphc.nn.parameter import Parameter
from graphc.types import numbers, whole


class BatchNorm(Module):
    """What the batch norms share: each channel over the batch and all positions.

    In training the batch's own mean and (biased) variance normalise, and the running ones move by
    `momentum` towards the batch's mean and unbiased variance (momentum=None: the average of all
    batches so far); in evaluation the running ones normalise. Without track_running_stats there
    are none, and the batch's serve always.

    Source: Ioffe, Szegedy, "Batch Normalization", arXiv:1502.03167, algorithm 1.
    """

    ranks: ClassVar[tuple[int, ...]]
    running_mean: Any
    running_var: Any
    num_batches_tracked: Any

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: str = "float32",
    ) -> None:
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        ones, zeros = np.ones(num_features, dtype), np.zeros(num_features, dtype)
        self.register_parameter("weight", Parameter(ones) if affine else None)
        self.register_parameter("bias", Parameter(zeros) if affine else None)
        self.register_buffer("running_mean", zeros if track_running_stats else None)
        self.register_buffer("running_var", ones if track_running_stats else None)
        self.register_buffer(
            "num_batches_tracked", np.zeros((), np.int64) if track_running_stats else None
        )

    def forward(self, x: Node) -> Node:
        """[n, c, ...] -> [n, c, ...]"""
        if len(x.shape) not in self.ranks or x.shape[1] != self.num_features:
            raise misfit(
                f"{type(self).__name__}({self.num_features}) takes {self.num_features} channels in "
                f"the second of {' or '.join(map(str, self.ranks))} axes, its input is {x.type}",
                "",
            )
        if not self.training and self.track_running_stats:
            return ops.batch_norm_inference(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        result, mean, variance = ops.batch_norm(x, self.weight, self.bias, eps=self.eps)
        if self.training and self.track_running_stats:
            self._track(mean, variance * unbiased(x))
        return result

    def _track(self, mean: Node, variance: Node) -> None:
        """Move the running statistics towards those of the batch."""
        mean, variance = ops.stop_gradient(mean), ops.stop_gradient(variance)
        self.num_batches_tracked = self.num_batches_tracked + 1
        part: Any = self.momentum
        if part is None:
            part = 1.0 / ops.cast(self.num_batches_tracked, mean.dtype)
        self.running_mean = (1.0 - part) * self.running_mean + part * mean
        self.running_var = (1.0 - part) * self.running_var + part * variance

    def extra_repr(self) -> str:
        """Features and options."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(BatchNorm):
    """Batch norm of [n, c] or [n, c, w]."""

    ranks = (2, 3)


class BatchNorm2d(BatchNorm):
    """Batch norm of [n, c, h, w]."""

    ranks = (4,)


class BatchNorm3d(BatchNorm):
    """Batch norm of [n, c, d, h, w]."""

    ranks = (5,)


class LayerNorm(Module):
    """Mean 0 and variance 1 over the last axes, then weight and bias of their shape.

    Source: Ba, Kiros, Hinton, "Layer Normalization", arXiv:1607.06450.
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: str = "float32",
    ) -> None:
        self.normalized_shape = shape_of(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        ones, zeros = (f(self.normalized_shape, dtype) for f in (np.ones, np.zeros))
        self.register_parameter("weight", Parameter(ones) if elementwise_affine else None)
        self.register_parameter("bias", Parameter(zeros) if elementwise_affine and bias else None)

    def forward(self, x: Node) -> Node:
        """[..., *normalized_shape] -> the same"""
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, eps=self.eps)

    def extra_repr(self) -> str:
        """Shape and options."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class RMSNorm(Module):
    """x / sqrt(mean(x**2) + eps) over the last axes, times weight; eps=None: the dtype's epsilon.

    Source: Zhang, Sennrich, "Root Mean Square Layer Normalization", arXiv:1910.07467, equation 4.
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: str = "float32",
    ) -> None:
        self.normalized_shape = shape_of(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        ones = np.ones(self.normalized_shape, dtype)
        self.register_parameter("weight", Parameter(ones) if elementwise_affine else None)

    def forward(self, x: Node) -> Node:
        """[..., *normalized_shape] -> the same"""
        return ops.rms_norm(x, self.normalized_shape, self.weight, eps=self.eps)

    def extra_repr(self) -> str:
        """Shape and options."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(Module):
    """Mean 0 and variance 1 over groups of channels and all positions, one example at a time.

    Source: Wu, He, "Group Normalization", arXiv:1803.08494.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        dtype: str = "float32",
    ) -> None:
        if num_groups < 1 or num_channels % num_groups:
            raise misfit(f"num_groups={num_groups} must divide num_channels={num_channels}", "")
        self.num_groups, self.num_channels = num_groups, num_channels
        self.eps, self.affine = eps, affine
        ones, zeros = np.ones(num_channels, dtype), np.zeros(num_channels, dtype)
        self.register_parameter("weight", Parameter(ones) if affine else None)
        self.register_parameter("bias", Parameter(zeros) if affine else None)

    def forward(self, x: Node) -> Node:
        """[n, c, ...] -> [n, c, ...]"""
        if x.shape[1:2] != (self.num_channels,):
            raise misfit(
                f"GroupNorm({self.num_groups}, {self.num_channels}) takes {self.num_channels} "
                f"channels in the second axis, its input is {x.type}",
                "",
            )
        return ops.group_norm(x, self.num_groups, self.weight, self.bias, eps=self.eps)

    def extra_repr(self) -> str:
        """Groups, channels and options."""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class LocalResponseNorm(Module):
    """x / (k + alpha/size * sum of x**2 over `size` neighbouring channels)**beta.

    Source: Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks",
    2012, section 3.3, with alpha divided by size as in torch.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Node) -> Node:
        """[n, c, ...] -> [n, c, ...]"""
        return ops.local_response_norm(x, self.size, alpha=self.alpha, beta=self.beta, k=self.k)

    def extra_repr(self) -> str:
        """The constants."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


def shape_of(sizes: int | tuple[int, ...]) -> tuple[int, ...]:
    """A number as a shape of one axis. Raises ShapeError for what is no shape of numbers."""
    listed = isinstance(sizes, Iterable) and not isinstance(sizes, str)
    found = numbers(sizes) if listed else (whole(sizes),)
    if any(isinstance(size, bool) or not isinstance(size, int) or size < 0 for size in found):
        raise ShapeError(f"a shape is a whole number, or several, not {sizes!r}{here()}")
    return found


def unbiased(x: Node) -> float | Node:
    """n / (n - 1), n the number of elements of each channel of x [n, c, ...]; 1 where n is 1."""
    extents = (x.shape[0], *x.shape[2:])
    known = math.prod(e for e in extents if isinstance(e, int))
    n: Node | None = None
    for name in extents:
        if isinstance(name, str):
            n = ops.cast(leaf.extent(name), x.dtype) * float(known)
    if n is None:
        return known / max(known - 1, 1)
    return n / ops.maximum(n - 1.0, 1.0)
