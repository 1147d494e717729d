"""Windows that slide over spatial axes: extents, paddings, and the texts of what does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphc.errors import ShapeError, UnsupportedOpError
from graphc.graph.node import Node
from graphc.ops.make import apply, fail
from graphc.ops.scalar import argument
from graphc.types import numbers, whole

SPACE = {1: ("w",), 2: ("h", "w"), 3: ("d", "h", "w")}
TAPS = {1: ("s",), 2: ("r", "s"), 3: ("q", "r", "s")}
Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A window of `size` that moves over an input of `over`, axis by axis."""

    kind: str
    over: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[Pair, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """What the window spans, its dilation included."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.size, self.dilation, strict=True))

    @property
    def room(self) -> tuple[int, ...]:
        """How far the window can move within the padded input."""
        sides = zip(self.over, self.padding, self.reach, strict=True)
        return tuple(n + low + high - reach for n, (low, high), reach in sides)

    @property
    def rest(self) -> tuple[int, ...]:
        """What the last step of each axis falls short of the end."""
        return tuple(room % step for room, step in zip(self.room, self.stride, strict=True))

    @property
    def positions(self) -> tuple[int, ...]:
        """How often the window fits, a rest dropped."""
        return tuple(room // step + 1 for room, step in zip(self.room, self.stride, strict=True))

    @property
    def positions_with_rest(self) -> tuple[int, ...]:
        """How often it fits with a last, shorter one for the rest, which must start inside."""
        counts = []
        for axis, (room, step) in enumerate(zip(self.room, self.stride, strict=True)):
            count = -(-room // step) + 1
            inside = self.over[axis] + self.padding[axis][0]
            counts.append(count - 1 if (count - 1) * step >= inside else count)
        return tuple(counts)


def known(name: str, options: Mapping[str, object], kind: type) -> None:
    """Refuse a keyword that the TypedDict of an op's options does not have."""
    for key in options:
        if key not in kind.__annotations__:
            has = ", ".join(kind.__annotations__)
            hint = ""
            if key == "ceil_mode" and "floor" in kind.__annotations__:
                hint = "; floor=True drops what the last stride does not reach (pools have both)"
            raise fail(UnsupportedOpError, name, [], f"no keyword {key!r}; it has: {has}{hint}")


def per_axis(name: str, x: Node, what: str, value: Any, rank: int, least: int) -> tuple[int, ...]:
    """One number for each spatial axis, from a number or a sequence of them."""
    values = numbers(value) if isinstance(value, Sequence) else (whole(value),) * rank
    right = all(isinstance(v, int) and not isinstance(v, bool) for v in values)
    if not right or len(values) != rank or min(values) < least:
        problem = f"{what}={value!r} must be a number of at least {least}, or {rank} of them"
        raise fail(ShapeError, name, [x], problem)
    return values


def spatial(name: str, x: Node, rank: int) -> tuple[int, ...]:
    """The extents of the last `rank` axes of an image with channels, with or without a batch."""
    if len(x.shape) not in (rank + 1, rank + 2):
        layout = " ".join(SPACE[rank])
        problem = (
            f"takes (n c {layout}) or (c {layout}), {rank + 2} or {rank + 1} axes, "
            f"not the {len(x.shape)} axes of {x.type}"
        )
        raise fail(ShapeError, name, [x], problem)
    named = [e for e in x.shape[-rank:] if isinstance(e, str)]
    if named:
        problem = f"the spatial extent {named[0]!r} is known only at run time; it must be a number"
        raise fail(ShapeError, name, [x], problem)
    return tuple(int(e) for e in x.shape[-rank:])


def padding_of(
    name: str,
    x: Node,
    padding: Any,
    window: Window,
) -> tuple[Pair, ...]:
    """The padding before and after each axis, from a number, numbers, pairs, "same" or "valid".

    "same" gives ceil(extent / stride) positions, the odd element of padding at the end.
    """
    rank = len(window.over)
    if padding == "valid":
        return ((0, 0),) * rank
    if padding == "same":
        pairs = []
        for n, reach, step in zip(window.over, window.reach, window.stride, strict=True):
            total = max((-(-n // step) - 1) * step + reach - n, 0)
            pairs.append((total // 2, total - total // 2))
        return tuple(pairs)
    if isinstance(padding, str):
        problem = f"padding={padding!r} is neither a number, nor 'same', nor 'valid'"
        raise fail(ShapeError, name, [x], problem)
    if isinstance(padding, Sequence) and any(isinstance(p, Sequence) for p in padding):
        if len(padding) != rank or any(not isinstance(p, Sequence) for p in padding):
            problem = f"padding={padding!r} must be {rank} pairs"
            raise fail(ShapeError, name, [x], problem)
        low, high = (
            per_axis(name, x, "padding", [p[side] for p in padding], rank, 0) for side in (0, -1)
        )
        return tuple(zip(low, high, strict=True))
    return tuple((p, p) for p in per_axis(name, x, "padding", padding, rank, 0))


def slide(
    name: str,
    operands: Sequence[Node],
    kind: str,
    size: tuple[int, ...],
    *,
    stride: Any,
    padding: Any,
    dilation: Any,
    floor: bool,
    ceil: bool = False,
) -> Window:
    """The window over the first operand. Raises ShapeError where it does not fit a whole number."""
    x, rank = operands[0], len(size)
    over = spatial(name, x, rank)
    window = Window(
        kind,
        over,
        size,
        per_axis(name, x, "stride", stride, rank, 1),
        per_axis(name, x, "dilation", dilation, rank, 1),
        ((0, 0),) * rank,
    )
    pairs = padding_of(name, x, padding, window)
    window = Window(kind, over, size, window.stride, window.dilation, pairs)
    if min(size) < 1:
        raise fail(ShapeError, name, operands, f"the {kind} {sizes(size)} is empty")
    if min(window.room) < 0 or (any(window.rest) and not floor and not ceil and padding != "same"):
        raise fail(ShapeError, name, operands, misfit(window))
    return window


def misfit(window: Window) -> str:
    """Why a window does not fit, with the arithmetic of the first axis, and what would."""
    short = min(window.room) < 0
    axis = next(i for i, room in enumerate(window.room) if (room < 0 if short else window.rest[i]))
    how = []
    if window.reach != window.size:
        how.append(f"dilation {_short(window.dilation)}")
    if not short:
        how.append(f"stride {_short(window.stride)}")
    low, high = window.padding[axis]
    added = f" + 2*{low}" if low == high else f" + {low} + {high}"
    have = f"{window.over[axis]}{added if low or high else ''}"
    reach = window.reach[axis]
    head = f"cannot apply a {sizes(window.size)} {window.kind} to a {sizes(window.over)} input"
    head += f" with {' and '.join(how)}" if how else ""
    if short:
        return f"{head}: it spans {reach}, the input {have}{remedies(window)}"
    drop = "; floor=True drops the rest" + "; ceil_mode=True keeps it" * (window.kind == "window")
    sum_text = f"({have} - {reach})/{window.stride[axis]}"
    return f"{head}: {sum_text} is not a whole number{remedies(window)}{drop}"


def remedies(window: Window) -> str:
    """The paddings and strides, one number for all axes, with which a window would fit."""

    def fits(padding: int | None = None, stride: int | None = None) -> bool:
        pairs = window.padding if padding is None else ((padding, padding),) * len(window.over)
        steps = window.stride if stride is None else (stride,) * len(window.over)
        other = Window(window.kind, window.over, window.size, steps, window.dilation, pairs)
        return min(other.room) >= 0 and not any(other.rest)

    paddings = [p for p in range(max(window.reach) + 1) if fits(padding=p)][:3]
    strides = [s for s in range(1, max(*window.room, 1, 1) + 1) if fits(stride=s)][:4]
    offers = []
    if paddings:
        offers.append(f"padding={_either(paddings)}")
    if strides:
        offers.append(f"stride={_either(strides)}")
    return f"\n  what fits: {', or '.join(offers)}" if offers else ""


def _either(numbers: list[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} or {last}" if first else last


def sizes(extents: Sequence[int]) -> str:
    """Extents as text, 3x3; a single one as length-3."""
    return "x".join(map(str, extents)) if len(extents) > 1 else f"length-{extents[0]}"


def _short(numbers: Sequence[int]) -> str:
    """Strides and the like as text: one number where all agree."""
    return str(numbers[0]) if len(set(numbers)) == 1 else sizes(numbers)


def zero_pad(x: Node, pairs: Sequence[Pair]) -> Node:
    """x with zeros before and after its last axes."""
    if not any(low or high for low, high in pairs):
        return x
    names = SPACE[len(pairs)]
    written = " ".join(f"{n}+{low}" for n, (low, _) in zip(names, pairs, strict=True))
    fixed = len(x.shape) - len(pairs)
    grown = [
        int(extent) + low + high for extent, (low, high) in zip(x.shape[fixed:], pairs, strict=True)
    ]
    symbol = argument("x")
    return apply(
        "pad",
        f"... {' '.join(names)} -> ... {written}",
        (symbol,),
        symbol,
        [x],
        shape=(*x.shape[:fixed], *grown),
        dtype=x.dtype,
    )


def crop(x: Node, starts: Sequence[int], extents: Sequence[int]) -> Node:
    """The part of x's last axes that begins at `starts`."""
    fixed = len(x.shape) - len(starts)
    if not any(starts) and x.shape[fixed:] == tuple(extents):
        return x
    names = SPACE[len(starts)]
    read = " ".join(f"{n}+{start}" for n, start in zip(names, starts, strict=True))
    symbol = argument("x")
    return apply(
        "crop",
        f"... {read} -> ... {' '.join(names)}",
        (symbol,),
        symbol,
        [x],
        extents=dict(zip(names, extents, strict=True)),
        dtype=x.dtype,
    )
