"""Memory: the order of the kernels, and where every value lies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from graphc.graph import leaf
from graphc.graph.node import Node
from graphc.ops.formula import Formula
from graphc.passes import layout
from graphc.passes.arena import arena, padded
from graphc.passes.group import Fused, Group, Key
from graphc.passes.sequence import Traffic, sequence
from graphc.types import SIZE, TensorType

Maker = TypeVar("Maker")
USUAL = 128
"""What a run-time extent is taken for when orders of kernels are compared."""


@dataclass(frozen=True)
class Slot:
    """One entry of the pointer table: a value's buffer and what kind of memory holds it.

    `shown`: what a caller sees in it, where that is another shape of the same elements.
    """

    node: Node
    kind: str  # input, state, constant, output, arena
    first: int
    last: int
    shown: TensorType | None = None

    @property
    def type(self) -> TensorType:
        """The type of the array that is the buffer."""
        return self.shown or self.node.type


@dataclass(frozen=True)
class Plan:
    """Kernels in order, the pointer table, and copies to make at the end.

    `copies` are (from slot, to slot), in order, for updates that could not be made in place; where
    the source is itself overwritten they go through the arena.
    """

    groups: tuple[Group, ...]
    slots: tuple[Slot, ...]
    place: dict[Key, int] = field(repr=False)
    copies: tuple[tuple[int, int], ...]
    commits: frozenset[int]
    inplace: tuple[Node, ...]

    def arena(self, extents: Mapping[str, int]) -> tuple[dict[int, int], int]:
        """Offsets of the arena's slots in bytes, and the arena's size, for given extents."""
        return arena(self.slots, extents)


def plan(fused: Fused) -> Plan:
    """Order the kernels and give every value a place."""
    graph = fused.graph
    variables = {variable for variable, _ in graph.updates}
    checking = [g for g in fused.groups if any(checks(n) for n in g.nodes)]
    groups, inplace = order(fused, variables, checking)
    step = {group: number for number, group in enumerate(groups)}
    made = {fused.home(root): step[g] for g in groups for root in g.roots}
    last: dict[Node, int] = {}
    for group in groups:
        for operand in operands(group, fused):
            last[operand] = max(last.get(operand, -1), step[group])
    end = len(groups)
    outputs: dict[Node, list[Node]] = {}
    for output in graph.outputs:
        outputs.setdefault(fused.home(output), []).append(output)
    targets: dict[Node, Node] = {}
    for variable, value in graph.updates:
        if variable in inplace:
            targets[fused.home(value)] = variable
        else:
            last[fused.home(value)] = end
    slots: list[Slot] = []
    place: dict[Key, int] = {}

    def slot(node: Node, kind: str, first: int, final: int) -> int:
        place[node] = len(slots)
        slots.append(Slot(node, kind, first, final))
        return place[node]

    leaves = {n for n in graph.nodes if isinstance(n.op, leaf.Leaf)} | variables
    leaves |= {n for g in groups if g.body is not None for n in g.body.constants()}
    for node in sorted(leaves, key=leaf_order(graph.nodes)):
        if isinstance(node.op, leaf.Extent):
            continue
        slot(node, leaf_kind(node), -1, end)
    for node in made:
        if node in targets:
            place[node] = place[targets[node]]
        elif node in outputs:
            number = slot(node, "output", made[node], end)
            slots[number] = replace(slots[number], shown=shown(node, outputs[node]))
        elif (old := dying(groups[made[node]], made[node], node, place, slots, fused)) is not None:
            number = place[node] = place[old]
            slots[number] = replace(slots[number], last=max(last.get(node, -1), made[node]))
        else:
            slot(node, "arena", made[node], max(last.get(node, -1), made[node]))
    for group in groups:
        for key in group.body.keys(group) if group.body else ():
            place[key] = len(slots)
            slots.append(Slot(key[1], "arena", step[group], step[group]))
    copies: list[tuple[int, int]] = []
    late: list[tuple[int, int]] = []
    moved = [
        (variable, fused.home(value))
        for variable, value in graph.updates
        if variable not in inplace and fused.home(value) is not variable
    ]
    overwritten = {variable for variable, _ in graph.updates}
    for variable, home in moved:
        if home in overwritten:
            number = len(slots)
            slots.append(Slot(variable, "arena", end, end))
            copies.append((place[home], number))
            late.append((number, place[variable]))
        else:
            late.append((place[home], place[variable]))
    commits = frozenset(made[home] for home in targets)
    return Plan(tuple(groups), tuple(slots), place, (*copies, *late), commits, tuple(inplace))


def shown(node: Node, outputs: Sequence[Node]) -> TensorType | None:
    """The one shape in which all outputs that lie in a value's buffer show it; None if it has none.

    A run-time extent is outermost in memory: where it is not the first axis, a copy is shown.
    """
    first = outputs[0].type
    plain = not any(isinstance(extent, str) for t in (node.type, first) for extent in t.shape[1:])
    same = all(output.type == first for output in outputs)
    return first if plain and same and node.type.shape and first.shape else None


def dying(
    group: Group,
    step: int,
    node: Node,
    place: dict[Key, int],
    slots: list[Slot],
    fused: Fused,
) -> Node | None:
    """An operand whose memory a root may take over: it dies here, read only where rewritten."""
    if not pointwise(node) or not flat(group, fused):
        return None
    taken = {place[root] for root in group.roots if root in place}
    for operand in operands(group, fused):
        number = place.get(operand)
        if number is None or number in taken or slots[number].kind != "arena":
            continue
        if slots[number].last != step or operand.type != node.type:
            continue
        readers = [n for n in group.nodes if operand in map(fused.home, n.inputs)]
        if all(pointwise(n) and reads_here(n, operand, fused) for n in readers):
            return operand
    return None


def reads_here(node: Node, operand: Node, fused: Fused) -> bool:
    """Whether a map reads an operand only at the element it writes, and not through a view."""
    op = node.op
    return (
        isinstance(op, Formula)
        and operand.type.shape == node.shape
        and all(
            (other is operand and read == op.writes) or fused.home(other) is not operand
            for other, read in zip(node.inputs, op.reads, strict=True)
        )
    )


def leaf_order(nodes: tuple[Node, ...]) -> Callable[[Node], tuple[int, str, bytes]]:
    """Leaves by their place in the graph; those only written, or read by a scan, come last."""
    position = {node: number for number, node in enumerate(nodes)}

    def key(node: Node) -> tuple[int, str, bytes]:
        name, data = getattr(node.op, "name", ""), getattr(node.op, "data", b"")
        return position.get(node, len(position)), f"{name} {node.type}", data

    return key


def leaf_kind(node: Node) -> str:
    """What kind of memory a leaf lies in."""
    match node.op:
        case leaf.Input():
            return "input"
        case leaf.Variable():
            return "state"
    return "constant"


def operands(group: Group, fused: Fused) -> list[Node]:
    """The buffers that a group reads."""
    members = set(group.nodes)
    found = [fused.home(i) for n in group.nodes for i in n.inputs]
    return list(dict.fromkeys(n for n in found if n not in members))


def checks(node: Node) -> bool:
    """Whether a node's kernel can refuse an index."""
    return bool(getattr(node.op, "checks", False))


def order(
    fused: Fused, variables: set[Node], checking: list[Group]
) -> tuple[list[Group], list[Node]]:
    """A topological order of the groups, and the variables that can be updated in place in it.

    A kernel that overwrites a variable comes after all that read the old value and after every
    kernel that checks an index. Where that is impossible, the new value is copied at the end.
    """
    graph = fused.graph
    maker = {fused.home(root): g for g in fused.groups for root in g.roots}
    needs: dict[Group, list[Group]] = {g: [] for g in fused.groups}
    readers: dict[Node, list[Group]] = {}
    for group in fused.groups:
        for operand in operands(group, fused):
            readers.setdefault(operand, []).append(group)
            if operand in maker:
                needs[group].append(maker[operand])
    outputs = {fused.home(o) for o in graph.outputs}
    homes = [fused.home(value) for _, value in graph.updates]
    inplace: list[Node] = []
    for variable, value in graph.updates:
        home = fused.home(value)
        writer = maker.get(home)
        if writer is None or home in outputs or homes.count(home) > 1:
            continue
        if variable in outputs or variable in homes:  # its old value is asked for at the end
            continue
        if layout.strides(variable.shape) != layout.strides(home.shape):
            continue
        before = [g for g in readers.get(variable, []) if g is not writer]
        before += [g for g in checking if g is not writer]
        if writer in checking or reaches(needs.__getitem__, before, writer):
            continue
        if variable in operands(writer, fused) and not aligned(writer, variable, home, fused):
            continue
        needs[writer] += before
        inplace.append(variable)
    return sequence(needs, traffic(fused, variables, inplace)), inplace


def traffic(fused: Fused, variables: set[Node], inplace: Sequence[Node]) -> Traffic:
    """What each kernel makes and reads in the arena, run-time extents taken for a usual number."""
    graph = fused.graph
    stays = {fused.home(o) for o in graph.outputs} | variables
    stays |= {fused.home(value) for variable, value in graph.updates if variable in inplace}
    makes = {
        g: tuple(n for n in dict.fromkeys(map(fused.home, g.roots)) if n not in stays)
        for g in fused.groups
    }
    made = {node for nodes in makes.values() for node in nodes}
    reads = {g: tuple(n for n in operands(g, fused) if n in made) for g in fused.groups}
    extents = {name: USUAL for node in made for name in node.type.symbols}
    sizes = {n: padded(layout.elements(n.type, extents) * SIZE[n.dtype]) for n in made}
    return Traffic(makes, reads, sizes)


def reaches(
    needs: Callable[[Maker], Iterable[Maker]], starts: Iterable[Maker], goal: Maker
) -> bool:
    """Whether one of some groups, or regions of them, needs the goal, directly or not."""
    stack, seen = list(starts), set[Maker]()
    while stack:
        current = stack.pop()
        if current is goal:
            return True
        if current not in seen:
            seen.add(current)
            stack.extend(needs(current))
    return False


def aligned(group: Group, variable: Node, home: Node, fused: Fused) -> bool:
    """Whether a kernel reads an old value only at the very element it then overwrites."""
    if not flat(group, fused):
        return False
    readers = [n for n in group.nodes if variable in map(fused.home, n.inputs)]
    return all(pointwise(n) and reads_here(n, variable, fused) for n in readers)


def flat(group: Group, fused: Fused) -> bool:
    """Whether all is computed in one loop body, which loads every operand before it stores.

    Members with axes of their own would come after the store, and read again; one that is read
    elsewhere than where it is used would load what another point may have stored.
    """
    if any(n.shape != group.outer for n in group.nodes) or not all(map(pointwise, group.nodes[1:])):
        return False
    members = set(group.nodes)
    return all(
        reads_here(n, home, fused)
        for n in group.nodes
        for home in map(fused.home, n.inputs)
        if home in members
    )


def pointwise(node: Node) -> bool:
    """Whether a node is a map."""
    return isinstance(node.op, Formula) and node.op.pointwise
