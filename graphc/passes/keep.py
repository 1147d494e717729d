"""Keep: what the backward pass makes of a kept value alone is kept in the place of that value.

y = f(x);  ...;  dx = g*d(x)          where x is kept for dx
-->
y = f(x);  k = d(x);  ...;  dx = g*k  where k is kept

It is done where f and d have much in common: they stand in one kernel, which computes that once
and has x in registers. In memory k, which is as large as x, takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphc.graph import leaf
from graphc.graph.graph import Graph, Note
from graphc.graph.node import Node
from graphc.graph.phase import BACKWARD, FORWARD, phases
from graphc.graph.rewrite import rebuild
from graphc.graph.site import made_for
from graphc.machine import Machine
from graphc.ops import scalar
from graphc.ops.chain import times
from graphc.ops.cost import instructions
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, index, show
from graphc.ops.scalar import Expr
from graphc.passes.again import PER_BYTE, STORE, moved
from graphc.passes.fit import kind
from graphc.passes.fold import always
from graphc.types import SIZE, is_float

KEPT = scalar.argument("kept")
WORTH = SIZE["float32"] * STORE * PER_BYTE
"""Instructions in the time of one more store, where x is stored for others all the same.

For float32, in which they are counted; of wider numbers both take longer alike.
"""


def keep(graph: Graph, machine: Machine) -> Graph:
    """Apply `split` to every node of the backward pass."""
    if not any(node.site.derived for node in graph.nodes):
        return graph
    keeper, notes = Keeper(graph, machine), list(graph.notes)
    done: dict[Node, Node] = {}
    for node in graph.nodes:
        inputs = tuple(done[operand] for operand in node.inputs)
        factors = keeper.factors(node)
        if factors is None:
            done[node] = rebuild(node, inputs)
        else:
            done[node] = split(node, inputs, factors)
            name = f"{node.op.name}.{KEPT}"
            reads = f"reads {name}, which {factors.reason}"
            notes.append(Note(name, factors.beside.site, factors.reason))
            notes.append(Note(node.op.name, node.site, reads))
    return replace(graph.replaced(done.__getitem__), notes=tuple(notes))


@dataclass(frozen=True)
class Factors:
    """A node as the product of one operand and a value that is kept, made `beside` a node."""

    operand: int
    kept: Expr
    beside: Node
    reason: str


def split(node: Node, inputs: tuple[Node, ...], factors: Factors) -> Node:
    """g*d(x)   ->   g*k  where k = d(x)."""
    op = node.op
    assert isinstance(op, Formula)
    read = [at for at, arg in enumerate(op.args) if arg in factors.kept.free_symbols]
    args, reads = tuple(op.args[at] for at in read), tuple(op.reads[at] for at in read)
    made = Formula(f"{op.name}.{KEPT}", args, factors.kept, reads, op.writes, op.domain)
    with made_for(factors.beside.site):
        kept = made.canonical()(tuple(inputs[at] for at in read), node.type)
    grad = op.args[factors.operand]
    both, places = (grad, KEPT), (op.reads[factors.operand], op.writes)
    product = Formula(op.name, both, times(grad, KEPT), places, op.writes, op.domain)
    with made_for(node.site):
        return product.canonical()((inputs[factors.operand], kept), node.type)


class Keeper:
    """Finds what to keep in one graph."""

    def __init__(self, graph: Graph, machine: Machine) -> None:
        self.machine = machine
        self.users, self.phases = graph.users(), phases(graph)
        self.roots = set(graph.roots)
        self.number = {node: number for number, node in enumerate(graph.nodes)}

    def factors(self, node: Node) -> Factors | None:
        """A node of the backward pass as g*d(x), where to keep d(x) instead of x saves work."""
        op = node.op
        if self.phases[node] != BACKWARD or not isinstance(op, Formula):
            return None
        if not scalar.elementary(op.expr) or not simple(op, node):
            return None
        late = [at for at, i in enumerate(node.inputs) if self.phases[i] == BACKWARD]
        kept = scalar.cofactor(op.expr, op.args[late[0]]) if len(late) == 1 else None
        if kept is None or not scalar.elementary(kept) or op.args[late[0]] == KEPT:
            return None
        for at, value in enumerate(node.inputs):
            if op.args[at] not in kept.free_symbols or op.reads[at] != op.writes:
                continue
            if value.shape == node.shape and self.is_kept_for(node, value):
                beside, saved = self.nearest(node, value, kept)
                if saved > WORTH:
                    total = self.cost(kept)
                    reason = (
                        f"is kept from the forward pass in the place of {value.op.name}: "
                        f"{saved} of its {total} instructions are those of {beside.op.name}"
                    )
                    return Factors(late[0], kept, beside, reason)
        return None

    def is_kept_for(self, node: Node, value: Node) -> bool:
        """Whether the backward pass has a value in memory for the sake of one node alone.

        Not where it is made of what lies in memory anyway: then it may be made anew.
        """
        if value in self.roots or isinstance(value.op, leaf.Leaf):
            return False
        if not all(user is node or self.passes_by(user) for user in self.users[value]):
            return False
        stack, seen = [value], {value}
        while stack:
            current = stack.pop()
            if kind(current) != "map":
                return True
            for operand in current.inputs:
                if operand in seen or moved(operand) < moved(value):
                    continue
                seen.add(operand)
                if isinstance(operand.op, leaf.Leaf):
                    continue
                if all(self.phases[user] == FORWARD for user in self.users[operand]):
                    stack.append(operand)
        return False

    def passes_by(self, user: Node) -> bool:
        """Whether a reader belongs to the forward pass, and is no copy that outlives it."""
        op = user.op
        copy = isinstance(op, Formula) and op.expr in op.args and not op.summed
        return self.phases[user] == FORWARD and not copy

    def nearest(self, node: Node, value: Node, kept: Expr) -> tuple[Node, int]:
        """The reader of a value with most in common with what is to be kept, in instructions."""
        best, mine = (node, 0), self.meaning(node, kept)
        for user in self.users[value]:
            op = user.op
            if user is node or not isinstance(op, Formula) or not simple(op, user):
                continue
            if user.shape == node.shape:
                theirs = self.meaning(user, op.expr)
                apart = self.cost(mine) + self.cost(theirs)
                best = max(best, (user, apart - self.cost(mine, theirs)), key=lambda pair: pair[1])
        return best

    def cost(self, *exprs: Expr) -> int:
        """Instructions for formulas that are evaluated together."""
        return instructions(exprs, self.machine)

    def meaning(self, node: Node, expr: Expr) -> Expr:
        """An expression of a map, its symbols being what they stand for: an operand at a place."""
        op = node.op
        assert isinstance(op, Formula)
        names = [str(e.plain) for e in op.writes if isinstance(e, Affine)]
        axes = {name: index(f"i{at}") for at, name in enumerate(names)}
        spelled = {}
        for arg, operand, read in zip(op.args, node.inputs, op.reads, strict=True):
            place = show(tuple(e.substitute(axes) for e in read if isinstance(e, Affine)))
            spelled[arg] = scalar.argument(f"{self.number[operand]}[{place}]")
        return expr.xreplace(spelled)


def simple(op: Formula, node: Node) -> bool:
    """Whether a node is a map of floats that reads all its operands at every element."""
    if not op.pointwise or not op.fills(node.shape) or op.how != "sum" or op.used or op.checks:
        return False
    if any(operand.dtype != node.dtype for operand in node.inputs) or not is_float(node.dtype):
        return False
    return all(always(op, at, operand) for at, operand in enumerate(node.inputs))
