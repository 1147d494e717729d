"""Regions: values whose axes move together, around the contractions that would have them moved.

A contraction with an axis that one operand alone carries, the channel's, is a seed. From it a
region goes on through what is pointwise, or reduces windows, in both directions. Regions whose
contractions read each other's values are a chain.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from graphc.graph import leaf
from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Dim, Index
from graphc.passes.batch import leads
from graphc.passes.invert import covered
from graphc.types import Extent, is_float

Order = tuple[int, ...]
"""A node's axes as they lie in memory, the outermost first."""
Link = tuple[int, ...]
"""For each axis of an operand, the axis of the result that moves with it."""


@dataclass
class Region:
    """Nodes whose axes move together, and which axis of each is the channel's.

    `batched`: whether the first axis of each is the same for all, and no other one's. `pinned`:
    what its contractions make is moved, and nothing that follows. `torn`: two want two axes last.
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


def regions(graph: Graph, seeds: Mapping[Node, int]) -> list[Region]:
    """The regions around the seeds.

    Where one slides, another that does not, and would have another axis last, follows all the same.
    """
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
    for seed in sorted(seeds, key=lambda node: not slides(node)):
        if seed in done:
            continue
        region = Region()
        stack = [(seed, seeds[seed])]
        windows = slides(seed)
        while stack:
            node, axis = stack.pop()
            if node in region.channels:
                region.torn |= region.channels[node] != axis
                continue
            region.channels[node] = axis
            region.batched &= isinstance(node.op, leaf.Leaf) or leads(node) is not None
            if node in seeds and (slides(node) or not windows or seeds[node] == axis):
                region.seeds.append(node)
                region.torn |= seeds[node] != axis
                region.batched &= batch(node, seeds[node])
            region.pinned |= node in pinned or isinstance(node.op, leaf.Variable)
            for other, moved in edges[node]:
                stack.append((other, moved[axis]))
                region.batched &= moved[0] == 0 and node.shape[0] == other.shape[0]
        for node in [n for n in region.channels if not isinstance(n.op, Formula)]:
            del region.channels[node]  # it lies as it is declared: its readers copy it
        done |= set(region.channels)
        result.append(region)
    return result


def chains(regions: Sequence[Region]) -> list[list[Region]]:
    """Regions that are decided on together, as contractions of one read values of another."""
    result: list[list[Region]] = []
    for region in regions:
        near = [other for other in result if any(map(region.meets, other))]
        result = [other for other in result if other not in near]
        result.append([region, *(member for other in near for member in other)])
    return result


def channel(node: Node) -> int | None:
    """The axis of a contraction's result that only one operand carries, and no other with it."""
    op = node.op
    if not isinstance(op, Formula) or op.how != "sum" or not op.reuses or len(node.shape) < 3:
        return None
    if not covered(op, node) or not is_float(node.dtype) or single(node):
        return None
    groups = shared(op) if slides(node) else set()
    places = [e.without(groups) for e in op.writes if isinstance(e, Affine)]
    kept = {max(e.terms, key=lambda term: term[1])[0] for e in places if e.terms}  # no residues
    kept = {name for name in kept if op.extents[name] != 1}
    for axis, e in enumerate(op.writes):
        name = unit(e, op)
        if name is None or not isinstance(op.extents[name], int):
            continue
        carriers = [read for read in op.reads if name in carried(read)]
        alone = any(carried(read) & kept == {name} for read in op.reads)
        if alone and len(carriers) == 1 and any(unit(e, op) == name for e in carriers[0]):
            return axis
    return None


def single(node: Node) -> bool:
    """Whether windows are summed for one place, whose sums go along the filters as they lie."""
    op = node.op
    if not isinstance(op, Formula) or op.how != "sum" or not op.reuses or not slides(node):
        return False
    return sum(op.extents[name] != 1 for name in op.kept) < 2


def unit(place: Dim, op: Formula) -> str | None:
    """The index that walks an axis step by step, in each group of it: f of f + 32*g."""
    if not isinstance(place, Affine) or place.constant:
        return None
    own = place if len(place.names) == 1 else place.without(shared(op))
    return own.plain


def shared(op: Formula) -> set[str]:
    """The indices at which every operand of a contraction is read, those of groups among them."""
    return set.intersection(*map(carried, op.reads)) if op.reads else set()


def channels(node: Node, axis: int) -> Extent:
    """The extent of a contraction's channels, of one group where there are several."""
    op = node.op
    assert isinstance(op, Formula)
    name = unit(op.writes[axis], op)
    return op.extents[name] if name is not None else node.shape[axis]


def carried(place: Index) -> set[str]:
    """The indices at which an operand is read, or a result is written."""
    return {name for e in place if isinstance(e, Affine) for name in e.names}


def slides(node: Node) -> bool:
    """Whether a contraction reads one operand at a sum of two indices, as windows do."""
    assert isinstance(node.op, Formula)
    return in_windows(node.op)


def in_windows(op: Formula) -> bool:
    """Whether an operand is read at a sum of two indices."""
    return any(opens(e, op) for read in op.reads for e in read)


def has_windows(op: Formula) -> bool:
    """Whether a contraction slides, and its windows are of more than one point."""
    places = [e for r in op.reads for e in r if isinstance(e, Affine) and opens(e, op)]
    return any(sum(op.extents[name] != 1 for name in e.names) > 1 for e in places)


def opens(place: Dim, op: Formula) -> bool:
    """Whether a place is one of a window: a sum of indices that not every operand carries.

    Not of groups: every operand carries the indices of c + 32*g, the channel that is read, and
    f + 32*g is the place of the result, too.
    """
    if not isinstance(place, Affine) or len(place.names) < 2 or place in op.writes:
        return False
    return any(name not in carried(read) for name in place.names for read in op.reads)


def filters(node: Node) -> bool:
    """Whether windows of several points are multiplied by what does not move with them."""
    op = node.op
    if not isinstance(op, Formula) or op.how != "sum" or not op.reuses or not has_windows(op):
        return False
    moving = [carried(op.writes) & carried(read) for read in op.reads]
    return any(names != moving[0] for names in moving)


def batch(node: Node, channel: int) -> bool:
    """Whether the first axis of a contraction's result is alone that of what has no channel."""
    op = node.op
    assert isinstance(op, Formula)
    without = [op.writes[channel] not in read for read in op.reads]
    inside = [bool(read) and read[0] == op.writes[0] for read in op.reads]
    return without.count(True) == 1 and inside == without and isinstance(node.shape[0], int)


def link(node: Node, operand: Node, position: int) -> Link | None:
    """How the axes of an operand correspond to those of a map, or of a reduction of windows.

    Of products of windows, too, where the operand has all axes of the result, as depthwise ones do.
    """
    op = node.op
    if not isinstance(op, Formula) or len(operand.shape) != len(node.shape) or len(node.shape) < 3:
        return None
    if op.reuses and not (filters(node) and carried(op.writes) <= carried(op.reads[position])):
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


def volume(op: Formula) -> int:
    """The points of a formula's domain; a run-time extent counts once."""
    total = 1
    for _, extent in op.domain:
        total *= extent if isinstance(extent, int) else 1
    return total
