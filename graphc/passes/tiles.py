"""Tiles: how an image is cut for products at the points of a polynomial, and what that gains.

Axes are indices with their extents. Blocks of tiles follow each other along n (images) and u (rows
of blocks); in a block, k counts images, v rows of tiles, w tiles in a row; i and j count results in
a tile, and a and b its points. Filters are f, in panels q; channels are c, in runs e.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from graphc.ops.formula import Formula
from graphc.ops.index import Affine, index
from graphc.passes.sliding import Sliding
from graphc.types import Extent

PRODUCTS = 6
"""Products that a tile takes along one axis, whatever the window."""
ROWS = 16
"""Tiles that a block should have, so that products reuse what they load,"""
BLOCK = 1 << 20
"""and bytes that the image in points, or the products, of a block may take."""
RUN = 8
"""Channels of a filter that lie together at one point: the points of a run are written at once, and
lie close enough not to crowd each other out of the cache."""
MULTIPLIED = 1.5
"""Products of a lane in a cycle;"""
STREAM = 8
"""bytes of a filter that a block reads in a cycle;"""
DATA, BACK, FILTER = 200, 250, 700
"""cycles of the transforms: of a tile for each vector of channels, into the products and back; of
a channel of a filter for each vector of filters."""
NOMINAL = 32
"""Images that a run-time batch is taken for."""

Axes = dict[str, Extent]


@dataclass(frozen=True)
class Tiles:
    """How an image is cut: `height` rows of `width` tiles, each of `down` x `across` results.

    A block is `together` images, or `rows` rows of tiles of one.
    """

    found: Sliding
    images: Extent
    channels: int
    filters: int
    height: int
    width: int
    down: int
    across: int
    together: int
    rows: int
    lanes: int

    @property
    def parts(self) -> bool:
        """Whether a sum over the image is kept for each block: half of the block at its points."""
        pairs, both = self.channels * self.filters, self.channels + self.filters
        return 2 * pairs <= total(self.within) * both

    @property
    def blocks(self) -> Axes:
        """The axes along which blocks follow each other."""
        images = self.images
        if isinstance(images, int):
            images //= self.together
        return several({"n": images, "u": self.height // self.rows})

    @property
    def within(self) -> Axes:
        """The axes of the tiles of a block."""
        return several({"k": self.together, "v": self.rows, "w": self.width})

    @property
    def whole(self) -> Axes:
        """The axes of the result in tiles, as they follow each other in an image."""
        rows = several({**self.blocks, "k": self.together, "v": self.rows})
        across = several({"w": self.width})
        return {**rows, "i": self.down, **across, "j": self.across, **self.panels}

    @property
    def panels(self) -> Axes:
        """The axes of the filters: panels that are read as one piece of memory."""
        wide = 2 * self.lanes
        if self.filters % wide or self.filters == wide:
            return {"f": self.filters}
        return {"q": self.filters // wide, "f": wide}

    @property
    def runs(self) -> Axes:
        """The axes of the channels."""
        if self.channels % RUN or self.channels == RUN:
            return {"c": self.channels}
        return {"e": self.channels // RUN, "c": RUN}

    @property
    def image(self) -> Affine:
        """Which image of the batch it is."""
        return mixed([("n", self.together), ("k", 1)], {**self.blocks, **self.within})

    @property
    def tile(self) -> Affine:
        """The number of a tile in its block."""
        return mixed([("k", self.rows * self.width), ("v", self.width), ("w", 1)], self.within)

    @property
    def filter(self) -> Affine:
        """The number of a filter."""
        return mixed([("q", 2 * self.lanes), ("f", 1)], self.panels)

    @property
    def channel(self) -> Affine:
        """The number of a channel."""
        return mixed([("e", RUN), ("c", 1)], self.runs)


def cut(op: Formula, found: Sliding, lanes: int, size: int) -> Tiles:
    """The tiles of an image, and how many make a block. Elements have `size` bytes."""
    down, across = (PRODUCTS + 1 - slide.taps for slide in found.slides)
    height, width = (
        -(-slide.outputs // size) for slide, size in zip(found.slides, (down, across), strict=True)
    )
    images = op.extents[found.batch] if found.batch else 1
    channels = op.extents[found.channel]
    filters = op.extents[found.filters]
    assert isinstance(channels, int) and isinstance(filters, int)
    most = BLOCK // (PRODUCTS**2 * max(channels, filters) * size)
    half = -(-2 * channels * filters // (channels + filters))  # see `parts`
    least = max(ROWS, half) if found.over else ROWS
    together, rows = 1, height
    if height * width >= least:
        rows = share(height, width, least, most)
    elif isinstance(images, int):
        together = share(images, height * width, least, most)
    sizes = (height, width, down, across, together, rows)
    return Tiles(found, images, channels, filters, *sizes, lanes)


def share(count: int, each: int, least: int, most: int) -> int:
    """The smallest part of `count` things of so many tiles that makes a block, or the largest."""
    parts = [k for k in range(1, count + 1) if count % k == 0 and k * each <= most] or [1]
    return next((k for k in parts if k * each >= least), parts[-1])


def estimate(tiles: Tiles, size: int, *, once: bool = False) -> float:
    """How many times as fast tiles are: cycles of an image's products, and what is made for them.

    A filter is read while products are made; what a sum over the image keeps, before and after.
    Elements have `size` bytes; `once`: the filter's points are made before.
    """
    one, two = tiles.found.slides
    images = tiles.images if isinstance(tiles.images, int) else NOMINAL
    count, rate = tiles.height * tiles.width, MULTIPLIED * tiles.lanes
    pairs = tiles.channels * tiles.filters
    plain = one.outputs * two.outputs * one.taps * two.taps * pairs / rate
    products = count * PRODUCTS**2 * pairs / rate
    vectors, panels = -(-tiles.channels // tiles.lanes), -(-tiles.filters // tiles.lanes)
    shared = 0.0 if once else FILTER * tiles.channels * panels / max(images, 1)
    if tiles.found.over:
        kept = pairs / total(tiles.within) if tiles.parts else tiles.channels + tiles.filters
        moved = 2 * count * PRODUCTS**2 * kept * size / STREAM
        around = count * DATA * (vectors + panels)
    else:
        moved = count * PRODUCTS**2 * pairs * size / (total(tiles.within) * STREAM)
        products, moved = max(products, moved), 0.0
        around = count * (DATA * vectors + BACK * panels)
    return plain / (products + moved + around + shared)


def several(axes: Axes) -> Axes:
    """The axes but for those of extent 1."""
    return {name: extent for name, extent in axes.items() if extent != 1}


def total(axes: Axes) -> int:
    """The points of some axes."""
    return math.prod(extent for extent in axes.values() if isinstance(extent, int))


def mixed(terms: Sequence[tuple[str, int]], axes: Axes) -> Affine:
    """The sum of factor*index over those of the indices that there are."""
    found = Affine()
    for name, factor in terms:
        if name in axes:
            found = found + index(name) * factor
    return found
