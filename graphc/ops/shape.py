"""Ops that arrange the same elements on other axes: reshape, transpose, broadcast and their kin."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

from graphc.errors import DTypeError, ShapeError
from graphc.graph.node import Node, operators
from graphc.ops.index import Affine, Index, affine, index
from graphc.ops.make import fail, fill, place
from graphc.ops.scalar import argument
from graphc.ops.signature import Resolved
from graphc.types import Extent, Shape, TensorType, numbers

X = argument("x")


def move(
    name: str, x: Node, reads: Index, writes: Index, domain: dict[str, Extent], shape: Shape
) -> Node:
    """result[writes] += x[reads] over the domain: the one formula behind every op of shapes."""
    plain = all(isinstance(e, Affine) and e.plain for e in writes)
    how = "any" if x.dtype == "bool" and not plain else "sum"
    return place(
        name, (X,), X, Resolved((reads,), writes, tuple(domain.items()), shape), [x], how, x.dtype
    )


def axis_of(name: str, x: Node, axis: int, rank: int | None = None) -> int:
    """An axis counted from 0. Raises ShapeError where x (or an operand of `rank`) has no such.

    Raises DTypeError for what is no whole number.
    """
    rank = x.type.rank if rank is None else rank
    try:
        axis = operator.index(axis)
    except TypeError:
        raise fail(DTypeError, name, [x], f"axis {axis!r} is no whole number") from None
    if not -rank <= axis < rank:
        raise fail(ShapeError, name, [x], f"axis {axis} is not in [{-rank}, {rank})")
    return int(axis % rank)


def axes_of(name: str, x: Node, axes: Any, rank: int | None = None) -> list[int]:
    """Distinct axes counted from 0, in the order given."""
    several = isinstance(axes, Iterable) and not isinstance(axes, str)
    found = [axis_of(name, x, a, rank) for a in (axes if several else [axes])]
    if len(set(found)) < len(found):
        raise fail(ShapeError, name, [x], f"axes {axes} name an axis twice")
    return found


def number(name: str, x: Node, axis: int) -> int:
    """An axis's extent, which must be a number."""
    extent = x.shape[axis]
    if not isinstance(extent, int):
        at = axis % x.type.rank
        problem = f"axis {at} has the run-time extent {extent!r}; this needs a number there"
        raise fail(ShapeError, name, [x], problem)
    return extent


def letters(rank: int) -> list[str]:
    """One index name per axis."""
    return [f"i{axis}" for axis in range(rank)]


# --- reshape --------------------------------------------------------------------------------


def reshape(x: Node, shape: int | Sequence[Extent]) -> Node:
    """The same elements in row-major order on the axes of `shape`.

    result[j] = x[i] where both have the same row-major position. One extent may be -1: it follows
    from the others. Any dtype. Axes that are only merged are one write at a compound index
    (`c*H*W + h*W + w`), axes that are only divided one read; else merge, then divide.

    A run-time extent (a name) stays an axis by itself, with as many elements before and after it.
    Raises ShapeError where the element counts differ or a named axis would be merged or divided.
    Source: numpy.reshape, order "C".
    """
    given = numbers(shape)
    target = _inferred(x, given)
    if target == x.shape:
        return x
    if 0 in target or 0 in x.shape:
        return fill(0, TensorType(x.dtype, target), "reshape")
    groups = _groups(x, target)
    if any(len(source) > 1 and len(result) > 1 for source, result in groups):
        return reshape(reshape(x, [_product(x.shape, source) for source, _ in groups]), target)
    reads: list[Affine] = [Affine()] * len(x.shape)
    writes: dict[int, Affine] = {}
    extents: dict[str, Extent] = {}
    for source, result in groups:
        many, shape_of = (source, x.shape) if len(source) > 1 else (result, target)
        names = [f"i{len(extents) + k}" for k in range(len(many))]
        extents |= {n: shape_of[axis] for n, axis in zip(names, many, strict=True)}
        merged = row_major(names, [shape_of[axis] for axis in many])
        single = [index(n) for n in names]
        for axis, e in zip(source, single if len(source) > 1 else [merged], strict=True):
            reads[axis] = e
        for axis, e in zip(result, [merged] if len(source) > 1 else single, strict=True):
            writes[axis] = e
    for axis in range(len(target)):
        if axis not in writes:
            writes[axis] = index(f"i{len(extents)}")
            extents[f"i{len(extents)}"] = 1
    ordered = tuple(writes[axis] for axis in range(len(target)))
    domain = {n: extents[n] for e in ordered for n in sorted(e.names, key=lambda n: int(n[1:]))}
    return move("reshape", x, tuple(reads), ordered, domain, target)


def row_major(names: Sequence[str], extents: Sequence[Extent]) -> Affine:
    """The row-major position over indices of these extents: `c*H*W + h*W + w`."""
    terms, step = [], 1
    for name, extent in zip(reversed(names), reversed(extents), strict=True):
        terms.append((name, step))
        step = step * extent if isinstance(extent, int) else step
    return affine(terms)


def _product(shape: Shape, axes: Sequence[int]) -> Extent:
    first = shape[axes[0]]
    if isinstance(first, str):
        return first
    return math.prod(e for e in (shape[a] for a in axes) if isinstance(e, int))


def _inferred(x: Node, given: Shape) -> Shape:
    """The target shape with -1 replaced."""
    if given.count(-1) > 1:
        raise fail(ShapeError, "reshape", [x], f"shape {given} has more than one -1")
    names = list(x.type.symbols)
    have = math.prod(e for e in x.shape if isinstance(e, int))
    want = math.prod(e for e in given if isinstance(e, int) and e != -1)
    missing = [n for n in names if n not in given]
    unknown = [e for e in given if isinstance(e, str) and e not in names]
    if -1 in given and not unknown:
        at = given.index(-1)
        free: Extent | None = None
        if missing and have == want:
            free = missing.pop()
        elif not missing and want and have % want == 0:
            free = have // want
        if free is not None and not missing:
            return (*given[:at], free, *given[at + 1 :])
    elif not missing and not unknown and have == want:
        return given
    hint = f"; the run-time extent {names[0]!r} must stay an axis by itself" if names else ""
    counts = f"{_text(x.shape)} elements against {_text(given)}{hint}{_near(x, given)}"
    raise fail(ShapeError, "reshape", [x], f"{x.shape} cannot become {given}: {counts}")


def _near(x: Node, given: Shape) -> str:
    """The end of an error: the shapes that fit and differ from the given one in one extent."""
    have = math.prod(e for e in x.shape if isinstance(e, int))
    names, wanted = list(x.type.symbols), [e for e in given if isinstance(e, str)]
    found: list[Shape] = []
    for axis in range(len(given)):
        others = [*given[:axis], *given[axis + 1 :]]
        size, own = _count(tuple(e for e in others if e != -1)), given[axis]
        if -1 in others and isinstance(own, int) and not names and not wanted and size:
            near = (d for by in range(1, own) for d in (own - by, own + by))
            found += [
                (*given[:axis], d, *given[axis + 1 :]) for d in near if have % (size * d) == 0
            ][:1]
        if -1 in others:
            continue
        if [e for e in others if isinstance(e, str)] == names and size and have % size == 0:
            found.append((*given[:axis], have // size, *given[axis + 1 :]))
        elif names and not wanted and size == have:
            found.append((*given[:axis], names[0], *given[axis + 1 :]))
    found += [(*names, *given)] if not wanted and names and _count(given) == have else []
    return f"\n  what fits: {', or '.join(map(str, dict.fromkeys(found)))}" if found else ""


def _count(shape: Shape) -> int:
    return math.prod(e for e in shape if isinstance(e, int))


def _text(shape: Shape) -> str:
    number = math.prod(e for e in shape if isinstance(e, int) and e != -1)
    names = "".join(f"*{e}" for e in shape if isinstance(e, str))
    return f"{number}{names}" + ("*?" if -1 in shape else "")


def _groups(x: Node, target: Shape) -> list[tuple[list[int], list[int]]]:
    """The smallest runs of axes, of extent other than 1, that hold the same elements."""
    source = [a for a, e in enumerate(x.shape) if e != 1]
    result = [a for a, e in enumerate(target) if e != 1]
    groups = []
    i = j = 0
    while i < len(source):
        first = i, j
        a, b = x.shape[source[i]], target[result[j]]
        i, j = i + 1, j + 1
        while a != b:
            if isinstance(a, str) or isinstance(b, str):
                raise fail(
                    ShapeError, "reshape", [x],
                    f"{x.shape} cannot become {target}: the run-time extent "
                    f"{a if isinstance(a, str) else b!r} must stay an axis by itself, "
                    "the leading one where it leads",
                )  # fmt: skip
            if a < b:
                a, i = _times(a, x.shape[source[i]]), i + 1
            else:
                b, j = _times(b, target[result[j]]), j + 1
        groups.append((source[first[0] : i], result[first[1] : j]))
    return groups


def _times(count: int, extent: Extent) -> Extent:
    return count * extent if isinstance(extent, int) else extent


def flatten(x: Node, start_axis: int = 0, end_axis: int = -1) -> Node:
    """The axes start_axis to end_axis, inclusive, merged into one in row-major order.

    (n, c, h, w) with start_axis=1 becomes (n, c*h*w), written at c*H*W + h*W + w. Any dtype; a
    scalar becomes one element. A run-time extent can be kept but not merged: ShapeError.
    Source: torch.flatten.
    """
    if not x.shape:
        return reshape(x, (1,))
    start, end = axis_of("flatten", x, start_axis), axis_of("flatten", x, end_axis)
    if start > end:
        raise fail(ShapeError, "flatten", [x], f"start axis {start} comes after end axis {end}")
    if start == end:
        return x
    merged = x.shape[start : end + 1]
    if any(isinstance(e, str) for e in merged) and sum(e != 1 for e in merged) > 1:
        problem = f"axes {start} to {end} have extents {merged}: a run-time extent cannot be merged"
        raise fail(ShapeError, "flatten", [x], f"{problem}; start after it")
    size: Extent | None = next((e for e in merged if isinstance(e, str)), None)
    size = size or _product(merged, range(len(merged)))
    return reshape(x, (*x.shape[:start], size, *x.shape[end + 1 :]))


def squeeze(x: Node, axis: int | Sequence[int] | None = None) -> Node:
    """x without the given axes of extent 1 (None: without all of them).

    Any dtype. Raises ShapeError where a named axis has another extent. Source: numpy.squeeze.
    """
    axes = [a for a, e in enumerate(x.shape) if e == 1]
    if axis is not None:
        axes = axes_of("squeeze", x, axis)
        for a in axes:
            if x.shape[a] != 1:
                raise fail(ShapeError, "squeeze", [x], f"axis {a} has extent {x.shape[a]}, not 1")
    return reshape(x, [e for a, e in enumerate(x.shape) if a not in axes])


def expand_dims(x: Node, axis: int | Sequence[int]) -> Node:
    """x with new axes of extent 1, at these places of the result. Source: numpy.expand_dims."""
    rank = x.type.rank + len(numbers(axis))
    axes = axes_of("expand_dims", x, axis, rank)
    rest = iter(x.shape)
    return reshape(x, [1 if a in axes else next(rest) for a in range(rank)])


# --- the order of axes ----------------------------------------------------------------------


def transpose(x: Node, *axes: int | Sequence[int]) -> Node:
    """result[i_axes[0], i_axes[1], ...] = x[i0, i1, ...]; without axes, their order reversed.

    Any shape and dtype. Raises ShapeError unless `axes` names every axis once. Source:
    numpy.transpose.
    """
    wanted: list[int] = []
    for a in axes:
        wanted += numbers(a)
    rank = x.type.rank
    order = axes_of("transpose", x, wanted) if axes else list(reversed(range(rank)))
    if len(order) != rank:
        raise fail(ShapeError, "transpose", [x], f"axes {tuple(wanted)} must name all {rank} axes")
    if order == list(range(rank)):
        return x
    names = letters(rank)
    domain = {names[a]: x.shape[a] for a in order}
    shape = tuple(x.shape[a] for a in order)
    reads = tuple(index(n) for n in names)
    return move("transpose", x, reads, tuple(index(names[a]) for a in order), domain, shape)


def _matrix_transpose(x: Node) -> Node:
    """x.T."""
    if x.type.rank != 2:
        problem = (
            f"takes two axes, not the {x.type.rank} of {x.type}; graphc.swapaxes(x, -1, -2) "
            "exchanges the last two, graphc.permute(x, ...) gives any order"
        )
        raise fail(ShapeError, ".T", [x], problem)
    return transpose(x)


operators["T"] = _matrix_transpose


def permute(x: Node, *axes: int | Sequence[int]) -> Node:
    """transpose under the name that torch has for it; all axes must be given."""
    if not axes and x.shape:
        raise fail(ShapeError, "permute", [x], "all axes must be given")
    return transpose(x, *axes)


def swapaxes(x: Node, first: int, second: int) -> Node:
    """x with two of its axes exchanged. Source: numpy.swapaxes."""
    a, b = axis_of("swapaxes", x, first), axis_of("swapaxes", x, second)
    order = list(range(x.type.rank))
    order[a], order[b] = b, a
    return transpose(x, order)


def moveaxis(x: Node, source: int | Sequence[int], target: int | Sequence[int]) -> Node:
    """x with the source axes at the target places, the others in their order.

    Raises ShapeError unless as many places as axes are given. Source: numpy.moveaxis.
    """
    moved, places = axes_of("moveaxis", x, source), axes_of("moveaxis", x, target)
    if len(moved) != len(places):
        raise fail(ShapeError, "moveaxis", [x], f"{len(moved)} axes, but {len(places)} places")
    at = dict(zip(places, moved, strict=True))
    rest = iter(a for a in range(x.type.rank) if a not in moved)
    return transpose(x, [at[a] if a in at else next(rest) for a in range(x.type.rank)])


def broadcast_to(x: Node, shape: Sequence[Extent]) -> Node:
    """x repeated along its axes of extent 1, and along new leading axes, up to `shape`.

    result[..., i] = x[i or 0]. Any dtype; an extent of `shape` may be a name. Raises ShapeError
    where an axis of x is neither 1 nor as wanted. Source: numpy.broadcast_to.
    """
    target = tuple(shape)
    new = len(target) - x.type.rank
    if new < 0 or any(e not in (1, t) for e, t in zip(x.shape, target[max(new, 0) :], strict=True)):
        problem = f"{x.shape} does not broadcast to {target}: it has more axes"
        for axis, (e, t) in enumerate(zip(x.shape, target[max(new, 0) :], strict=False)):
            if new >= 0 and e not in (1, t):
                problem = f"{x.shape} does not broadcast to {target}: axis {axis} has {e}"
                problem += f"\n  what fits: 1 or {t} there" if t != 1 else ", not 1"
        raise fail(ShapeError, "broadcast_to", [x], problem)
    if target == x.shape:
        return x
    names = letters(len(target))
    reads = tuple(
        Affine() if e == 1 and t != 1 else index(n)
        for e, t, n in zip(x.shape, target[new:], names[new:], strict=True)
    )
    domain = dict(zip(names, target, strict=True))
    return move("broadcast_to", x, reads, tuple(map(index, names)), domain, target)
