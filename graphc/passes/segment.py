"""Segments: what adds many numbers adds them in parts, and then the parts.

y[c] += f(x[n, i, j, c])   ->   p[n, c] += f(x[n, i, j, c]);  y[c] += p[n, c]
y[] += f(x[i])             ->   p[a] += f(x[32768*a + b]);    y[] += p[a]

Each addition rounds to the digits of the sum so far: one by one, a million equal numbers are summed
3e-4 off, and 1e-5 in parts. Threads share the parts, and what makes an image can sum it.
Source: Higham, The accuracy of floating point summation, 1993: the bound of the error grows with
the longest chain of additions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphc.graph.graph import Graph, Note
from graphc.graph.node import Node
from graphc.graph.rewrite import rebuild
from graphc.graph.site import made_for
from graphc.machine import Machine
from graphc.ops import scalar
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Index, index
from graphc.passes.fit import abreast, kind
from graphc.types import TensorType, is_float

CHAIN = 1024
"""Additions that may wait for each other."""
WORTH = 256
"""Numbers that are worth a part of their own."""
WHY = f"no more than {CHAIN} additions are one after the other"
PART = scalar.argument("part")


@dataclass(frozen=True)
class Cut:
    """Where a sum is cut: its outer indices number the parts; of the last, `steps` are in one."""

    outer: tuple[str, ...]
    steps: int = 1


def segment(graph: Graph, machine: Machine) -> Graph:
    """Apply it to every sum that is no contraction, then to the sum of its parts."""
    done: dict[Node, Node] = {}
    notes = list(graph.notes)
    for node in graph.nodes:
        found = rebuild(node, tuple(done[operand] for operand in node.inputs))
        with made_for(node.site):
            while (at := cut(found)) is not None:
                found = parted(found, at)
                parts = found.inputs[0].type
                notes.append(Note(node.op.name, node.site, f"is made of parts, {parts}: {WHY}"))
        done[node] = found
    return replace(graph.replaced(done.__getitem__), notes=tuple(notes))


def cut(node: Node) -> Cut | None:
    """Where a sum whose chains are too long is cut: as far out as leaves none of those within."""
    op = node.op
    if not isinstance(op, Formula) or op.how != "sum" or kind(node) != "rows":
        return None
    if not is_float(node.dtype) or 0 in op.extents.values():
        return None
    room, inner = CHAIN * abreast(node), 1
    for number in reversed(range(len(op.summed))):
        name, outer = op.summed[number], op.summed[: number + 1]
        extent = op.extents[name]
        if isinstance(extent, int) and inner * extent <= room:
            inner *= extent
            continue
        if inner >= WORTH:
            return Cut(outer)
        if not isinstance(extent, int) or name in {s.name for s in op.used}:
            return None
        steps = share(extent, room // inner, abreast(node) if inner == 1 else 1)
        return Cut(outer, steps) if extent % steps == 0 or ends(node, name) else None
    return None


def ends(node: Node, name: str) -> bool:
    """Whether some operand ends where an index does: a later step reads beyond it, adding nothing.

    One of which a slice is summed goes on.
    """
    op = node.op
    assert isinstance(op, Formula)
    after = op.extents[name]
    assert isinstance(after, int)
    places = (
        (e.coefficient(name), e.coefficient(name) * after + e.constant, size)
        for read, operand in zip(op.reads, node.inputs, strict=True)
        for e, size in zip(read, operand.shape, strict=True)
        if isinstance(e, Affine) and e.names == (name,) and isinstance(size, int)
    )
    return any(place >= size if step > 0 else place < 0 for step, place, size in places)


def share(extent: int, most: int, multiple: int) -> int:
    """How many steps of an index a part has: all as many, where some number of them allows it."""
    least = -(-extent // most)
    for parts in range(least, min(4 * least, extent) + 1):
        if extent % parts == 0 and extent // parts % multiple == 0:
            return extent // parts
    return -(-extent // least // multiple) * multiple


def parted(node: Node, at: Cut) -> Node:
    """The sum of the parts of a sum."""
    op = node.op
    assert isinstance(op, Formula)
    parts, order = first(op, at), ordered(op, at)
    made = parts(node.inputs, TensorType(node.dtype, tuple(parts.extents[n] for n in order)))
    domain = tuple((name, parts.extents[name]) for name in (*op.kept, *at.outer))
    whole = Formula(op.name, (PART,), PART, (parts.writes,), op.writes, domain)
    return whole((made,), node.type)


def first(op: Formula, at: Cut) -> Formula:
    """The op that makes the parts: at * steps + step is read where the whole has one index."""
    moves: dict[str, Affine] = {}
    domain = dict(op.domain)
    if at.steps > 1:
        name = at.outer[-1]
        extent, within = domain[name], f"{name}.step"
        assert isinstance(extent, int)
        moves[name] = index(name) * at.steps + index(within)
        domain |= {name: -(-extent // at.steps), within: at.steps}
    reads: tuple[Index, ...] = tuple(
        tuple(e.substitute(moves) if isinstance(e, Affine) else e for e in read)
        for read in op.reads
    )
    writes = tuple(map(index, ordered(op, at)))
    places = tuple(domain.items())
    return Formula(f"{op.name}.parts", op.args, op.expr, reads, writes, places).canonical()


def ordered(op: Formula, at: Cut) -> list[str]:
    """The indices of a part, in the order in which the widest operand has them."""
    found: dict[str, None] = {}
    for read in sorted(op.reads, key=len, reverse=True):
        found |= {name: None for e in read if isinstance(e, Affine) for name in e.names}
    found |= dict.fromkeys(op.extents)
    return [name for name in found if name in op.kept or name in at.outer]
