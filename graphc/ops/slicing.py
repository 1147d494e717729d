"""Ops that take a part of a tensor: slices, flips, splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.errors import IndexError, ShapeError
from graphc.graph.node import Node, operators
from graphc.ops.gather import gather
from graphc.ops.index import Affine, affine, index
from graphc.ops.make import fail
from graphc.ops.shape import axes_of, axis_of, move, number
from graphc.types import Extent, whole


def getitem(x: Node, item: Any) -> Node:
    """x[item]: result[i] = x[start + step*i], one read at an affine index.

    `item` is one of these or a tuple of them: an int takes one element and drops the axis; a slice
    start:stop:step, of any sign, keeps it; None makes a new axis; ... stands for all axes that are
    left; one integer node or array of indices gathers along its axis. Any dtype.

    Raises IndexError, with index, axis and bound, for an int outside [-extent, extent); ShapeError
    for too many axes, and where a run-time extent is taken otherwise than as a whole. Source: the
    basic indexing of numpy.
    """
    items = [whole(e) for e in (item if isinstance(item, tuple) else (item,))]
    used = sum(e is not None and e is not Ellipsis for e in items)
    if sum(e is Ellipsis for e in items) > 1 or used > x.type.rank:
        raise fail(ShapeError, "slice", [x], f"{item!r} has too many entries for {x.shape}")
    at = next((i for i, e in enumerate(items) if e is Ellipsis), len(items))
    items[at : at + 1] = [slice(None)] * (x.type.rank - used)
    reads: list[Affine] = []
    writes: list[Affine] = []
    domain: dict[str, Extent] = {}
    lookup: tuple[int, Any] | None = None
    for e in items:
        name, axis = f"i{len(domain)}", len(reads)
        if e is None:
            domain[name] = 1
        elif isinstance(e, int) and not isinstance(e, bool):
            reads.append(Affine((), _position(x, axis, e)))
            continue
        elif isinstance(e, slice):
            start, step, domain[name] = _bounds(x, axis, e)
            reads.append(affine([(name, step)], start))
        else:
            if lookup is not None:
                raise fail(ShapeError, "slice", [x], "one index node at most; use gather")
            lookup = len(writes), e
            domain[name] = x.shape[axis]
            reads.append(index(name))
        writes.append(index(name))
    shape = tuple(domain.values())
    same = len(reads) == len(writes) and all(r == w for r, w in zip(reads, writes, strict=True))
    if not (same and shape == x.shape):
        x = move("slice", x, tuple(reads), tuple(writes), domain, shape)
    return x if lookup is None else gather(x, lookup[1], axis=lookup[0])


def _position(x: Node, axis: int, position: int) -> int:
    extent = number("slice", x, axis)
    if not -extent <= position < extent:
        raise fail(
            IndexError, "slice", [x],
            f"index {position} on axis {axis} is not in [{-extent}, {extent})",
        )  # fmt: skip
    return position % extent


def _bounds(x: Node, axis: int, part: slice) -> tuple[int, int, Extent]:
    """Where a slice starts, its step, and how many elements it takes."""
    if part == slice(None) or part == slice(None, None, 1):
        return 0, 1, x.shape[axis]
    if part.step == 0:
        raise fail(ShapeError, "slice", [x], f"axis {axis}: a slice's step cannot be 0")
    start, stop, step = part.indices(number("slice", x, axis))
    count = len(range(start, stop, step))
    return (start, step, count) if count else (0, 1, 0)


def part(x: Node, axis: int, part: slice | int) -> Node:
    return getitem(x, (*[slice(None)] * axis, part))


def flip(x: Node, axis: int | Sequence[int] | None = None) -> Node:
    """result[i] = x[N - 1 - i] along the given axes, all of them by default.

    Any dtype. Raises ShapeError for a run-time extent. Source: numpy.flip.
    """
    every = range(x.type.rank) if axis is None else axis
    axes = axes_of("flip", x, every)
    return getitem(
        x, tuple(slice(None, None, -1 if a in axes else None) for a in range(x.type.rank))
    )


def split(x: Node, sizes: int | Sequence[int], axis: int = 0) -> tuple[Node, ...]:
    """x in parts along an axis: as many equal ones as an int says, or parts of the given sizes.

    Any dtype. Raises ShapeError where the parts are not equal, or do not add up to the extent.
    Source: numpy.split with a number of parts, torch.split with a list of sizes.
    """
    axis = axis_of("split", x, axis)
    extent, sizes = number("split", x, axis), whole(sizes)
    if isinstance(sizes, int) and (sizes < 1 or extent % sizes):
        raise fail(ShapeError, "split", [x], f"{extent}/{sizes} is not a whole number of parts")
    each = [extent // sizes] * sizes if isinstance(sizes, int) else list(sizes)
    if sum(each) != extent or any(size < 0 for size in each):
        raise fail(ShapeError, "split", [x], f"sizes {each} do not add up to {extent}")
    ends = [sum(each[: k + 1]) for k in range(len(each))]
    return tuple(part(x, axis, slice(e - s, e)) for e, s in zip(ends, each, strict=True))


def unstack(x: Node, axis: int = 0) -> tuple[Node, ...]:
    """The slices x[k] along an axis, one node each, without that axis. stack undoes it."""
    axis = axis_of("unstack", x, axis)
    return tuple(part(x, axis, k) for k in range(number("unstack", x, axis)))


operators["__getitem__"] = getitem
