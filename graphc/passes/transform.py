"""Transforms: a window's contraction in tiles, as nodes: into points, products there, and back.

Along each of two axes a node has six cases, the rows of a matrix: `combined` writes it as a formula
with a case for each value of an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from graphc.graph.node import Node
from graphc.ops import scalar
from graphc.ops.cases import cases
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Index, index, stays
from graphc.ops.toom_cook import Matrix, Transforms, transforms
from graphc.passes.copies import copied, permuted
from graphc.passes.sliding import at, source
from graphc.passes.tiles import PRODUCTS, Axes, Tiles, mixed, several, total
from graphc.types import Extent, TensorType


def in_tiles(node: Node, tiles: Tiles) -> tuple[Node, Node]:
    """The contraction's result: its tiles seen as an image, and as the contraction gives it."""
    op = node.op
    assert isinstance(op, Formula)
    first, second = matrices(tiles)
    points = at_points("tiles", op, node, tiles, image_of(tiles), (first.data, second.data))
    product = multiplied(op, node, tiles, points, filters(op, node, tiles))
    return seen(op, node, tiles, back(op, tiles, product))


def matrices(tiles: Tiles) -> tuple[Transforms, Transforms]:
    """Those of both axes."""
    one, two = tiles.found.slides
    return transforms(tiles.down, one.taps), transforms(tiles.across, two.taps)


# --- what is cut into tiles -----------------------------------------------------------------


@dataclass(frozen=True)
class Slid:
    """An operand in tiles: its position, and its axes down and across, where tiles begin, and how
    much further than the next they reach. Its `channels`, the index `channel`, are called `letter`.
    """

    position: int
    places: tuple[int, int]
    shifts: tuple[int, int]
    beyond: tuple[int, int]
    channel: str
    channels: int
    letter: str


def image_of(tiles: Tiles) -> Slid:
    """The image: a window's tiles overlap."""
    found = tiles.found
    one, two = found.slides
    return Slid(
        found.image,
        (one.place, two.place),
        (one.shift, two.shift),
        (one.taps - 1, two.taps - 1),
        found.channel,
        tiles.channels,
        "c",
    )


def at_points(
    what: str, op: Formula, node: Node, tiles: Tiles, slid: Slid, matrices: tuple[Matrix, Matrix]
) -> Node:
    """v[blocks, 6*a + b, tile, c] = B^T x B, or with other matrices."""
    first, second = matrices
    image, places = roomy(op, node, tiles, slid)
    last = index(slid.letter)
    around = several({**tiles.blocks, "k": tiles.together})
    half_axes: Axes = {**around, "a": PRODUCTS, "v": tiles.rows}
    half_axes |= {"x": tiles.width * tiles.across + slid.beyond[1], slid.letter: slid.channels}
    reads = [at(places, {"y": index("v") * tiles.down + tap}) for tap in range(len(first[0]))]
    half = combined(f"{op.name}.rows", first, "a", image, reads, half_axes)
    axes: Axes = {**tiles.blocks, **tiles.within, "a": PRODUCTS, "b": PRODUCTS}
    axes |= {slid.letter: slid.channels}
    reads = [
        at(tuple(map(index, half_axes)), {"x": index("w") * tiles.across + tap})
        for tap in range(len(second[0]))
    ]
    point = index("a") * PRODUCTS + index("b")
    writes = (*map(index, tiles.blocks), point, tiles.tile, last)
    shape = (*tiles.blocks.values(), PRODUCTS**2, total(tiles.within), slid.channels)
    return combined(f"{op.name}.{what}", second, "b", half, reads, axes, writes, shape)


def roomy(op: Formula, node: Node, tiles: Tiles, slid: Slid) -> tuple[Node, Index]:
    """The operand, channels last, with room around it; and where row y, column x of a block is.

    Places are in the blocks' indices, k, y, x and that of its channels.
    """
    axes: Axes = several({**tiles.blocks, "k": tiles.together})
    axes["y"] = tiles.rows * tiles.down + slid.beyond[0]
    axes["x"] = tiles.width * tiles.across + slid.beyond[1]
    axes[slid.letter] = slid.channels
    row = mixed([("u", tiles.rows * tiles.down), ("y", 1)], axes)
    down = slid.places[0]
    own = {tiles.found.batch: tiles.image, slid.channel: index(slid.letter)}
    places: list[Affine] = []
    for axis, e in enumerate(op.reads[slid.position]):
        assert isinstance(e, Affine)
        if axis in slid.places:
            places.append(row + slid.shifts[0] if axis == down else index("x") + slid.shifts[1])
        else:
            places.append(e.substitute(own))
    image, read = source(node.inputs[slid.position], tuple(places))
    ends = [isinstance(e, Affine) and slid.letter in e.names for e in read]
    last = ends.index(True)
    if last != len(read) - 1:
        order = (*(axis for axis in range(len(read)) if axis != last), last)
        image, read = permuted(image, order, "arranged"), tuple(read[axis] for axis in order)
    if all(
        isinstance(e, Affine) and stays(e, size, axes)
        for e, size in zip(read, image.shape, strict=True)
    ):
        return image, read
    writes = tuple(map(index, axes))
    return copied(
        "bordered", image, read, writes, tuple(axes.items()), tuple(axes.values())
    ), writes


# --- the filter -----------------------------------------------------------------------------


def filters(op: Formula, node: Node, tiles: Tiles) -> Node:
    """u[q, e, 6*a + b, c, f] = G k G^T, in panels of filters and runs of channels."""
    found = tiles.found
    one, two = found.slides
    first, second = matrices(tiles)
    operand, read = node.inputs[found.filter], op.reads[found.filter]
    names = [n for e in read if isinstance(e, Affine) for n in e.names if n != found.filters]
    own: Axes = {name: op.extents[name] for name in (*names, found.filters)}
    writes = tuple(map(index, own))
    copy = copied("packed", operand, read, writes, tuple(own.items()), tuple(own.values()))
    every: Axes = {**tiles.panels, **tiles.runs}
    outside: Axes = {n: every[n] for n in ("q", "e") if n in every}
    inside: Axes = {n: every[n] for n in ("c", "f")}
    half_axes: Axes = {**outside, "a": PRODUCTS, "s": two.taps, **inside}
    values = {found.channel: tiles.channel, found.filters: tiles.filter, two.summed: index("s")}
    reads = [at(writes, {**values, one.summed: one.tap(tap)}) for tap in range(one.taps)]
    half = combined(f"{op.name}.rows", first.filter, "a", copy, reads, half_axes)
    axes: Axes = {**outside, "a": PRODUCTS, "b": PRODUCTS, **inside}
    reads = [at(tuple(map(index, half_axes)), {"s": two.tap(tap)}) for tap in range(two.taps)]
    point = index("a") * PRODUCTS + index("b")
    writes = (*map(index, outside), point, *map(index, inside))
    shape = (*outside.values(), PRODUCTS**2, *inside.values())
    return combined(f"{op.name}.filter", second.filter, "b", half, reads, axes, writes, shape)


# --- the products, and back -----------------------------------------------------------------


def multiplied(op: Formula, node: Node, tiles: Tiles, data: Node, filter: Node) -> Node:
    """m[blocks, p, q, tile, f] += v[blocks, p, tile, 8*e + c]*u[q, e, p, c, f]."""
    x, k = op.args[tiles.found.image], op.args[tiles.found.filter]
    panels = [n for n in tiles.panels if n != "f"]
    runs = [n for n in tiles.runs if n != "c"]
    axes: Axes = {**tiles.blocks, "p": PRODUCTS**2, **tiles.panels, "t": total(tiles.within)}
    kept = {n: axes[n] for n in (*tiles.blocks, "p", *panels, "t", "f")}
    reads: tuple[Index, Index] = (
        (*map(index, (*tiles.blocks, "p", "t")), tiles.channel),
        tuple(map(index, (*panels, *runs, "p", "c", "f"))),
    )
    domain = (*kept.items(), *tiles.runs.items())
    product = Formula(op.name, (x, k), x * k, reads, tuple(map(index, kept)), domain)
    return product((data, filter), TensorType(node.dtype, tuple(kept.values())))


def back(op: Formula, tiles: Tiles, product: Node) -> Node:
    """y[blocks, k, v, i, w, j, f] = A^T m A."""
    first, second = matrices(tiles)
    panels = [index(n) for n in tiles.panels if n != "f"]
    axes: Axes = {**tiles.blocks, **tiles.within, "i": tiles.down, "b": PRODUCTS, **tiles.panels}
    reads: list[Index] = [
        (
            *map(index, tiles.blocks),
            index("b") + tap * PRODUCTS,
            *panels,
            tiles.tile,
            index("f"),
        )
        for tap in range(PRODUCTS)
    ]
    half = combined(f"{op.name}.rows", first.result, "i", product, reads, axes)
    reads = [at(tuple(map(index, axes)), {"b": Affine((), tap)}) for tap in range(PRODUCTS)]
    return combined(op.name, second.result, "j", half, reads, tiles.whole)


def seen(op: Formula, node: Node, tiles: Tiles, tiled: Node) -> tuple[Node, Node]:
    """The result's tiles as an image; and that cut and turned as the contraction's result lies."""
    found, axes = tiles.found, tiles.whole
    one, two = found.slides
    writes = (
        tiles.image,
        mixed([("u", tiles.rows * tiles.down), ("v", tiles.down), ("i", 1)], axes),
        mixed([("w", tiles.across), ("j", 1)], axes),
        tiles.filter,
    )
    sides = (tiles.height * tiles.down, tiles.width * tiles.across)
    shape = (tiles.images, *sides, tiles.filters)
    image = copied("tiles", tiled, tuple(map(index, axes)), writes, tuple(axes.items()), shape)
    order = [found.batch, one.kept, two.kept, found.filters]
    now = [str(e.plain) for e in op.writes if isinstance(e, Affine)]
    if now == order and image.type == node.type:
        return image, image
    turned = [order.index(name) for name in now]
    return image, permuted(image, turned, "arranged", node.shape)


# --- nodes ----------------------------------------------------------------------------------


def combined(
    name: str,
    matrix: Matrix,
    case: str,
    operand: Node,
    reads: Sequence[Index],
    axes: Axes,
    writes: Index | None = None,
    shape: Sequence[Extent] | None = None,
) -> Node:
    """[.., case, ..] = sum over l of matrix[case, l]*x[reads[l]], zeros left out.

    What reads mention beside the axes has the extent 1.
    """
    args = tuple(scalar.argument(f"x{tap}") for tap in range(len(reads)))
    expr = cases(case, [weighted(row, args) for row in matrix])
    left_out = {n for read in reads for e in read if isinstance(e, Affine) for n in e.names}
    nothing = {n: Affine() for n in left_out - set(axes)}
    places = tuple(at(read, nothing) for read in reads)
    op = Formula(name, args, expr, places, writes or tuple(map(index, axes)), tuple(axes.items()))
    type = TensorType(operand.dtype, tuple(shape or axes.values()))
    return op((operand,) * len(args), type)


def weighted(row: Sequence[Fraction], args: Sequence[scalar.Symbol]) -> scalar.Expr:
    """The sum of the row's numbers times the symbols."""
    found = scalar.ZERO
    for factor, arg in zip(row, args, strict=True):
        found = found + scalar.ratio(factor) * arg
    return found
