"""Algebraic simplification by rules that know formulas and index maps, and no op."""

from __future__ import annotations

from itertools import compress

from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.graph.rewrite import rewrite
from graphc.machine import Machine
from graphc.ops import cases, scalar
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Index, Lookup, index, stays
from graphc.ops.make import fill
from graphc.passes.fold import computed, counted, inlined, without
from graphc.types import is_float


def simplify(graph: Graph, machine: Machine) -> Graph:
    """Apply the rules everywhere, constants folded again where a rule made new ones."""
    return rewrite(
        graph,
        [placed, single, identity, nothing, unused, chosen, through, inlined, counted, computed],
    )


def placed(node: Node) -> Node | None:
    """[i, 0] += f(x[i, s])   ->   [i, u] += f(x[i, s])  where u is 0 only."""
    op = node.op
    if not isinstance(op, Formula):
        return None
    fixed = [
        axis
        for axis, (e, size) in enumerate(zip(op.writes, node.shape, strict=True))
        if size == 1 and e == Affine()
    ]
    if not fixed:
        return None
    units = {axis: f"u{axis}" for axis in fixed}
    while set(units.values()) & set(op.extents):
        units = {axis: name + "'" for axis, name in units.items()}
    writes = tuple(index(units[a]) if a in units else e for a, e in enumerate(op.writes))
    domain = (*op.domain, *((name, 1) for name in units.values()))
    moved = Formula(op.name, op.args, op.expr, op.reads, writes, domain, op.how)
    return moved.canonical()(node.inputs, node.type)


def single(node: Node) -> Node | None:
    """[i + t] += f(x[i, s])  where s and t are 0 only   ->   [i] += f(x[i, 0])."""
    op = node.op
    if not isinstance(op, Formula) or not is_float(node.dtype) or op.how in ("argmax", "argmin"):
        return None
    plain = {e.plain for e in op.writes if isinstance(e, Affine)}
    names = {name for name, extent in op.domain if extent == 1}
    units = names - plain - {s.name for s in op.used}
    if not units:
        return None

    def left(read: Index) -> Index:
        return tuple(e.without(units) if isinstance(e, Affine) else e for e in read)

    domain = tuple((name, extent) for name, extent in op.domain if name not in units)
    reads = tuple(map(left, op.reads))
    moved = Formula(op.name, op.args, op.expr, reads, left(op.writes), domain, op.how)
    return moved(node.inputs, node.type)


def identity(node: Node) -> Node | None:
    """[i] += x  where x[i]   ->   x."""
    op = node.op
    if not isinstance(op, Formula) or len(op.args) != 1 or op.expr != op.args[0]:
        return None
    (operand,) = node.inputs
    if operand.type != node.type or op.reads[0] != op.writes or not op.pointwise:
        return None
    return operand if op.fills(node.shape) else None


def nothing(node: Node) -> Node | None:
    """[i] += 0   ->   0."""
    op = node.op
    if not isinstance(op, Formula) or op.how != "sum" or op.expr != 0 or node.dtype == "bool":
        return None
    if not op.args and op.pointwise and len(op.domain) == len(node.shape):
        return None
    return fill(scalar.ZERO, node.type)


def unused(node: Node) -> Node | None:
    """f(x)  where f does not mention y   ->   the same without y."""
    op = node.op
    if not isinstance(op, Formula):
        return None
    from_reads = {e.operand for r in (*op.reads, op.writes) for e in r if isinstance(e, Lookup)}
    for position, arg in enumerate(op.args):
        if arg in op.expr.free_symbols or position in from_reads:
            continue
        if not all(
            isinstance(e, Affine) and stays(e, size, op.extents)
            for e, size in zip(op.reads[position], node.inputs[position].shape, strict=True)
        ):
            continue
        return without(op, position, op.expr, node)
    return None


def chosen(node: Node) -> Node | None:
    """[i] += (f(x[i, k]) if k = y[i] else 0), 0 <= y < n   ->   [i] = f(x[i, y[i]])."""
    op = node.op
    if not isinstance(op, Formula) or op.how != "sum":
        return None
    choice = cases.choice(op.expr)
    if choice is None or choice.index.name not in op.summed or choice.label not in op.args:
        return None
    name, label = choice.index.name, op.args.index(choice.label)
    if choice.index in choice.value.free_symbols or op.extents[name] != choice.bound:
        return None
    looked: list[Index] = []
    for read, operand in zip(op.reads, node.inputs, strict=True):
        here = [isinstance(e, Affine) and name in e.names for e in read]
        for e, size in compress(zip(read, operand.shape, strict=True), here):
            if e != index(name) or size != choice.bound:
                return None
        looked.append(tuple(Lookup(label) if k else e for e, k in zip(read, here, strict=True)))
    if looked == list(op.reads) or looked[label] != op.reads[label]:
        return None
    domain = tuple((n, extent) for n, extent in op.domain if n != name)
    moved = Formula(op.name, op.args, choice.value, tuple(looked), op.writes, domain, op.how)
    return moved(node.inputs, node.type)


def through(node: Node) -> Node | None:
    """f(y[r])  where [i] = x[q(i)] makes y   ->   f(x[q(r)])."""
    op = node.op
    if not isinstance(op, Formula):
        return None
    for position, operand in enumerate(node.inputs):
        read = copied(op, position, operand)
        if read is None:
            continue
        reads = (*op.reads[:position], read, *op.reads[position + 1 :])
        inputs = (*node.inputs[:position], operand.inputs[0], *node.inputs[position + 1 :])
        moved = Formula(op.name, op.args, op.expr, reads, op.writes, op.domain, op.how)
        return moved(inputs, node.type)
    return None


def copied(op: Formula, position: int, operand: Node) -> Index | None:
    """Where an operand that is a mere copy reads its own operand, seen from its reader."""
    copy = operand.op
    if not isinstance(copy, Formula) or len(copy.args) != 1 or copy.expr != copy.args[0]:
        return None
    if not copy.pointwise or not copy.fills(operand.shape):
        return None
    if operand.inputs[0].dtype != operand.dtype:
        return None
    read = op.reads[position]
    places = (*read, *copy.reads[0])
    if any(isinstance(e, Lookup) for e in places):
        return None
    for e, size in zip(read, operand.shape, strict=True):
        if not stays(e, size, op.extents):  # type: ignore[arg-type]  # no look-ups, as checked
            return None
    source = operand.inputs[0]
    for e, size in zip(copy.reads[0], source.shape, strict=True):
        if not stays(e, size, copy.extents):  # type: ignore[arg-type]  # no look-ups, as checked
            return None
    values = {
        str(e.plain): r for e, r in zip(copy.writes, read, strict=True) if isinstance(e, Affine)
    }
    return tuple(e.substitute(values) for e in copy.reads[0])  # type: ignore[union-attr,arg-type]  # no look-ups, as checked
