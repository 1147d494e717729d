"""Group -> Kernel: the loop nest of a group in its plainest form, one element at a time.

Every member's loops are its indices. Members that are stored, or reduced, get a place of their own;
the others are computed where they are read, at the index they are read at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from graphc.errors import CompileError
from graphc.graph import leaf
from graphc.graph.node import Node
from graphc.loops.ir import (
    Access,
    Alloc,
    Args,
    Buffer,
    Check,
    For,
    Guard,
    Kernel,
    Let,
    Load,
    Stmt,
    Update,
    indices,
    used,
)
from graphc.ops import scalar
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, Bound, Index, Lookup, Runtime, index, stays
from graphc.passes import layout
from graphc.passes.group import Fused, Group, Key
from graphc.passes.invert import covered
from graphc.types import Extent, Shape

SHORT_ROW = 8
"""Elements below which a row is summed in order: too few lanes would be in use."""
Position = tuple[Affine, ...]


@dataclass(frozen=True)
class Lowered:
    """A kernel and, for each of its buffers, the node whose value lies there."""

    kernel: Kernel
    nodes: tuple[Key, ...]


def lower(group: Group, fused: Fused, name: str, tags: list[Node]) -> Lowered:
    """The group's kernel before any scheduling. Nodes that check an index are added to `tags`."""
    lowering = Lowering(group, fused, tags)
    return Lowered(lowering.kernel(name), tuple(lowering.buffers))


@dataclass(frozen=True)
class Place:
    """Where a value lies: a buffer, by what it holds, as a tensor of `shape`.

    `leads` are positions on its first axes that are given: the value is what remains.
    """

    key: Key
    shape: Shape
    leads: tuple[Affine, ...] = ()

    def at(self, position: Affine, shape: Shape) -> Place:
        """One step of a value whose first axis is stepped through; a step has this shape."""
        first = self.shape[len(self.leads)]
        prefix = (*self.shape[: len(self.leads)], first)
        return Place(self.key, (*prefix, *shape), (*self.leads, position))

    def seen(self, shape: Shape) -> Place:
        """The same memory seen with another shape."""
        return Place(self.key, (*self.shape[: len(self.leads)], *shape), self.leads)

    def buffer(self, buffers: dict[Key, Buffer]) -> Buffer:
        """The kernel's argument, one for each place."""
        if self.key not in buffers:
            node = self.key if isinstance(self.key, Node) else self.key[1]
            name = f"b{len(buffers)}"
            buffers[self.key] = Buffer(name, node.dtype, layout.size(node.shape))
        return buffers[self.key]

    def strides(self, shape: Shape) -> tuple[int, ...]:
        """Elements between neighbours of a value of a shape: a run-time axis as in the buffer."""
        whole = layout.strides(self.shape)
        named = [s for s, e in zip(whole, self.shape, strict=True) if isinstance(e, str)]
        own = layout.strides(shape)
        return tuple(
            named[0] if isinstance(e, str) and named else s for s, e in zip(own, shape, strict=True)
        )

    def offset(self, shape: Shape, position: tuple[Affine, ...]) -> Affine:
        """The element offset of an index tuple of a value of this shape."""
        total = Affine()
        for lead, stride in zip(self.leads, layout.strides(self.shape), strict=False):
            total = total + lead * stride
        for stride, e in zip(self.strides(shape), position, strict=True):
            total = total + e * stride
        return total


@dataclass
class Scope:
    """A loop body being written, and what is already known in it."""

    loop: str | None
    body: list[Stmt] = field(default_factory=list)
    memo: dict[object, str] = field(default_factory=dict)


@dataclass
class Lowering:
    """Writes one kernel. Statements go to the outermost loop that binds all they mention."""

    group: Group
    fused: Fused
    tags: list[Node]
    scopes: list[Scope] = field(default_factory=lambda: [Scope(None)])
    buffers: dict[Key, Buffer] = field(default_factory=dict)
    places: dict[Node, Place] = field(default_factory=dict)
    owner: Group | None = None
    local: dict[Node, tuple[Buffer, int]] = field(default_factory=dict)
    depth: dict[str, int] = field(default_factory=dict)
    serial: int = 0

    # --- the kernel ------------------------------------------------------------------------

    def kernel(self, name: str) -> Kernel:
        """The group as a kernel of its own."""
        body = self.statements()
        written = tuple(self.home(r).buffer(self.buffers).name for r in self.group.roots)
        sites = tuple(dict.fromkeys(n.site for n in self.group.nodes))
        buffers = tuple(self.buffers.values())
        return Kernel(name, buffers, body, sites, written, self.group.reasons)

    def statements(self) -> tuple[Stmt, ...]:
        """Open the outer loops, then lower each placed member in turn."""
        self.members = set(self.group.nodes)
        self.stored = {self.fused.home(r): r for r in self.group.roots}
        outer = [f"i{axis}" for axis in range(len(self.group.outer))]
        for letter in outer:
            self.open(letter)
        self.outer = tuple(index(letter) for letter in outer)
        for batch in self.batches():
            self.lower_batch(batch)
        for letter, extent in reversed(list(zip(outer, self.group.outer, strict=True))):
            self.close(letter, extent)
        return tuple(self.scopes[0].body)

    def placed(self) -> list[Node]:
        """Members with a place of their own: roots, reductions, and costly shared maps."""
        roots = set(self.group.roots)
        return [n for n in self.group.nodes if n in roots or not formula(n).pointwise]

    def batches(self) -> list[list[Node]]:
        """Placed members cut into runs that share their inner loops."""
        batches: list[list[Node]] = []
        for node in self.placed():
            if batches and self.joins(node, batches[-1]):
                batches[-1].append(node)
            else:
                batches.append([node])
        return batches

    def joins(self, node: Node, batch: list[Node]) -> bool:
        """Whether a member's loops are those of a batch, none of whose reductions it reads."""
        if self.space(node) != self.space(batch[0]) or order_of(node) != order_of(batch[0]):
            return False
        if not all(covered(formula(n), n) for n in (node, batch[0])):
            return False
        reductions = {n for n in batch if not formula(n).pointwise}
        return not reductions or not self.reaches(node, reductions)

    def reaches(self, node: Node, targets: set[Node]) -> bool:
        """Whether a member's value inside the group depends on one of the targets."""
        stack, seen = list(node.inputs), set()
        while stack:
            operand = self.fused.home(stack.pop())
            if operand in targets:
                return True
            if operand in self.members and operand not in seen:
                seen.add(operand)
                stack.extend(operand.inputs)
        return False

    def space(self, node: Node) -> tuple[tuple[Extent, ...], tuple[Extent, ...]]:
        """The extents of a member's own loops: kept, then summed."""
        op = formula(node)
        inner = self.inner(op)
        return (
            tuple(op.extents[n] for n in inner),
            tuple(op.extents[n] for n in op.summed),
        )

    def inner(self, op: Formula) -> tuple[str, ...]:
        """The kept indices that are no outer loop of the group, in the result's order."""
        bound = {e.plain for e in op.writes[: len(self.group.outer)] if isinstance(e, Affine)}
        return tuple(n for n in op.kept if n not in bound)

    def lower_batch(self, batch: list[Node]) -> None:
        """One loop nest that computes every member of the batch."""
        if not covered(formula(batch[0]), batch[0]):
            self.scatter(batch[0])
            return
        kept, summed = self.space(batch[0])
        loops = [self.fresh("k") for _ in kept]
        for letter in loops:
            self.open(letter)
        reductions = [n for n in batch if reduces(formula(n))]
        maps = [n for n in batch if not reduces(formula(n))]
        bindings = {n: self.bind(n, loops) for n in batch}
        if reductions:
            accumulators = {n: self.start(n) for n in reductions}
            inside = [self.fresh("s") for _ in summed]
            for letter in inside:
                self.open(letter)
            for node in reductions:
                op = formula(node)
                values = bindings[node] | dict(zip(op.summed, map(index, inside), strict=True))
                self.accumulate(node, values, accumulators[node])
            kind = order_of(reductions[0])
            for letter, extent in reversed(list(zip(inside, summed, strict=True))):
                self.close(letter, extent, kind)
                kind = "serial"
            for node in reductions:
                self.finish(node, bindings[node], accumulators[node], bool(kept))
        names = {node: self.mapped(node, bindings[node]) for node in maps}
        for node in maps:
            self.save(node, bindings[node], names[node])
        for letter, extent in reversed(list(zip(loops, kept, strict=True))):
            self.close(letter, extent)

    def scatter(self, node: Node) -> None:
        """An op that may write an element several times, or never: clear, then add in order."""
        op = formula(node)
        place = self.home(node)
        buffer = place.buffer(self.buffers)
        letter = self.fresh("k")
        self.open(letter)
        empty = scalar.identity(op.how, node.dtype)
        self.write(Update(Access(buffer, index(letter)), empty, ()))
        self.scopes[-1].loop = letter
        scope = self.scopes.pop()
        self.write(For(letter, 0, buffer.size, 1, "serial", tuple(scope.body)))
        loops = {name: self.fresh("s") for name, _ in op.domain}
        for letter in loops.values():
            self.open(letter)
        values = {name: index(letter) for name, letter in loops.items()}
        guards = self.bounds(op, node, values)
        args = self.arguments(op, node, values, guards)
        position: list[Affine] = []
        lookups: list[tuple[str, int]] = []
        for e, stride, size in zip(op.writes, place.strides(node.shape), node.shape, strict=True):
            if isinstance(e, Affine):
                position.append(e.substitute(values))
                continue
            name = self.read(op, node, node.inputs[e.operand], op.reads[e.operand], values, guards)
            lookups.append((self.checked(name, bound(size), node, values), stride))
            position.append(Affine())
        target = Access(buffer, place.offset(node.shape, tuple(position)), tuple(lookups))
        self.write(Update(target, op.expr, args, op.how, guards))
        for name, letter in reversed(loops.items()):
            self.close(letter, op.extents[name])

    def bind(self, node: Node, loops: list[str]) -> dict[str, Affine]:
        """Which loop each kept index of a member is."""
        op = formula(node)
        values: dict[str, Affine] = {}
        for e, letter in zip(op.writes, self.outer, strict=False):
            assert isinstance(e, Affine) and e.plain
            values[e.plain] = letter
        return values | dict(zip(self.inner(op), map(index, loops), strict=True))

    # --- members with a place --------------------------------------------------------------

    def start(self, node: Node) -> tuple[Access, Access | None]:
        """A register that holds the identity of the member's reduction."""
        op = formula(node)
        register = Buffer(self.fresh("r"), node.dtype, 1, "register")
        access = Access(register, Affine())
        self.write(Alloc(register))
        kinds = {a: i.dtype for a, i in zip(op.args, node.inputs, strict=True)}
        if op.how not in ("argmax", "argmin"):
            self.write(Update(access, scalar.identity(op.how, node.dtype), ()))
            return access, None
        self.write(Update(access, scalar.whole(-1), ()))  # nowhere yet
        best = Buffer(self.fresh("r"), scalar.dtype_of(op.expr, kinds), 1, "register")
        self.write(Alloc(best))
        companion = Access(best, Affine())
        self.write(Update(companion, scalar.identity(op.how[3:], best.dtype), ()))
        return access, companion

    def accumulate(
        self, node: Node, values: dict[str, Affine], registers: tuple[Access, Access | None]
    ) -> None:
        """One point of the member's reduction."""
        op = formula(node)
        guards = self.bounds(op, node, values)
        args = self.arguments(op, node, values, guards)
        target, companion = registers
        place = None
        if companion is not None:
            place = op.flat
            args += tuple((s, values[s.name]) for s in place.free_symbols if s not in dict(args))
        self.write(Update(target, op.expr, args, op.how, guards, companion, place))

    def finish(
        self,
        node: Node,
        values: dict[str, Affine],
        registers: tuple[Access, Access | None],
        inner: bool,
    ) -> None:
        """Remember, and where needed store, a finished reduction."""
        name = self.fresh("v")
        self.place(Load(name, registers[0]), name)
        if registers[1] is not None:
            found, name = name, self.fresh("v")
            place = scalar.argument("place")
            at_least = scalar.maximum(place, scalar.ZERO)
            self.place(Let(name, at_least, ((place, found),), node.dtype), name)
        self.here(node, values, name)
        if node in self.stored.values() or inner:
            self.save(node, values, name)

    def mapped(self, node: Node, values: dict[str, Affine]) -> str:
        """Compute a map at the loops' indices. Stores come after all loads of a batch."""
        name = self.compute(node, values, ())
        self.here(node, values, name)
        return name

    def here(self, node: Node, values: dict[str, Affine], name: str) -> None:
        """Later readers at the same index take the value, not the memory."""
        position = tuple(e.substitute(values) for e in formula(node).writes)  # type: ignore[union-attr]  # placed members write no look-ups
        self.scopes[-1].memo[(node, position, ())] = name

    def save(self, node: Node, values: dict[str, Affine], name: str) -> None:
        """Store a value into the member's buffer: an argument if it is a root, else the stack."""
        op = formula(node)
        position = tuple(e.substitute(values) for e in op.writes)  # type: ignore[union-attr]  # placed members write no look-ups
        symbol = scalar.argument("value")
        if node in self.stored.values():
            place = self.home(node)
            target = Access(place.buffer(self.buffers), place.offset(node.shape, position))
            guards = tuple(
                Guard(e.substitute(values), bound(size))
                for e, size in zip(op.writes, node.shape, strict=True)
                if isinstance(e, Affine) and not stays(e, size, op.extents)
            )
            self.write(Update(target, symbol, ((symbol, name),), "=", guards))
            return
        if node not in self.local:
            rest = node.shape[len(self.group.outer) :]
            size = layout.size(rest)
            if not isinstance(size, int):
                raise CompileError(f"a row of {node!r} has no fixed size")
            stack = Buffer(self.fresh("row"), node.dtype, size, "stack")
            self.scopes[0].body.insert(0, Alloc(stack))
            self.local[node] = stack, len(self.group.outer)
        stack, skip = self.local[node]
        target = Access(stack, layout.offset(node.shape[skip:], position[skip:]))
        self.write(Update(target, symbol, ((symbol, name),)))

    # --- values ----------------------------------------------------------------------------

    def value(
        self,
        node: Node,
        position: Position,
        guards: tuple[Guard, ...],
        lookups: tuple[tuple[str, int], ...] = (),
    ) -> str:
        """The name of a node's value at an index; computed, or loaded where it has a place."""
        node = self.unaliased(node)
        key = (node, position, guards)
        if not lookups:
            for scope in reversed(self.scopes):
                if key in scope.memo:
                    return scope.memo[key]
                if (node, position, ()) in scope.memo and node in self.members:
                    return scope.memo[(node, position, ())]
        if isinstance(node.op, leaf.Extent):
            name = self.fresh("v")
            symbol = scalar.argument("extent")
            self.place(Let(name, symbol, ((symbol, Runtime(node.op.name)),), "int64"), name)
        elif node in self.members and node not in self.local and not self.is_stored(node):
            return self.compute(node, position_values(node, position), guards, key)
        else:
            name = self.fresh("v")
            if node in self.local:
                stack, skip = self.local[node]
                offset = layout.offset(node.shape[skip:], position[skip:])
                access = Access(stack, offset, lookups)
            else:
                place = self.home(node)
                offset = place.offset(node.shape, position)
                access = Access(place.buffer(self.buffers), offset, lookups)
            self.place(Load(name, access, guards), name, key if not lookups else None)
            return name
        self.scopes[0].memo[key] = name
        return name

    def is_stored(self, node: Node) -> bool:
        """Whether a member has been given memory that outlives the kernel."""
        return self.fused.home(node) in self.stored

    def unaliased(self, node: Node) -> Node:
        return node

    def home(self, node: Node) -> Place:
        """Where a node's value lies in memory."""
        home = self.fused.home(node)
        if home in self.places:
            return self.places[home]
        outside = self.owner is None or isinstance(home.op, leaf.Leaf)
        key = home if outside else (self.owner, home)
        return Place(key, home.shape)

    def compute(
        self,
        node: Node,
        values: dict[str, Affine],
        guards: tuple[Guard, ...],
        key: object = None,
    ) -> str:
        """A map's value, computed from its operands' values."""
        op = formula(node)
        own = self.bounds(op, node, values)
        args = self.arguments(op, node, values, tuple(dict.fromkeys((*guards, *own))))
        expr = op.expr
        copies = expr == (op.args[0] if op.args else None)
        if own and not (copies and self.loaded(node.inputs[0])):
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
            expr = scalar.only_where(expr, conditions)
        elif copies and node.dtype == node.inputs[0].dtype:
            name = args[0][1]
            assert isinstance(name, str)
            if key is not None:
                self.scopes[self.depth.get(name, 0)].memo[key] = name
            return name
        name = self.fresh("v")
        self.place(Let(name, expr, args, node.dtype), name, key)
        return name

    def loaded(self, node: Node) -> bool:
        """Whether a node's value is read from memory, so that a failed guard reads 0."""
        return node not in self.members or node in self.local or self.is_stored(node)

    def arguments(
        self, op: Formula, node: Node, values: dict[str, Affine], guards: tuple[Guard, ...]
    ) -> Args:
        """What each symbol of the formula stands for at one point."""
        args: list[tuple[scalar.Symbol, str | Affine | Runtime]] = []
        free = op.expr.free_symbols
        for arg, operand, read in zip(op.args, node.inputs, op.reads, strict=True):
            if arg in free:
                args.append((arg, self.read(op, node, operand, read, values, guards)))
        for symbol in sorted(op.used, key=str):
            args.append((symbol, values[symbol.name]))
        known = dict(args)
        for part in sorted(op.expr.atoms(scalar.bounded), key=str):
            name = known[part.args[0]]
            assert isinstance(name, str)
            self.checked(name, int(part.args[1]), node, values)
        return tuple(args)

    def read(
        self,
        op: Formula,
        node: Node,
        operand: Node,
        read: Index,
        values: dict[str, Affine],
        guards: tuple[Guard, ...],
    ) -> str:
        """The value of one operand at one point, look-ups followed and checked."""
        position: list[Affine] = []
        lookups: list[tuple[str, int]] = []
        strides = self.home(operand).strides(operand.shape)
        for e, stride, size in zip(read, strides, operand.shape, strict=True):
            if isinstance(e, Affine):
                position.append(e.substitute(values))
                continue
            name = self.read(op, node, node.inputs[e.operand], op.reads[e.operand], values, guards)
            lookups.append((self.checked(name, bound(size), node, values), stride))
            position.append(Affine())
        return self.value(operand, tuple(position), guards, tuple(lookups))

    def checked(self, name: str, limit: Bound, node: Node, values: dict[str, Affine]) -> str:
        """A looked-up index after its check: itself inside the bound, 0 outside."""
        key = ("checked", name, limit)
        for scope in reversed(self.scopes):
            if key in scope.memo:
                return scope.memo[key]
        depth = self.depth[name]
        self.scopes[depth].body.append(Check(name, limit, self.tag(node)))
        safe = self.fresh("v")
        i, n = scalar.position("i"), scalar.position("n")
        expr = scalar.only_where(i, [scalar.within(i, n)])
        count: Affine | Runtime = Affine((), limit) if isinstance(limit, int) else limit
        self.place(Let(safe, expr, ((i, name), (n, count)), "int64"), safe, key)
        return safe

    def tag(self, node: Node) -> int:
        """The number by which the running program names a node whose check failed."""
        if node not in self.tags:
            self.tags.append(node)
        return self.tags.index(node) + 1

    def bounds(self, op: Formula, node: Node, values: dict[str, Affine]) -> tuple[Guard, ...]:
        """The guards of a point: index expressions that can leave their operand or the result."""
        guards: dict[Guard, None] = {}
        places = [(r, o.shape) for r, o in zip(op.reads, node.inputs, strict=True)]
        for place, shape in [*places, (op.writes, node.shape)]:
            for e, size in zip(place, shape, strict=True):
                if isinstance(e, Affine) and not stays(e, size, op.extents):
                    guards[Guard(e.substitute(values), bound(size))] = None
        return tuple(guards)

    # --- statements ------------------------------------------------------------------------

    def fresh(self, letter: str) -> str:
        """A new name."""
        self.serial += 1
        return f"{letter}{self.serial}"

    def open(self, loop: str) -> None:
        """Begin a loop's body."""
        self.scopes.append(Scope(loop))

    def close(self, loop: str, extent: Extent, kind: str = "serial") -> None:
        """End a loop's body and put the loop, where it has any step, into the enclosing one."""
        scope = self.scopes.pop()
        assert scope.loop == loop
        if extent == 0:
            return
        self.write(For(loop, 0, bound(extent), 1, kind, tuple(scope.body)))

    def write(self, stmt: Stmt) -> None:
        """Append a statement where we are."""
        self.scopes[-1].body.append(stmt)

    def place(self, stmt: Load | Let, name: str, key: object = None) -> None:
        """Append a definition to the outermost loop body that binds all it mentions."""
        mentioned = indices(stmt)
        depth = max(
            [0]
            + [d for d, scope in enumerate(self.scopes) if scope.loop in mentioned]
            + [self.depth.get(n, 0) for n in used(stmt)]
        )
        if isinstance(stmt, Load) and stmt.access.buffer.space == "register":
            depth = len(self.scopes) - 1
        if isinstance(stmt, Load) and self.written(stmt.access.buffer):
            depth = max(depth, len(self.group.outer))
        self.depth[name] = depth
        self.scopes[depth].body.append(stmt)
        if key is not None:
            self.scopes[depth].memo[key] = name

    def written(self, buffer: Buffer) -> bool:
        """Whether the kernel itself writes a buffer: a row is then read inside the outer loops."""
        return buffer.space == "stack" or any(self.buffers.get(n) is buffer for n in self.stored)


def order_of(node: Node) -> str:
    """How the innermost summed loop of a node adds up; a contraction's schedule decides itself.

    Along contiguous operands in lanes, else in order. Only the node's own operands matter.
    """
    op = formula(node)
    if not op.summed or op.reuses:
        return "serial"
    if op.how in ("argmax", "argmin"):
        return "inorder"
    last = op.summed[-1]
    size = op.extents[last]
    if isinstance(size, int) and size < SHORT_ROW:
        return "inorder"
    for operand, read in zip(node.inputs, op.reads, strict=True):
        if any(isinstance(e, Lookup) for e in read):
            return "inorder"
        offset = layout.offset(operand.shape, tuple(e for e in read if isinstance(e, Affine)))
        if offset.coefficient(last) not in (0, 1):
            return "inorder"
    return "lanes"


def formula(node: Node) -> Formula:
    """The node's formula; kernels of other ops are lowered in rooms of their own."""
    if not isinstance(node.op, Formula):
        raise CompileError(f"{node!r} is no formula")
    return node.op


def reduces(op: Formula) -> bool:
    """Whether several points, or a search among them, make one element of the result."""
    return bool(op.summed) or op.how in ("argmax", "argmin")


def bound(extent: Extent) -> Bound:
    """An extent as a loop bound."""
    return extent if isinstance(extent, int) else Runtime(extent)


def position_values(node: Node, position: Position) -> dict[str, Affine]:
    """The index values at which a map writes a position."""
    values = {}
    for e, at in zip(formula(node).writes, position, strict=True):
        assert isinstance(e, Affine)
        if e.plain:
            values[e.plain] = at
    return values


def sources(group: Sequence[Node]) -> tuple[Node, ...]:
    """Operands of the group's members that are no members."""
    members = set(group)
    found = [i for n in group for i in n.inputs if i not in members]
    return tuple(dict.fromkeys(found))
