"""Direct: what a product makes is written where a copy of it would lie.

y[i, j] += a[i, k]*b[k, j];  z[j, i] = y[i, j], and nobody else reads y
-->
z[j, i] += a[i, k]*b[k, j]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeGuard

from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.graph.rewrite import rebuild
from graphc.graph.site import made_for
from graphc.machine import Machine
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Index, Lookup, index
from graphc.passes.fit import kind
from graphc.passes.invert import covered
from graphc.passes.views import is_alias
from graphc.types import TensorType


def direct(graph: Graph, machine: Machine) -> Graph:
    """Leave out every copy that a product can write itself."""
    users, roots = graph.users(), set(graph.roots)
    alone = {n for n in graph.nodes if len(users[n]) == 1 and n not in roots}
    rewriting = Direct(alone)
    for node in graph.nodes:
        rewriting.add(node)
    return graph.replaced(rewriting.done.__getitem__)


@dataclass
class Direct:
    """A graph being rewritten, and which of its nodes have one reader alone."""

    alone: set[Node]
    done: dict[Node, Node] = field(default_factory=dict)

    def add(self, node: Node) -> None:
        """Rewrite a node whose operands are rewritten."""
        found = None
        if permutes(node) and not is_alias(node):
            found = self.moved(node, node.inputs[0])
        if found is None:
            found = rebuild(node, tuple(self.done[i] for i in node.inputs))
        self.done[node] = found

    def moved(self, copy: Node, node: Node) -> Node | None:
        """A node made where a copy of it is: a product, or a map of nothing but one.

        A map that knows at which position it is, as a mask does, stays where it is.
        """
        made, op = self.done[node], self.done[node].op
        if node not in self.alone or not isinstance(op, Formula) or not op.plain:
            return None
        if kind(made) == "product":
            return written(copy, made)
        if kind(made) != "map" or len(node.inputs) != 1 or op.reads != (op.writes,) or op.used:
            return None
        operand = self.moved(copy, node.inputs[0])
        return None if operand is None else mapped(made, operand, copy)


def permutes(node: Node) -> bool:
    """Whether a node holds each element of its operand once, in an order of its own."""
    op = node.op
    if not isinstance(op, Formula) or len(node.inputs) != 1 or op.expr != op.args[0]:
        return False
    operand, (read,) = node.inputs[0], op.reads
    if node.dtype != operand.dtype or op.summed or not covered(op, node):
        return False
    own = [(e.plain, size) for e, size in zip(read, operand.shape, strict=True) if plain(e)]
    return len(own) == len(read) and sorted(own, key=str) == sorted(op.domain, key=str)


def plain(e: Affine | Lookup) -> TypeGuard[Affine]:
    """Whether a place is an index and no more."""
    return isinstance(e, Affine) and e.plain is not None


def written(copy: Node, product: Node) -> Node:
    """The product, each element where the copy has it."""
    op, own = copy.op, product.op
    assert isinstance(op, Formula) and isinstance(own, Formula)
    values = {e.plain: w for e, w in zip(op.reads[0], own.writes, strict=True)}  # type: ignore[union-attr]  # affine, see permutes
    writes: Index = tuple(e.substitute(values) for e in op.writes)  # type: ignore[union-attr,arg-type]  # affine
    moved = Formula(own.name, own.args, own.expr, own.reads, writes, own.domain, own.how)
    with made_for(product.site):
        return moved.canonical()(product.inputs, TensorType(product.dtype, copy.shape))


def mapped(node: Node, operand: Node, copy: Node) -> Node:
    """A map of one operand, over that operand as it lies in a copy."""
    op = node.op
    assert isinstance(op, Formula)
    names = [f"b{axis}" for axis in range(len(copy.shape))]
    place = tuple(map(index, names))
    domain = tuple(zip(names, copy.shape, strict=True))
    with made_for(node.site):
        return Formula(op.name, op.args, op.expr, (place,), place, domain, op.how)(
            (operand,), TensorType(node.dtype, copy.shape)
        )
