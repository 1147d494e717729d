"""Borders: zeros around a value that lies within a bordered copy of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphc.graph.node import Node
from graphc.loops.ir import Access, For, Stmt, Update
from graphc.loops.lowering import Lowering
from graphc.loops.place import bound
from graphc.ops import scalar
from graphc.ops.index import Affine, index
from graphc.passes import layout
from graphc.passes.inlay import Axis, axes_of
from graphc.types import Extent


def border(lowering: Lowering, copy: Node) -> tuple[Stmt, ...]:
    """Zeros before the value that lies within a copy, between its rows, and after it.

    for n: {                                                        32x32 elements within 34x34
        for k in 0..35: y[1156*n + k] = 0
        for h in 0..31: for k in 0..2: y[1156*n + 34*h + k + 67] = 0
        for k in 0..35: y[1156*n + k + 1121] = 0
    }
    """
    axes = axes_of(copy)
    first = next(a for a, axis in enumerate(axes) if axis.before or axis.after)
    outside = [a for a, axis in enumerate(axes) if a < first or isinstance(axis.inside, str)]
    letters = {a: lowering.fresh("k") for a in outside}
    corner = tuple(index(letters[a]) if a in letters else Affine() for a in range(len(axes)))
    place = lowering.access(copy, corner)
    lowering.origins[place.buffer.name] = copy
    body = runs(lowering, place, [axis for a, axis in enumerate(axes) if a not in letters])
    return loops([(letter, axes[a].inside) for a, letter in letters.items()], body)


def runs(lowering: Lowering, place: Access, axes: Sequence[Axis]) -> tuple[Stmt, ...]:
    """The zeros on axes of known extents, run by run.

    What follows a row, and what precedes the next one, lie side by side.
    """
    shape = tuple(axis.before + int(axis.inside) + axis.after for axis in axes)
    strides = layout.strides(shape)
    before, after = ends(axes, strides)
    result = cleared(lowering, place, before)
    for depth, stride in enumerate(strides):
        head, tail = ends(axes[depth + 1 :], strides[depth + 1 :])
        rows: list[tuple[str, Extent]] = []
        start = place.offset + stride - tail
        for axis, step in zip(axes[: depth + 1], strides, strict=False):
            rows.append((lowering.fresh("k"), axis.inside))
            start = start + (index(rows[-1][0]) + axis.before) * step
        rows[-1] = (rows[-1][0], int(axes[depth].inside) - 1)
        between = cleared(lowering, replace(place, offset=start), tail + head)
        result = (*result, *loops(rows, between))
    end = place.offset + strides[0] * shape[0] - after
    return (*result, *cleared(lowering, replace(place, offset=end), after))


def ends(axes: Sequence[Axis], strides: Sequence[int]) -> tuple[int, int]:
    """Elements before the first of the value, and after its last, in a row of some axes."""
    sizes = [
        (axis.before * step, axis.after * step) for axis, step in zip(axes, strides, strict=True)
    ]
    return sum(before for before, _ in sizes), sum(after for _, after in sizes)


def cleared(lowering: Lowering, place: Access, count: int) -> tuple[Stmt, ...]:
    """So many zeros from a place on."""
    letter = lowering.fresh("k")
    target = replace(place, offset=place.offset + index(letter))
    return loops([(letter, count)], (Update(target, scalar.ZERO, ()),))


def loops(around: Sequence[tuple[str, Extent]], body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """Loops around a body, where all of them have a step."""
    if not body or any(extent == 0 for _, extent in around):
        return ()
    for letter, extent in reversed(around):
        body = (For(letter, 0, bound(extent), 1, "serial", body),)
    return body
