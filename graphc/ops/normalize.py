"""Ops that set a row of values against its own sum or spread: softmax, norms, attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy

from graphc.errors import DTypeError, ShapeError
from graphc.graph.node import Node
from graphc.ops import reduce
from graphc.ops.arithmetic import maximum, mul, pow, rsqrt, square, stop_gradient, where
from graphc.ops.create import full, ones, tril
from graphc.ops.elementary import log
from graphc.ops.known import kept
from graphc.ops.linear import matmul
from graphc.ops.make import apply, as_node, fail
from graphc.ops.op import op
from graphc.ops.remedy import arranged
from graphc.ops.scalar import Expr, argument
from graphc.ops.shape import axis_of, letters, number, reshape
from graphc.types import Shape, is_float, numbers

X, PEAK, TOTAL = argument("x"), argument("peak"), argument("total")

# --- softmax --------------------------------------------------------------------------------


def softmax(x: Any, axis: int = -1) -> Node:
    """result = exp(x - peak) / sum(exp(x - peak)) along an axis, peak the largest x there.

    x any shape of a float dtype; the result is of its type, non-negative, and sums to 1. It does
    not overflow; a row that is all -inf, or holds NaN or +inf, becomes NaN. The peak is held
    constant in differentiation: it cancels. DTypeError for integers. Source: torch.softmax.
    """
    x, axis = _floats("softmax", x, axis)
    peak, total = exponentials(x, axis)
    return along("softmax", shares(), [x, peak, total], axis)


def log_softmax(x: Any, axis: int = -1) -> Node:
    """result = x - peak - log(sum(exp(x - peak))) along an axis, peak the largest x there.

    The logarithm of softmax where that would underflow. Shapes, dtypes, NaN and errors as
    softmax's. Source: torch.log_softmax.
    """
    x, axis = _floats("log_softmax", x, axis)
    peak, total = exponentials(x, axis)
    return along("log_softmax", log_shares(), [x, peak, log(total)], axis)


def exponentials(x: Node, axis: int) -> tuple[Node, Node]:
    """The largest x along an axis, as a constant, and the sum of exp(x - largest)."""
    if x.shape[axis] == 0:
        rest = (*x.shape[:axis], *x.shape[axis + 1 :])
        return full(rest, 0, x.dtype), full(rest, 0, x.dtype)
    peak = stop_gradient(reduce.max(x, axis))
    return peak, along("sumexp", risen(), [x, peak], axis, keep=False)


@kept
def risen() -> Expr:
    """e^x, where the largest x is 0."""
    return sympy.exp(X - PEAK)


@kept
def shares() -> Expr:
    """The part of e^x in the sum of all."""
    return sympy.exp(X - PEAK) / TOTAL


@kept
def log_shares() -> Expr:
    """The logarithm of that, of the logarithm of the sum."""
    return X - PEAK - TOTAL


def along(name: str, expr: Expr, operands: Sequence[Node], axis: int, *, keep: bool = True) -> Node:
    """A formula of x and of one number per row along an axis: mapped, or summed over the axis."""
    names = letters(operands[0].type.rank)
    every, row = " ".join(names), " ".join(n for a, n in enumerate(names) if a != axis)
    reads = ", ".join([every, *[row] * (len(operands) - 1)])
    args = (X, PEAK, TOTAL)[: len(operands)]
    return apply(name, f"{reads} -> {every if keep else row}", args, expr, operands)


def _floats(name: str, x: Any, axis: int) -> tuple[Node, int]:
    x = as_node(x)
    if not is_float(x.dtype):
        raise fail(DTypeError, name, [x], f"a float expected; cast the {x.dtype} first")
    return x, axis_of(name, x, axis)


# --- norms ----------------------------------------------------------------------------------


def _standardized(x: Node, axes: Sequence[int], eps: float) -> Node:
    """(x - mean) / sqrt(mean((x - mean)^2) + eps) over axes."""
    centred = x - reduce.mean(x, axes, keepdims=True)
    return mul(centred, rsqrt(reduce.mean(square(centred), axes, keepdims=True) + eps))


def _scaled(x: Node, weight: Node | None, bias: Node | None) -> Node:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _fitting(name: str, x: Node, shape: Shape, *values: Node | None) -> None:
    """Refuse a weight or bias of another shape than the part of x that it goes with."""
    for what, node in zip(("weight", "bias"), values, strict=False):
        if node is not None and node.shape != shape:
            problem = f"the {what} has shape {node.shape}, and x here {shape}"
            raise fail(ShapeError, name, [x, node], problem)


def _spread(values: Node | None, channels: tuple[int, ...]) -> Node | None:
    """Numbers per channel on axes that broadcast against (N, C, ...)."""
    return None if values is None else reshape(values, channels)


def _trailing(name: str, x: Node, shape: int | Sequence[int] | Node) -> list[int]:
    """The last axes of x, which have this shape."""
    if isinstance(shape, Node):
        problem = f"the shape comes before the weight: {name}(x, {x.shape[-1:]}, weight)"
        raise fail(ShapeError, name, [x, shape], problem)
    wanted = numbers(shape)
    if not wanted or x.shape[-len(wanted) :] != wanted:
        problem = f"{x.shape} does not end with the shape {wanted}"
        last = x.shape[-len(wanted) :] if wanted else ()
        if len(last) == len(wanted) > 0:
            axis = next(i for i, e in enumerate(wanted) if last[i] != e) - len(wanted)
            problem += f": axis {axis % x.type.rank} has the extent {x.shape[axis]}"
        ways = [
            text for text, other in arranged("x", x.shape, 0) if other[-len(wanted) :] == wanted
        ]
        if last and all(isinstance(e, int) for e in last):
            ways.append(f"the shape ({', '.join(map(str, last))}{',' * (len(last) == 1)})")
        problem += f"\n  what fits: {', or '.join(ways[:3])}" if wanted and ways else ""
        raise fail(ShapeError, name, [x], problem)
    return list(range(x.type.rank - len(wanted), x.type.rank))


def layer_norm(
    x: Node,
    shape: int | Sequence[int],
    weight: Node | None = None,
    bias: Node | None = None,
    *,
    eps: float = 1e-5,
) -> Node:
    """result = (x - mean) / sqrt(variance + eps) * weight + bias, over the last axes.

    x (..., *shape) of floats, weight and bias of `shape`; mean and (biased) variance over `shape`.
    Raises ShapeError where x does not end with it. Source: Ba et al. 2016, eq. 4;
    torch.nn.functional.layer_norm.
    """
    axes = _trailing("layer_norm", x, shape)
    _fitting("layer_norm", x, tuple(x.shape[a] for a in axes), weight, bias)
    return _scaled(_standardized(x, axes, eps), weight, bias)


def rms_norm(
    x: Node, shape: int | Sequence[int], weight: Node | None = None, *, eps: float | None = None
) -> Node:
    """result = x / sqrt(mean(x^2) + eps) * weight, over the last axes.

    x (..., *shape) of floats, weight of `shape`; eps is the dtype's epsilon unless given. Raises
    ShapeError where x does not end with `shape`. Source: Zhang and Sennrich 2019, eq. 4;
    torch.nn.functional.rms_norm.
    """
    axes = _trailing("rms_norm", x, shape)
    small = float(np.finfo(x.dtype).eps) if eps is None else eps
    size = reduce.mean(square(x), axes, keepdims=True)
    return _scaled(mul(x, rsqrt(size + small)), weight, None)


def batch_norm(
    x: Node, weight: Node | None = None, bias: Node | None = None, *, eps: float = 1e-5
) -> tuple[Node, Node, Node]:
    """result = (x - mean) / sqrt(variance + eps) * weight + bias, over all axes but 1.

    x (N, C, ...) of floats, weight and bias (C). Returns the result and the batch's mean and biased
    variance, (C) each, for running statistics. N may be a run-time extent. For inference see
    batch_norm_inference. Source: Ioffe and Szegedy 2015, algorithm 1.
    """
    channels, axes = _channels("batch_norm", x)
    _fitting("batch_norm", x, channels[:1], weight, bias)
    mean = reduce.mean(x, axes)
    centred = x - reshape(mean, channels)
    variance = reduce.mean(square(centred), axes)
    scale = rsqrt(variance + eps) if weight is None else rsqrt(variance + eps) * weight
    result = centred * reshape(scale, channels)
    return _scaled(result, None, _spread(bias, channels)), mean, variance


def batch_norm_inference(
    x: Node,
    mean: Node,
    variance: Node,
    weight: Node | None = None,
    bias: Node | None = None,
    *,
    eps: float = 1e-5,
) -> Node:
    """result = (x - mean) / sqrt(variance + eps) * weight + bias, with statistics given, (C) each.

    x (N, C, ...) of floats. Source: Ioffe and Szegedy 2015, algorithm 2.
    """
    channels, _ = _channels("batch_norm", x)
    _fitting("batch_norm", x, channels[:1], weight, bias)
    scale = rsqrt(variance + eps) if weight is None else rsqrt(variance + eps) * weight
    result = (x - reshape(mean, channels)) * reshape(scale, channels)
    return _scaled(result, None, _spread(bias, channels))


def _channels(name: str, x: Node) -> tuple[tuple[int, ...], list[int]]:
    """The shape (C, 1, ...) that broadcasts against x (N, C, ...), and all axes but 1."""
    if x.type.rank < 2:
        raise fail(ShapeError, name, [x], "an operand (N, C, ...) expected")
    ones_after = (1,) * (x.type.rank - 2)
    return (number(name, x, 1), *ones_after), [a for a in range(x.type.rank) if a != 1]


def _rows(x: Node) -> Node:
    """x (N, C, ...) with one axis after C: the row of a channel, one element behind the other."""
    if x.type.rank < 4 or not all(isinstance(extent, int) for extent in x.shape[2:]):
        return x
    return reshape(x, (*x.shape[:2], math.prod(numbers(x.shape[2:]))))


def group_norm(
    x: Node,
    groups: int,
    weight: Node | None = None,
    bias: Node | None = None,
    *,
    eps: float = 1e-5,
) -> Node:
    """result = (x - mean) / sqrt(variance + eps) * weight + bias, over groups of channels.

    x (N, C, ...) of floats, weight and bias (C); mean and (biased) variance over the C/groups
    channels of a group and all later axes. Raises ShapeError where groups does not divide C.
    Source: Wu and He 2018, eq. 7; torch.nn.functional.group_norm.
    """
    channels, _ = _channels("group_norm", x)
    if groups < 1 or channels[0] % groups:
        problem = f"{channels[0]} channels do not divide into {groups} groups"
        raise fail(ShapeError, "group_norm", [x], problem)
    _fitting("group_norm", x, channels[:1], weight, bias)
    rows = _rows(x)
    split = reshape(rows, (x.shape[0], groups, channels[0] // groups, *rows.shape[2:]))
    result = reshape(_standardized(split, range(2, split.type.rank), eps), rows.shape)
    channels, _ = _channels("group_norm", rows)
    scaled = _scaled(result, _spread(weight, channels), _spread(bias, channels))
    return reshape(scaled, x.shape)


def instance_norm(
    x: Node, weight: Node | None = None, bias: Node | None = None, *, eps: float = 1e-5
) -> Node:
    """result = (x - mean) / sqrt(variance + eps) * weight + bias, over each channel by itself.

    x (N, C, ...) of floats with at least one axis after C, weight and bias (C). Source: Ulyanov et
    al. 2016; torch.nn.functional.instance_norm.
    """
    channels, axes = _channels("instance_norm", x)
    if len(axes) < 2:
        raise fail(ShapeError, "instance_norm", [x], "an operand (N, C, D, ...) expected")
    _fitting("instance_norm", x, channels[:1], weight, bias)
    rows = _rows(x)
    result = _standardized(rows, range(2, rows.type.rank), eps)
    channels, _ = _channels("instance_norm", rows)
    scaled = _scaled(result, _spread(weight, channels), _spread(bias, channels))
    return reshape(scaled, x.shape)


def local_response_norm(
    x: Node, size: int, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Node:
    """result_c = x_c * (k + alpha/size * sum of x_j^2 over a window of channels around c)^-beta.

    x (N, C, ...) of floats; the window is j from c - size//2 to c + (size - 1)//2, cut at the
    borders while `size` stays the divisor. Source: Krizhevsky et al. 2012, section 3.3, with
    alpha/size for alpha, as in torch.nn.functional.local_response_norm.
    """
    channels, _ = _channels("local_response_norm", x)
    if size < 1:
        raise fail(ShapeError, "local_response_norm", [x], f"size {size} must be positive")
    window = f"n c+r-{size // 2} ... -> n c ..."
    extents = {"c": channels[0], "r": size}
    total = apply("window_square", window, (X,), X**2, [x], extents=extents)
    return x * pow(k + alpha / size * total, -beta)


# --- attention ------------------------------------------------------------------------------


@op("... l e, ... s e -> ... l s")
def attention_scores(query: Expr, key: Expr) -> Expr:
    """The inner product of every query with every key."""
    return query * key


def scaled_dot_product_attention(
    query: Node,
    key: Node,
    value: Node,
    mask: Node | None = None,
    *,
    is_causal: bool = False,
    scale: float | None = None,
) -> Node:
    """result = softmax(query key^T * scale + mask) value, over the last two axes.

    query (..., L, E), key (..., S, E), value (..., S, V) of floats; the result (..., L, V); scale
    is 1/sqrt(E) unless given. A bool mask (..., L, S) is true where a key takes part; one of floats
    is added. With is_causal, query i sees the keys up to i. A query that sees no key gives NaN.
    Source: Vaswani et al. 2017, eq. 1; torch.nn.functional.scaled_dot_product_attention.
    """
    if min(query.type.rank, key.type.rank) < 2:
        problem = "query (..., L, E) and key (..., S, E) expected"
        raise fail(ShapeError, "attention", [query, key, value], problem)
    width = number("attention", query, -1)
    scores = attention_scores(query * (1 / math.sqrt(width) if scale is None else scale), key)
    if is_causal:
        scores = where(tril(ones(scores.shape[-2:], "bool")), scores, -math.inf)
    if mask is not None:
        scores = where(mask, scores, -math.inf) if mask.dtype == "bool" else scores + mask
    return matmul(softmax(scores), value)


def cosine_similarity(a: Node, b: Node, axis: int = 1, *, eps: float = 1e-8) -> Node:
    """result = a.b / (max(|a|, eps) * max(|b|, eps)) along an axis, |a| the Euclidean norm.

    a and b broadcast; floats. The gradient of |a| at 0 is 0. Source:
    torch.nn.functional.cosine_similarity.
    """
    product = a * b
    axis = axis_of("cosine_similarity", product, axis) - product.type.rank
    sizes = [maximum(reduce.norm(v, axis=axis), eps) for v in (a, b)]
    return reduce.sum(product, axis) / (sizes[0] * sizes[1])
