"""Activations as modules, with torch's names and defaults; dropout; maxout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from graphc import ops
from graphc.errors import InputError, ShapeError
from graphc.graph.node import Node
from graphc.nn.module import Module
from graphc.nn.parameter import Parameter


class Pointwise(Module):
    """What activations without parameters share: an op, and the options that it is called with."""

    function: ClassVar[Callable[..., Node]]
    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, *values: Any, **named: Any) -> None:
        given = dict(zip(self.options, values, strict=False)) | named
        wrong = [name for name in given if name not in self.options]
        if wrong or len(values) > len(self.options):
            known = ", ".join(self.options) or "none"
            hint = "; what is done in place the compiler decides" if "inplace" in wrong else ""
            raise InputError(
                f"{type(self).__name__} has the options: {known}; given {values} {named}{hint}"
            )
        self.__dict__.update(self.options | given)

    def forward(self, x: Node) -> Node:
        """[...] -> [...], element by element."""
        return type(self).function(x, **{name: getattr(self, name) for name in self.options})

    def extra_repr(self) -> str:
        """The options."""
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.options)


class ReLU(Pointwise):
    """max(x, 0)."""

    function = staticmethod(ops.relu)


class ReLU6(Pointwise):
    """min(max(x, 0), 6)."""

    function = staticmethod(ops.relu6)


class LeakyReLU(Pointwise):
    """x where positive, negative_slope * x elsewhere."""

    function = staticmethod(ops.leaky_relu)
    options: ClassVar[dict[str, Any]] = {"negative_slope": 0.01}


class SELU(Pointwise):
    """Self-normalising: a scaled elu, arXiv:1706.02515."""

    function = staticmethod(ops.selu)


class ELU(Pointwise):
    """x where positive, alpha * (e^x - 1) elsewhere, arXiv:1511.07289."""

    function = staticmethod(ops.elu)
    options: ClassVar[dict[str, Any]] = {"alpha": 1.0}


class CELU(Pointwise):
    """max(0, x) + min(0, alpha * (e^(x/alpha) - 1)), arXiv:1704.07483."""

    function = staticmethod(ops.celu)
    options: ClassVar[dict[str, Any]] = {"alpha": 1.0}


class GELU(Pointwise):
    """x times the normal distribution function, exactly ("none") or by "tanh", arXiv:1606.08415."""

    function = staticmethod(ops.gelu)
    options: ClassVar[dict[str, Any]] = {"approximate": "none"}


class SiLU(Pointwise):
    """x * sigmoid(x)."""

    function = staticmethod(ops.silu)


class Mish(Pointwise):
    """x * tanh(softplus(x)), arXiv:1908.08681."""

    function = staticmethod(ops.mish)


class Sigmoid(Pointwise):
    """1 / (1 + e^-x)."""

    function = staticmethod(ops.sigmoid)


class LogSigmoid(Pointwise):
    """log(sigmoid(x)), without overflow."""

    function = staticmethod(ops.log_sigmoid)


class Tanh(Pointwise):
    """Hyperbolic tangent."""

    function = staticmethod(ops.tanh)


class Softplus(Pointwise):
    """log(1 + e^(beta*x)) / beta, and x where beta*x > threshold."""

    function = staticmethod(ops.softplus)
    options: ClassVar[dict[str, Any]] = {"beta": 1.0, "threshold": 20.0}


class Softsign(Pointwise):
    """x / (1 + |x|)."""

    function = staticmethod(ops.softsign)


class Hardtanh(Pointwise):
    """x clipped to [min_val, max_val]."""

    function = staticmethod(ops.hardtanh)
    options: ClassVar[dict[str, Any]] = {"min_val": -1.0, "max_val": 1.0}


class Hardsigmoid(Pointwise):
    """clip(x/6 + 1/2, 0, 1)."""

    function = staticmethod(ops.hardsigmoid)


class Hardswish(Pointwise):
    """x * hardsigmoid(x), arXiv:1905.02244."""

    function = staticmethod(ops.hardswish)


class PReLU(Module):
    """x where positive, weight * x elsewhere: one weight, or one for each channel (axis 1)."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, dtype: str = "float32"):
        self.num_parameters = num_parameters
        self.weight = Parameter(np.full(num_parameters, init, dtype))

    def forward(self, x: Node) -> Node:
        """[n, c, ...] -> [n, c, ...]"""
        return ops.prelu(x, self.weight)

    def extra_repr(self) -> str:
        """The number of weights."""
        return f"num_parameters={self.num_parameters}"


class Softmax(Module):
    """e^x normalised to sum 1 along an axis."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Node) -> Node:
        """[...] -> [...]"""
        return ops.softmax(x, axis=self.dim)

    def extra_repr(self) -> str:
        """The axis."""
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """The logarithm of softmax along an axis."""

    def forward(self, x: Node) -> Node:
        """[...] -> [...]"""
        return ops.log_softmax(x, axis=self.dim)


class Dropout(Module):
    """In training each element is 0 with probability p, and others are divided by 1 - p.

    Source: Srivastava et al., "Dropout", JMLR 15, 2014; which elements is a function of the seed,
    the layer and the step (graphc.seed).
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise InputError(f"Dropout: the probability must lie between 0 and 1, got {p}")
        self.p = p

    def forward(self, x: Node) -> Node:
        """[...] -> [...]"""
        if not self.training or self.p == 0:
            return x
        return ops.dropout(x, self.p)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"


class Maxout(Module):
    """The maximum over groups of `pieces` neighbouring features along an axis.

    After Linear(in, out * pieces) it is the layer of Goodfellow et al., "Maxout Networks",
    arXiv:1302.4389, section 3; after a convolution it is taken over channels (axis 1).
    """

    def __init__(self, pieces: int = 2, dim: int = 1) -> None:
        self.pieces, self.dim = pieces, dim

    def forward(self, x: Node) -> Node:
        """[n, c * pieces, ...] -> [n, c, ...]"""
        dim = self.dim % len(x.shape)
        features = x.shape[dim]
        if not isinstance(features, int) or features % self.pieces:
            raise ShapeError(f"Maxout: {self.pieces} pieces do not divide axis {dim} of {x.type}")
        shape = (*x.shape[:dim], features // self.pieces, self.pieces, *x.shape[dim + 1 :])
        return ops.max(ops.reshape(x, shape), axis=dim + 1)

    def extra_repr(self) -> str:
        """The size of a group, and the axis."""
        return f"pieces={self.pieces}, dim={self.dim}"
