"""Depth first: groups of which one reads what another has made, computed image by image.

    k0: [n, ...]: x = ...;  k1: [n, ...]: y += x*w
    -->
    for n: { x = ...; y[n, ...] += x*w }

Group by group, a batch of images leaves the caches before the next group reads it. Depth first,
what one group hands to the next lies on the stack, one image large, and the next image is written
over it. Weights are then read anew for each image: it pays where they are few, and used often.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from graphc.graph.node import Node
from graphc.ops.formula import Formula
from graphc.ops.index import Affine
from graphc.passes import layout
from graphc.passes.fit import kind, looked_up
from graphc.passes.group import Fused, Group
from graphc.passes.invert import covered
from graphc.passes.memory import operands, reaches
from graphc.passes.pack import REUSE, count
from graphc.types import SIZE

FEWEST = 8
"""Images, at least: threads share them."""
ROOM = 1 << 21
"""Bytes of an image's values on the stack, at most, and of what one contraction makes and reads for
an image;"""
NEAR = 1 << 19
"""and of its weights, which are read again for each image: a second cache holds so much."""
PARTS = 16
"""Groups that become one, at most."""


def depth_first(fused: Fused) -> Fused:
    """The groups with those joined that can be computed image by image."""
    regions = Regions(fused)
    for group in fused.groups:
        while regions.grow(regions.of[group]):
            pass
    return replace(fused, groups=tuple(regions.groups()))


@dataclass(eq=False)
class Region:
    """Groups that are computed one after the other for each image."""

    parts: list[Group]
    images: int | None


@dataclass
class Regions:
    """The regions of a graph cut into groups: `of` each group; `readers` of what groups store."""

    fused: Fused
    of: dict[Group, Region] = field(init=False)
    maker: dict[Node, Group] = field(init=False)
    reads: dict[Group, list[Node]] = field(init=False)
    readers: dict[Node, list[Group]] = field(init=False)
    wanted: set[Node] = field(init=False)

    def __post_init__(self) -> None:
        groups, home = self.fused.groups, self.fused.home
        self.of = {group: Region([group], images(group)) for group in groups}
        self.maker = {home(root): group for group in groups for root in group.roots}
        self.reads = {
            group: [node for node in operands(group, self.fused) if node in self.maker]
            for group in groups
        }
        self.readers = {}
        for group, read in self.reads.items():
            for node in read:
                self.readers.setdefault(node, []).append(group)
        self.wanted = {home(root) for root in self.fused.graph.roots}

    def grow(self, region: Region) -> bool:
        """Take in a region whose values die in this one, if there is one that may."""
        if region.images is None:
            return False
        for part in region.parts:
            for node in self.reads[part]:
                other = self.of[self.maker[node]]
                if other is not region and other.images == region.images:
                    parts = [*other.parts, *region.parts]
                    if self.inside(node, parts) and self.fit(other, region):
                        region.parts = parts
                        self.of.update(dict.fromkeys(other.parts, region))
                        return True
        return False

    def fit(self, first: Region, second: Region) -> bool:
        """Whether a region may be computed image by image before another one that reads it."""
        parts = [*first.parts, *second.parts]
        nodes = [node for part in parts for node in part.nodes]
        products = [node for node in nodes if kind(node) == "product"]
        if len(parts) > PARTS or not products or not all(map(near, products)):
            return False
        stored = [node for part in parts for node in part.roots if node not in self.fused.inlaid]
        handed = [node for node in stored if self.inside(node, parts)]
        if not all(map(fixed, handed)):
            return False
        if sum(image(node) for node in handed) > ROOM or self.between(first, second):
            return False
        made = {node for part in first.parts for node in part.roots}
        return all(self.steps(part, made, first.images) for part in second.parts)

    def inside(self, node: Node, parts: list[Group]) -> bool:
        """Whether nothing but some groups reads what one of them stores."""
        home = self.fused.home(node)
        return home not in self.wanted and all(g in parts for g in self.readers.get(home, ()))

    def between(self, first: Region, second: Region) -> bool:
        """Whether a region reads another one by way of a third."""
        others = [region for region in self.before(second) if region not in (first, second)]
        return reaches(self.before, others, first)

    def before(self, region: Region) -> list[Region]:
        """The regions that one reads."""
        return [self.of[self.maker[node]] for part in region.parts for node in self.reads[part]]

    def steps(self, part: Group, made: Iterable[Node], images: int | None) -> bool:
        """Whether a group reads what others have made image by image, at its own image."""
        touched = set(made)
        for node in part.nodes:
            op = node.op
            assert isinstance(op, Formula)
            for operand, read in zip(node.inputs, op.reads, strict=True):
                home = self.fused.viewed(operand)
                if home not in touched:
                    continue
                if home.shape[:1] != operand.shape[:1] or looked_up(node, operand):
                    return False
                if not walks(node, images):
                    return False
                if read[0] != op.writes[0]:
                    return False
                touched.add(node)
        return True

    def groups(self) -> list[Group]:
        """The regions as groups, in the order of their last ones."""
        last = {self.of[group]: group for group in self.fused.groups}
        ends = [group for group in self.fused.groups if last[self.of[group]] is group]
        return [self.joined(self.of[group]) for group in ends]

    def joined(self, region: Region) -> Group:
        """The groups of a region as one, which stores what others read."""
        first, *others = region.parts
        if not others:
            return first
        roots = [node for part in region.parts for node in part.roots]
        roots = [node for node in roots if not self.inside(node, region.parts)]
        made = [part.nodes[0].op.name for part in region.parts]
        why = f"{', '.join(made)}: one after the other for each of {region.images} images"
        return Group(
            tuple(dict.fromkeys(node for part in region.parts for node in part.nodes)),
            tuple(roots),
            first.outer[:1],
            (*(reason for part in region.parts for reason in part.reasons), why),
            parts=tuple(region.parts),
        )


def images(group: Group) -> int | None:
    """The steps of a group's first axis, if all that it stores or sums is made step by step."""
    if group.body is not None or not group.direct or not group.outer:
        return None
    steps = group.outer[0]
    if not isinstance(steps, int) or steps < FEWEST:
        return None
    placed = [n for n in group.nodes if n in group.roots or kind(n) != "map"]
    return steps if all(walks(node, steps) for node in placed) else None


def walks(node: Node, images: int | None) -> bool:
    """Whether a formula makes its result step by step along the first axis."""
    op = node.op
    if not isinstance(op, Formula) or op.switch is not None or kind(node) == "alone":
        return False
    if not node.shape or node.shape[0] != images or not covered(op, node):
        return False
    first = op.writes[0]
    return isinstance(first, Affine) and first.plain is not None


def near(product: Node) -> bool:
    """Whether what a contraction reads and makes for one image stays near, its weights used often.

    An operand that is another one for each image is as good as the image.
    """
    op = product.op
    assert isinstance(op, Formula) and isinstance(op.writes[0], Affine)
    step, images, weights = op.writes[0].plain, image(product), 0
    for operand, read in zip(product.inputs, op.reads, strict=True):
        names = {name for e in read if isinstance(e, Affine) for name in e.names}
        if step in names:
            images += image(operand)
            continue
        if not fixed(operand):
            return False
        weights += layout.elements(operand.type, {}) * SIZE[operand.dtype]
        if count(op, [n for n in op.kept if n not in names and n != step]) < REUSE:
            return False
    return images <= ROOM and weights <= NEAR


def fixed(node: Node) -> bool:
    """Whether a node's size is known."""
    return isinstance(layout.size(node.shape), int)


def image(node: Node) -> int:
    """Bytes of one image of a value."""
    size = layout.size(node.shape[1:])
    return size * SIZE[node.dtype] if isinstance(size, int) else ROOM + 1
