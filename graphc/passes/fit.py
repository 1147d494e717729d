"""What fits together: kinds of nodes, and which of them may share loops and hand values over."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache

from graphc.graph.node import Node
from graphc.ops.dtypes import dtype_of
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Index, Lookup, stays
from graphc.passes import layout
from graphc.passes.blocks import LIMIT, ROOM, lead, spread
from graphc.passes.invert import covered, covers
from graphc.types import SIZE, Extent, Shape

SHORT_ROW = 8
"""Elements below which a row is summed in order: too few lanes would be in use."""
SUMS = 128
"""Bytes of the sums that one along the lanes is made of: four vectors on AVX2, so that as many
additions are under way at once."""
ROW_LIMIT = 1 << 14
"""Elements of a row that is kept on the stack between two passes over it."""


def kind(node: Node) -> str:
    """map, rows (a reduction that reads each element once), product, block, or alone.

    What computes one residue of its result after the other is followed like a product.
    """
    return kind_of(node.op, node.shape) if isinstance(node.op, Formula) else "alone"


@lru_cache(maxsize=4096)
def kind_of(op: Formula, shape: Shape) -> str:
    """The same of an op whose result has a shape: passes ask it again and again."""
    if not covers(op, shape):
        return "alone"
    if not op.plain and op.switch is not None:
        return "alone" if op.summed else "block"
    if not op.plain:
        return "product" if exact(op, shape) and op.expr not in op.args else "alone"
    if op.pointwise:
        return "map"
    return "product" if op.reuses else "rows"


def exact(op: Formula, shape: Shape) -> bool:
    """Whether no point is written beyond the result, where each element is written once."""
    return all(
        isinstance(e, Affine) and stays(e, size, op.extents)
        for e, size in zip(op.writes, shape, strict=True)
    )


def outer(node: Node) -> Shape:
    """The axes of a node's result that can be loops around its kernel."""
    op = node.op
    if isinstance(op, Formula) and op.switch is not None and covered(op, node):
        return node.shape[: lead(op)]
    return () if kind(node) == "alone" else node.shape


def alike(a: Node, b: Node) -> bool:
    """Whether two reductions go over the same loops in one order, so that one pass does both."""
    return loops(a) == loops(b) and order_of(a) == order_of(b) and widest(a) == widest(b)


def loops(node: Node) -> tuple[list[Extent], list[Extent]]:
    """The extents of the loops around a node's formula: those kept, then those summed."""
    op = node.op
    assert isinstance(op, Formula)
    kept = [op.extents[n] for n in op.kept if op.extents[n] != 1]
    return kept, [op.extents[n] for n in op.summed]


def trimmed(shape: Shape) -> Shape:
    """The shape without the axes of extent 1 that it ends with."""
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def prefix(a: Shape, b: Shape) -> Shape:
    """The leading axes that two shapes share."""
    length = 0
    while length < min(len(a), len(b)) and a[length] == b[length]:
        length += 1
    return a[:length]


def fits(nodes: Collection[Node], shared: Shape, views: Mapping[Node, Node], blocks: bool) -> bool:
    """Whether every value passed inside the group is used at the outer axes it was made at.

    `blocks`: whether one of its nodes is computed block by block.
    """
    members = set(nodes)
    room = LIMIT // SIZE[next(iter(nodes)).dtype] if blocks else ROW_LIMIT
    kept: dict[Node, int] = {}
    for user in nodes:
        op = user.op
        if not isinstance(op, Formula) or user.shape[: len(shared)] != shared:
            return False
        lead = op.writes[: len(shared)]
        for operand, read in zip(user.inputs, op.reads, strict=True):
            if operand not in members:
                target = operand
                while target in views:
                    target = views[target]
                if target in members:
                    return False
                continue
            if read[: len(shared)] != lead or looked_up(user, operand):
                return False
            if not passes(operand, user, len(shared), room):
                return False
            kept[operand] = max(kept.get(operand, 0), held(operand, user, len(shared)))
    return not blocks or sum(kept.values()) <= ROOM


def within(op: Formula, read: Index, shape: Shape) -> bool:
    """Whether an operand is read at no place beyond its end, and at none that is data."""
    places = zip(read, shape, strict=True)
    return all(isinstance(e, Affine) and stays(e, size, op.extents) for e, size in places)


def looked_up(user: Node, operand: Node) -> bool:
    """Whether a node reads an operand at an index that is data, or takes it for such an index."""
    op = user.op
    if not isinstance(op, Formula) or not op.lookups:
        return False
    return any(
        other is operand and (op.is_lookup(at) or any(isinstance(e, Lookup) for e in read))
        for at, (other, read) in enumerate(zip(user.inputs, op.reads, strict=True))
    )


def passes(operand: Node, user: Node, skip: int, room: int) -> bool:
    """Whether the rest of a row, past the outer axes, can be handed over, on the stack if need be.

    A map is computed where it is read, but not again and again for a formula with cases.
    """
    rest = layout.size(operand.shape[skip:])
    return isinstance(rest, int) and held(operand, user, skip) <= room * SIZE[operand.dtype]


def held(operand: Node, user: Node, skip: int) -> int:
    """Bytes of the rest of a row that is handed over; 0 where it is computed where it is read."""
    made = operand.op
    assert isinstance(made, Formula)
    if made.pointwise and not spread(user, operand):
        return 0
    rest = layout.size(operand.shape[skip:])
    assert isinstance(rest, int)
    return rest * SIZE[operand.dtype]


def order_of(node: Node) -> str:
    """How the innermost summed loop of a node adds up; a contraction's schedule decides itself.

    Along contiguous operands in lanes, else in order. Only the node's own operands matter.
    """
    assert isinstance(node.op, Formula)
    return order_over(node.op, tuple([operand.shape for operand in node.inputs]))


@lru_cache(maxsize=4096)
def order_over(op: Formula, shapes: tuple[Shape, ...]) -> str:
    """The same of an op whose operands have some shapes."""
    if not op.summed or op.reuses:
        return "serial"
    if op.how in ("argmax", "argmin"):
        return "inorder"
    last = op.summed[-1]
    size = op.extents[last]
    if isinstance(size, int) and size < SHORT_ROW:
        return "inorder"
    for shape, read in zip(shapes, op.reads, strict=True):
        if any(isinstance(e, Lookup) for e in read):
            return "inorder"
        offset = layout.offset(shape, tuple(e for e in read if isinstance(e, Affine)))
        if offset.coefficient(last) not in (0, 1):
            return "inorder"
    return "lanes"


def widest(node: Node) -> int:
    """Bytes of the widest number that a reduction keeps: with them its lanes, and its order, go."""
    op = node.op
    assert isinstance(op, Formula)
    kinds = {a: i.dtype for a, i in zip(op.args, node.inputs, strict=True)}
    best = [dtype_of(op.expr, kinds)] if op.how in ("argmax", "argmin") else []
    return max(SIZE[dtype] for dtype in (node.dtype, *best))


def abreast(node: Node) -> int:
    """Of how many sums side by side, each of which adds in order, a sum is made."""
    op = node.op
    assert isinstance(op, Formula)
    if order_of(node) != "lanes":
        return 1
    most, extent = places(node.dtype), op.extents[op.summed[-1]]
    return min(most, 1 << (extent.bit_length() - 1)) if isinstance(extent, int) else most


def places(dtype: str) -> int:
    """Of how many sums a long one along the lanes is made, on any machine."""
    return SUMS // max(SIZE[dtype], 4)
