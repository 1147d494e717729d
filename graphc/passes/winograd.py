"""Winograd: a window that slides over an image, by fewer multiplications, where that is asked for.

    [n, h, w, f] += x[n, h + r, w + s, c]*k[f, c, r, s]
    -->
    v[a, b] = B^T x B over tiles of the image;  u[a, b] = G k G^T
    m[a, b, tile, f] += v[a, b, tile, c]*u[a, b, c, f];  tiles of the result = A^T m A

(Winograd 1980; Lavin and Gray 2016, arXiv:1509.09308). A tile of 4x4 results of a 3x3 window takes
36 products in the place of 144. The result differs in its last digits: relatively by about 1e-5 in
float32, 1e-14 in float64. Each line is a node of its own; tiles are taken block by block, so that
what is made of a block is still in the cache when it is read. Where the sum goes over the image,
results and taps change places (see `passes/transposed.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from graphc.graph.graph import Graph, Note
from graphc.graph.node import Node
from graphc.graph.rewrite import rewrite
from graphc.machine import Machine
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Lookup
from graphc.passes.freeze import elements, small, steady
from graphc.passes.sliding import Sliding, at, sliding
from graphc.passes.tiles import PRODUCTS, cut, estimate
from graphc.passes.transform import in_tiles
from graphc.passes.transposed import in_sum
from graphc.types import SIZE, TensorType, is_float

LEAST = 1.2
"""The estimated gain from which on tiles are worth their digits."""
OTHER = (
    "no window of 2 to 5 by 2 to 5 that moves by 1 over a batch of images, all of their channels "
    "if there are several, and is of their dtype"
)


def winograd(graph: Graph, machine: Machine) -> Graph:
    """Apply `contracted` and `followed` everywhere, where digits may be traded for speed."""
    if machine.math != "fast":
        return graph
    tiler = Tiler(machine, steady(graph) if machine.frozen else {})
    result = rewrite(graph, [tiler.contracted, tiler.followed])
    return replace(result, notes=(*graph.notes, *tiler.notes))


@dataclass
class Tiler:
    """Rewrites contractions for a machine. `views` are results seen as images, with their tiles.

    A filter that no call changes is `made` of some variables.
    """

    machine: Machine
    made: Mapping[Node, set[Node]] = field(default_factory=dict)
    views: dict[Node, Node] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    done: set[Node] = field(default_factory=set)

    def contracted(self, node: Node) -> Node | None:
        """x[h + r, w + s]*k[r, s] over r and s, or h and w   ->   A^T ((G k G^T) * (B^T x B)) A."""
        op = node.op
        if not isinstance(op, Formula) or node in self.done or not slides(op, node):
            return None
        found = sliding(node)
        if found is None:
            self.noted(node, f"as it is: {OTHER}")
            return None
        size = SIZE[node.dtype]
        tiles = cut(op, found, self.machine.lanes(size), size)
        gain = estimate(tiles, size, once=self.once(node.inputs[found.filter], found))
        about = f"tiles of {tiles.down}x{tiles.across} {'places' if found.over else 'results'}"
        speed = f"{gain:.1f} times as fast by estimate"
        if gain < LEAST:
            self.noted(node, f"as it is: {about} would be {speed}")
            return None
        if found.over:
            result = in_sum(node, tiles)
        else:
            view, result = in_tiles(node, tiles)
            if view is result:
                self.views[view] = view.inputs[0]
        exact = tiles.down * tiles.across * found.slides[0].taps * found.slides[1].taps
        why = f"{PRODUCTS**2} products for {exact}, {speed}, at the cost of digits"
        self.noted(node, f"in {about}: {why}")
        return result

    def once(self, filter: Node, found: Sliding) -> bool:
        """Whether a filter is brought to its points once: whether they are kept."""
        sources = self.made.get(filter)
        one, two = found.slides
        points = elements(filter) * PRODUCTS**2 / (one.taps * two.taps) if sources else 0.0
        return sources is not None and small(points, sources)

    def noted(self, node: Node, what: str) -> None:
        """Note what was decided about a node."""
        self.done.add(node)
        self.notes.append(Note(node.op.name, node.site, what))

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
    """Whether a contraction of floats reads an operand at the sum of a kept and a summed index."""
    if op.how != "sum" or not op.reuses or not is_float(node.dtype):
        return False
    places = [set(e.names) for read in op.reads for e in read if isinstance(e, Affine)]
    return any(names & set(op.kept) and names & set(op.summed) for names in places)
