"""What would fit: the changes to operands with which a signature that has no solution has one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import prod
from typing import Any

from graphc.errors import ShapeError
from graphc.ops.signature import Signature, solve
from graphc.types import Extent, Shape

MOST = 3
"""As many offers are made."""


def remedies(
    signature: Signature,
    names: Sequence[str],
    shapes: tuple[Shape, ...],
    attributes: Mapping[str, int] | None = None,
    **options: Any,
) -> str:
    """The end of a ShapeError: what to do to one operand, each offer tried; "" where none is found.

    First other arrangements of the elements that an operand has, else other extents of one axis.
    """

    def fits(number: int, shape: Shape) -> bool:
        trial = (*shapes[:number], shape, *shapes[number + 1 :])
        try:
            solve(signature, trial, attributes or {}, **options)
        except ShapeError:
            return False
        return True

    rank = max(map(len, shapes), default=0)
    extents = {e: None for shape in shapes for e in shape} | {1: None}
    pairs = sorted(enumerate(zip(names, shapes, strict=False)), key=lambda pair: len(pair[1][1]))
    views = [(i, *change) for i, (n, shape) in pairs for change in arranged(n, shape, rank)]
    others = [(i, *change) for i, (n, shape) in pairs for change in resized(n, shape, extents)]
    for changes in (views, others):
        offers = [text for number, text, shape in changes if fits(number, shape)]
        if offers:
            return f"\n  what fits: {', or '.join(offers[:MOST])}"
    return ""


def unlike(names: Sequence[str], shapes: Sequence[Shape]) -> str:
    """Why two operands do not have one shape: the axis where they differ, and what would fit."""
    (a, b), (one, other) = names, shapes
    if len(one) != len(other):
        where = f"{a} has {len(one)} axes, {b} has {len(other)}"
    else:
        axis = next(i for i, (e, f) in enumerate(zip(one, other, strict=True)) if e != f)
        where = f"axis {axis} of {a} has the extent {one[axis]}, that of {b} {other[axis]}"
    offers = [*becoming(a, one, other), *becoming(b, other, one)]
    return where + (f"\n  what fits: {', or '.join(offers[:MOST])}" if offers else "")


def becoming(name: str, shape: Shape, wanted: Shape) -> list[str]:
    """What makes an operand one of another shape, of the same elements."""
    found = [text for text, other in arranged(name, shape, len(wanted)) if other == wanted]
    if found and len(shape) < len(wanted):
        axis = next((i for i, e in enumerate(shape) if e != wanted[i]), len(shape))
        found = [f"{found[0]}, which is {name}[{':, ' * axis}None]"]
    fixed, free = ([e for e in s if isinstance(e, int)] for s in (shape, wanted))
    named, left = ([e for e in s if isinstance(e, str)] for s in (shape, wanted))
    if not found and named == left and prod(fixed) == prod(free):
        found = [f"reshape({name}, ({', '.join(map(repr, wanted))}{',' * (len(wanted) == 1)}))"]
    return found[:1]


def arranged(name: str, shape: Shape, rank: int) -> Iterator[tuple[str, Shape]]:
    """The operand with an axis of extent 1 more or less, or with two axes exchanged."""
    if len(shape) < rank:
        for axis in range(1, len(shape) + 1):
            yield f"expand_dims({name}, {axis})", (*shape[:axis], 1, *shape[axis:])
    for axis, extent in enumerate(shape):
        if extent == 1:
            yield f"squeeze({name}, {axis})", (*shape[:axis], *shape[axis + 1 :])
    for i, j in combinations(range(len(shape)), 2):
        if shape[i] != shape[j]:
            swapped = list(shape)
            swapped[i], swapped[j] = shape[j], shape[i]
            text = f"{name}.T" if len(shape) == 2 else f"swapaxes({name}, {i}, {j})"
            yield text, tuple(swapped)


def resized(name: str, shape: Shape, extents: Mapping[Extent, None]) -> Iterator[tuple[str, Shape]]:
    """The operand with one axis of another extent that occurs."""
    for axis, own in enumerate(shape):
        for extent in extents:
            if extent != own:
                other = (*shape[:axis], extent, *shape[axis + 1 :])
                yield f"{name} of shape ({', '.join(map(str, other))})", other
