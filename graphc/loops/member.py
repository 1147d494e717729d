"""Members with a place of their own: reduced in a register, or computed, and then stored."""

from __future__ import annotations

from graphc.errors import CompileError
from graphc.graph.node import Node
from graphc.loops.ir import Access, Alloc, Buffer, For, Guard, Let, Load, Update
from graphc.loops.lowering import Lowering, formula
from graphc.loops.place import Row, bound
from graphc.loops.value import arguments, bounds, checked, compute, read, settled
from graphc.ops import scalar
from graphc.ops.dtypes import dtype_of
from graphc.ops.index import Affine, index, stays
from graphc.passes import layout
from graphc.types import SIZE

LINE, PERIOD = 64, 1024
"""Bytes of a cache line; and so many that pieces that far apart crowd each other out of the cache:
they are moved apart by a line."""


def start(lowering: Lowering, node: Node) -> tuple[Access, Access | None]:
    """A register that holds the identity of the member's reduction."""
    op = formula(node)
    register = Buffer(lowering.fresh("r", node), node.dtype, 1, "register")
    access = Access(register, Affine())
    lowering.write(Alloc(register))
    kinds = {a: i.dtype for a, i in zip(op.args, node.inputs, strict=True)}
    if op.how not in ("argmax", "argmin"):
        lowering.write(Update(access, scalar.identity(op.how, node.dtype), ()))
        return access, None
    lowering.write(Update(access, scalar.whole(-1), ()))  # nowhere yet
    best = Buffer(lowering.fresh("r", node), dtype_of(op.expr, kinds), 1, "register")
    lowering.write(Alloc(best))
    companion = Access(best, Affine())
    lowering.write(Update(companion, scalar.identity(op.how[3:], best.dtype), ()))
    return access, companion


def accumulate(
    lowering: Lowering,
    node: Node,
    values: dict[str, Affine],
    registers: tuple[Access, Access | None],
) -> None:
    """One point of the member's reduction."""
    op = formula(node)
    guards = bounds(lowering, op, node, values)
    args = arguments(lowering, op, node, values, guards)
    target, companion = registers
    place = None
    if companion is not None:
        place = op.flat
        args += tuple(
            (s, values[s.name]) for s in sorted(place.free_symbols, key=str) if s not in dict(args)
        )
    lowering.write(Update(target, op.expr, args, op.how, guards, companion, place))


def finish(
    lowering: Lowering,
    node: Node,
    values: dict[str, Affine],
    registers: tuple[Access, Access | None],
    inner: bool,
) -> None:
    """Remember, and where needed store, a finished reduction."""
    name = lowering.fresh("v", node)
    lowering.place(Load(name, registers[0]), name)
    if registers[1] is not None:
        found, name = name, lowering.fresh("v", node)
        place = scalar.argument("place")
        at_least = scalar.maximum(place, scalar.ZERO)
        lowering.place(Let(name, at_least, ((place, found),), node.dtype), name)
    here(lowering, node, values, name)
    if node in lowering.stored.values() or node in lowering.local or inner:
        save(lowering, node, values, name)


def mapped(lowering: Lowering, node: Node, values: dict[str, Affine]) -> str:
    """Compute a map at the loops' indices. Stores come after all loads of a batch."""
    name = compute(lowering, node, values, ())
    here(lowering, node, values, name)
    return name


def here(lowering: Lowering, node: Node, values: dict[str, Affine], name: str) -> None:
    """Later readers at the same index take the value, not the memory."""
    position = tuple(e.substitute(values) for e in formula(node).writes)  # type: ignore[union-attr]  # placed members write no look-ups
    lowering.scopes[-1].memo[(node, settled(node, position), ())] = name


def save(lowering: Lowering, node: Node, values: dict[str, Affine], name: str) -> None:
    """Store a value into the member's buffer: an argument if it is a root, else the stack."""
    op = formula(node)
    position = tuple(e.substitute(values) for e in op.writes)  # type: ignore[union-attr]  # placed members write no look-ups
    symbol = scalar.argument("value")
    if node in lowering.stored.values():
        target = lowering.access(node, position)
        lowering.origins[target.buffer.name] = node
        guards = tuple(
            Guard(e.substitute(values), bound(size))
            for e, size in zip(op.writes, node.shape, strict=True)
            if isinstance(e, Affine) and not stays(e, size, op.extents)
        )
        lowering.write(Update(target, symbol, ((symbol, name),), "=", guards))
        return
    if node not in lowering.local:
        lowering.local[node] = reserve(lowering, node, len(lowering.group.outer))
    lowering.write(Update(lowering.local[node].at(position), symbol, ((symbol, name),)))


def reserve(lowering: Lowering, node: Node, skip: int, *, dense: bool = False) -> Row:
    """A place on the stack for what a member is at one step of the loops over its first axes.

    Rows that would share sets of the nearest cache lie a line further apart, but for `dense`. The
    place is the smallest spare one that is large enough, or a new one.
    """
    rest = node.shape[skip:]
    size = layout.size(rest)
    if not isinstance(size, int):
        raise CompileError(f"a row of {node!r} has no fixed size")
    strides = layout.strides(rest)
    shared = bool(strides) and strides[0] * SIZE[node.dtype] % PERIOD == 0
    if shared and not dense and not formula(node).pointwise:
        strides = (strides[0] + LINE // SIZE[node.dtype], *strides[1:])
        size = strides[0] * int(rest[0])
    spare = {
        b: b.size
        for b in lowering.spare
        if b.dtype == node.dtype and isinstance(b.size, int) and b.size >= size
    }
    if spare:
        stack = min(spare, key=spare.__getitem__)
        lowering.spare.remove(stack)
    else:
        stack = Buffer(lowering.fresh("row", node), node.dtype, size, "stack")
        lowering.scopes[0].body.insert(0, Alloc(stack))
    return Row(stack, skip, strides)


def scatter(lowering: Lowering, node: Node) -> None:
    """An op that may write an element several times, or never: clear, then add in order."""
    op = formula(node)
    place = lowering.home(node)
    buffer = place.buffer(lowering.buffers)
    lowering.origins[buffer.name] = node
    letter = lowering.fresh("k")
    lowering.open(letter)
    empty = scalar.identity(op.how, node.dtype)
    lowering.write(Update(Access(buffer, index(letter)), empty, ()))
    lowering.scopes[-1].loop = letter
    scope = lowering.scopes.pop()
    lowering.write(For(letter, 0, buffer.size, 1, "serial", tuple(scope.body)))
    loops = {name: lowering.fresh("s") for name, _ in op.domain}
    for letter in loops.values():
        lowering.open(letter)
    values = {name: index(letter) for name, letter in loops.items()}
    guards = bounds(lowering, op, node, values)
    args = arguments(lowering, op, node, values, guards)
    position: list[Affine] = []
    lookups: list[tuple[str, int]] = []
    for e, stride, size in zip(op.writes, place.strides(node.shape), node.shape, strict=True):
        if isinstance(e, Affine):
            position.append(e.substitute(values))
            continue
        name = read(lowering, op, node, node.inputs[e.operand], op.reads[e.operand], values, guards)
        lookups.append((checked(lowering, name, bound(size), node, values), stride))
        position.append(Affine())
    target = Access(buffer, place.offset(node.shape, tuple(position)), tuple(lookups))
    lowering.write(Update(target, op.expr, args, op.how, guards))
    for name, letter in reversed(loops.items()):
        lowering.close(letter, op.extents[name])
