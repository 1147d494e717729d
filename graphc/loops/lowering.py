"""The kernel being lowered: its open loop bodies, its buffers, and what is already known in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphc.errors import CompileError
from graphc.graph import leaf
from graphc.graph.node import Node
from graphc.loops.ir import Access, Buffer, For, Let, Load, Stmt, indices, used
from graphc.loops.place import Place, Position, Row, bound
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, index
from graphc.passes.group import Fused, Group, Key
from graphc.passes.inlay import axes_of
from graphc.types import Extent


@dataclass
class Scope:
    """A loop body being written, and what is already known in it."""

    loop: str | None
    body: list[Stmt] = field(default_factory=list)
    memo: dict[object, str] = field(default_factory=dict)


@dataclass
class Lowering:
    """A kernel being written. Definitions go to the outermost loop that binds all they mention.

    `blamed`: the scan, around the graph being lowered, that a failed check is reported of.
    `stored`: the members that are results, by where they lie. `outer`: where the group's outer
    loops stand on each axis that members share; `loops`: those loops, axis by axis.
    `switches`: whether a member is another formula for each value of an index. `origins`: the node
    that a value, or what a buffer is made to hold, is. `spare`: places on the stack whose values
    have been read for the last time.
    """

    group: Group
    fused: Fused
    tags: list[Node]
    scopes: list[Scope] = field(default_factory=lambda: [Scope(None)])
    buffers: dict[Key, Buffer] = field(default_factory=dict)
    places: dict[Node, Place] = field(default_factory=dict)
    owner: Group | None = None
    blamed: Node | None = None
    local: dict[Node, Row] = field(default_factory=dict)
    spare: list[Buffer] = field(default_factory=list)
    depth: dict[str, int] = field(default_factory=dict)
    origins: dict[str, Node] = field(default_factory=dict)
    serial: int = 0
    stored: dict[Node, Node] = field(init=False)
    members: set[Node] = field(init=False)
    loops: tuple[dict[str, Extent], ...] = field(init=False)
    outer: tuple[Affine, ...] = field(init=False)
    switches: bool = field(init=False)

    def __post_init__(self) -> None:
        self.stored = {self.fused.viewed(r): r for r in self.group.roots}
        self.begin(self.group)

    def begin(self, group: Group) -> None:
        """Go on with a group, or with the next part of one."""
        self.group = group
        self.switches = any(
            isinstance(n.op, Formula) and n.op.switch is not None for n in group.nodes
        )
        self.members = set(group.nodes)
        self.loops, self.outer = around(group)

    def fresh(self, letter: str, node: Node | None = None) -> str:
        """A new name; of what is computed for a node, where that is known."""
        self.serial += 1
        name = f"{letter}{self.serial}"
        if node is not None:
            self.origins[name] = node
        return name

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
            depth = max(depth, sum(map(len, self.loops)))
        self.depth[name] = depth
        self.scopes[depth].body.append(stmt)
        if key is not None:
            self.scopes[depth].memo[key] = name

    def written(self, buffer: Buffer) -> bool:
        """Whether the kernel itself writes a buffer: a row is then read inside the outer loops."""
        return buffer.space == "stack" or any(self.buffers.get(n) is buffer for n in self.stored)

    def home(self, node: Node) -> Place:
        """Where a node's value lies in memory."""
        home = self.fused.home(node)
        if home in self.places:
            return self.places[home]
        outside = self.owner is None or isinstance(home.op, leaf.Leaf)
        key = home if outside else (self.owner, home)
        return Place(key, home.shape)

    def access(
        self, node: Node, position: Position, lookups: tuple[tuple[str, int], ...] = ()
    ) -> Access:
        """An element of a node in memory: within a bordered copy, if it lies there."""
        place = self.home(node)
        if node in self.fused.inlaid:
            node = self.fused.inlaid[node]
            position = tuple(e + a.before for e, a in zip(position, axes_of(node), strict=True))
        return Access(place.buffer(self.buffers), place.offset(node.shape, position), lookups)

    def strides(self, node: Node) -> tuple[int, ...]:
        """Elements between neighbours along each axis of a node in memory."""
        return self.home(node).strides(self.fused.inlaid.get(node, node).shape)

    def is_stored(self, node: Node) -> bool:
        """Whether a member has been given memory that outlives the kernel."""
        return self.fused.viewed(node) in self.stored

    def tag(self, node: Node) -> int:
        """The number by which the running program names a node whose check failed."""
        node = node if self.blamed is None else self.blamed
        if node not in self.tags:
            self.tags.append(node)
        return self.tags.index(node) + 1


def around(group: Group) -> tuple[tuple[dict[str, Extent], ...], tuple[Affine, ...]]:
    """For each outer axis of a group its loops and their extents, and the place that they stand at.

    An axis that a member writes at 2*x + v has a loop for x and one for v.
    """
    loops: list[dict[str, Extent]] = [{f"i{axis}": size} for axis, size in enumerate(group.outer)]
    places = [index(f"i{axis}") for axis in range(len(group.outer))]
    split = (n for n in group.nodes if isinstance(n.op, Formula) and not n.op.plain)
    for node in split:
        op = formula(node)
        for axis, e in enumerate(op.writes[: len(group.outer)]):
            if isinstance(e, Affine) and e.plain is None:
                named = {name: f"i{axis}{name}" for name in op.kept if name in e.names}
                loops[axis] = {letter: op.extents[name] for name, letter in named.items()}
                places[axis] = e.substitute({name: index(at) for name, at in named.items()})
    return tuple(loops), tuple(places)


def formula(node: Node) -> Formula:
    """The node's formula; kernels of other ops are lowered in rooms of their own."""
    if not isinstance(node.op, Formula):
        raise CompileError(f"{node!r} is no formula")
    return node.op


def reduces(op: Formula) -> bool:
    """Whether several points, or a search among them, make one element of the result."""
    return bool(op.summed) or op.how in ("argmax", "argmin")
