"""Sliding: contractions in which a small window of one operand slides over the other.

    [n, i, j, f] += x[n, i + r, j + s, c]*k[f, c, r, s]     a window over an image
    [f, c, r, s] += x[n, i + r, j + s, c]*y[n, i, j, f]     the same, summed over the image

What is looked at is where the operands are read, in any order of axes: one (the image) at sums of a
kept and a summed index with unit steps, the other (the filter) at those summed indices. One of the
two is short: the summed one, or the kept one where the sum goes over the image, as the gradient of
a filter does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from graphc.graph.node import Node
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Index
from graphc.types import Extent, is_float

TAPS = range(2, 6)
"""Extents of a window that count as small."""


@dataclass(frozen=True)
class Slide:
    """One axis of the image, read at kept + tap + shift; the filter at tap, or, flipped, backwards.

    `place` is the image's axis, `kept` and `summed` the indices. `taps` is the extent of the short
    one, `outputs` of the other.
    """

    place: int
    kept: str
    summed: str
    shift: int
    taps: int
    outputs: int
    flipped: bool

    def tap(self, number: int) -> Affine:
        """The summed index at a tap, counted as the image is read."""
        return Affine((), self.taps - 1 - number if self.flipped else number)


@dataclass(frozen=True)
class Sliding:
    """A window over two axes: positions of the operands, and the roles of the indices.

    Of a single image that is summed over there is no index: `batch` is "".
    """

    image: int
    filter: int
    slides: tuple[Slide, Slide]
    batch: str
    channel: str
    filters: str
    over: bool = False
    """Whether the sum goes over the image, and the batch."""


def sliding(node: Node) -> Sliding | None:
    """The roles of a node's indices, if it is a sum of products of a window with what is below."""
    op = node.op
    if not isinstance(op, Formula) or op.how != "sum" or len(op.args) != 2 or not op.plain:
        return None
    if not is_float(node.dtype) or not op.fills(node.shape):
        return None
    if op.expr != op.args[0] * op.args[1] or any(i.dtype != node.dtype for i in node.inputs):
        return None
    for image in (0, 1):
        for over in (False, True):
            found = roles(op, image, node, over)
            if found is not None and counted(op, found.channel, found.filters):
                return found
    return None


def counted(op: Formula, *names: str) -> bool:
    """Whether the extents of some indices are numbers."""
    return all(isinstance(op.extents[name], int) for name in names)


def roles(op: Formula, image: int, node: Node, over: bool) -> Sliding | None:
    """The roles where one of two operands is the image, and the sum goes over it or not."""
    read, other = op.reads[image], op.reads[1 - image]
    slides = tuple(slides_of(op, read, over))
    rest = [e for e in read if isinstance(e, Affine) and len(e.names) < 2]
    if len(slides) != 2 or len(rest) != 2 or len(read) != 4 or len(other) != 4:
        return None
    if any(e.terms and not e.plain for e in rest):
        return None
    places = [str(e.plain or "") for e in rest]
    below = [str(e.plain or "") for e in other if isinstance(e, Affine) and len(e.names) < 2]
    window = {slide.summed for slide in slides}
    apart = [n for n in places if n in op.kept and n not in below]
    joined = [n for n in places if n in below and n not in op.kept]
    batch, channel = (joined, apart) if over else (apart, joined)
    filters = [n for n in below if n in op.kept]
    if len(batch) != 1 or len(channel) != 1 or len(filters) != 1 or not channel[0]:
        return None
    if sorted(below) != sorted([*window, joined[0], filters[0]]):
        return None
    names = [batch[0], channel[0], filters[0], *window, *(slide.kept for slide in slides)]
    if sorted(filter(None, names)) != sorted(op.extents):
        return None
    one, two = slides
    return Sliding(image, 1 - image, (one, two), batch[0], channel[0], filters[0], over)


def slides_of(op: Formula, read: Index, over: bool) -> Iterator[Slide]:
    """The axes read at the sum, or difference, of a kept and a summed index, one of them short."""
    for place, e in enumerate(read):
        if not isinstance(e, Affine) or len(e.names) != 2:
            continue
        kept = [n for n in e.names if n in op.kept]
        summed = [n for n in e.names if n in op.summed]
        if len(kept) != 1 or len(summed) != 1 or e.coefficient(kept[0]) != 1:
            continue
        taps, outputs, way = op.extents[summed[0]], op.extents[kept[0]], e.coefficient(summed[0])
        if over:
            taps, outputs = outputs, taps
        if way not in (1, -1) or taps not in TAPS or not number(outputs) or not number(taps):
            continue
        if over and way < 0:
            continue
        assert isinstance(taps, int) and isinstance(outputs, int)
        shift = e.constant - (taps - 1 if way < 0 else 0)
        yield Slide(place, kept[0], summed[0], shift, taps, outputs, way < 0)


def number(extent: Extent) -> bool:
    """Whether an extent is known when compiling."""
    return isinstance(extent, int)


def source(image: Node, places: Index) -> tuple[Node, Index]:
    """Where an element of an image that is a widened or turned copy was copied from.

    x'[p]  where [.., i, ..] = x[.., i - k, ..], 0 outside   ->   x[p - k], so that no copy is made.
    """
    op = image.op
    if not isinstance(op, Formula) or len(op.args) != 1 or op.expr != op.args[0]:
        return image, places
    if not op.pointwise or not op.fills(image.shape) or image.dtype != image.inputs[0].dtype:
        return image, places
    (original,), (read,) = image.inputs, op.reads
    names = [str(e.plain) for e in op.writes if isinstance(e, Affine)]
    if len(read) != len(names):
        return image, places
    for e, size in zip(read, original.shape, strict=True):
        if not isinstance(e, Affine) or (e - e.constant).plain not in names:
            return image, places
        wide = op.extents[str((e - e.constant).plain)]
        if e.constant == 0 and size == wide:
            continue
        if not isinstance(size, int) or not isinstance(wide, int):
            return image, places
        if e.constant > 0 or wide + e.constant < size:
            return image, places  # it is also cut
    values = {n: e for n, e in zip(names, places, strict=True) if isinstance(e, Affine)}
    return source(original, at(read, values))


def at(read: Index, values: dict[str, Affine]) -> Index:
    """A read at other indices."""
    return tuple(e.substitute(values) if isinstance(e, Affine) else e for e in read)
