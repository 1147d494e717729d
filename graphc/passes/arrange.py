"""Arranging: the order of axes in which what a sliding contraction makes lies in memory.

A contraction that slides one operand over the other reads the slid one at a sum of two indices,
`h + r`. Its result has an axis that the other operand alone carries (a convolution's channels):
put last, it gives full vectors whatever the width of an image, and the contraction the form of a
matrix product. What is pointwise on such values, or windows over them, follows, in both directions;
so a whole region of the graph, from one contraction to the next, is decided at once. Products of
single points (1x1 filters) follow too where windows make a good part of the work, and around
windows of one channel each (depthwise), which follow themselves. But for a program that sums values
over the batch, as training does: sums down columns, of norms and of gradients of such filters, are
slower than those along rows, and of a region that such windows read, or make, the contractions
alone have their channels last. Where a value leaves its region in another order
than its reader wants, it is copied. A contraction that stands alone would only be copied for, and
stays as it is where its width fills the lanes.

Few channels leave lanes unused, and an image's width has its lanes begin anywhere in a cache line.
The other axis that only one operand carries, the slid one, is the batch: where it is long enough,
blocks of it go last, so that every lane is full, every vector is aligned, and nothing hangs over an
image's edge (`passes/batch.py`).

Orders are permutations of a node's axes; the arranged node is an ordinary node of permuted shape.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.graph.rewrite import rebuild
from graphc.graph.site import made_for
from graphc.machine import Machine
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Dim, Index
from graphc.passes.batch import blocked, unblocked
from graphc.passes.copies import permuted
from graphc.passes.region import (
    Order,
    Region,
    chains,
    channel,
    channels,
    filters,
    has_windows,
    link,
    opens,
    regions,
    single,
    slides,
    volume,
)
from graphc.types import SIZE, Extent, Shape, TensorType

NARROW = 0.9
"""Lanes along the last axis of an image are kept unless channels use at least this share of them,
relative to the image's; and lanes along the batch are taken where they use so much more."""
BLOCK = 2
"""Vectors along the images of a block."""
SLID = 0.33
"""The part of a chain's products that windows make, at least, for those of points to follow."""
MANY = 32
"""Channels, of one group, from which on an image is copied to have them last."""
ASKEW = 0.92
"""The speed of vectors that begin anywhere, against that of aligned ones."""


def arrange(graph: Graph, machine: Machine) -> Graph:
    """[n, f, h, w] += x[n, c, h + r, w + s]*k[f, c, r, s]   ->   [n, h, w, f] += ..."""
    found = arrangeable(graph)
    orders: dict[Node, Order] = {}
    blocks: dict[Node, int] = {}
    for chain in chains([region for region in found if region.batched and not region.pinned]):
        size = block(chain, machine)
        for region in chain if size else ():
            blocks |= dict.fromkeys(region.channels, size)
    for chain in chains([region for region in found if not region.within(blocks)]):
        if gains(chain, machine) and not stays(chain, machine):
            for region in chain:
                orders |= region.orders()
    if not orders and not blocks:
        return graph
    arranger = Arranger(graph, orders, blocks)
    return graph.replaced(arranger.logical)


# --- what to arrange ------------------------------------------------------------------------


def arrangeable(graph: Graph) -> list[Region]:
    """The regions around contractions that slide, and around those of points that follow them."""
    seeds = {n: axis for n in graph.nodes if (axis := channel(n)) is not None}
    sliding = {n: axis for n, axis in seeds.items() if slides(n)}
    if not sliding:
        return []
    depthwise = {n for n in graph.nodes if n not in seeds and filters(n)}
    every, users = regions(graph, seeds), graph.users()
    rows = any(summed_down(region, users) for region in every)
    apart = {value for n in depthwise for value in (n, *n.inputs)} if rows else set()
    joined = [
        chain
        for chain in chains(every)
        if (slid(chain) or holds(chain, depthwise)) and not holds(chain, apart)
    ]
    found = [region for chain in joined for region in chain]
    done = {seed for region in found for seed in region.seeds}
    found += regions(graph, {n: axis for n, axis in sliding.items() if n not in done})
    for region in found:
        region.pinned |= holds([region], apart)
    return found


def slides_by_one(node: Node) -> bool:
    """Whether a step along the last axis of a contraction's result is one along what slides."""
    op = node.op
    assert isinstance(op, Formula)
    last = op.writes[-1]
    name = last.plain if isinstance(last, Affine) else None
    ends = [r[-1] for r in op.reads if r and isinstance(r[-1], Affine)]
    moves = [e.coefficient(name) for e in ends if name and name in e.names]
    return bool(moves) and all(move == 1 for move in moves)


def stays(chain: Sequence[Region], machine: Machine) -> bool:
    """Whether it is one contraction, and maps of it, that fills lanes as it is declared.

    Nothing that it reads or makes is arranged, so that all of it would have to be copied.
    """
    seeds = [seed for region in chain for seed in region.seeds]
    seed, axes = seeds[0], chain[0].channels
    maps = all(node.shape == seed.shape for node in axes)
    if len(seeds) > 1 or not maps or machine.math == "fast":
        return False
    lanes = machine.grain(SIZE[seed.dtype])
    image = use(seed.shape[-1], lanes) if slides_by_one(seed) else 0.0
    return image >= use(channels(seed, axes[seed]), lanes)


def gains(chain: Sequence[Region], machine: Machine) -> bool:
    """Whether lanes along channels are used better than lanes along the last axis.

    Asked of a whole chain: a contraction that reads channels last has no lanes along a width.
    """
    here = there = 0.0
    for region in chain:
        for node in region.seeds:
            assert isinstance(node.op, Formula)
            lanes = machine.grain(SIZE[node.dtype])
            work = volume(node.op)
            here += work / use(channels(node, region.channels[node]), lanes)
            there += work / max(use(extent, lanes) for extent in along(node, lanes))
    return here * NARROW <= there


def summed_down(region: Region, users: Mapping[Node, Sequence[Node]]) -> bool:
    """Whether values of a region are summed over the batch, channel by channel, as in training."""
    for node in region.channels:
        for op, position in reads_of(node, users):
            first = op.reads[position][0]
            if isinstance(first, Affine) and set(first.names) & set(op.summed):
                return True
    return False


def reads_of(node: Node, users: Mapping[Node, Sequence[Node]]) -> Iterator[tuple[Formula, int]]:
    """The formulas that read a node, and as which operand."""
    for user in users[node]:
        for position, operand in enumerate(user.inputs):
            if operand is node and isinstance(user.op, Formula):
                yield user.op, position


def holds(chain: Sequence[Region], nodes: Container[Node]) -> bool:
    """Whether some nodes are among those that a chain arranges."""
    return any(node in nodes for region in chain for node in region.channels)


def slid(chain: Sequence[Region]) -> bool:
    """Whether windows of several points make a good part of a chain's products.

    Products of single points are as fast either way, and follow where the others gain.
    """
    work = windows = 0
    for seed in (seed for region in chain for seed in region.seeds):
        op = seed.op
        assert isinstance(op, Formula)
        work += volume(op)
        windows += volume(op) if has_windows(op) else 0
    return windows >= SLID * work


def block(regions: Sequence[Region], machine: Machine) -> int:
    """Of how many images a block is, lanes along it being used better than any; 0 for none."""
    seeds = [seed for region in regions for seed in region.seeds]
    lanes = min(machine.grain(SIZE[node.dtype]) for node in seeds)
    size, here, there = BLOCK * lanes, 0.0, 0.0
    for region in regions:
        for node in region.seeds:
            assert isinstance(node.op, Formula)
            count, work = node.shape[0], volume(node.op)
            if not isinstance(count, int) or count % size:
                return 0
            image = ASKEW * max(use(extent, lanes) for extent in along(node, lanes))
            here += work / max(use(channels(node, region.channels[node]), lanes), image)
            there += work
    return size if there <= NARROW * here else 0


def along(node: Node, lanes: int) -> list[Extent]:
    """The extents that lanes could run along as things lie: of indices with unit strides.

    Lanes along a sum are joined at the end of each of its parts: not where a row is one vector.
    """
    op = node.op
    assert isinstance(op, Formula)
    ends = [op.writes[-1], *(r[-1] for r in op.reads if r)]
    names = {n for e in ends if isinstance(e, Affine) for n in e.names}
    sums = [n for n in op.summed if isinstance(size := op.extents[n], int) and size < 2 * lanes]
    return [op.extents[n] for n in op.extents if n in names and n not in sums] or [1]


def use(extent: Extent, lanes: int) -> float:
    """The share of lanes in use along an axis."""
    if not isinstance(extent, int):
        return 1.0
    return max(extent, 1) / (-(-max(extent, 1) // lanes) * lanes)


# --- arranging it ---------------------------------------------------------------------------


@dataclass
class Arranger:
    """Rewrites a graph so that nodes lie in the orders given."""

    graph: Graph
    orders: Mapping[Node, Order]
    blocks: Mapping[Node, int]
    done: dict[Node, Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.graph.nodes:
            with made_for(node.site):
                self.done[node] = self.arranged(node)

    def order(self, node: Node) -> Order:
        """The order in which a node's axes lie."""
        return self.orders.get(node, tuple(range(len(node.shape))))

    def logical(self, node: Node) -> Node:
        """The node's value in its declared order."""
        if node in self.blocks:
            with made_for(node.site):
                return unblocked(self.done[node])
        if node not in self.orders:
            return self.done[node]
        order = self.orders[node]
        back = tuple(order.index(axis) for axis in range(len(order)))
        with made_for(node.site):
            return permuted(self.done[node], back, "arranged")

    def arranged(self, node: Node) -> Node:
        """The node on arranged operands, its own axes in its order."""
        op = node.op
        if any(n in self.blocks for n in (node, *node.inputs)):
            operands = {i: self.done[i] for i in node.inputs if i in self.blocks}
            operands |= {i: self.logical(i) for i in node.inputs if i not in self.blocks}
            value = blocked(node, operands, self.blocks)
            order = self.orders.get(node)
            return permuted(value, order, "arranged") if order is not None else value
        if node not in self.orders and not any(i in self.orders for i in node.inputs):
            return rebuild(node, tuple(self.done[i] for i in node.inputs))
        if not isinstance(op, Formula) or single(node):
            return rebuild(node, tuple(map(self.logical, node.inputs)))
        own = self.order(node)
        inputs, reads = [], []
        for position, (operand, read) in enumerate(zip(node.inputs, op.reads, strict=True)):
            order = self.order(operand)
            value = self.done[operand]
            moved = link(node, operand, position)
            if moved is not None:
                wanted = tuple(moved.index(axis) for axis in own)
            elif node in self.orders and operand not in self.orders:
                wanted = summed_last(op, read) or order
            else:
                wanted = order
            if wanted != order:
                step = tuple(order.index(axis) for axis in wanted)
                value, order = permuted(value, step, "arranged"), wanted
            inputs.append(value)
            reads.append(tuple(read[axis] for axis in order))
        writes = tuple(op.writes[axis] for axis in own)
        places = [set(e.names) for e in writes if isinstance(e, Affine)]
        names = dict.fromkeys(n for place in places for n in op.kept if n in place)
        names |= dict.fromkeys(sorted(op.extents, key=lambda name: along_memory(name, op, reads)))
        domain = tuple((name, op.extents[name]) for name in names)
        moved_op = Formula(op.name, op.args, op.expr, tuple(reads), writes, domain, op.how)
        return moved_op(tuple(inputs), TensorType(node.dtype, reordered(node.shape, own)))


def summed_last(op: Formula, read: Index) -> Order | None:
    """The order of an operand in windows with the axis last along which its channels are summed.

    A copy of it costs little beside what is summed; of few channels each window would be one, too.
    """
    windows = [e for e in read if isinstance(e, Affine) and opens(e, op)]
    if not windows or not all(dense(e, op) for e in windows):
        return None
    for axis, place in enumerate(read):
        if walked(place, op) >= MANY:
            return (*(a for a in range(len(read)) if a != axis), axis)
    return None


def dense(window: Affine, op: Formula) -> bool:
    """Whether windows go place by place, and have fewer points than there are places of them.

    What one tap reads the next one then reads at another place, which takes registers.
    """
    steps = {name for name, by in window.terms if by == 1}
    points, places = (
        [size for n in window.names if n in g and isinstance(size := op.extents[n], int)]
        for g in (op.summed, steps.intersection(op.kept))
    )
    return bool(places) and max(points, default=1) < max(places)


def walked(place: Dim, op: Formula) -> int:
    """How many steps a sum takes along an axis of which there are no windows; 0 for none."""
    if not isinstance(place, Affine) or opens(place, op):
        return 0
    sizes = [op.extents[name] for name in op.summed if place.coefficient(name) == 1]
    return max((size for size in sizes if isinstance(size, int)), default=0)


def along_memory(name: str, op: Formula, reads: Sequence[Index]) -> bool:
    """Whether an index moves along the memory of what slides: a sum over it comes last, a long run.

    Taps of a filter are few, and what one of them reads the next one reads again.
    """
    return any(
        isinstance(read[-1], Affine)
        and read[-1].coefficient(name) == 1
        and not opens(read[-1], op)
        and any(opens(e, op) for e in read)
        for read in reads
        if read
    )


def reordered(shape: Shape, order: Order) -> Shape:
    """A shape with its axes in another order."""
    return tuple(shape[axis] for axis in order)
