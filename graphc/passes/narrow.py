"""Narrowing: what nobody reads is not computed.

x[i] = f(a[i]), 0 <= i < n;  y[j] = x[j + 1], 0 <= j < n - 2
-->
x'[i] = f(a[i + 1]), 0 <= i < n - 2;  y[j] = x'[j]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.graph.rewrite import rebuild
from graphc.graph.site import made_for
from graphc.machine import Machine
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Index, index
from graphc.types import TensorType

Box = tuple[tuple[int, int] | None, ...]
"""The first and the last place that is read along each axis; None for all, and for no reader."""


def narrow(graph: Graph, machine: Machine) -> Graph:
    """Compute of each node the smallest box that its readers read."""
    found = boxes(graph)
    if not any(found.values()):
        return graph
    done: dict[Node, Node] = {}
    for node in graph.nodes:
        with made_for(node.site):
            done[node] = rebuilt(node, found, done)
    return graph.replaced(done.__getitem__)


def boxes(graph: Graph) -> dict[Node, Box]:
    """For each node that is read in part: which part."""
    result: dict[Node, Box] = {}
    reading: dict[Node, Box] = {root: (None,) * len(root.shape) for root in graph.roots}
    for node in reversed(graph.nodes):
        op, box = node.op, reading.get(node, ())
        if isinstance(op, Formula):
            part = tuple(
                within if within and can(op, axis) and extent(within) != size else None
                for axis, (within, size) in enumerate(zip(box, node.shape, strict=True))
            )
            if any(part):
                result[node] = part
                op = narrowed(op, part)
        for position, operand in enumerate(node.inputs):
            read = reads(op, position, operand) if isinstance(op, Formula) else None
            here = read or (None,) * len(operand.shape)
            before = reading.get(operand)
            reading[operand] = here if before is None else joined(before, here)
    return result


def can(op: Formula, axis: int) -> bool:
    """Whether an axis of the result is written once at each place, whatever the place.

    Not where a value may be refused, such as a label: it is refused whoever reads the result.
    """
    if op.checks:
        return False
    e = op.writes[axis]
    name = e.plain if isinstance(e, Affine) else None
    return op.plain and name is not None and name not in {s.name for s in op.used}


def extent(within: tuple[int, int]) -> int:
    """How many places there are."""
    return within[1] - within[0] + 1


def joined(one: Box, other: Box) -> Box:
    """The smallest box around two."""
    return tuple(
        (min(a[0], b[0]), max(a[1], b[1])) if a and b else None
        for a, b in zip(one, other, strict=True)
    )


def reads(op: Formula, position: int, operand: Node) -> Box | None:
    """The box that an op reads of an operand; None for all."""
    if op.is_lookup(position):
        return None
    box: list[tuple[int, int] | None] = []
    for e, size in zip(op.reads[position], operand.shape, strict=True):
        numbers = isinstance(e, Affine) and all(isinstance(op.extents[n], int) for n in e.names)
        if not numbers or not isinstance(e, Affine) or not isinstance(size, int):
            box.append(None)
            continue
        low, high = (max(e.range(op.extents)[0], 0), min(e.range(op.extents)[1], size - 1))
        box.append((low, high) if low <= high else None)
    return tuple(box)


def narrowed(op: Formula, box: Box) -> Formula:
    """The op for a part of its result, whose first place is 0."""
    moves: dict[str, Affine] = {}
    extents = dict(op.domain)
    for e, within in zip(op.writes, box, strict=True):
        if within is not None and isinstance(e, Affine) and e.plain is not None:
            moves[e.plain] = index(e.plain) + within[0]
            extents[e.plain] = extent(within)

    def moved(read: Index) -> Index:
        return tuple(e.substitute(moves) if isinstance(e, Affine) else e for e in read)

    domain = tuple((name, extents[name]) for name, _ in op.domain)
    return replace(op, reads=tuple(map(moved, op.reads)), domain=domain)


def rebuilt(node: Node, found: Mapping[Node, Box], done: Mapping[Node, Node]) -> Node:
    """A node on operands that hold only what is read of them."""
    op, inputs = node.op, tuple(done[operand] for operand in node.inputs)
    shape = node.shape
    if node in found and isinstance(op, Formula):
        op = narrowed(op, found[node])
        shape = tuple(
            size if within is None else extent(within)
            for size, within in zip(shape, found[node], strict=True)
        )
    if inputs == node.inputs and op is node.op:
        return node
    if isinstance(op, Formula):
        shifts = [found.get(operand, ()) for operand in node.inputs]
        op = replace(
            op,
            reads=tuple(
                shifted(read, box) if box else read
                for read, box in zip(op.reads, shifts, strict=True)
            ),
        )
        return op(inputs, TensorType(node.dtype, shape))
    return rebuild(node, inputs)


def shifted(read: Index, box: Box) -> Index:
    """An index into an operand, as one into the part of it that is left."""
    return tuple(
        e - within[0] if within is not None and isinstance(e, Affine) else e
        for e, within in zip(read, box, strict=True)
    )
