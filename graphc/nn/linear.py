"""Layers that multiply by a matrix, look rows up in one, or only rearrange."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc import ops
from graphc.errors import ShapeError
from graphc.graph.leaf import filled
from graphc.graph.node import Node
from graphc.graph.site import current_path, current_site
from graphc.nn import init
from graphc.nn.module import Module
from graphc.nn.parameter import Parameter
from graphc.types import dtype_name


class Identity(Module):
    """The input as it is; arguments are ignored."""

    def __init__(self, *ignored: Any, **named: Any) -> None:
        pass

    def forward(self, x: Node) -> Node:
        """[...] -> [...]"""
        return x


class Linear(Module):
    """y = x W^T + b over the last axis; weight [out, in], bias [out], as torch.nn.Linear.

    Both start uniform within 1/sqrt(in_features).
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, dtype: str = "float32"
    ) -> None:
        self.in_features, self.out_features, self.dtype = in_features, out_features, dtype
        self.weight = Parameter.zeros((out_features, in_features), dtype)
        self.register_parameter("bias", Parameter.zeros((out_features,), dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        uniform_by_fan_in(self)

    def forward(self, x: Node) -> Node:
        """[..., in] -> [..., out]"""
        if x.shape[-1:] != (self.in_features,):
            raise misfit(
                f"Linear({self.in_features}, {self.out_features}) takes {self.in_features} "
                f"features in the last axis, its input is {x.type}",
                "nn.LazyLinear takes the size that comes, nn.Flatten() before it joins axes",
            )
        return ops.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The sizes."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self._parameters['bias'] is not None}"
        )


class LazyLinear(Linear):
    """Linear whose in_features is that of the first input it is traced with."""

    def __init__(self, out_features: int, bias: bool = True, *, dtype: str = "float32") -> None:
        self.in_features, self.out_features, self.dtype = 0, out_features, dtype
        self.weight = Parameter(None)
        self.register_parameter("bias", Parameter(None) if bias else None)
        self._rng = init.generator()

    def forward(self, x: Node) -> Node:
        """[..., in] -> [..., out]"""
        weight, bias = self._parameters["weight"], self._parameters["bias"]
        assert weight is not None
        if not weight.ready:
            width = x.shape[-1] if x.shape else None
            if not isinstance(width, int):
                raise misfit(f"LazyLinear needs a known last axis, its input is {x.type}", "")
            materialize(self, "weight", (self.out_features, width))
            if bias is not None and not bias.ready:
                materialize(self, "bias", (self.out_features,))
            uniform_by_fan_in(self, self._rng)
        self.in_features = weight.shape[1]
        return super().forward(x)


class LinearEnsemble(Module):
    """Linear for many nets at once: weight [members, out, in], bias [members, out].

    Member i starts as the i-th of as many Linear layers made in turn would, so that one program
    trains a net from many initial values.
    """

    def __init__(
        self, members: int, in_features: int, out_features: int, *, dtype: str = "float32"
    ) -> None:
        self.members, self.in_features, self.out_features = members, in_features, out_features
        self.dtype = dtype
        self.weight = Parameter.zeros((members, out_features, in_features), dtype)
        self.bias = Parameter.zeros((members, out_features), dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        for weight, bias in zip(self.weight.value, self.bias.value, strict=True):
            fill_by_fan_in(weight, bias)

    def forward(self, x: Node) -> Node:
        """[..., members or 1, in] -> [..., members, out]; what has 1 there all members read."""
        if x.shape[-1:] != (self.in_features,) or x.shape[-2:-1] not in ((self.members,), (1,)):
            raise misfit(
                f"LinearEnsemble({self.members}, {self.in_features}, {self.out_features}) takes "
                f"[..., {self.members} or 1, {self.in_features}], its input is {x.type}",
                "x[:, None] gives every member the same rows [batch, features]",
            )
        weight: Any = self.weight
        if x.shape[-2] == 1 and self.members != 1:
            return ops.einsum("...k,mnk->...mn", ops.squeeze(x, -2), weight) + self.bias
        return ops.einsum("...mk,mnk->...mn", x, weight) + self.bias

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.members}, {self.in_features}, {self.out_features}"


class Embedding(Module):
    """Rows of a table by integer index: weight [num_embeddings, embedding_dim], from N(0, 1).

    The row padding_idx starts at 0 and gets no gradient. An index out of range raises IndexError.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        dtype: str = "float32",
    ) -> None:
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ShapeError(f"padding_idx {padding_idx} is no row of {num_embeddings}")
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = Parameter.zeros((num_embeddings, embedding_dim), dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight.value[self.padding_idx] = 0

    def forward(self, indices: Node) -> Node:
        """int [...] -> [..., embedding_dim]"""
        table: Any = self.weight
        if self.padding_idx is not None:
            frozen = np.arange(self.num_embeddings)[:, None] == self.padding_idx
            table = ops.where(frozen, ops.stop_gradient(table), table)
        return ops.embedding(indices, table)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.num_embeddings}, {self.embedding_dim}"


class Flatten(Module):
    """Join the axes from start_dim to end_dim, both included; by default all but the batch's."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Node) -> Node:
        """[n, c, h, w] -> [n, c*h*w]"""
        rank = len(x.shape)
        for dim in (self.start_dim, self.end_dim):
            if not -rank <= dim < rank:
                raise misfit(f"Flatten joins up to axis {dim}, its input is {x.type}", "")
        start, end = self.start_dim % rank, self.end_dim % rank
        return ops.reshape(
            x, (*x.shape[:start], _product(x.shape[start : end + 1]), *x.shape[end + 1 :])
        )

    def extra_repr(self) -> str:
        """The axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Split one axis into several of the given sizes."""

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, x: Node) -> Node:
        """[n, c*h*w] -> [n, c, h, w]"""
        rank = len(x.shape)
        if not -rank <= self.dim < rank:
            raise misfit(f"Unflatten splits axis {self.dim}, its input is {x.type}", "")
        dim = self.dim % rank
        return ops.reshape(x, (*x.shape[:dim], *self.unflattened_size, *x.shape[dim + 1 :]))

    def extra_repr(self) -> str:
        """The axis and its new sizes."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


def uniform_by_fan_in(module: Module, rng: np.random.Generator | None = None) -> None:
    """torch's default for Linear and Conv: weight and bias uniform within 1/sqrt(fan_in)."""
    weight, bias = module._parameters["weight"], module._parameters["bias"]
    assert weight is not None
    fill_by_fan_in(weight, bias, rng)


def fill_by_fan_in(
    weight: init.Target, bias: init.Target | None, rng: np.random.Generator | None = None
) -> None:
    """The same for a weight [out, in, ...] and the bias [out] that goes with it."""
    init.kaiming_uniform_(weight, a=math.sqrt(5), rng=rng)
    if bias is not None:
        bound = 1 / math.sqrt(max(init.fans(tuple(weight.shape))[0], 1))
        init.uniform_(bias, -bound, bound, rng)


def materialize(module: Module, name: str, shape: tuple[int, ...]) -> None:
    """Give a lazy layer's parameter its shape, and its path in the running trace as name."""
    parameter, path = module._parameters[name], current_path()
    assert parameter is not None
    dtype = getattr(module, "dtype", "float32")
    parameter.place(filled(shape, dtype_name(dtype)), f"{path}.{name}" if path else name)


def misfit(problem: str, way_out: str) -> ShapeError:
    """A ShapeError with the layer's path and the user's line."""
    site = current_site()
    lines = [problem, way_out, f"layer: {site.path}" if site.path else ""]
    return ShapeError("\n  ".join([*filter(None, lines), f"at {site.file}:{site.line}"]))


def _product(extents: tuple[int | str, ...]) -> int | str:
    named = [e for e in extents if isinstance(e, str)]
    if named and len(extents) > 1:
        raise misfit(f"the axes {extents} cannot be joined: {named[0]!r} is known at run time", "")
    return extents[0] if named else math.prod(int(e) for e in extents)
