"""Why a program is as it is: for a kernel, node or layer what computes it, with what, and where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from graphc.errors import InputError, near
from graphc.graph.leaf import Leaf
from graphc.graph.node import Node
from graphc.graph.show import aligned, call, leaf_kind
from graphc.passes.group import Group
from graphc.passes.memory import operands
from graphc.runtime.kernels import Kernels, KernelView
from graphc.runtime.memory import alive, assume, size_of
from graphc.runtime.stages import Stages
from graphc.runtime.text import names_of


def explain(stages: Stages, subject: str | Node | KernelView) -> str:
    """The explanation of a kernel, a node, or a layer.

    A str names a kernel ("k03"), a node as it is printed ("%7", "0.weight"), the operations of a
    name ("relu": all; "relu_1": the second one), or a layer by its path ("encoder.0").
    Raises InputError with the nearest names for what the program does not have.
    """
    return Explanation(stages).of(subject)


class Explanation:
    """What explaining needs at hand of one program."""

    def __init__(self, stages: Stages) -> None:
        self.stages = stages
        self.names = names_of(stages)
        self.kernels = Kernels(stages)
        self.extents = assume(stages, {})
        self.offsets = stages.plan.arena(self.extents)[0]
        self.maker: dict[Node, list[KernelView]] = {}
        for view in self.kernels.values():
            for node in view.nodes:
                self.maker.setdefault(node, []).append(view)

    def of(self, subject: str | Node | KernelView) -> str:
        """The explanation of any subject."""
        if isinstance(subject, KernelView):
            return self.kernel(subject)
        if isinstance(subject, Node):
            return self.node(subject)
        if not isinstance(subject, str):
            raise InputError(
                f"explain takes the name of a kernel, node or layer, or the node, not {subject!r}"
            )
        if subject in self.kernels:
            return self.kernel(self.kernels[subject])
        named = labelled(self.stages.graph.nodes)
        for node, name in self.names.items():
            if name == subject:
                return self.node(node)
        if subject in named:
            found = named[subject]
            return self.node(found[0]) if len(found) == 1 else self.several(subject, found)
        inside = [n for n in self.stages.graph.nodes if below(n.site.path, subject)]
        if inside:
            return self.several(f"layer {subject}", inside)
        layers = {n.site.path for n in self.stages.graph.nodes if n.site.path}
        known = [*self.kernels, *named, *layers, *self.names.values()]
        raise InputError(
            f"the program has no kernel, node or layer {subject!r}{near(subject, known)}"
        )

    # --- subjects ---------------------------------------------------------------------------

    def kernel(self, view: KernelView) -> str:
        """What a kernel computes, why its nodes stand together, its schedule and its buffers."""
        group = self.stages.plan.groups[view.number]
        work = view.cost()
        lines = [f"{view.name} computes"]
        lines += [f"  {line}" for line in aligned(self.row(node) for node in view.nodes)]
        lines += [f"why: {note}" for note in view.notes] or [self.alone(group)]
        lines += self.noted(view.nodes)
        lines += aligned(self.buffers(group))
        lines.append(f"work: {work.flops:,} FLOPs, {work.bytes:,} bytes{self.assumed()}")
        return "\n".join(lines)

    def node(self, node: Node) -> str:
        """What computes a node, with what else, and where its value lies."""
        if node not in self.names:
            raise InputError(f"{node!r} from {node.site} is no node of this program")
        if isinstance(node.op, Leaf):
            return self.leaf(node)
        lines = ["  ".join(self.row(node))]
        if node not in set(self.stages.graph.nodes):
            return "\n".join([*lines, *self.rewritten(node)])
        home = self.stages.fused.home(node)
        if node in self.stages.fused.aliases:
            why = self.stages.fused.reasons.get(node, "")
            lines.append(f"costs no kernel: it re-reads {self.names[home]}{why and f' ({why})'}")
        if node in self.stages.fused.inlaid:
            lines.append(f"lies within {self.names[home]}, a copy of it with a border")
        lines += [self.place(home)]
        views = self.maker.get(home, [])
        return "\n".join([*lines, *(f"\n{self.kernel(view)}" for view in views)])

    def leaf(self, node: Node) -> str:
        """Where a leaf lies, and which kernels read and write it."""
        fused = self.stages.fused
        lines = [f"{leaf_kind(node)} {self.names[node]} : {node.type}  # {node.site}"]
        if node in self.stages.plan.place:
            lines.append(self.place(node))
        reads = [
            view.name
            for view in self.kernels.values()
            if node in operands(self.stages.plan.groups[view.number], fused)
        ]
        lines.append(f"read by {', '.join(reads) or 'no kernel'}")
        for variable, value in self.stages.graph.updates:
            if variable is not node:
                continue
            writers = [view.name for view in self.maker.get(fused.home(value), [])]
            way = "in place" if node in self.stages.plan.inplace else "by a copy at the end"
            lines.append(
                f"overwritten with {self.names[value]}, {way}, by {', '.join(writers) or 'none'}"
            )
        return "\n".join(lines)

    def several(self, title: str, nodes: Iterable[Node]) -> str:
        """A table of nodes, and the explanation of every kernel that computes some of them."""
        rows: list[tuple[str, ...]] = []
        views: dict[str, KernelView] = {}
        for node in nodes:
            if isinstance(node.op, Leaf):
                rows.append((leaf_kind(node), self.names[node], f": {node.type}"))
                continue
            made = self.maker.get(self.stages.fused.home(node), [])
            views |= {view.name: view for view in made}
            rows.append((", ".join(view.name for view in made) or "no kernel", *self.row(node)))
        parts = [f"{title}", *(f"  {line}" for line in aligned(rows))]
        return "\n".join(["\n".join(parts), *(f"\n{self.kernel(view)}" for view in views.values())])

    def rewritten(self, node: Node) -> list[str]:
        """For a node that a graph pass removed: what stands in its place as far as can be told."""
        twins = [
            other
            for other in self.stages.graph.nodes
            if other.site == node.site
            and other.type == node.type
            and not isinstance(other.op, Leaf)
        ]
        same = [other for other in twins if other.op.name == node.op.name] or twins
        if not same:
            return ["was simplified away: no node of its type is left from its line"]
        shown = [f"  {line}" for line in aligned(self.row(other) for other in same)]
        return ["was rewritten; from its line, of its type, are now", *shown]

    def noted(self, nodes: Iterable[Node]) -> list[str]:
        """What graph passes noted about some nodes."""
        places = {(node.op.name, node.site) for node in nodes}
        notes = dict.fromkeys(self.stages.graph.notes)
        return [f"why: {n.name} {n.text}" for n in notes if (n.name, n.site) in places]

    # --- parts ------------------------------------------------------------------------------

    def row(self, node: Node) -> tuple[str, ...]:
        """A node's line."""
        shown = f"{self.names[node]} = {call(node, self.names)}"
        return shown, f": {node.type}", node.op.describe(), f"# {node.site}"

    def buffers(self, group: Group) -> list[tuple[str, ...]]:
        """What a kernel reads and what it stores, with the place of each."""
        read = [("reads", node) for node in operands(group, self.stages.fused)]
        stored = [("stores", root) for root in group.roots]
        return [
            (way, self.names[node], self.place(self.stages.fused.home(node)))
            for way, node in (*read, *stored)
        ]

    def place(self, node: Node) -> str:
        """Where a value lies."""
        plan = self.stages.plan
        if node not in plan.place:
            return "lies in registers only, inside its kernel"
        number = plan.place[node]
        slot = plan.slots[number]
        amount = f"{size_of(slot.node, self.extents):,} bytes"
        if slot.kind != "arena":
            return f"lies in slot {number} ({slot.kind}), {amount}{self.assumed()}"
        return (
            f"lies in slot {number} (arena, offset {self.offsets[number]:,}), {amount}, alive from "
            f"{alive(slot, self.stages)}{self.assumed()}"
        )

    def assumed(self) -> str:
        """For which extents sizes are stated."""
        given = ", ".join(f"{name} = {extent}" for name, extent in self.extents.items())
        return f" for {given}" if given else ""

    def alone(self, group: Group) -> str:
        """What to say of a group without reasons."""
        return "why: no other node is computed with it" if len(group.nodes) == 1 else "why: no note"


def labelled(nodes: Iterable[Node]) -> Mapping[str, list[Node]]:
    """Nodes by the name of their operation, and each by that name with its number: relu, relu_1.

    The first is `relu_0`; `relu` names all of them.
    """
    found: dict[str, list[Node]] = {}
    for node in nodes:
        if not isinstance(node.op, Leaf):
            found.setdefault(node.op.name, []).append(node)
    numbered = {
        f"{name}_{number}": [node]
        for name, members in found.items()
        for number, node in enumerate(members)
    }
    return {**numbered, **found}


def below(path: str, layer: str) -> bool:
    """Whether a layer's path is the given one or lies inside it."""
    return path == layer or path.startswith(layer + ".")
