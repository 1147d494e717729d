"""Ops that put tensors together along an axis: joins, copies, padding."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import sympy

from graphc.errors import DTypeError, ShapeError
from graphc.graph.node import Node, operators
from graphc.ops import scalar
from graphc.ops.create import made
from graphc.ops.index import Affine, affine, index
from graphc.ops.make import as_nodes, fail
from graphc.ops.shape import axis_of, letters, move, number, reshape
from graphc.ops.slicing import part
from graphc.types import Extent, numbers, promote, whole


def _joined(name: str, operands: Sequence[Any], least: int) -> tuple[list[Node], int]:
    """Operands as nodes of one dtype and rank, and that rank."""
    nodes = as_nodes(list(operands))
    if len(nodes) < 1:
        raise fail(ShapeError, name, nodes, "at least one operand expected")
    if len({n.dtype for n in nodes}) > 1:
        raise fail(
            DTypeError, name, nodes,
            f"one dtype expected; cast the operands to {promote(*(n.dtype for n in nodes))}",
        )  # fmt: skip
    rank = nodes[0].type.rank
    if any(n.type.rank != rank for n in nodes) or rank < least:
        raise fail(ShapeError, name, nodes, _ranks(nodes, least))
    return nodes, rank


def _ranks(nodes: Sequence[Node], least: int) -> str:
    """Why the ranks of operands do not fit, and what would."""
    ranks = [n.type.rank for n in nodes]
    most = max(*ranks, least)
    low = next(k for k, rank in enumerate(ranks) if rank < most)
    return (
        f"operands of one rank, at least {least}, expected; operand {low} has {ranks[low]} axes"
        f"\n  what fits: expand_dims or reshape it to {most} axes"
    )


def _union(parts: Sequence[Node]) -> Node:
    """The sum of tensors of which at most one is not 0 at each place."""
    return reduce(operators["__or__" if parts[0].dtype == "bool" else "__add__"], parts)


def _written(name: str, x: Node, axis: int, offset: int, size: int) -> Node:
    """x as a part of a tensor of `size` along an axis, 0 elsewhere: written at i + offset."""
    names = letters(x.type.rank)
    reads = tuple(map(index, names))
    writes = tuple(e + offset if a == axis else e for a, e in enumerate(reads))
    shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
    return move(name, x, reads, writes, dict(zip(names, x.shape, strict=True)), shape)


def concat(operands: Sequence[Any], axis: int = 0) -> Node:
    """result[i + offset_k] += operands[k][i]: the operands one after the other along an axis.

    Nodes or arrays of one dtype (any), whose other axes agree. Each is written where no other is,
    so a NaN or an infinity stays in its place. Raises ShapeError or DTypeError with the operands'
    types where they do not fit; ShapeError for a run-time extent along `axis`. Source:
    numpy.concatenate.
    """
    nodes, _ = _joined("concat", operands, 1)
    axis = axis_of("concat", nodes[0], axis)
    for k, node in enumerate(nodes):
        wrong = [a for a in _differing([nodes[0], node]) if a != axis]
        if wrong:
            fitting = (*nodes[0].shape[:axis], node.shape[axis], *nodes[0].shape[axis + 1 :])
            way = _joint_axes(nodes) or f"\n  what fits: operand {k} of shape {fitting}"
            problem = (
                f"all axes but {axis} must agree: operand 0 has the extent "
                f"{nodes[0].shape[wrong[0]]} on axis {wrong[0]}, operand {k} has "
                f"{node.shape[wrong[0]]}{way}"
            )
            raise fail(ShapeError, "concat", nodes, problem)
    if len(nodes) == 1:
        return nodes[0]
    extents = [number("concat", node, axis) for node in nodes]
    offsets = [sum(extents[:k]) for k in range(len(nodes))]
    parts = [
        _written("concat", node, axis, offset, sum(extents))
        for node, offset, size in zip(nodes, offsets, extents, strict=True)
        if size
    ]
    return _union(parts) if parts else nodes[0]


def _differing(nodes: Sequence[Node]) -> list[int]:
    """The axes on which nodes of one rank have different extents."""
    return [
        a for a, each in enumerate(zip(*(n.shape for n in nodes), strict=True)) if len({*each}) > 1
    ]


def _joint_axes(nodes: Sequence[Node]) -> str:
    """The end of an error: the axis along which all the nodes can be joined, if there is one."""
    found = _differing(nodes)
    if len(found) != 1:
        return ""
    return f"\n  what fits: concat along axis={found[0]}, where alone they differ"


def stack(operands: Sequence[Any], axis: int = 0) -> Node:
    """result[i, k, j] = operands[k][i, j]: operands of one type side by side on a new axis.

    Raises ShapeError or DTypeError where they differ. Source: numpy.stack.
    """
    nodes, rank = _joined("stack", operands, 0)
    axis = axis_of("stack", nodes[0], axis, rank + 1)
    if wrong := _differing(nodes):
        extents = " and ".join(str(e) for e in dict.fromkeys(n.shape[wrong[0]] for n in nodes))
        problem = f"operands of one shape expected: axis {wrong[0]} has the extents {extents}"
        raise fail(ShapeError, "stack", nodes, problem + _joint_axes(nodes))
    names = letters(rank)
    reads = tuple(map(index, names))
    shape = (*nodes[0].shape[:axis], len(nodes), *nodes[0].shape[axis:])
    domain = dict(zip(names, nodes[0].shape, strict=True))
    return _union(
        [
            move("stack", n, reads, (*reads[:axis], Affine((), k), *reads[axis:]), domain, shape)
            for k, n in enumerate(nodes)
        ]
    )


def roll(x: Node, shift: int | Sequence[int], axis: int | Sequence[int] = 0) -> Node:
    """result[i] = x[(i - shift) mod N] along an axis, or along several, a shift for each.

    Any dtype. Raises ShapeError where there are not as many shifts as axes. Source: numpy.roll.
    """
    shifts, axes = numbers(shift), numbers(axis)
    if len(shifts) != len(axes):
        raise fail(ShapeError, "roll", [x], f"{len(shifts)} shifts for the axes {axes}")
    for amount, place in zip(shifts, axes, strict=True):
        x = _rolled(x, amount, place)
    return x


def _rolled(x: Node, shift: int, axis: int) -> Node:
    axis = axis_of("roll", x, axis)
    extent = number("roll", x, axis)
    start = -shift % extent if extent else 0
    if start == 0:
        return x
    return concat([part(x, axis, slice(start, None)), part(x, axis, slice(start))], axis)


def tile(x: Node, times: int | Sequence[int]) -> Node:
    """result[r*N + i] = x[i]: x times[a] times along each axis, as a whole.

    `times` for fewer axes counts from the last; for more, x gets leading axes. Any dtype. Source:
    numpy.tile.
    """
    counts = list(numbers(times))
    rank = max(len(counts), x.type.rank)
    counts = [1] * (rank - len(counts)) + counts
    return _copied("tile", reshape(x, (1,) * (rank - x.type.rank) + x.shape), counts, inner=False)


def repeat(x: Node, times: int, axis: int = 0) -> Node:
    """result[i*times + r] = x[i]: every element `times` times in a row along an axis.

    Any dtype. Raises ShapeError for a run-time extent along it. Source: numpy.repeat.
    """
    axis = axis_of("repeat", x, axis)
    counts = [times if a == axis else 1 for a in range(x.type.rank)]
    return _copied("repeat", x, counts, inner=True)


def _copied(name: str, x: Node, counts: Sequence[int], *, inner: bool) -> Node:
    """Every axis counts[a] times, the index of the copies the inner one or the outer."""
    if min(counts, default=1) < 0:
        raise fail(ShapeError, name, [x], f"the times {tuple(counts)} cannot be negative")
    names = letters(x.type.rank)
    domain: dict[str, Extent] = {}
    writes: list[Affine] = []
    shape: list[Extent] = []
    for a, (letter, times) in enumerate(zip(names, counts, strict=True)):
        if times == 1:
            domain[letter] = x.shape[a]
            writes.append(index(letter))
            shape.append(x.shape[a])
            continue
        size = number(name, x, a)
        order = [(letter, times), (f"r{a}", 1)] if inner else [(f"r{a}", size), (letter, 1)]
        domain |= {n: size if n == letter else times for n, _ in order}
        writes.append(affine(order))
        shape.append(size * times)
    if not x.shape or all(times == 1 for times in counts):
        return x
    return move(name, x, tuple(map(index, names)), tuple(writes), domain, tuple(shape))


# --- padding --------------------------------------------------------------------------------

Widths = int | Sequence[int] | Sequence[Sequence[int]]


def pad(x: Node, widths: Widths, mode: str = "constant", value: float = 0) -> Node:
    """x with `widths` more elements around it.

    constant: result[i + before] = x[i], and `value` elsewhere; a negative width takes away.
    reflect: mirrored at the edge element, which is not repeated; needs widths below the extent.
    edge: the edge element, repeated; needs an element.

    `widths` is one number for both sides of every axis, a pair for every axis, or a (before, after)
    for each. Any dtype. A run-time extent can only have the widths (0, 0). Raises ShapeError
    otherwise, or where a width does not fit. Source: numpy.pad.
    """
    each = _widths(x, widths)
    if mode not in ("constant", "reflect", "edge"):
        raise fail(ShapeError, "pad", [x], f"mode {mode!r} is none of constant, reflect, edge")
    if mode == "constant":
        return _pad_constant(x, each, value)
    for axis, (before, after) in enumerate(each):
        if not (before or after):
            continue
        extent = number("pad", x, axis)
        most = extent - 1 if mode == "reflect" else (1 << 62 if extent else 0)
        if not (0 <= before <= most and 0 <= after <= most):
            raise fail(
                ShapeError, "pad", [x],
                f"mode {mode} cannot pad axis {axis} of extent {extent} by ({before}, {after})",
            )  # fmt: skip
        first, last = part(x, axis, slice(0, 1)), part(x, axis, slice(extent - 1, None))
        if mode == "edge":
            parts = [repeat(first, before, axis), x, repeat(last, after, axis)]
        else:
            left = part(x, axis, slice(before, 0, -1))
            right = part(x, axis, slice(extent - 2, extent - 2 - after, -1))
            if after == extent - 1:
                right = part(x, axis, slice(extent - 2, None, -1))
            parts = [left, x, right if after else part(x, axis, slice(0, 0))]
        x = concat(parts, axis)
    return x


def _widths(x: Node, widths: Widths) -> list[tuple[int, int]]:
    rank, widths = x.type.rank, whole(widths)
    if isinstance(widths, int):
        return [(widths, widths)] * rank
    pairs: list[Any] = list(widths)
    if len(pairs) == 2 and all(isinstance(w, int) for w in pairs):
        return [(pairs[0], pairs[1])] * rank
    if len(pairs) != rank or any(isinstance(p, int) or len(p) != 2 for p in pairs):
        raise fail(ShapeError, "pad", [x], f"widths {widths} are not {rank} pairs (before, after)")
    return [(before, after) for before, after in pairs]


def _pad_constant(x: Node, each: list[tuple[int, int]], value: float) -> Node:
    if not any(before or after for before, after in each):
        return x
    names = letters(x.type.rank)
    writes, shape = [], list(x.shape)
    for a, (before, after) in enumerate(each):
        writes.append(index(names[a]) + before)
        if before or after:
            shape[a] = number("pad", x, a) + before + after
    domain = dict(zip(names, x.shape, strict=True))
    reads = tuple(map(index, names))
    inside = move("pad", x, reads, tuple(writes), domain, tuple(shape))
    if value == 0:
        return inside
    return _union([inside, _frame(x, each, tuple(shape), value)])


def _frame(x: Node, each: list[tuple[int, int]], shape: tuple[Extent, ...], value: float) -> Node:
    """`value` where a padded tensor holds no element of x, else 0."""
    within = []
    for a, (before, after) in enumerate(each):
        if before or after:
            place, last = scalar.position(f"i{a}"), number("pad", x, a) + before
            within.append(sympy.And(place >= before, place < last))
    expr = sympy.Piecewise((0, sympy.And(*within)), (sympy.sympify(value), True))
    return made("pad", expr, shape, x.dtype)
