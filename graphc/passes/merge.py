"""Merge: axes of short rows that are summed together become one axis, of long rows.

y[c] += f(x[n, c, h, w])   ->   y[c] += f(x'[n, c, p])  where x'[n, c, W*h + w] = x[n, c, h, w]

A row of seven numbers is no vector: it is summed one by one, beside other rows that lie apart. All
rows of an image lie one behind the other. Maps that only such sums read, or each other, and the
program's results among them, go over the merged axis, too: they stay together with the sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

from graphc.graph.graph import Graph, Note
from graphc.graph.node import Node
from graphc.graph.rewrite import rebuild
from graphc.graph.site import made_for
from graphc.machine import Machine
from graphc.ops import scalar
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Index, affine, index
from graphc.passes.fit import SHORT_ROW, kind
from graphc.types import Shape, TensorType

LONG = 2 * SHORT_ROW
"""Elements of a row that fill vectors well enough, whatever is left of the last one."""
FULL = 0.9
"""The part of its vectors that a shorter row must fill."""
ELEMENT = scalar.argument("x")


def merge(graph: Graph, machine: Machine) -> Graph:
    """Apply it to every reduction along the rows of its operands, if they are short."""
    axes = merging(graph)
    if not axes:
        return graph
    done: dict[Node, Node] = {}
    made: dict[Node, Node] = {}
    notes = list(graph.notes)
    for node in graph.nodes:
        with made_for(node.site):
            if node not in axes:
                done[node] = rebuild(node, tuple(done[operand] for operand in node.inputs))
                continue
            made[node] = whole(node, axes, done, made)
            done[node] = made[node] if kind(node) == "rows" else divided(made[node], node)
        if kind(node) == "rows":
            why = f"its last {len(axes[node])} axes, of short rows, are summed as one"
            notes.append(Note(node.op.name, node.site, why))
    return replace(graph.replaced(done.__getitem__), notes=tuple(notes))


def merging(graph: Graph) -> dict[Node, Shape]:
    """The reductions whose last axes become one, the maps with them, and those axes' extents."""
    axes = {node: found for node in graph.nodes if len(found := together(node)) > 1}
    if not axes:
        return {}
    users, wanted = graph.users(), set(graph.roots)
    alone: set[Node] = set()  # maps that nothing else needs as they are
    for node in reversed(graph.nodes):
        needed = users[node] or node in wanted
        inside = all(user in axes or user in alone for user in users[node])
        if kind(node) == "map" and needed and inside and begins(node):
            alone.add(node)
    reached = list(axes)
    while reached:
        node = reached.pop()
        extents = axes[node]
        for near in (*node.inputs, *users[node]):
            along = near in alone and near.shape[-len(extents) :] == extents
            if along and near not in axes and merges(near, last(near, len(extents))):
                axes[near] = extents
                reached.append(near)
    return axes


def begins(node: Node) -> bool:
    """Whether a map has no product's registers to be computed in."""
    return not any(kind(operand) == "product" for operand in node.inputs)


def together(node: Node) -> Shape:
    """The extents of the last axes that a reduction goes over, where they are better one."""
    op = node.op
    if not isinstance(op, Formula) or kind(node) != "rows" or op.how in ("argmax", "argmin"):
        return ()
    extent, count = op.extents[op.summed[-1]], 1
    if not isinstance(extent, int) or not short(extent):
        return ()
    while count < len(op.summed) and merges(node, op.summed[-count - 1 :]):
        count += 1
    return tuple(op.extents[name] for name in op.summed[-count:])


def short(extent: int) -> bool:
    """Whether a row leaves much of its vectors empty."""
    vectors = -(-extent // SHORT_ROW)
    return extent < LONG and extent < FULL * SHORT_ROW * vectors


def merges(node: Node, names: Sequence[str]) -> bool:
    """Whether every operand has some indices for its last axes, all of them, or none of them."""
    op = node.op
    if not isinstance(op, Formula) or op.switch is not None or op.lookups or not names:
        return False
    extents = tuple(op.extents[n] for n in names)
    if {s.name for s in op.used} & set(names) or not all(isinstance(e, int) for e in extents):
        return False
    every = tuple(map(index, names))
    if not any(read[-len(names) :] == every for read in op.reads):
        return False
    for operand, read in zip(node.inputs, op.reads, strict=True):
        here = read[-len(names) :] == every and operand.shape[-len(names) :] == extents
        rest = read[: -len(names)] if here else read
        if any(set(e.names) & set(names) for e in rest if isinstance(e, Affine)):
            return False
    return True


def last(node: Node, count: int) -> tuple[str, ...]:
    """The plain indices of a map's last axes; none where one of them is something else."""
    op = node.op
    assert isinstance(op, Formula)
    names = [e.plain if isinstance(e, Affine) else None for e in op.writes[-count:]]
    plain = tuple(n for n in names if n is not None)
    return plain if len(plain) == count else ()


def whole(
    node: Node, axes: Mapping[Node, Shape], done: Mapping[Node, Node], made: Mapping[Node, Node]
) -> Node:
    """A map with its last axes as one, or a reduction of such operands."""
    op = node.op
    assert isinstance(op, Formula)
    extents = axes[node]
    count = len(extents)
    names = op.summed[-count:] if op.summed else last(node, count)
    every, inputs = tuple(map(index, names)), []
    for operand, read in zip(node.inputs, op.reads, strict=True):
        if read[-count:] != every:
            inputs.append(done[operand])
        elif axes.get(operand) == extents and kind(operand) == "map":
            inputs.append(made[operand])
        else:
            inputs.append(merged(done[operand], count))
    domain = tuple(
        (name, length(extents) if name == names[-1] else size)
        for name, size in op.domain
        if name not in names[:-1]
    )
    reads = tuple(one(read, every) for read in op.reads)
    found = Formula(op.name, op.args, op.expr, reads, one(op.writes, every), domain, op.how)
    shape = node.shape if op.summed else (*node.shape[:-count], length(extents))
    return found.canonical()(tuple(inputs), TensorType(node.dtype, shape))


def one(place: Index, every: Index) -> Index:
    """A place with the last of some indices for all of them."""
    return (*place[: -len(every)], every[-1]) if place[-len(every) :] == every else place


def merged(node: Node, count: int) -> Node:
    """The same elements with the last axes as one."""
    return seen("merged", node, node, count)


def divided(node: Node, like: Node) -> Node:
    """The same elements with the axes of another node instead of the last one."""
    return seen("divided", node, like, like.type.rank - node.type.rank + 1)


def seen(name: str, source: Node, apart: Node, count: int) -> Node:
    """A node seen with the last axes of another one as one axis, or with these for that one."""
    names, extents = [f"i{axis}" for axis in range(apart.type.rank)], apart.shape[-count:]
    steps = [length(extents[place + 1 :]) for place in range(count)]
    each = tuple(map(index, names))
    joint = (*each[:-count], affine(list(zip(names[-count:], steps, strict=True))))
    reads, writes = (each, joint) if source is apart else (joint, each)
    shape = (*apart.shape[:-count], length(extents)) if source is apart else apart.shape
    domain = tuple(zip(names, apart.shape, strict=True))
    op = Formula(name, (ELEMENT,), ELEMENT, (reads,), writes, domain)
    return op((source,), TensorType(source.dtype, shape))


def length(extents: Shape) -> int:
    """The extent of one axis for several, none of which is known at run time only."""
    return prod(extent for extent in extents if isinstance(extent, int))
