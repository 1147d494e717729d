"""Outward: what is the same for all terms of a sum is multiplied once, after it.

y[c] += a[c]*u[n, c] + b[c]*v[n, c]   ->   y[c] = a[c]*s[c] + b[c]*t[c]
                                           where s[c] += u[n, c];  t[c] += v[n, c]

Done where a factor comes from a sum over as many elements, as the spread that a norm divides by:
its gradient would wait for that, and go over all elements once more; so its sums are made with the
others. A sum is the same but for its rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from graphc.graph.graph import Graph, Note
from graphc.graph.node import Node
from graphc.graph.rewrite import rebuild
from graphc.graph.site import made_for
from graphc.machine import Machine
from graphc.ops import scalar
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Index
from graphc.passes.fit import kind, within
from graphc.passes.pack import count_of
from graphc.passes.region import volume
from graphc.types import TensorType, is_float

SUMS = 4
"""Sums that one may become, at most."""
NEAR = 48
"""Nodes that are looked at for what a factor comes from."""
TERM = scalar.argument("x")
WHY = "what its terms have in common comes after it"


def outward(graph: Graph, machine: Machine) -> Graph:
    """Apply it to every sum whose terms have such factors."""
    done: dict[Node, Node] = {}
    notes = list(graph.notes)
    for node in graph.nodes:
        moved = rebuild(node, tuple(done[operand] for operand in node.inputs))
        found = split(moved)
        if found is not None and worth(found, volume_of(moved)):
            with made_for(node.site):
                moved = after(found, moved)
            notes.append(Note(node.op.name, node.site, WHY))
        done[node] = moved
    return replace(graph.replaced(done.__getitem__), notes=tuple(notes))


@dataclass(frozen=True)
class Terms:
    """What is summed: an operand at an index, or a formula of some, each with its own factors.

    `reads`: where the formula's operands are read at the indices of the sum; of an operand itself,
    where it is. `parts`: the operands that vary along the sum, None for the others.
    """

    node: Node
    reads: tuple[Index, ...]
    parts: tuple[Terms | None, ...] = ()

    def sums(self) -> int:
        """How many sums it becomes."""
        return sum(part.sums() for part in self.parts if part is not None) if self.parts else 1

    def factors(self) -> Iterator[Node]:
        """What is the same for all terms."""
        for operand, part in zip(self.node.inputs if self.parts else (), self.parts, strict=True):
            if part is None:
                yield operand
            else:
                yield from part.factors()


def split(node: Node) -> Terms | None:
    """The terms of a sum, split as far as they are sums themselves."""
    op = node.op
    if not isinstance(op, Formula) or op.how != "sum" or kind(node) != "rows":
        return None
    if not is_float(node.dtype) or op.lookups or op.switch is not None or op.used:
        return None
    return parts_of(node, op.reads, set(op.summed))


def parts_of(node: Node, reads: tuple[Index, ...], summed: set[str]) -> Terms | None:
    """A formula's operands, those that vary along a sum each split further; None where it is none.

    Each of these moves with every index of the sum: else it would be added several times. None is
    read beyond its end: there the others would add nothing either.
    """
    op = node.op
    assert isinstance(op, Formula)
    varying = []
    if not all(within(op, r, i.shape) for r, i in zip(op.reads, node.inputs, strict=True)):
        return None
    for arg, operand, read in zip(op.args, node.inputs, reads, strict=True):
        names = {name for e in read if isinstance(e, Affine) for name in e.names}
        if operand.dtype != node.dtype or (names & summed and not summed <= names):
            return None
        if names & summed:
            varying.append(arg)
    if not varying or not scalar.is_sum(op.expr, tuple(varying)):
        return None
    parts = tuple(
        terms(operand, read, summed) if arg in varying else None
        for arg, operand, read in zip(op.args, node.inputs, reads, strict=True)
    )
    return Terms(node, reads, parts)


def terms(node: Node, read: Index, summed: set[str]) -> Terms:
    """What is summed of an operand at an index: it, or what it is a sum of."""
    op = node.op
    whole = Terms(node, (read,))
    if not isinstance(op, Formula) or kind(node) != "map" or op.switch is not None or op.used:
        return whole
    if op.lookups or not all(isinstance(e, Affine) for e in read):
        return whole
    at = {
        e.plain: place
        for e, place in zip(op.writes, read, strict=True)
        if isinstance(e, Affine) and isinstance(place, Affine) and e.plain is not None
    }
    if None in at or len(at) != len(read):
        return whole
    values = {name: place for name, place in at.items() if name is not None}
    reads = tuple(
        tuple(e.substitute(values) if isinstance(e, Affine) else e for e in one) for one in op.reads
    )
    return parts_of(node, reads, summed) or whole


def worth(found: Terms, size: int) -> bool:
    """Whether some factor waits for a sum over as many elements, and sums stay few."""
    return found.sums() <= SUMS and any(late(node, size) for node in found.factors())


def late(node: Node, size: int) -> bool:
    """Whether a node comes from a sum over so many elements, by what is smaller."""
    stack, seen = [node], {node}
    while stack and len(seen) < NEAR:
        current = stack.pop()
        op = current.op
        if not isinstance(op, Formula):
            continue
        if op.summed and volume(op) >= size:
            return True
        smaller = [operand for operand in current.inputs if count_of(operand.shape) < size]
        stack += [operand for operand in smaller if operand not in seen]
        seen |= set(smaller)
    return False


def volume_of(node: Node) -> int:
    """The points of a node's formula."""
    return volume(node.op) if isinstance(node.op, Formula) else 0


def after(found: Terms, node: Node) -> Node:
    """The formula of the sums of a sum's terms."""
    op = node.op
    assert isinstance(op, Formula)
    if not found.parts:
        names = dict.fromkeys(n for e in (*op.writes, *found.reads[0]) for n in own(e))
        domain = tuple((name, op.extents[name]) for name in names)
        total = Formula("sum", (TERM,), TERM, found.reads, op.writes, domain)
        return total.canonical()((found.node,), node.type)
    inner = found.node.op
    assert isinstance(inner, Formula)
    inputs, reads = [], []
    for operand, part, read in zip(found.node.inputs, found.parts, found.reads, strict=True):
        inputs.append(operand if part is None else after(part, node))
        reads.append(read if part is None else op.writes)
    kept = dict.fromkeys(n for e in (*op.writes, *(e for r in reads for e in r)) for n in own(e))
    domain = tuple((name, op.extents[name]) for name in kept)
    outer = Formula(inner.name, inner.args, inner.expr, tuple(reads), op.writes, domain)
    return outer.canonical()(tuple(inputs), TensorType(node.dtype, node.shape))


def own(e: object) -> tuple[str, ...]:
    """The indices of an index expression."""
    return tuple(e.names) if isinstance(e, Affine) else ()
