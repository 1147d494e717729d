"""Scans to loops: the body's nests inside one ordered loop, reading and writing a step's part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from graphc.errors import CompileError
from graphc.graph.leaf import Leaf
from graphc.graph.node import Node
from graphc.loops.ir import Access, Buffer, For, Kernel, Load, Stmt, Update
from graphc.loops.lower import Lowered, statements
from graphc.loops.lowering import Lowering
from graphc.loops.place import Place, bound
from graphc.ops import scalar
from graphc.ops.index import Affine, index
from graphc.ops.recurrence import Scan
from graphc.passes.group import Fused, Group, Key
from graphc.types import Extent


def lower_scan(group: Group, fused: Fused, name: str, tags: list[Node]) -> Lowered:
    """The kernel of a scan: first values copied in, then the body once a step, in order."""
    first = group.nodes[0]
    assert isinstance(first.op, Scan)
    whole = first.op.result(0, first.inputs)
    writer = Writer(group, tags, lambda node: Place(fused.home(node), node.shape), whole)
    body = tuple(writer.statements())
    sites = tuple(dict.fromkeys(n.site for n in group.nodes))
    written = tuple(b.name for k, b in writer.buffers.items() if k in set(group.roots))
    buffers = tuple(writer.buffers.values())
    origins = {made: tuple(dict.fromkeys((node, first))) for made, node in writer.origins.items()}
    kernel = Kernel(name, buffers, body, sites, written, group.reasons, origins=origins)
    return Lowered(kernel, tuple(writer.buffers))


@dataclass
class Writer:
    """Writes one scan. `locate` tells where a value of the graph around it lies."""

    group: Group
    tags: list[Node]
    locate: Callable[[Node], Place]
    blamed: Node
    buffers: dict[Key, Buffer] = field(default_factory=dict)
    serial: int = 0
    depth: int = 0
    origins: dict[str, Node] = field(default_factory=dict)

    def statements(self) -> list[Stmt]:
        """First values, then the loop."""
        first = self.group.nodes[0]
        scan = first.op
        if not isinstance(scan, Scan) or self.group.body is None:
            raise CompileError(f"{first!r} is no scan")
        self.scan, self.inside = scan, self.group.body
        self.inner, self.plan = self.inside.fused, self.inside.plan
        self.results = {n.op.output: n for n in self.group.nodes if isinstance(n.op, Scan)}
        step = f"step{self.depth}"
        self.position = index(step)
        if scan.reverse:
            self.position = Affine((), scan.length - 1) - index(step)
        self.places = self.bindings(first)
        result: list[Stmt] = []
        for j, operand in enumerate(first.inputs[: len(scan.carries)]):
            source = self.locate(operand).seen(operand.shape)
            result += self.copy(operand.shape, source, self.carry(j, Affine((), scan.first)))
        if scan.length:
            body = tuple(self.body())
            result.append(For(step, 0, scan.length, 1, "ordered", body))
        for j, carry in enumerate(scan.carries):
            if j in self.results and -1 - j in self.results:
                source = self.result(j, Affine((), scan.last))
                result += self.copy(carry.shape, source, self.locate(self.results[-1 - j]))
        return result

    def bindings(self, first: Node) -> dict[Node, Place]:
        """Where each value of the body lies at the current step."""
        scan = self.scan
        count, sequences = len(scan.carries), len(scan.carries) + len(scan.slices)
        before = self.position + int(scan.reverse)
        after = self.position + int(not scan.reverse)
        places: dict[Node, Place] = {}
        for number, placeholder in enumerate(scan.placeholders):
            if number < count:
                places[placeholder] = self.carry(number, before)
                continue
            operand = first.inputs[number]
            whole = self.locate(operand).seen(operand.shape)
            sliced = number < sequences
            places[placeholder] = whole.at(self.position) if sliced else whole
        self.later: list[tuple[Node, Place]] = []
        for j, value in enumerate(scan.body.outputs):
            if j not in self.results:
                continue
            target = self.result(j, after if j < count else self.position)
            home = self.inner.home(value)
            if self.inside.direct.get(home) == j:
                places[home] = target
            else:
                self.later.append((value, target))
        for j in self.inside.thin:
            if scan.carries[j] in self.plan.inplace:
                places[self.inner.home(scan.body.outputs[j])] = self.carry(j, self.position)
        return places

    def result(self, j: int, at: Affine) -> Place:
        """Where a stacked result lies at one position."""
        node = self.results[j]
        return self.locate(node).seen(node.shape).at(at)

    def carry(self, j: int, at: Affine) -> Place:
        """Where a carry lies: in its stack at a position, or in its one place."""
        if j not in self.inside.thin:
            return self.result(j, at)
        if -1 - j in self.results:
            return self.locate(self.results[-1 - j])
        carry = self.scan.carries[j]
        return Place((self.group, carry), carry.shape)

    def body(self) -> list[Stmt]:
        """One step: the body's groups in order, then what has to be copied."""
        result: list[Stmt] = []
        for group in self.plan.groups:
            if group.body is not None:
                writer = self.nested(group)
                result += writer.statements()
                self.serial = writer.serial
            else:
                lowering = self.plain(group)
                result += statements(lowering)
                self.serial = lowering.serial
        for value, target in self.later:
            result += self.copy(value.shape, self.place(value), target)
        moving = []
        for number, j in enumerate(self.inside.thin):
            value = self.scan.body.outputs[j]
            if self.scan.carries[j] in self.plan.inplace:
                continue
            if self.inner.home(value) is self.scan.carries[j]:
                continue
            source = self.place(value)
            if number in self.inside.aside:
                aside = Place((self.group, value, number), value.shape)
                result += self.copy(value.shape, source, aside)
                source = aside
            moving.append((j, source))
        for j, source in moving:
            target = self.carry(j, self.position)
            result += self.copy(self.scan.carries[j].shape, source, target)
        return result

    def plain(self, group: Group) -> Lowering:
        """The nests of one of the body's groups."""
        return Lowering(
            group,
            self.inner,
            self.tags,
            buffers=self.buffers,
            origins=self.origins,
            serial=self.serial,
            places=self.places,
            owner=self.group,
            blamed=self.blamed,
        )

    def nested(self, group: Group) -> Writer:
        """A scan inside the body."""
        return Writer(
            group,
            self.tags,
            self.place,
            self.blamed,
            self.buffers,
            self.serial,
            self.depth + 1,
            self.origins,
        )

    def place(self, value: Node) -> Place:
        """Where a value of the body lies."""
        home = self.inner.home(value)
        if home in self.places:
            return self.places[home].seen(value.shape)
        key = home if isinstance(home.op, Leaf) else (self.group, home)
        return Place(key, value.shape)

    def copy(self, shape: tuple[Extent, ...], source: Place, target: Place) -> list[Stmt]:
        """Loops that copy a tensor from one place to another."""
        loops = []
        for _ in shape:
            self.serial += 1
            loops.append(f"c{self.serial}")
        at = tuple(index(letter) for letter in loops)
        self.serial += 1
        name, symbol = f"v{self.serial}", scalar.argument("value")
        read, filled = self.access(shape, source, at), self.access(shape, target, at)
        self.origins[name] = self.group.nodes[0]
        self.origins.setdefault(filled.buffer.name, self.group.nodes[0])
        body: tuple[Stmt, ...] = (Load(name, read), Update(filled, symbol, ((symbol, name),)))
        for letter, extent in reversed(list(zip(loops, shape, strict=True))):
            body = (For(letter, 0, bound(extent), 1, "serial", body),)
        return list(body)

    def access(self, shape: tuple[Extent, ...], place: Place, at: tuple[Affine, ...]) -> Access:
        """An element of a tensor in a place."""
        return Access(place.buffer(self.buffers), place.offset(shape, at))
