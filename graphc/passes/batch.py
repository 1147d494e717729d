"""Blocks of the batch as the last axis: [n, c, h, w] lies as [n/16, c, h, w, 16].

A node is rewritten as any other is: its batch index n becomes 16*n.block + n.lane, and a value that
lies in blocks is read and written at those two. Who reads the batch in another way reads a copy.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphc.graph.node import Node
from graphc.graph.rewrite import rebuild
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Index, affine, index
from graphc.passes.copies import copied
from graphc.types import Shape, TensorType


def blocked(node: Node, inputs: Mapping[Node, Node], blocks: Mapping[Node, int]) -> Node:
    """A node that lies in blocks, or reads what does. `inputs`: its operands, rewritten."""
    op = node.op
    values = {o: unblocked(v) if o in blocks else v for o, v in inputs.items()}
    name, size = batch(node, blocks)
    if not isinstance(op, Formula) or name is None:
        return rebuild(node, tuple(values[operand] for operand in node.inputs))
    kept = node in blocks or leads(node) == name
    written = {n for e in op.writes if isinstance(e, Affine) for n in e.names}
    if node not in blocks and name in written and (not kept or op.expr in op.args):
        return rebuild(node, tuple(values[operand] for operand in node.inputs))
    first, last = f"{name}.block", f"{name}.lane"
    halves = {name: affine([(first, size), (last, 1)])}

    def split(place: Index) -> Index:
        return tuple(e.substitute(halves) if isinstance(e, Affine) else e for e in place)

    def apart(place: Index) -> Index:
        return (index(first), *split(place[1:]), index(last))

    operands, reads = [], []
    for operand, read in zip(node.inputs, op.reads, strict=True):
        if along(op, read, operand) == name and (
            operand in blocks or (op.reuses and len(read) > 2)
        ):
            value = inputs[operand]
            operands.append(value if operand in blocks else into(value, size))
            reads.append(apart(read))
        else:
            operands.append(values[operand])
            reads.append(split(read))
    writes = apart(op.writes) if kept else op.writes
    count = op.extents[name]
    assert isinstance(count, int)
    extents = {**op.extents, first: count // size, last: size}
    del extents[name]
    order = dict.fromkeys(
        n for place in (writes, *reads) for e in place if isinstance(e, Affine) for n in e.names
    ) | dict.fromkeys(extents)
    domain = tuple((n, extents[n]) for n in order)
    moved = Formula(op.name, op.args, op.expr, tuple(reads), writes, domain, op.how)
    shape = lying(node.shape, size) if kept else node.shape
    result = moved(tuple(operands), TensorType(node.dtype, shape))
    return unblocked(result) if kept and node not in blocks else result


def leads(node: Node) -> str | None:
    """The index along a node's first axis, where it is plain and no value depends on it."""
    op = node.op
    if not isinstance(op, Formula) or not op.writes:
        return None
    return along(op, op.writes, node)


def along(op: Formula, place: Index, value: Node) -> str | None:
    """The index that runs along the first axis of what an op reads or writes, all of it."""
    e = place[0] if place else None
    name = e.plain if isinstance(e, Affine) else None
    if name is None or name in {s.name for s in op.used} or op.extents[name] != value.shape[0]:
        return None
    return name


def batch(node: Node, blocks: Mapping[Node, int]) -> tuple[str | None, int]:
    """The index that a node's batch, or that of what it reads, has; and how many are in a block."""
    op = node.op
    if not isinstance(op, Formula):
        return None, 0
    if node in blocks:
        return leads(node), blocks[node]
    for operand, read in zip(node.inputs, op.reads, strict=True):
        if operand in blocks and along(op, read, operand) is not None:
            return along(op, read, operand), blocks[operand]
    return None, 0


def lying(shape: Shape, size: int) -> Shape:
    """The shape of a value in blocks."""
    count, *rest = shape
    assert isinstance(count, int)
    return (count // size, *rest, size)


def into(node: Node, size: int) -> Node:
    """A copy of a node in blocks."""
    shape = lying(node.shape, size)
    names = [f"b{axis}" for axis in range(len(shape))]
    read = (affine([(names[0], size), (names[-1], 1)]), *map(index, names[1:-1]))
    domain = tuple(zip(names, shape, strict=True))
    return copied("arranged", node, read, tuple(map(index, names)), domain, shape)


def unblocked(node: Node) -> Node:
    """A value in blocks as it was declared: a copy whose blocks are rows, and those seen as one."""
    count, *rest, size = node.shape
    assert isinstance(count, int) and isinstance(size, int)
    names = [f"b{axis}" for axis in range(len(node.shape))]
    first, lane, inner = index(names[0]), index(names[1]), tuple(map(index, names[2:]))
    shape = (count, size, *rest)
    domain = tuple(zip(names, shape, strict=True))
    rows = copied("arranged", node, (first, *inner, lane), (first, lane, *inner), domain, shape)
    whole = affine([(names[0], size), (names[1], 1)])
    places = (first, lane, *inner)
    return copied("arranged", rows, places, (whole, *inner), domain, (count * size, *rest))
