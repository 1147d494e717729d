"""Arranging: the order of axes in which what a sliding contraction makes lies in memory.

A contraction that slides one operand over the other reads the slid one at a sum of two indices,
`h + r`. Its result has an axis that the other operand alone carries (a convolution's channels):
put last, it gives full vectors whatever the width of an image, and the contraction the form of a
matrix product. What is pointwise on such values, or windows over them, follows, in both directions;
so a whole region of the graph, from one contraction to the next, is decided at once. Where a value
leaves its region in another order than its reader wants, it is copied. A contraction that stands
alone would only be copied for, and stays as it is where its width fills the lanes.

Few channels leave lanes unused, and an image's width has its lanes begin anywhere in a cache line.
The other axis that only one operand carries, the slid one, is the batch: where it is long enough,
blocks of it go last, so that every lane is full, every vector is aligned, and nothing hangs over an
image's edge (`passes/batch.py`).

Orders are permutations of a node's axes; the arranged node is an ordinary node of permuted shape.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from graphc.graph import leaf
from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.graph.rewrite import rebuild
from graphc.graph.site import made_for
from graphc.machine import Machine
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Index, index
from graphc.passes.batch import blocked, leads, unblocked
from graphc.passes.copies import permuted
from graphc.passes.invert import covered
from graphc.types import SIZE, Extent, Shape, TensorType, is_float

Order = tuple[int, ...]
Link = tuple[int, ...]
"""For each axis of an operand, the axis of the result that moves with it."""

NARROW = 0.9
"""Lanes along the last axis of an image are kept unless channels use at least this share of them,
relative to the image's; and lanes along the batch are taken where they use so much more."""
BLOCK = 2
"""Vectors along the images of a block."""
ASKEW = 0.92
"""The speed of vectors that begin anywhere, against that of aligned ones."""


def arrange(graph: Graph, machine: Machine) -> Graph:
    """[n, f, h, w] += x[n, c, h + r, w + s]*k[f, c, r, s]   ->   [n, h, w, f] += ..."""
    seeds = {n: axis for n in graph.nodes if (axis := channel(n)) is not None}
    if not seeds:
        return graph
    orders: dict[Node, Order] = {}
    found = regions(graph, seeds)
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


def channel(node: Node) -> int | None:
    """The axis of a sliding contraction's result that only one, unslid, operand carries."""
    op = node.op
    if not isinstance(op, Formula) or op.how != "sum" or not op.reuses or len(node.shape) < 3:
        return None
    if not covered(op, node) or not is_float(node.dtype):
        return None
    if not any(len(e.names) > 1 for r in op.reads for e in r if isinstance(e, Affine)):
        return None
    places = [e for e in op.writes if isinstance(e, Affine) and e.terms]
    kept = {max(e.terms, key=lambda term: term[1])[0] for e in places}  # residues are none of them
    kept = {name for name in kept if op.extents[name] != 1}
    for axis, e in enumerate(op.writes):
        name = e.plain if isinstance(e, Affine) else None
        if name is None or not isinstance(op.extents[name], int):
            continue
        carried = [{n for e in read if isinstance(e, Affine) for n in e.names} for read in op.reads]
        carriers = [read for read, names in zip(op.reads, carried, strict=True) if name in names]
        alone = any(names & kept == {name} for names in carried)
        if alone and len(carriers) == 1 and e in carriers[0]:
            return axis
    return None


def slides_by_one(node: Node) -> bool:
    """Whether a step along the last axis of a contraction's result is one along what slides."""
    op = node.op
    assert isinstance(op, Formula)
    last = op.writes[-1]
    name = last.plain if isinstance(last, Affine) else None
    ends = [r[-1] for r in op.reads if r and isinstance(r[-1], Affine)]
    moves = [e.coefficient(name) for e in ends if name and name in e.names]
    return bool(moves) and all(move == 1 for move in moves)


def batch(node: Node) -> bool:
    """Whether the first axis of a sliding contraction's result is the slid operand's alone."""
    op = node.op
    assert isinstance(op, Formula)
    reads = [[e for e in read if isinstance(e, Affine)] for read in op.reads]
    slid = [any(len(e.names) > 1 for e in read) for read in reads]
    first = op.writes[0]
    inside = [bool(read) and read[0] == first for read in reads]
    return slid.count(True) == 1 and inside == slid and isinstance(node.shape[0], int)


def link(node: Node, operand: Node, position: int) -> Link | None:
    """How the axes of an operand correspond to those of a map, or of a reduction of windows."""
    op = node.op
    if not isinstance(op, Formula) or op.reuses or len(operand.shape) != len(node.shape):
        return None
    if len(node.shape) < 3:
        return None
    names = []
    for place in (op.writes, op.reads[position]):
        if not all(isinstance(e, Affine) for e in place):
            return None
        names.append([set(e.names) for e in place if isinstance(e, Affine)])
    written, read = names
    found = []
    for axis in read:
        meeting = [i for i, other in enumerate(written) if axis & other]
        if len(meeting) != 1:
            return None
        found.append(meeting[0])
    return tuple(found) if len(set(found)) == len(found) else None


@dataclass
class Region:
    """Nodes whose axes move together, and which axis of each is the channel's.

    `batched`: whether the first axis of each is the same for all, and no other one's.
    """

    seeds: list[Node] = field(default_factory=list)
    channels: dict[Node, int] = field(default_factory=dict)
    batched: bool = True
    pinned: bool = False
    torn: bool = False

    def orders(self) -> dict[Node, Order]:
        """The orders of the region's nodes, channels last."""
        if self.torn:
            return {}
        nodes = self.seeds if self.pinned else list(self.channels)
        found = {}
        for node in nodes:
            axis = self.channels[node]
            order = (*(a for a in range(len(node.shape)) if a != axis), axis)
            if order != tuple(range(len(order))):
                found[node] = order
        return found

    def within(self, blocks: Container[Node]) -> bool:
        """Whether a contraction makes or reads what lies in blocks."""
        return any(node in blocks for seed in self.seeds for node in (seed, *seed.inputs))

    def meets(self, other: Region) -> bool:
        """Whether a contraction of one region reads a value of the other."""
        return any(
            operand in two.channels
            for one, two in ((self, other), (other, self))
            for seed in one.seeds
            for operand in seed.inputs
        )


def stays(chain: Sequence[Region], machine: Machine) -> bool:
    """Whether it is one contraction, and maps of it, that fills lanes as it is declared.

    Nothing that it reads or makes is arranged, so that all of it would have to be copied.
    """
    seeds = [seed for region in chain for seed in region.seeds]
    seed, channels = seeds[0], chain[0].channels
    maps = all(node.shape == seed.shape for node in channels)
    if len(seeds) > 1 or not maps or machine.math == "fast":
        return False
    lanes = machine.lanes(SIZE[seed.dtype])
    image = use(seed.shape[-1], lanes) if slides_by_one(seed) else 0.0
    return image >= use(seed.shape[channels[seed]], lanes)


def gains(chain: Sequence[Region], machine: Machine) -> bool:
    """Whether lanes along channels are used better than lanes along the last axis.

    Asked of a whole chain: a contraction that reads channels last has no lanes along a width.
    """
    here = there = 0.0
    for region in chain:
        for node in region.seeds:
            assert isinstance(node.op, Formula)
            lanes = machine.lanes(SIZE[node.dtype])
            work = volume(node.op)
            here += work / use(node.shape[region.channels[node]], lanes)
            there += work / max(use(extent, lanes) for extent in along(node, lanes))
    return here * NARROW <= there


def chains(regions: Sequence[Region]) -> list[list[Region]]:
    """Regions that are decided on together, as contractions of one read values of another."""
    result: list[list[Region]] = []
    for region in regions:
        near = [other for other in result if any(map(region.meets, other))]
        result = [other for other in result if other not in near]
        result.append([region, *(member for other in near for member in other)])
    return result


def block(regions: Sequence[Region], machine: Machine) -> int:
    """Of how many images a block is, lanes along it being used better than any; 0 for none."""
    seeds = [seed for region in regions for seed in region.seeds]
    lanes = min(machine.lanes(SIZE[node.dtype]) for node in seeds)
    size, here, there = BLOCK * lanes, 0.0, 0.0
    for region in regions:
        for node in region.seeds:
            assert isinstance(node.op, Formula)
            count, work = node.shape[0], volume(node.op)
            if not isinstance(count, int) or count % size:
                return 0
            image = ASKEW * max(use(extent, lanes) for extent in along(node, lanes))
            here += work / max(use(node.shape[region.channels[node]], lanes), image)
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


def volume(op: Formula) -> int:
    """The points of a formula's domain; a run-time extent counts once."""
    total = 1
    for _, extent in op.domain:
        total *= extent if isinstance(extent, int) else 1
    return total


def regions(graph: Graph, seeds: Mapping[Node, int]) -> list[Region]:
    """The regions around the seeds."""
    edges: dict[Node, list[tuple[Node, Link]]] = {n: [] for n in graph.nodes}
    for node in graph.nodes:
        for position, operand in enumerate(node.inputs):
            found = link(node, operand, position)
            if found is not None:
                edges[operand].append((node, found))
                back = tuple(found.index(axis) for axis in range(len(found)))
                edges[node].append((operand, back))
    pinned = {value for _, value in graph.updates}
    done: set[Node] = set()
    result = []
    for seed in seeds:
        if seed in done:
            continue
        region = Region()
        stack = [(seed, seeds[seed])]
        while stack:
            node, axis = stack.pop()
            if node in region.channels:
                region.torn |= region.channels[node] != axis
                continue
            region.channels[node] = axis
            region.batched &= isinstance(node.op, leaf.Leaf) or leads(node) is not None
            if node in seeds:
                region.seeds.append(node)
                region.torn |= seeds[node] != axis
                region.batched &= batch(node)
            region.pinned |= node in pinned or isinstance(node.op, leaf.Variable)
            for other, moved in edges[node]:
                stack.append((other, moved[axis]))
                region.batched &= moved[0] == 0 and node.shape[0] == other.shape[0]
        for node in [n for n in region.channels if not isinstance(n.op, Formula)]:
            del region.channels[node]  # it lies as it is declared: its readers copy it
        done |= set(region.channels)
        result.append(region)
    return result


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
            return blocked(node, operands, self.blocks)
        if node not in self.orders and not any(i in self.orders for i in node.inputs):
            return rebuild(node, tuple(self.done[i] for i in node.inputs))
        if not isinstance(op, Formula):
            return rebuild(node, tuple(map(self.logical, node.inputs)))
        own = self.order(node)
        inputs, reads = [], []
        for position, (operand, read) in enumerate(zip(node.inputs, op.reads, strict=True)):
            order = self.order(operand)
            value = self.done[operand]
            moved = link(node, operand, position)
            if moved is not None:
                wanted = tuple(moved.index(axis) for axis in own)
                if wanted != order:
                    step = tuple(order.index(axis) for axis in wanted)
                    value, order = permuted(value, step, "arranged"), wanted
            inputs.append(value)
            reads.append(tuple(read[axis] for axis in order))
        writes = tuple(op.writes[axis] for axis in own)
        names = dict.fromkeys(n for e in writes if isinstance(e, Affine) for n in e.names)
        names |= dict.fromkeys(sorted(op.extents, key=lambda name: along_memory(name, reads)))
        domain = tuple((name, op.extents[name]) for name in names)
        moved_op = Formula(op.name, op.args, op.expr, tuple(reads), writes, domain, op.how)
        return moved_op(tuple(inputs), TensorType(node.dtype, reordered(node.shape, own)))


def along_memory(name: str, reads: Sequence[Index]) -> bool:
    """Whether an index moves along the memory of what slides: a sum over it comes last, a long run.

    Taps of a filter are few, and what one of them reads the next one reads again.
    """
    return any(
        read[-1] == index(name) and any(isinstance(e, Affine) and len(e.names) > 1 for e in read)
        for read in reads
        if read
    )


def reordered(shape: Shape, order: Order) -> Shape:
    """A shape with its axes in another order."""
    return tuple(shape[axis] for axis in order)
