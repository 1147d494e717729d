"""Scans to loops: the body's nests inside one ordered loop, reading and writing a step's part."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphc.errors import CompileError
from graphc.graph.node import Node
from graphc.loops.ir import Access, Buffer, For, Kernel, Load, Stmt, Update
from graphc.loops.lower import Lowered, Lowering, Place, bound
from graphc.ops import scalar
from graphc.ops.index import Affine, index
from graphc.ops.recurrence import Scan
from graphc.passes.group import Fused, Group, Key
from graphc.types import Extent

STEP = "step"


def lower_scan(group: Group, fused: Fused, name: str, tags: list[Node]) -> Lowered:
    """The kernel of a scan: first values copied in, then the body once a step, in order."""
    writer = Writer(group, fused, tags)
    body = tuple(writer.statements())
    sites = tuple(dict.fromkeys(n.site for n in group.nodes))
    written = tuple(b.name for k, b in writer.buffers.items() if k in set(group.roots))
    kernel = Kernel(name, tuple(writer.buffers.values()), body, sites, written, group.reasons)
    return Lowered(kernel, tuple(writer.buffers))


@dataclass
class Writer:
    """Writes one scan."""

    group: Group
    fused: Fused
    tags: list[Node]
    buffers: dict[Key, Buffer] = field(default_factory=dict)
    serial: int = 0

    def statements(self) -> list[Stmt]:
        """First values, then the loop."""
        first = self.group.nodes[0]
        scan = first.op
        if not isinstance(scan, Scan) or self.group.body is None:
            raise CompileError(f"{first!r} is no scan")
        self.scan, self.inside = scan, self.group.body
        self.inner, self.plan = self.inside.fused, self.inside.plan
        self.results = {n.op.output: n for n in self.group.nodes if isinstance(n.op, Scan)}
        self.position = index(STEP)
        if scan.reverse:
            self.position = Affine((), scan.length - 1) - index(STEP)
        self.places = self.bindings(first)
        result: list[Stmt] = []
        for j, operand in enumerate(first.inputs[: len(scan.carries)]):
            result += self.copy(
                operand.shape, Place(self.fused.home(operand)), self.carry(j, scan.first)
            )
        inside = tuple(self.body())
        if scan.length:
            result.append(For(STEP, 0, scan.length, 1, "ordered", inside))
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
            lead = self.position if number < sequences else None
            operand = first.inputs[number]
            places[placeholder] = Place(self.fused.home(operand), lead, operand.shape)
        self.later: list[tuple[Node, Place]] = []
        for j, value in enumerate(scan.body.outputs):
            if j not in self.results:
                continue
            target = Place(self.results[j], after if j < count else self.position)
            home = self.inner.home(value)
            if self.inside.direct.get(home) == j:
                places[home] = target
            else:
                self.later.append((value, target))
        for j in self.inside.thin:
            if scan.carries[j] in self.plan.inplace:
                places[self.inner.home(scan.body.outputs[j])] = self.carry(j, None)
        return places

    def carry(self, j: int, at: Affine | int | None) -> Place:
        """Where a carry lies: in its stack at a position, or in its one place."""
        if j not in self.inside.thin:
            return Place(self.results[j], Affine((), at) if isinstance(at, int) else at)
        return Place(self.results.get(-1 - j, (self.group, self.scan.carries[j])))

    def body(self) -> list[Stmt]:
        """One step: the body's groups in order, then what has to be copied."""
        result: list[Stmt] = []
        for group in self.plan.groups:
            if group.body is not None:
                raise CompileError("a scan inside a scan has no native code yet")
            lowering = Lowering(
                group,
                self.inner,
                self.tags,
                buffers=self.buffers,
                serial=self.serial,
                places=self.places,
                owner=self.group,
            )
            result += lowering.statements()
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
                aside = Place((self.group, value, number))
                result += self.copy(value.shape, source, aside)
                source = aside
            moving.append((j, source))
        for j, source in moving:
            result += self.copy(self.scan.carries[j].shape, source, self.carry(j, None))
        return result

    def place(self, value: Node) -> Place:
        """Where a value of the body lies."""
        home = self.inner.home(value)
        return self.places.get(home, Place(home if not home.inputs else (self.group, home)))

    def copy(self, shape: tuple[Extent, ...], source: Place, target: Place) -> list[Stmt]:
        """Loops that copy a tensor from one place to another."""
        loops = []
        for _ in shape:
            self.serial += 1
            loops.append(f"c{self.serial}")
        at = tuple(index(letter) for letter in loops)
        self.serial += 1
        name, symbol = f"v{self.serial}", scalar.argument("value")
        body: tuple[Stmt, ...] = (
            Load(name, self.access(shape, source, at)),
            Update(self.access(shape, target, at), symbol, ((symbol, name),)),
        )
        for letter, extent in reversed(list(zip(loops, shape, strict=True))):
            body = (For(letter, 0, bound(extent), 1, "serial", body),)
        return list(body)

    def access(self, shape: tuple[Extent, ...], place: Place, at: tuple[Affine, ...]) -> Access:
        """An element of a tensor in a place."""
        return Access(place.buffer(self.buffers), place.offset(shape, at))
