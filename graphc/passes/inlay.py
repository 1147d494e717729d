"""Inlays: a value that is copied with a border lies within the copy from the start.

k0: x[i] = ...;  k1: y[j] = x[j - 1], 0 outside
-->
k0: y[0] = y[I + 1] = 0;  y[i + 1] = ...            and what reads x[i] reads y[i + 1]

The copy costs no pass over memory then: the kernel that makes the value stores each element at its
place in it, and fills the border. That is decided by the graph alone, before nodes are grouped, as
the order in which a contraction adds up may depend on where its operands lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.ops.formula import Formula
from graphc.ops.index import Affine
from graphc.passes.fit import kind
from graphc.passes.group import Group
from graphc.types import SIZE, Extent

LINE = 64
"""Bytes: so that vectors fill rows, a row of a value is a number of whole cache lines."""


def inlays(graph: Graph, views: Mapping[Node, Node]) -> dict[Node, Node]:
    """The values that lie within a bordered copy of them, each with the copy.

    A contraction reads the copy, so that it lies in memory however nodes are grouped; and the value
    is made by a kernel of this graph, of which nobody sees the memory but by index.
    """
    users = graph.users()
    fixed = {*graph.roots, *views, *views.values()}
    found: dict[Node, Node] = {}
    for copy in graph.nodes:
        if not bordered(copy) or not any(kind(user) == "product" for user in users[copy]):
            continue
        (value,) = copy.inputs
        if kind(value) == "alone" or value in fixed or value in found or value in found.values():
            continue
        if copy not in found and not any(walked(value, copy, user) for user in users[value]):
            found[value] = copy
    return found


def walked(value: Node, copy: Node, user: Node) -> bool:
    """Whether a node must not find gaps between a value's rows.

    A contraction that sums from row to row, as a gradient by a filter does, is slower for them than
    a copy takes; what is no formula takes memory as it lies.
    """
    if not isinstance(user.op, Formula):
        return True
    if kind(user) != "product":
        return False
    gaps = [axis.before + axis.after > 0 for axis in axes_of(copy)]
    return any(
        gap and isinstance(e, Affine) and set(e.names) <= set(user.op.summed)
        for operand, read in zip(user.inputs, user.op.reads, strict=True)
        if operand is value
        for gap, e in zip(gaps, read, strict=True)
    )


def with_borders(group: Group, inlaid: Mapping[Node, Node]) -> Group:
    """A group with the copies that hold its members, whose borders it fills."""
    held = {node: inlaid[node] for node in group.nodes if node in inlaid}
    reasons = [
        f"{value.op.name} is stored within {copy.op.name}, of which the border is filled beside it"
        for value, copy in held.items()
    ]
    return replace(
        group,
        nodes=(*group.nodes, *held.values()),
        roots=(*group.roots, *held.values()),
        reasons=(*group.reasons, *reasons),
    )


def bordered(node: Node) -> bool:
    """Whether [j] = x[j - before] with all of x inside, in rows of whole lines, and 0 around it."""
    op = node.op
    if not isinstance(op, Formula) or len(node.inputs) != 1 or op.expr != op.args[0]:
        return False
    (value,) = node.inputs
    if value.dtype != node.dtype or op.how not in ("sum", "any") or not op.fills(node.shape):
        return False
    if len(value.shape) != len(node.shape) or value.shape == node.shape or 0 in value.shape:
        return False
    within = all(
        isinstance(read, Affine)
        and isinstance(write, Affine)
        and read.terms == write.terms
        and fits(-read.constant, inside, whole)
        for read, write, inside, whole in zip(
            op.reads[0], op.writes, value.shape, node.shape, strict=True
        )
    )
    return within and row(axes_of(node)) * SIZE[node.dtype] % LINE == 0


def fits(before: int, inside: Extent, whole: Extent) -> bool:
    """Whether an axis of a value lies in one of its copy; if its extent is not known, as all."""
    if isinstance(inside, int) and isinstance(whole, int):
        return 0 <= before <= whole - inside
    return before == 0 and inside == whole


@dataclass(frozen=True)
class Axis:
    """An axis of a bordered copy: places before the value within, in it, and after it."""

    before: int
    inside: Extent
    after: int


def axes_of(copy: Node) -> tuple[Axis, ...]:
    """The axes of a bordered copy."""
    op, (value,) = copy.op, copy.inputs
    assert isinstance(op, Formula)
    found: list[Axis] = []
    for read, inside, whole in zip(op.reads[0], value.shape, copy.shape, strict=True):
        assert isinstance(read, Affine)
        known = isinstance(inside, int) and isinstance(whole, int)
        room = int(whole) - int(inside) if known else 0
        found.append(Axis(-read.constant, inside, room + read.constant))
    return tuple(found)


def row(axes: Sequence[Axis]) -> int:
    """Elements of a value that lie side by side within its copy."""
    size = 1
    for axis in reversed(axes):
        size *= axis.inside if isinstance(axis.inside, int) else 1
        if axis.before or axis.after:
            break
    return size
