"""The value of a node at an index: computed where it is read, or loaded where it has a place."""

from __future__ import annotations

from functools import cache

from graphc.graph import leaf
from graphc.graph.node import Node
from graphc.loops.ir import Args, Check, Guard, Let, Load
from graphc.loops.lowering import Lowering, formula
from graphc.loops.outside import inside
from graphc.loops.place import Position, bound
from graphc.ops import cases, scalar
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Bound, Index, Runtime, stays

SHORT = 1 << 31
"""The extent of an index whose every place is an int32."""


def value(
    lowering: Lowering,
    node: Node,
    position: Position,
    guards: tuple[Guard, ...],
    lookups: tuple[tuple[str, int], ...] = (),
) -> str:
    """The name of a node's value at an index; computed, or loaded where it has a place."""
    position = settled(node, position)
    key = (node, position, guards)
    if not lookups:
        for scope in reversed(lowering.scopes):
            if key in scope.memo:
                return scope.memo[key]
            if (node, position, ()) in scope.memo and node in lowering.members:
                return scope.memo[(node, position, ())]
    if isinstance(node.op, leaf.Extent):
        name = lowering.fresh("v")
        symbol = scalar.argument("extent")
        lowering.place(Let(name, symbol, ((symbol, Runtime(node.op.name)),), "int64"), name)
    elif node in lowering.members and node not in lowering.local and not lowering.is_stored(node):
        assert not lookups, "what is looked up has a place"
        return compute(lowering, node, position_values(node, position), guards, key)
    else:
        name = lowering.fresh("v")
        if node in lowering.local:
            access = lowering.local[node].at(position, lookups)
        else:
            access = lowering.access(node, position, lookups)
        load = Load(name, access, guards, () if lookups else inside(node, position))
        lowering.place(load, name, key if not lookups else None)
        return name
    lowering.scopes[0].memo[key] = name
    return name


def settled(node: Node, position: Position) -> Position:
    """The position with 0 on every axis that has no other place."""
    return tuple(Affine() if n == 1 else e for e, n in zip(position, node.shape, strict=True))


def compute(
    lowering: Lowering,
    node: Node,
    values: dict[str, Affine],
    guards: tuple[Guard, ...],
    key: object = None,
) -> str:
    """A map's value, computed from its operands' values."""
    op = formula(node)
    own = bounds(lowering, op, node, values)
    args = arguments(lowering, op, node, values, tuple(dict.fromkeys((*guards, *own))))
    expr = computed(op)
    copies = expr == (op.args[0] if op.args else None)
    if own and not (copies and loaded(lowering, node.inputs[0])):
        conditions = []
        for number, guard in enumerate(own):
            symbol = scalar.position(f"guard{number}")
            args += ((symbol, guard.position),)
            limit: scalar.Expr | int = scalar.position(f"bound{number}")
            if isinstance(guard.bound, int):
                limit = guard.bound
            else:
                args += ((limit, guard.bound),)
            conditions.append(scalar.within(symbol, limit))
        expr = cases.only_where(expr, conditions)
    elif copies and node.dtype == node.inputs[0].dtype:
        name = args[0][1]
        assert isinstance(name, str)
        if key is not None:
            lowering.scopes[lowering.depth.get(name, 0)].memo[key] = name
        return name
    name = lowering.fresh("v", node)
    lowering.place(Let(name, expr, args, node.dtype), name, key)
    return name


@cache
def computed(op: Formula) -> scalar.Expr:
    """The formula of an op; checked data is compared with an index in 32 bits where both fit."""
    small = {n for n, extent in op.domain if isinstance(extent, int) and extent <= SHORT}
    return cases.compared_in("int32", op.expr, SHORT, small) if op.checks else op.expr


def loaded(lowering: Lowering, node: Node) -> bool:
    """Whether a node's value is read from memory, so that a failed guard reads 0."""
    return node not in lowering.members or node in lowering.local or lowering.is_stored(node)


def arguments(
    lowering: Lowering,
    op: Formula,
    node: Node,
    values: dict[str, Affine],
    guards: tuple[Guard, ...],
) -> Args:
    """What each symbol of the formula stands for at one point."""
    args: list[tuple[scalar.Symbol, str | Affine | Runtime]] = []
    free = op.expr.free_symbols
    for arg, operand, at in zip(op.args, node.inputs, op.reads, strict=True):
        if arg in free:
            args.append((arg, read(lowering, op, node, operand, at, values, guards)))
    for symbol in sorted(op.used, key=str):
        args.append((symbol, values[symbol.name]))
    known = dict(args)
    for part in sorted(op.expr.atoms(scalar.bounded), key=str):
        name = known[part.args[0]]
        assert isinstance(name, str)
        checked(lowering, name, int(part.args[1]), node, values)
    return tuple(args)


def read(
    lowering: Lowering,
    op: Formula,
    node: Node,
    operand: Node,
    at: Index,
    values: dict[str, Affine],
    guards: tuple[Guard, ...],
) -> str:
    """The value of one operand at one point, look-ups followed and checked."""
    position: list[Affine] = []
    lookups: list[tuple[str, int]] = []
    strides = lowering.strides(operand)
    for e, stride, size in zip(at, strides, operand.shape, strict=True):
        if isinstance(e, Affine):
            position.append(e.substitute(values))
            continue
        name = read(lowering, op, node, node.inputs[e.operand], op.reads[e.operand], values, guards)
        lookups.append((checked(lowering, name, bound(size), node, values), stride))
        position.append(Affine())
    return value(lowering, operand, tuple(position), guards, tuple(lookups))


def checked(
    lowering: Lowering, name: str, limit: Bound, node: Node, values: dict[str, Affine]
) -> str:
    """A looked-up index after its check: itself inside the bound, 0 outside."""
    key = ("checked", name, limit)
    for scope in reversed(lowering.scopes):
        if key in scope.memo:
            return scope.memo[key]
    depth = lowering.depth[name]
    lowering.scopes[depth].body.append(Check(name, limit, lowering.tag(node)))
    safe = lowering.fresh("v", node)
    i, n = scalar.position("i"), scalar.position("n")
    expr = cases.only_where(i, [scalar.within(i, n)])
    count: Affine | Runtime = Affine((), limit) if isinstance(limit, int) else limit
    lowering.place(Let(safe, expr, ((i, name), (n, count)), "int64"), safe, key)
    return safe


def bounds(
    lowering: Lowering, op: Formula, node: Node, values: dict[str, Affine]
) -> tuple[Guard, ...]:
    """The guards of a point: index expressions that can leave their operand or the result."""
    guards: dict[Guard, None] = {}
    places = [(r, o.shape) for r, o in zip(op.reads, node.inputs, strict=True)]
    for place, shape in [*places, (op.writes, node.shape)]:
        for e, size in zip(place, shape, strict=True):
            if isinstance(e, Affine) and not stays(e, size, op.extents):
                guards[Guard(e.substitute(values), bound(size))] = None
    return tuple(guards)


def position_values(node: Node, position: Position) -> dict[str, Affine]:
    """The index values at which a map writes a position."""
    values = {}
    for e, at in zip(formula(node).writes, position, strict=True):
        assert isinstance(e, Affine)
        if e.plain:
            values[e.plain] = at
    return values
