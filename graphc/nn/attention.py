"""Attention, with torch's parameter names, and the transformer's encoder layer on it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc import ops
from graphc.errors import InputError, ShapeError
from graphc.graph.node import Node
from graphc.nn import init
from graphc.nn.activation import Dropout
from graphc.nn.linear import Linear, misfit
from graphc.nn.module import Module
from graphc.nn.norm import LayerNorm
from graphc.nn.parameter import Parameter
from graphc.ops.make import as_node


class MultiheadAttention(Module):
    """Attention of queries to keys, in heads side by side, with a projection before and after.

    in_proj_weight [3E, E] and in_proj_bias [3E] hold the query's, key's and value's projection, in
    this order; out_proj.weight [E, E], out_proj.bias [E]. in_proj_weight starts Xavier uniform,
    biases at 0.

    Source: Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, section 3.2.2.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        batch_first: bool = False,
        *,
        dtype: str = "float32",
    ) -> None:
        if embed_dim % num_heads:
            raise ShapeError(f"num_heads={num_heads} must divide embed_dim={embed_dim}")
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.dropout, self.batch_first = dropout, batch_first
        self.in_proj_weight = Parameter.zeros((3 * embed_dim, embed_dim), dtype)
        start = Parameter.zeros((3 * embed_dim,), dtype) if bias else None
        self.register_parameter("in_proj_bias", start)
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype=dtype)
        init.xavier_uniform_(self.in_proj_weight)
        if bias:
            init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Node,
        key: Node | None = None,
        value: Node | None = None,
        *,
        attn_mask: Node | None = None,
        key_padding_mask: Node | None = None,
        need_weights: bool = False,
        is_causal: bool = False,
    ) -> tuple[Node, Node | None]:
        """(result, weights or None): query [q, n, E], key and value [k, n, E] -> [q, n, E].

        With batch_first the first two axes are exchanged. key and value default to the query.
        A mask of bool is True where attention is forbidden, one of floats is added to the scores:
        attn_mask [q, k], key_padding_mask [n, k]. The weights, if needed, are [n, q, k], averaged
        over heads. is_causal forbids what comes later.
        """
        key = query if key is None else key
        value = key if value is None else value
        for x in (query, key, value):
            if len(x.shape) != 3 or x.shape[2] != self.embed_dim:
                raise misfit(
                    f"MultiheadAttention takes three axes, the last one {self.embed_dim}; its "
                    f"operand is {x.type}",
                    "",
                )
        sources = [query, key, value]
        if not self.batch_first:
            sources = [ops.transpose(x, (1, 0, 2)) for x in sources]
        q, k, v = (self._heads(x, part) for part, x in enumerate(sources))
        scores = ops.matmul(
            q * (1 / math.sqrt(self.embed_dim // self.num_heads)), ops.swapaxes(k, -1, -2)
        )
        scores = self._masked(scores, attn_mask, key_padding_mask, is_causal)
        weights = ops.softmax(scores, axis=-1)
        dropped = weights
        if self.training and self.dropout:
            dropped = ops.dropout(weights, self.dropout)
        joined = ops.transpose(ops.matmul(dropped, v), (0, 2, 1, 3))
        result = self.out_proj(ops.reshape(joined, (*joined.shape[:2], self.embed_dim)))
        if not self.batch_first:
            result = ops.transpose(result, (1, 0, 2))
        return result, ops.mean(weights, axis=1) if need_weights else None

    def _heads(self, x: Node, part: int) -> Node:
        """[n, t, E] -> [n, heads, t, E/heads], by the projection's part 0, 1 or 2."""
        width = self.embed_dim
        rows = slice(part * width, (part + 1) * width)
        weight: Any = self.in_proj_weight
        bias: Any = self.in_proj_bias
        x = ops.linear(x, weight[rows], None if bias is None else bias[rows])
        split = (*x.shape[:2], self.num_heads, width // self.num_heads)
        return ops.transpose(ops.reshape(x, split), (0, 2, 1, 3))

    def _masked(
        self, scores: Node, attn_mask: Node | None, padding: Node | None, is_causal: bool
    ) -> Node:
        """Scores [n, heads, q, k] with what is forbidden at -inf."""
        masks = []
        if is_causal:
            q, k = scores.shape[2:]
            if not isinstance(q, int) or not isinstance(k, int):
                raise misfit(f"a causal mask needs known lengths, the scores are {scores.type}", "")
            masks.append(as_node(np.triu(np.ones((q, k), bool), 1)))
        if attn_mask is not None:
            masks.append(as_node(attn_mask))
        if padding is not None:
            padding = as_node(padding)
            masks.append(ops.reshape(padding, (padding.shape[0], 1, 1, padding.shape[1])))
        for mask in masks:
            if mask.dtype == "bool":
                scores = ops.where(mask, -math.inf, scores)
            else:
                scores = scores + mask
        return scores

    def extra_repr(self) -> str:
        """Sizes."""
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}"


class TransformerEncoderLayer(Module):
    """Self-attention and a two-layer network, each with a skip connection and layer norm.

    norm_first puts the norms before instead of after.
    Source: Vaswani et al., arXiv:1706.03762, section 3.1; parameter names of torch.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        *,
        dtype: str = "float32",
    ) -> None:
        if activation not in ("relu", "gelu"):
            raise InputError(f"activation must be 'relu' or 'gelu', got {activation!r}")
        self.activation, self.norm_first = activation, norm_first
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, batch_first=batch_first, dtype=dtype
        )
        self.linear1 = Linear(d_model, dim_feedforward, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, dtype=dtype)
        self.norm1 = LayerNorm(d_model, layer_norm_eps, dtype=dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, dtype=dtype)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)

    def forward(
        self,
        x: Any,
        *,
        src_mask: Node | None = None,
        src_key_padding_mask: Node | None = None,
        is_causal: bool = False,
    ) -> Any:
        """[t, n, d_model], with batch_first [n, t, d_model] -> the same; masks as in attention."""

        def attend(x: Any) -> Any:
            result, _ = self.self_attn(
                x, attn_mask=src_mask, key_padding_mask=src_key_padding_mask, is_causal=is_causal
            )
            return self.dropout1(result)

        def expand(x: Any) -> Any:
            function = ops.relu if self.activation == "relu" else ops.gelu
            return self.dropout2(self.linear2(self.dropout(function(self.linear1(x)))))

        if self.norm_first:
            x = x + attend(self.norm1(x))
            return x + expand(self.norm2(x))
        x = self.norm1(x + attend(x))
        return self.norm2(x + expand(x))
