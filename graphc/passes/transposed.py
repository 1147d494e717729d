"""Transposed: a window that is summed over the image, in tiles, as nodes.

    [f, c, r, s] += x[n, i + r, j + s, c]*y[n, i, j, f]
    -->
    v[a, b] = B^T x B and u[a, b] = G y G^T over tiles of both
    m[a, b, c, f] += v[a, b, tile, c]*u[a, b, tile, f];  the filter = A^T m A

The tiles are those of the window itself, with results and taps in each other's place: the gradient
of what a window makes of its filter.
"""

from __future__ import annotations

from graphc.graph.node import Node
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Index, index
from graphc.ops.toom_cook import transforms
from graphc.passes.copies import permuted
from graphc.passes.tiles import PRODUCTS, Axes, Tiles
from graphc.passes.transform import Slid, at_points, combined, image_of
from graphc.types import TensorType


def in_sum(node: Node, tiles: Tiles) -> Node:
    """The contraction's result, by products at the points of tiles."""
    op = node.op
    assert isinstance(op, Formula)
    one, two = tiles.found.slides
    first, second = transforms(one.taps, tiles.down), transforms(two.taps, tiles.across)
    image = at_points("tiles", op, node, tiles, image_of(tiles), (first.data, second.data))
    below = below_of(op, tiles)
    filter = at_points("filter", op, node, tiles, below, (first.filter, second.filter))
    product = multiplied(op, tiles, image, filter)
    return back(op, node, tiles, product)


def below_of(op: Formula, tiles: Tiles) -> Slid:
    """The other operand: its tiles lie side by side."""
    found = tiles.found
    names = [e.plain if isinstance(e, Affine) else None for e in op.reads[found.filter]]
    one, two = (names.index(slide.summed) for slide in found.slides)
    return Slid(found.filter, (one, two), (0, 0), (0, 0), found.filters, tiles.filters, "f")


def multiplied(op: Formula, tiles: Tiles, image: Node, filter: Node) -> Node:
    """m[p, c, f] += v[blocks, p, t, c]*u[blocks, p, t, f].

    For each block first, and then their sum, where that is less to keep than the points are.
    """
    x, y = op.args[tiles.found.image], op.args[tiles.found.filter]
    blocks = tuple(tiles.blocks)
    within: Axes = {"p": PRODUCTS**2, "c": tiles.channels, "f": tiles.filters}
    kept: Axes = {**(tiles.blocks if tiles.parts else {}), **within}
    axes: Axes = {**kept, **tiles.blocks, "t": image.shape[-2]}
    reads: tuple[Index, Index] = (
        tuple(map(index, (*blocks, "p", "t", "c"))),
        tuple(map(index, (*blocks, "p", "t", "f"))),
    )
    product = Formula(op.name, (x, y), x * y, reads, tuple(map(index, kept)), tuple(axes.items()))
    made = product((image, filter), TensorType(image.dtype, tuple(kept.values())))
    if not (tiles.parts and blocks):
        return made
    place, writes = (tuple(map(index, names)) for names in (kept, within))
    domain = tuple({**within, **tiles.blocks}.items())
    whole = Formula(f"{op.name}.sum", (x,), x, (place,), writes, domain)
    return whole((made,), TensorType(image.dtype, tuple(within.values())))


def back(op: Formula, node: Node, tiles: Tiles, product: Node) -> Node:
    """k[r, s, c, f] = A^T m A, in the order of the contraction's result."""
    found = tiles.found
    one, two = found.slides
    first, second = transforms(one.taps, tiles.down), transforms(two.taps, tiles.across)
    last: Axes = {"c": tiles.channels, "f": tiles.filters}
    axes: Axes = {"r": one.taps, "b": PRODUCTS, **last}
    reads: list[Index] = [
        (index("b") + tap * PRODUCTS, index("c"), index("f")) for tap in range(PRODUCTS)
    ]
    half = combined(f"{op.name}.rows", first.result, "r", product, reads, axes)
    reads = [(index("r"), Affine((), tap), index("c"), index("f")) for tap in range(PRODUCTS)]
    axes = {"r": one.taps, "s": two.taps, **last}
    made = combined(op.name, second.result, "s", half, reads, axes)
    now = [one.kept, two.kept, found.channel, found.filters]
    order = [now.index(str(e.plain)) for e in op.writes if isinstance(e, Affine)]
    return made if order == [0, 1, 2, 3] else permuted(made, order, "arranged", node.shape)
