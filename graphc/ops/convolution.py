"""The convolutions and their transposes: products of an image and a filter that slides over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

from graphc.errors import ShapeError
from graphc.graph.node import Node
from graphc.ops.linear import product, shift
from graphc.ops.make import as_nodes, fail
from graphc.ops.shape import number, reshape
from graphc.ops.window import (
    SPACE,
    TAPS,
    Window,
    crop,
    known,
    padding_of,
    per_axis,
    slide,
    spatial,
    zero_pad,
)

Each = int | Sequence[int]


class Convolution(TypedDict, total=False):
    """Options of the convolutions, by keyword."""

    stride: Each
    padding: Each | Sequence[Sequence[int]] | str
    dilation: Each
    groups: int
    floor: bool


class Transposed(TypedDict, total=False):
    """Options of the transposed convolutions, by keyword."""

    stride: Each
    padding: Each | Sequence[Sequence[int]]
    output_padding: Each
    dilation: Each
    groups: int


def conv1d(x: Any, weight: Any, bias: Any = None, **options: Unpack[Convolution]) -> Node:
    """Cross-correlation of x (n c w) with weight (f c/groups s), as conv2d, over one axis."""
    known("conv1d", options, Convolution)
    return _convolution("conv1d", 1, x, weight, bias, **options)


def conv2d(x: Any, weight: Any, bias: Any = None, **options: Unpack[Convolution]) -> Node:
    """Cross-correlation of x (n c h w) with weight (f c/groups r s), plus bias (f).

    result[n, f, h, w] = sum of x[n, c, h*stride + r*dilation - padding, ...] * weight[f, c, r, s].

    Options: `stride` and `dilation`, a number or one for each axis; `padding`, likewise, or a pair
    (before, after) for each axis, or "valid" (none), or "same", which gives ceil(extent / stride)
    with the odd element after; `groups`, which cuts the channels into as many separate
    convolutions; `floor`. x may lack the batch axis. Raises ShapeError where a stride does not
    divide what is left of the extent, unless floor=True allows that the rest is not read.
    """
    known("conv2d", options, Convolution)
    return _convolution("conv2d", 2, x, weight, bias, **options)


def conv3d(x: Any, weight: Any, bias: Any = None, **options: Unpack[Convolution]) -> Node:
    """Cross-correlation of x (n c d h w) with weight (f c/groups q r s), as conv2d."""
    known("conv3d", options, Convolution)
    return _convolution("conv3d", 3, x, weight, bias, **options)


def _convolution(
    name: str,
    rank: int,
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Each = 1,
    padding: Any = 0,
    dilation: Each = 1,
    groups: int = 1,
    floor: bool = False,
) -> Node:
    x, weight = as_nodes([x, weight])
    taps = _filter(name, rank, x, weight)
    channels, filters = _channels(name, x, rank), number(name, weight, 0)
    _divides(name, x, weight, groups, (channels, filters))
    if weight.shape[1] != channels // groups:
        raise fail(ShapeError, name, [x, weight], _mismatch(x, weight, rank, groups))
    window = slide(
        name,
        [x, weight],
        "filter",
        taps,
        stride=stride,
        padding=padding,
        dilation=dilation,
        floor=floor,
    )
    x = zero_pad(x, window.padding)
    batch = "n " * (len(x.shape) == rank + 2)
    group = "g " * (groups > 1)
    alone = filters == groups > 1  # one filter a group, which is its channel of the result
    own = "" if alone else "f "
    image, made = _channel("c", groups, channels), _channel("f", groups, filters)
    if groups > 1 and not alone:
        weight = _split(weight, groups)
    result = product(
        name,
        f"{batch}{image} {_reach(window)}, {group}{own}c {' '.join(TAPS[rank])} "
        f"-> {batch}{'g' if alone else made} {' '.join(SPACE[rank])}",
        "image kernel",
        [x, weight],
        shape=(*x.shape[: len(batch) // 2], filters, *window.positions),
        floor=True,
    )
    return result if bias is None else shift(result, bias, "second" if batch else "first")


def conv_transpose1d(x: Any, weight: Any, bias: Any = None, **options: Unpack[Transposed]) -> Node:
    """The transpose of conv1d: x (n c w), weight (c f/groups s), as conv_transpose2d."""
    known("conv_transpose1d", options, Transposed)
    return _transposed("conv_transpose1d", 1, x, weight, bias, **options)


def conv_transpose2d(x: Any, weight: Any, bias: Any = None, **options: Unpack[Transposed]) -> Node:
    """The transpose of conv2d: its gradient with respect to the image, taken as a layer.

    result[n, f, h*stride + r*dilation - padding, ...] += x[n, c, h, w] * weight[c, f, r, s], plus
    bias (f), where x is (n c h w), weight (c f/groups r s).

    Options: `stride`, `dilation` and `padding` (what is cut off on both sides), a number or one
    for each axis; `output_padding`, elements added at the end, fewer than the stride or the
    dilation; `groups`. An extent h becomes
    (h - 1)*stride - 2*padding + dilation*(r - 1) + output_padding + 1.
    """
    known("conv_transpose2d", options, Transposed)
    return _transposed("conv_transpose2d", 2, x, weight, bias, **options)


def conv_transpose3d(x: Any, weight: Any, bias: Any = None, **options: Unpack[Transposed]) -> Node:
    """The transpose of conv3d: x (n c d h w), weight (c f/groups q r s), as conv_transpose2d."""
    known("conv_transpose3d", options, Transposed)
    return _transposed("conv_transpose3d", 3, x, weight, bias, **options)


def _transposed(
    name: str,
    rank: int,
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Each = 1,
    padding: Any = 0,
    output_padding: Each = 0,
    dilation: Each = 1,
    groups: int = 1,
) -> Node:
    x, weight = as_nodes([x, weight])
    taps = _filter(name, rank, x, weight)
    over = spatial(name, x, rank)
    channels, inputs = _channels(name, x, rank), number(name, weight, 0)
    if inputs != channels:
        problem = (
            f"the filters expect {inputs} channels (axis 0 of the weight), the input has {channels}"
        )
        offers = _channels_first(x, rank, inputs)
        offers.append(f"a weight of shape {(channels, *weight.shape[1:])}")
        problem += f"\n  what fits: {', or '.join(offers)}"
        raise fail(ShapeError, name, [x, weight], problem)
    _divides(name, x, weight, groups, (channels,))
    steps = per_axis(name, x, "stride", stride, rank, 1)
    spread = per_axis(name, x, "dilation", dilation, rank, 1)
    window = Window("filter", over, taps, steps, spread, ((0, 0),) * rank)
    pairs = ((0, 0),) * rank if padding == "same" else padding_of(name, x, padding, window)
    extra = per_axis(name, x, "output_padding", output_padding, rank, 0)
    if padding == "same" or any(
        e >= max(s, d) for e, s, d in zip(extra, steps, spread, strict=True)
    ):
        problem = (
            f"output_padding={output_padding!r} must be less than the stride or the dilation, "
            f"and padding={padding!r} a number: here stride={stride!r}, dilation={dilation!r}"
        )
        raise fail(ShapeError, name, [x, weight], problem)
    sides = zip(over, steps, window.reach, extra, strict=True)
    whole = tuple((n - 1) * step + reach + more for n, step, reach, more in sides)
    left = tuple(n - low - high for n, (low, high) in zip(whole, pairs, strict=True))
    if min(left) < 0 or min(over) == 0:
        problem = f"padding={padding!r} leaves nothing of a result of extents {whole}"
        raise fail(ShapeError, name, [x, weight], problem)
    batch = "n " * (len(x.shape) == rank + 2)
    group = "g " * (groups > 1)
    lead = x.shape[: -rank - 1]
    filters = number(name, weight, 1)
    if groups > 1:
        weight = _split(weight, groups)
    image, made = _channel("c", groups, channels), _channel("f", groups, groups * filters)
    result = product(
        name,
        f"{batch}{image} {' '.join(SPACE[rank])}, {group}c f {' '.join(TAPS[rank])} "
        f"-> {batch}{made} {_reach(window)}",
        "image kernel",
        [x, weight],
        shape=(*lead, groups * filters, *whole),
    )
    result = crop(result, [low for low, _ in pairs], left)
    return result if bias is None else shift(result, bias, "second" if batch else "first")


def _channel(letter: str, groups: int, count: int) -> str:
    """A channel of so many, by its group and its number in it: `g*8+c`."""
    return letter if groups == 1 else f"g*{count // groups}+{letter}"


def _reach(window: Window) -> str:
    """Where the taps of a window fall: `h*2+r w*2+s`."""
    rank = len(window.over)
    parts = zip(SPACE[rank], window.stride, TAPS[rank], window.dilation, strict=True)
    return " ".join(f"{place}*{step}+{tap}*{spread}" for place, step, tap, spread in parts)


def _filter(name: str, rank: int, x: Node, weight: Node) -> tuple[int, ...]:
    """The filter's spatial extents."""
    if len(weight.shape) != rank + 2:
        problem = f"takes filters of {rank + 2} axes, not the {len(weight.shape)} of {weight.type}"
        raise fail(ShapeError, name, [x, weight], problem)
    spatial(name, x, rank)
    return tuple(number(name, weight, axis) for axis in range(2, rank + 2))


def _channels(name: str, x: Node, rank: int) -> int:
    """The channels of an image with or without a batch."""
    if len(x.shape) == rank + 1 and isinstance(x.shape[0], str):
        layout = f"(n c {' '.join(SPACE[rank])})"
        problem = (
            f"takes {layout}, {rank + 2} axes expected, not the {rank + 1} of {x.type}: the "
            f"run-time extent {x.shape[0]!r} cannot be that of the channels"
            "\n  what fits: expand_dims(x, 1), which is x[:, None], where there is one channel"
        )
        raise fail(ShapeError, name, [x], problem)
    return number(name, x, -rank - 1)


def _divides(name: str, x: Node, weight: Node, groups: int, counts: Sequence[int]) -> None:
    """Refuse groups that do not divide the input's channels and, if given, the filters."""
    whats = ("the input's channels", "the filters")
    for count, what in zip(counts, whats, strict=False):
        if groups < 1 or count % groups:
            common = [str(g) for g in range(1, max(counts) + 1) if not any(c % g for c in counts)]
            problem = (
                f"groups={groups} does not divide {what}, which are {count}"
                f"\n  what fits: groups={' or '.join(common[:6])}"
            )
            raise fail(ShapeError, name, [x, weight], problem)


def _mismatch(x: Node, weight: Node, rank: int, groups: int) -> str:
    """Why a convolution's channels do not fit, and what would."""
    channels, filters = x.shape[-rank - 1], weight.shape[0]
    expected, taps = weight.shape[1], ", ".join(map(str, weight.shape[2:]))
    assert isinstance(channels, int) and isinstance(filters, int) and isinstance(expected, int)
    share = f" in each of {groups} groups" if groups > 1 else ""
    offers = _channels_first(x, rank, expected * groups)
    if expected and channels % expected == 0 and filters % (channels // expected) == 0:
        offers.append(f"groups={channels // expected}")
    offers.append(f"a weight of shape ({filters}, {channels // groups}, {taps})")
    return (
        f"the filters expect {expected} channels{share} (axis 1 of the weight), the input has "
        f"{channels} (its axis {len(x.shape) - rank - 1})\n  what fits: {', or '.join(offers)}"
    )


def _channels_first(x: Node, rank: int, channels: int) -> list[str]:
    """The offer to bring the last axis forward, where the channels may stand there."""
    if x.shape[-1] != channels:
        return []
    return [f"moveaxis(x, -1, {len(x.shape) - rank - 1}), if its channels are the last axis"]


def _split(weight: Node, groups: int) -> Node:
    """The filters of each group: a view."""
    each = number("split", weight, 0) // groups
    return reshape(weight, (groups, each, *weight.shape[1:]))
