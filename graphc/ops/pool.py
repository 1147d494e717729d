"""Pools: the maximum or the average of a window that slides over an image with channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

import numpy as np

from graphc.errors import ShapeError
from graphc.graph import leaf
from graphc.graph.node import Node
from graphc.ops import reduce
from graphc.ops.arithmetic import div
from graphc.ops.known import kept
from graphc.ops.make import apply, as_node, fail
from graphc.ops.scalar import Expr, argument
from graphc.ops.window import SPACE, TAPS, Window, known, per_axis, sizes, slide, spatial
from graphc.types import is_float

Each = int | Sequence[int]
X = argument("x")


class Pool(TypedDict, total=False):
    """Options of every pool, by keyword."""

    stride: Each | None
    padding: Each | Sequence[Sequence[int]] | str
    floor: bool
    ceil_mode: bool


class MaxPool(Pool, total=False):
    """Options of max pools, by keyword."""

    dilation: Each


class AveragePool(Pool, total=False):
    """Options of average pools, by keyword."""

    count_include_pad: bool


@kept
def part(of: int) -> Expr:
    """x divided by a whole number."""
    return X / of


def _slid(
    name: str, x: Node, window: Window, counts: tuple[int, ...], how: str, scale: int = 1
) -> Node:
    """Every position's window reduced by `how`; what lies outside contributes nothing."""
    rank = len(counts)
    terms = zip(
        SPACE[rank], window.stride, TAPS[rank], window.dilation, window.padding, strict=True
    )
    read = " ".join(f"{n}*{step}+{tap}*{by}-{low}" for n, step, tap, by, (low, _) in terms)
    lead = "n c" if len(x.shape) == rank + 2 else "c"
    extents = dict(zip((*SPACE[rank], *TAPS[rank]), (*counts, *window.size), strict=True))
    return apply(
        name,
        f"{lead} {read} -> {lead} {' '.join(SPACE[rank])}",
        (X,),
        part(scale),
        [x],
        extents=extents,
        how=how,
        dtype=x.dtype if is_float(x.dtype) or how == "max" else "float32",
    )


def _window(
    name: str,
    rank: int,
    x: Node,
    size: Each,
    stride: Each | None,
    padding: Any,
    dilation: Each,
    floor: bool,
    ceil_mode: bool,
) -> tuple[Window, tuple[int, ...]]:
    """The window, and how many positions it has along each axis."""
    window = slide(
        name,
        [x],
        "window",
        per_axis(name, x, "kernel_size", size, rank, 1),
        stride=size if stride is None else stride,
        padding=padding,
        dilation=dilation,
        floor=floor,
        ceil=ceil_mode,
    )
    for reach, pair in zip(window.reach, window.padding, strict=True):
        if max(pair) >= reach:
            problem = f"padding={padding!r} is not less than the window's extent {reach}"
            raise fail(ShapeError, name, [x], f"{problem}: some windows would see nothing else")
    return window, window.positions_with_rest if ceil_mode else window.positions


# --- maximum --------------------------------------------------------------------------------


def max_pool1d(x: Any, kernel_size: Each, **options: Unpack[MaxPool]) -> Node:
    """The largest of each window of x (n c w), as max_pool2d, over one axis."""
    known("max_pool1d", options, MaxPool)
    return _max_pool("max_pool1d", 1, x, kernel_size, **options)


def max_pool2d(x: Any, kernel_size: Each, **options: Unpack[MaxPool]) -> Node:
    """The largest of each window: max over r, s of x[n, c, h*stride + r*dilation - padding, ...].

    Options: `stride`, a number or one for each axis, the kernel's size unless given; `padding`
    (of -inf), as conv2d's; `dilation`; `floor=True`, to drop what the last stride does not reach,
    or `ceil_mode=True`, to give it a shorter window; else a rest is a ShapeError. x may lack the
    batch axis. NaN is the largest of all. The gradient goes to the first maximum in row-major
    order.
    """
    known("max_pool2d", options, MaxPool)
    return _max_pool("max_pool2d", 2, x, kernel_size, **options)


def max_pool3d(x: Any, kernel_size: Each, **options: Unpack[MaxPool]) -> Node:
    """The largest of each window of x (n c d h w), as max_pool2d, over three axes."""
    known("max_pool3d", options, MaxPool)
    return _max_pool("max_pool3d", 3, x, kernel_size, **options)


def _max_pool(
    name: str,
    rank: int,
    x: Any,
    kernel_size: Each,
    *,
    stride: Each | None = None,
    padding: Any = 0,
    dilation: Each = 1,
    floor: bool = False,
    ceil_mode: bool = False,
) -> Node:
    x = as_node(x)
    window, counts = _window(
        name, rank, x, kernel_size, stride, padding, dilation, floor, ceil_mode
    )
    return _slid(name, x, window, counts, "max")


# --- average --------------------------------------------------------------------------------


def avg_pool1d(x: Any, kernel_size: Each, **options: Unpack[AveragePool]) -> Node:
    """The mean of each window of x (n c w), as avg_pool2d, over one axis."""
    known("avg_pool1d", options, AveragePool)
    return _avg_pool("avg_pool1d", 1, x, kernel_size, **options)


def avg_pool2d(x: Any, kernel_size: Each, **options: Unpack[AveragePool]) -> Node:
    """The mean of each window: sum over r, s of x[n, c, h*stride + r - padding, ...] / (R*S).

    Options: as max_pool2d's, without dilation; the padding is of zeros. `count_include_pad=False`
    divides by the number of elements that are not padding. What a last, shorter window of
    `ceil_mode=True` has beyond the padding is never counted. Of integers it is a float32.
    """
    known("avg_pool2d", options, AveragePool)
    return _avg_pool("avg_pool2d", 2, x, kernel_size, **options)


def avg_pool3d(x: Any, kernel_size: Each, **options: Unpack[AveragePool]) -> Node:
    """The mean of each window of x (n c d h w), as avg_pool2d, over three axes."""
    known("avg_pool3d", options, AveragePool)
    return _avg_pool("avg_pool3d", 3, x, kernel_size, **options)


def _avg_pool(
    name: str,
    rank: int,
    x: Any,
    kernel_size: Each,
    *,
    stride: Each | None = None,
    padding: Any = 0,
    floor: bool = False,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Node:
    x = as_node(x)
    window, counts = _window(name, rank, x, kernel_size, stride, padding, 1, floor, ceil_mode)
    seen = _seen(window, counts, count_include_pad)
    whole = int(np.prod(window.size))
    if (seen == whole).all():
        return _slid(name, x, window, counts, "sum", whole)
    total = _slid(name, x, window, counts, "sum")
    return div(total, leaf.constant(seen, total.dtype))


def _seen(window: Window, counts: tuple[int, ...], padded: bool) -> np.ndarray[Any, Any]:
    """How many elements each position's window covers, with the padding or without it."""
    total = np.ones((), np.int64)
    for axis, count in enumerate(counts):
        low, high = window.padding[axis] if padded else (0, 0)
        first = np.arange(count) * window.stride[axis] - window.padding[axis][0]
        last = np.minimum(first + window.size[axis], window.over[axis] + high)
        total = total[..., None] * (last - np.maximum(first, -low))
    return total


# --- adaptive and global --------------------------------------------------------------------


def adaptive_avg_pool(x: Any, output_size: Each, *, rank: int | None = None) -> Node:
    """The mean of equal blocks, so that the spatial extents become `output_size`.

    The spatial axes are all after the first two, or the last `rank`. Raises ShapeError where the
    sizes do not divide.
    """
    x = as_node(x)
    rank, blocks = _blocks("adaptive_avg_pool", x, output_size, rank)
    return _avg_pool("adaptive_avg_pool", rank, x, blocks)


def adaptive_max_pool(x: Any, output_size: Each, *, rank: int | None = None) -> Node:
    """The largest of equal blocks, so that the spatial extents become `output_size`.

    The spatial axes are all after the first two, or the last `rank`. Raises ShapeError where the
    sizes do not divide.
    """
    x = as_node(x)
    rank, blocks = _blocks("adaptive_max_pool", x, output_size, rank)
    return _max_pool("adaptive_max_pool", rank, x, blocks)


def _blocks(name: str, x: Node, output_size: Each, rank: int | None) -> tuple[int, tuple[int, ...]]:
    rank = len(x.shape) - 2 if rank is None else rank
    if rank not in SPACE:
        raise fail(ShapeError, name, [x], f"takes 1, 2 or 3 spatial axes, not {rank}")
    over = spatial(name, x, rank)
    targets = per_axis(name, x, "output_size", output_size, rank, 1)
    for extent, target in zip(over, targets, strict=True):
        if extent % target or not extent:
            problem = (
                f"{sizes(over)} cannot be cut into {sizes(targets)} equal blocks: {extent} is no "
                f"multiple of {target}. Choose sizes that divide, or pool with a kernel and stride"
            )
            raise fail(ShapeError, name, [x], problem)
    return rank, tuple(n // target for n, target in zip(over, targets, strict=True))


def global_avg_pool(x: Any, *, keepdims: bool = False) -> Node:
    """The mean over all axes after the first two: (n c h w) becomes (n c)."""
    x = as_node(x)
    return reduce.mean(x, tuple(range(2, len(x.shape))), keepdims=keepdims)


def global_max_pool(x: Any, *, keepdims: bool = False) -> Node:
    """The largest over all axes after the first two: (n c h w) becomes (n c)."""
    x = as_node(x)
    return reduce.max(x, tuple(range(2, len(x.shape))), keepdims=keepdims)
