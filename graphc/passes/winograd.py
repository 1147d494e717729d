"""Winograd: a window that slides over an image, by fewer multiplications, where that is asked for.

    [n, h, w, f] += x[n, h + r, w + s, c]*k[f, c, r, s]
    -->
    v[a, b] = B^T x B over tiles of the image;  u[a, b] = G k G^T
    m[a, b, tile, f] += v[a, b, tile, c]*u[a, b, c, f];  tiles of the result = A^T m A

(Winograd 1980; Lavin and Gray 2016, arXiv:1509.09308). A tile of 4x4 results of a 3x3 window takes
36 products in the place of 144. The result differs in its last digits: relatively by about 1e-5 in
float32, 1e-14 in float64. Each line is a node of its own; tiles are taken block by block, so that
what is made of a block is still in the cache when it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

from graphc.graph.graph import Graph, Note
from graphc.graph.node import Node
from graphc.graph.rewrite import rewrite
from graphc.machine import Machine
from graphc.ops import scalar
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Index, Lookup, index, stays
from graphc.ops.toom_cook import Matrix, transforms
from graphc.passes.sliding import Slide, Sliding, at, sliding, source
from graphc.types import SIZE, Extent, TensorType, is_float

PRODUCTS = 6
"""Products that a tile takes along one axis, whatever the window."""
ROWS = 16
"""Tiles that a block should have, so that products reuse what they load."""
LEAST = 1.2
"""The estimated gain from which on tiles are worth their digits."""
MULTIPLIED = 1.5
"""Products of a lane in a cycle;"""
STREAM = 8
"""bytes of a filter that a block reads in a cycle;"""
DATA, BACK, FILTER = 200, 250, 700
"""cycles of the transforms: of a tile for each vector of channels, into the products and back; of
a channel of a filter for each vector of filters."""
RUN = 8
"""Channels of a filter that lie together at one point: the points of a run are written at once, and
lie close enough not to crowd each other out of the cache."""
NOMINAL = 32
"""Images that a run-time batch is taken for."""

Axes = dict[str, Extent]


def winograd(graph: Graph, machine: Machine) -> Graph:
    """Apply `in_tiles` everywhere, where the machine may trade the last digits for speed."""
    if machine.math != "fast":
        return graph
    tiler = Tiler(machine)
    result = rewrite(graph, [tiler.in_tiles, tiler.followed])
    return replace(result, notes=(*graph.notes, *tiler.notes))


@dataclass(frozen=True)
class Tiles:
    """How an image is cut: `height` rows of `width` tiles, each of `down` x `across` results.

    A block is `together` images, or `rows` rows of tiles of one.
    """

    height: int
    width: int
    down: int
    across: int
    together: int
    rows: int


@dataclass
class Tiler:
    """Rewrites contractions for a machine. `views` are results seen as images, with their tiles."""

    machine: Machine
    views: dict[Node, Node] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    mine: set[Node] = field(default_factory=set)

    def in_tiles(self, node: Node) -> Node | None:
        """x[h + r, w + s]*k[r, s] over r and s   ->   A^T ((G k G^T) * (B^T x B)) A."""
        op = node.op
        if not isinstance(op, Formula) or node in self.mine or not slides(op, node):
            return None
        found = sliding(node)
        if found is None:
            return self.kept(node, "no window of 2 to 5 by 2 to 5 that moves by 1 over all channels")
        tiles = cut(op, found)
        lanes = self.machine.lanes(SIZE[node.dtype])
        gain = estimate(op, found, tiles, lanes, SIZE[node.dtype])
        about = f"{tiles.down}x{tiles.across} results"
        if gain < LEAST:
            return self.kept(
                node, f"tiles of {about} would be {gain:.1f} times as fast by estimate"
            )
        writer = Writer(node, op, found, tiles, lanes)
        view, result = writer.result()
        self.mine.add(writer.products)
        if view is result:
            self.views[view] = view.inputs[0]
        exact = tiles.down * tiles.across * found.slides[0].taps * found.slides[1].taps
        self.notes.append(
            Note(
                op.name,
                node.site,
                f"in tiles of {about}, {PRODUCTS**2} products for {exact}: {gain:.1f} times as "
                f"fast by estimate, at the cost of digits",
            )
        )
        return result

    def kept(self, node: Node, why: str) -> None:
        """Note why a node stays as it is."""
        self.mine.add(node)
        self.notes.append(Note(node.op.name, node.site, f"as it is: {why}"))

    def followed(self, node: Node) -> Node | None:
        """[h, w] = f(y[h, w], b)  where y is seen in tiles   ->   the same in tiles, seen so."""
        op = node.op
        if not isinstance(op, Formula) or not op.pointwise or not op.fills(node.shape) or op.used:
            return None
        pairs = list(zip(node.inputs, op.reads, strict=True))
        if any(isinstance(e, Lookup) for _, read in pairs for e in read):
            return None
        own = [i for i, read in pairs if i in self.views and read == op.writes]
        if not own or own[0].shape != node.shape:
            return None
        view = own[0].op
        assert isinstance(view, Formula)
        names = [str(e.plain) for e in op.writes if isinstance(e, Affine)]
        values = {n: e for n, e in zip(names, view.writes, strict=True) if isinstance(e, Affine)}
        inputs, reads = [], []
        for operand, read in pairs:
            same = read == op.writes and operand in self.views and operand.op == view
            inputs.append(self.views[operand] if same else operand)
            reads.append(view.reads[0] if same else at(read, values))
        (tiled,) = own[0].inputs
        moved = Formula(op.name, op.args, op.expr, tuple(reads), view.reads[0], view.domain, op.how)
        inner = moved(tuple(inputs), TensorType(node.dtype, tiled.shape))
        seen = view((inner,), node.type)
        self.views[seen] = inner
        return seen


def slides(op: Formula, node: Node) -> bool:
    """Whether a contraction of floats reads an operand at sums of indices."""
    if op.how != "sum" or not op.reuses or not is_float(node.dtype):
        return False
    return any(len(e.names) > 1 for read in op.reads for e in read if isinstance(e, Affine))


def cut(op: Formula, found: Sliding) -> Tiles:
    """The tiles of an image, and how many make a block."""
    down, across = (PRODUCTS + 1 - slide.taps for slide in found.slides)
    height, width = (
        -(-slide.outputs // size)
        for slide, size in zip(found.slides, (down, across), strict=True)
    )
    images = op.extents[found.batch]
    together, rows = 1, height
    if height * width < ROWS and isinstance(images, int):
        enough = [k for k in range(1, images + 1) if images % k == 0 and k * height * width >= ROWS]
        together = enough[0] if enough else images
    elif height * width > ROWS:
        enough = [k for k in range(1, height + 1) if height % k == 0 and k * width >= ROWS]
        rows = enough[0] if enough else height
    return Tiles(height, width, down, across, together, rows)


def estimate(op: Formula, found: Sliding, tiles: Tiles, lanes: int, size: int) -> float:
    """How many times as fast tiles are: cycles of the products, and of what is made for them."""
    channels, filters = op.extents[found.channel], op.extents[found.filters]
    images = op.extents[found.batch]
    if not isinstance(channels, int) or not isinstance(filters, int):
        return 0.0
    count = tiles.height * tiles.width
    rate = MULTIPLIED * lanes
    one, two = found.slides
    plain = one.outputs * two.outputs * one.taps * two.taps * channels * filters / rate
    points = PRODUCTS**2 * channels * filters
    block = tiles.together * tiles.rows * tiles.width
    products = count * points * max(1 / rate, size / (block * STREAM))
    vectors, panels = -(-channels // lanes), -(-filters // lanes)
    around = count * (DATA * vectors + BACK * panels)
    shared = FILTER * channels * panels / (images if isinstance(images, int) else NOMINAL)
    return plain / (products + around + shared)


@dataclass(frozen=True)
class Writer:
    """Writes the nodes of one contraction."""

    node: Node
    op: Formula
    found: Sliding
    tiles: Tiles
    lanes: int

    def result(self) -> tuple[Node, Node]:
        """The result's tiles seen as an image, and the contraction's result made of it."""
        return self.untiled(self.back(self.products))

    @cached_property
    def products(self) -> Node:
        """The contraction at each of the points."""
        return self.product(self.data(), self.filter())

    # --- axes: the names of indices with their extents ---------------------------------------

    @property
    def blocks(self) -> Axes:
        """The axes along which blocks follow each other."""
        images = self.op.extents[self.found.batch]
        if isinstance(images, int):
            images //= self.tiles.together
        return several({"n": images, "u": self.tiles.height // self.tiles.rows})

    @property
    def within(self) -> Axes:
        """The axes of the tiles of a block."""
        return several({"k": self.tiles.together, "v": self.tiles.rows, "w": self.tiles.width})

    @property
    def channels(self) -> int:
        """How many the sum runs over."""
        extent = self.op.extents[self.found.channel]
        assert isinstance(extent, int)
        return extent

    @property
    def panels(self) -> Axes:
        """The axes of the filters: panels that are read as one piece of memory."""
        extent = self.op.extents[self.found.filters]
        assert isinstance(extent, int)
        wide = 2 * self.lanes
        if extent % wide or extent == wide:
            return {"f": extent}
        return {"q": extent // wide, "f": wide}

    @property
    def sum(self) -> Axes:
        """The axes of the channels: short runs, that a filter at one point lies near the next."""
        if self.channels % RUN or self.channels == RUN:
            return {"c": self.channels}
        return {"e": self.channels // RUN, "c": RUN}

    def channel(self) -> Affine:
        """The number of a channel."""
        return mixed([("e", RUN), ("c", 1)], self.sum)

    def image_row(self) -> Affine:
        """Which image of the batch a block's image is."""
        return mixed([("n", self.tiles.together), ("k", 1)], {**self.blocks, **self.within})

    # --- the image --------------------------------------------------------------------------

    def data(self) -> Node:
        """v[blocks, 6*a + b, tile, c] = B^T x B."""
        one, two = self.found.slides
        image, places = self.image()
        first, second = transforms(self.tiles.down, one.taps), transforms(self.tiles.across, two.taps)
        axes = several({**self.blocks, "k": self.tiles.together})
        wide = self.tiles.width * self.tiles.across + two.taps - 1
        half_axes: Axes = {**axes, "a": PRODUCTS, "v": self.tiles.rows, "x": wide, "c": self.channels}
        rows = [
            tuple(
                e.substitute({"y": index("v") * self.tiles.down + tap, "x": index("x")})
                for e in places
            )
            for tap in range(PRODUCTS)
        ]
        half = combined(self.op.name + ".rows", first.data, "a", image, rows, half_axes)
        reads = [
            tuple(
                index("w") * self.tiles.across + tap if name == "x" else index(name)
                for name in half_axes
            )
            for tap in range(PRODUCTS)
        ]
        everything: Axes = {**self.blocks, **self.within, "a": PRODUCTS, "b": PRODUCTS, "c": self.channels}
        reads = [fixed(read, everything) for read in reads]
        writes = (
            *map(index, self.blocks),
            index("a") * PRODUCTS + index("b"),
            self.tile(everything),
            index("c"),
        )
        shape = (*self.blocks.values(), PRODUCTS**2, total(self.within), self.channels)
        return combined(
            self.op.name + ".tiles", second.data, "b", half, reads, everything, writes, shape
        )

    def tile(self, axes: Axes) -> Affine:
        """The number of a tile in its block."""
        rows, width = self.tiles.rows, self.tiles.width
        return mixed([("k", rows * width), ("v", width), ("w", 1)], axes)

    def image(self) -> tuple[Node, tuple[Affine, ...]]:
        """The image, channels last, with room around it; and where row y, column x of a block is.

        Places are read at the blocks' indices, k, y, x and c.
        """
        one, two = self.found.slides
        read = self.op.reads[self.found.image]
        tall = self.tiles.rows * self.tiles.down + one.taps - 1
        wide = self.tiles.width * self.tiles.across + two.taps - 1
        axes: Axes = several({**self.blocks, "k": self.tiles.together})
        axes |= {"y": tall, "x": wide, "c": self.channels}
        row = index("y")
        if "u" in axes:
            row = row + index("u") * (self.tiles.rows * self.tiles.down)
        values: dict[str, Affine] = {self.found.batch: self.image_row(), self.found.channel: index("c")}
        places: list[Affine] = []
        for axis, e in enumerate(read):
            assert isinstance(e, Affine)
            slide = next((s for s in self.found.slides if s.place == axis), None)
            if slide is None:
                places.append(e.substitute(values))
                continue
            base = row if slide is one else index("x")
            places.append(base + slide.shift)
        image, places = source(self.node.inputs[self.found.image], tuple(places))
        (last,) = (axis for axis, e in enumerate(places) if "c" in e.names)
        if last != len(places) - 1:
            step = (*(axis for axis in range(len(places)) if axis != last), last)
            image = copied("arranged", image, step)
            places = tuple(places[axis] for axis in step)
        inside = all(stays(e, size, axes) for e, size in zip(places, image.shape, strict=True))
        if inside:
            return image, places
        symbol = scalar.argument("x")
        writes = tuple(map(index, axes))
        op = Formula("bordered", (symbol,), symbol, (places,), writes, tuple(axes.items()))
        return op((image,), TensorType(image.dtype, tuple(axes.values()))), writes

    # --- the filter -------------------------------------------------------------------------

    def filter(self) -> Node:
        """u[q, e, 6*a + b, c, f] = G k G^T, in panels of filters and runs of channels."""
        one, two = self.found.slides
        first, second = transforms(self.tiles.down, one.taps), transforms(self.tiles.across, two.taps)
        operand, read = self.node.inputs[self.found.filter], self.op.reads[self.found.filter]
        names = [n for e in read if isinstance(e, Affine) for n in e.names]
        names = [*(n for n in names if n != self.found.filters), self.found.filters]
        axes: Axes = {name: self.op.extents[name] for name in names}
        symbol = scalar.argument("x")
        copy = Formula(
            "packed", (symbol,), symbol, (read,), tuple(map(index, names)), tuple(axes.items())
        )((operand,), TensorType(operand.dtype, tuple(axes.values())))
        values = {
            self.found.channel: self.channel(),
            self.found.filters: mixed([("q", 2 * self.lanes), ("f", 1)], self.panels),
        }
        every = {**self.panels, **self.sum}
        outside: Axes = {n: every[n] for n in ("q", "e") if n in every}
        inside: Axes = {n: every[n] for n in ("c", "f")}
        half_axes: Axes = {**outside, "a": PRODUCTS, "s": two.taps, **inside}
        reads = []
        for tap in range(one.taps):
            place = {**values, one.summed: one.tap(tap), two.summed: index("s")}
            reads.append(at(tuple(map(index, names)), place))
        half = combined(self.op.name + ".rows", first.filter, "a", copy, reads, half_axes)
        axes = {**outside, "a": PRODUCTS, "b": PRODUCTS, **inside}
        reads = [
            tuple(two.tap(tap) if n == "s" else index(n) for n in half_axes)
            for tap in range(two.taps)
        ]
        point = index("a") * PRODUCTS + index("b")
        writes = (*map(index, outside), point, index("c"), index("f"))
        shape = (*outside.values(), PRODUCTS**2, *inside.values())
        return combined(
            self.op.name + ".filter", second.filter, "b", half, reads, axes, writes, shape
        )

    # --- the products, and back --------------------------------------------------------------

    def product(self, data: Node, filter: Node) -> Node:
        """m[blocks, p, q, tile, f] += v[blocks, p, tile, 8*e + c]*u[q, e, p, c, f]."""
        x, k = self.op.args[self.found.image], self.op.args[self.found.filter]
        axes: Axes = {**self.blocks, "p": PRODUCTS**2, **self.panels, "t": total(self.within)}
        panels = [n for n in self.panels if n != "f"]
        runs = [n for n in self.sum if n != "c"]
        kept = [*self.blocks, "p", *panels, "t", "f"]
        reads = (
            (*map(index, [*self.blocks, "p", "t"]), self.channel()),
            tuple(map(index, [*panels, *runs, "p", "c", "f"])),
        )
        writes = tuple(map(index, kept))
        domain = (*((n, axes[n]) for n in kept), *self.sum.items())
        op = Formula(self.op.name, (x, k), x * k, reads, writes, domain)
        return op((data, filter), TensorType(self.node.dtype, tuple(axes[n] for n in kept)))

    def back(self, product: Node) -> Node:
        """y[blocks, k, v, i, w, j, f] = A^T m A."""
        one, two = self.found.slides
        first, second = transforms(self.tiles.down, one.taps), transforms(self.tiles.across, two.taps)
        axes: Axes = {**self.blocks, **self.within, "i": self.tiles.down, "b": PRODUCTS, **self.panels}
        panels = [n for n in self.panels if n != "f"]
        tile = self.tile(axes)
        reads: list[Index] = [
            (
                *map(index, self.blocks),
                index("b") + tap * PRODUCTS,
                *map(index, panels),
                tile,
                index("f"),
            )
            for tap in range(PRODUCTS)
        ]
        half = combined(self.op.name + ".rows", first.result, "i", product, reads, axes)
        whole = self.whole
        reads = [
            tuple(Affine((), tap) if n == "b" else index(n) for n in axes)
            for tap in range(PRODUCTS)
        ]
        return combined(self.op.name, second.result, "j", half, reads, whole)

    @property
    def whole(self) -> Axes:
        """The axes of the result in tiles, as they follow each other in the image."""
        order = several({**self.blocks, "k": self.tiles.together, "v": self.tiles.rows})
        order |= {"i": self.tiles.down}
        order |= several({"w": self.tiles.width})
        return {**order, "j": self.tiles.across, **self.panels}

    def untiled(self, tiled: Node) -> tuple[Node, Node]:
        """The result's tiles seen as an image, cut and turned as the contraction's result lies."""
        one, two = self.found.slides
        axes, tiles = self.whole, self.tiles
        filters = self.op.extents[self.found.filters]
        writes = (
            self.image_row(),
            mixed([("u", tiles.rows * tiles.down), ("v", tiles.down), ("i", 1)], axes),
            mixed([("w", tiles.across), ("j", 1)], axes),
            mixed([("q", 2 * self.lanes), ("f", 1)], axes),
        )
        size = (tiles.height * tiles.down, tiles.width * tiles.across)
        shape = (self.op.extents[self.found.batch], *size, filters)
        symbol = scalar.argument("x")
        seen = Formula(
            "tiles", (symbol,), symbol, (tuple(map(index, axes)),), writes, tuple(axes.items())
        )((tiled,), TensorType(tiled.dtype, shape))
        order = [self.found.batch, one.kept, two.kept, self.found.filters]
        now = [str(e.plain) for e in self.op.writes if isinstance(e, Affine)]
        step = tuple(order.index(name) for name in now)
        if now == order and seen.type == self.node.type:
            return seen, seen
        return seen, copied("arranged", seen, step, self.node.type)


def several(axes: Axes) -> Axes:
    """The axes but for those of extent 1."""
    return {name: extent for name, extent in axes.items() if extent != 1}


def total(axes: Axes) -> int:
    """The points of some axes."""
    count = 1
    for extent in axes.values():
        assert isinstance(extent, int)
        count *= extent
    return count


def mixed(terms: Sequence[tuple[str, int]], axes: Axes) -> Affine:
    """The sum of factor*index over those of the indices that there are."""
    found = Affine()
    for name, factor in terms:
        if name in axes:
            found = found + index(name) * factor
    return found


def fixed(read: Index, axes: Axes) -> Index:
    """A read where indices that are no axes are 0."""
    return tuple(
        e.without({n for n in e.names if n not in axes}) if isinstance(e, Affine) else e
        for e in read
    )


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
    """[.., case, ..] = sum over l of matrix[case, l]*x[reads[l]], zeros left out."""
    names = [scalar.argument(f"x{tap}") for tap in range(len(reads))]
    reads = [fixed(read, axes) for read in reads]
    expr = scalar.cases(case, [weighted(row, names) for row in matrix])
    writes = writes or tuple(map(index, axes))
    op = Formula(name, tuple(names), expr, tuple(reads), writes, tuple(axes.items()))
    type = TensorType(operand.dtype, tuple(shape or axes.values()))
    return op((operand,) * len(names), type)


def weighted(row: Sequence[Fraction], names: Sequence[scalar.Symbol]) -> scalar.Expr:
    """The sum of the row's numbers times the symbols."""
    found = scalar.ZERO
    for factor, name in zip(row, names, strict=True):
        found = found + scalar.ratio(factor) * name
    return found


def copied(
    name: str, node: Node, order: Sequence[int], type: TensorType | None = None
) -> Node:
    """A copy of a node with its axes in another order, cut to a shape."""
    symbol = scalar.argument("x")
    shape = type.shape if type is not None else tuple(node.shape[axis] for axis in order)
    names = [f"b{axis}" for axis in range(len(order))]
    read = tuple(index(names[list(order).index(axis)]) for axis in range(len(order)))
    domain = tuple(zip(names, shape, strict=True))
    op = Formula(name, (symbol,), symbol, (read,), tuple(map(index, names)), domain)
    return op((node,), TensorType(node.dtype, tuple(shape)))
