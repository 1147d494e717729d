"""Absorbing: where weights last, what scales and shifts a product's result goes into them.

y = ((sum of x*k) + b - m)*s + t   ->   y = (sum of x*k') + c   where k' = k*s, c = (b - m)*s + t

What k', b, m, s and t are made of lasts, so that k' and c are computed once: a batch norm after a
convolution then costs one addition. It rounds otherwise, and is for `math="fast"`.
Source: Jacob et al. 2018, section 3.2 (folding of batch norm).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from graphc.graph.graph import Graph, Note
from graphc.graph.node import Node
from graphc.graph.rewrite import rebuild
from graphc.graph.site import made_for
from graphc.machine import Machine
from graphc.ops import scalar
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, index, stays
from graphc.ops.scalar import Expr
from graphc.passes.freeze import steady
from graphc.types import TensorType, is_float

X, C = scalar.argument("x"), scalar.argument("c")
WHY = "is taken into the weights of"


def absorb(graph: Graph, machine: Machine) -> Graph:
    """Apply it to every product of weights that last, and to the maps after it."""
    if machine.math != "fast" or not machine.frozen:
        return graph
    lasting, users, roots = steady(graph), graph.users(), set(graph.roots)
    done: dict[Node, Node] = {}
    shifted: dict[Node, Shifted] = {}
    notes = list(graph.notes)
    for node in graph.nodes:
        done[node] = rebuild(node, tuple(done[operand] for operand in node.inputs))
        if node in lasting:
            continue
        weights = weighted(node, lasting)
        if weights is not None:
            shifted[node] = Shifted(done[node], weights, None)
            continue
        at = moving(node, lasting)
        before = node.inputs[at] if at is not None else None
        if at is None or before not in shifted or before in roots or len(users[before]) > 1:
            continue
        with made_for(node.site):
            found = followed(shifted[before], node, at, done)
            if found is None:
                continue
            bias = found.product is shifted[before].product and shifted[before].shift is None
            shifted[node] = found
            if not bias:  # which stays as it is, until something follows it
                done[node] = found.value()
                text = f"{WHY} {found.product.op.name}, which last"
                notes.append(Note(node.op.name, node.site, text))
    return replace(graph.replaced(done.__getitem__), notes=tuple(notes))


@dataclass(frozen=True)
class Along:
    """A value that depends on some axes of a result only."""

    node: Node
    axes: tuple[int, ...]


@dataclass(frozen=True)
class Shifted:
    """The sum of a product, whose weights are an operand of it, and what is added to it."""

    product: Node
    weights: int
    shift: Along | None

    def value(self) -> Node:
        """The node of it."""
        if self.shift is None:
            return self.product
        every = Along(self.product, tuple(range(len(self.product.shape))))
        return together("shift", X + C, every, self.shift).node


def weighted(node: Node, lasting: Mapping[Node, object]) -> int | None:
    """Which operand of a product holds weights that last; None for any other node."""
    op = node.op
    if not isinstance(op, Formula) or op.how != "sum" or op.pointwise or len(op.args) != 2:
        return None
    found = [at for at, operand in enumerate(node.inputs) if operand in lasting]
    if len(found) != 1 or not is_float(node.dtype) or op.expr != op.args[0] * op.args[1]:
        return None
    (at,) = found
    read, shape = op.reads[at], node.inputs[at].shape
    inside = all(
        isinstance(e, Affine) and stays(e, n, op.extents) for e, n in zip(read, shape, strict=True)
    )
    return at if inside else None


def moving(node: Node, lasting: Mapping[Node, object]) -> int | None:
    """The one operand of a map that does not last, read where the result is written; else None."""
    op = node.op
    if not isinstance(op, Formula) or not op.pointwise or op.switch is not None:
        return None
    found = [at for at, operand in enumerate(node.inputs) if operand not in lasting]
    if len(found) != 1 or any(not isinstance(e, Affine) or e.plain is None for e in op.writes):
        return None
    (at,) = found
    same = op.reads[at] == op.writes and node.inputs[at].type == node.type
    return at if same and not any(map(op.is_lookup, range(len(op.args)))) else None


def followed(before: Shifted, node: Node, at: int, done: Mapping[Node, Node]) -> Shifted | None:
    """A shifted product after a map a*x + b of it; None where the map is no such, or a moves it."""
    op = node.op
    assert isinstance(op, Formula)
    x = op.args[at]
    if not op.expr.is_polynomial(x):
        return None
    factor, added = scalar.differentiate(op.expr, x), scalar.with_value(op.expr, x, 0)
    if x in factor.free_symbols:
        return None
    product, shift = before.product, before.shift
    if factor != 1:
        by = part(node, factor, done)
        scaled = times(product, before.weights, by)
        if scaled is None:
            return None
        product = scaled
        shift = None if shift is None else together("scale", X * C, shift, by)
    if added != 0:
        more = part(node, added, done)
        shift = more if shift is None else together("shift", X + C, shift, more)
    return Shifted(product, before.weights, shift)


def part(node: Node, expr: Expr, done: Mapping[Node, Node]) -> Along:
    """A formula of what lasts, over the axes of a map's result that it depends on."""
    op = node.op
    assert isinstance(op, Formula)
    used = [at for at, arg in enumerate(op.args) if arg in expr.free_symbols]
    args, reads = tuple(op.args[at] for at in used), tuple(op.reads[at] for at in used)
    names = {n for read in reads for e in read if isinstance(e, Affine) for n in e.names}
    places = [
        (axis, e) for axis, e in enumerate(op.writes) if isinstance(e, Affine) and e.plain in names
    ]
    writes = tuple(e for _, e in places)
    domain = tuple((name, size) for name, size in op.domain if name in names)
    made = Formula(op.name, args, expr, reads, writes, domain).canonical()
    shape = tuple(node.shape[axis] for axis, _ in places)
    value = made(tuple(done[node.inputs[at]] for at in used), TensorType(node.dtype, shape))
    return Along(value, tuple(axis for axis, _ in places))


def together(name: str, expr: Expr, x: Along, c: Along) -> Along:
    """A formula of two values, over the axes that either has."""
    sizes = dict(zip(x.axes, x.node.shape, strict=True)) | dict(
        zip(c.axes, c.node.shape, strict=True)
    )
    axes = tuple(sorted(sizes))
    reads = tuple(tuple(index(f"a{axis}") for axis in one.axes) for one in (x, c))
    writes = tuple(index(f"a{axis}") for axis in axes)
    domain = tuple((f"a{axis}", sizes[axis]) for axis in axes)
    op = Formula(name, (X, C), expr, reads, writes, domain).canonical()
    shape = tuple(sizes[axis] for axis in axes)
    return Along(op((x.node, c.node), TensorType(x.node.dtype, shape)), axes)


def times(product: Node, at: int, by: Along) -> Node | None:
    """A product with its weights scaled; None where they do not move with all that scales them."""
    op, weights = product.op, product.inputs[at]
    assert isinstance(op, Formula)
    places = [op.writes[axis] for axis in by.axes]
    if any(place not in op.reads[at] for place in places):
        return None
    axes = tuple(op.reads[at].index(place) for place in places)
    every = Along(weights, tuple(range(len(weights.shape))))
    scaled = together("scale", X * C, every, Along(by.node, axes)).node
    inputs = (*product.inputs[:at], scaled, *product.inputs[at + 1 :])
    with made_for(product.site):
        return op(inputs, product.type)
