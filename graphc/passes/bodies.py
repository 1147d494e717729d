"""Scans: their bodies pass through the same passes; what every step would repeat is moved out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Any

from graphc.graph import leaf
from graphc.graph.graph import Graph
from graphc.graph.node import Node, make
from graphc.graph.rewrite import rewrite, substitute
from graphc.machine import Machine
from graphc.ops.formula import Formula
from graphc.ops.index import Affine
from graphc.ops.recurrence import Scan
from graphc.passes.ahead import pack_once
from graphc.passes.group import Body, Fused
from graphc.passes.pack import pack

GraphPass = Callable[[Graph, Machine], Graph]
Fuse = Callable[[Graph], Fused]
Planner = Callable[[Fused], Any]


def unify(graph: Graph, machine: Machine) -> Graph:
    """Apply `final` and `stacked`, once runs of the same steps on the same operands are one."""
    scans = [n.op for n in graph.nodes if isinstance(n.op, Scan)]
    if not scans:
        return graph
    widest: dict[object, Scan] = {}
    for scan in scans:
        key = replace(scan, output=0, body=NOTHING)
        if key not in widest or len(widest[key].body.outputs) < len(scan.body.outputs):
            widest[key] = scan

    def joined(node: Node) -> Node | None:
        """scan(a, b) beside scan(a, b, c)   ->   the second alone."""
        if not isinstance(node.op, Scan):
            return None
        wide = widest.get(replace(node.op, output=0, body=NOTHING))
        own = node.op.body.outputs
        if wide is None or wide.body == node.op.body or wide.body.outputs[: len(own)] != own:
            return None
        return make(replace(wide, output=node.op.output), node.inputs, node.type)

    graph = rewrite(rewrite(graph, [joined]), [final])
    return rewrite(graph, [partial(stacked, set(graph.nodes))])


NOTHING = Graph(())


def prepare(graph: Graph, passes: tuple[GraphPass, ...], machine: Machine) -> Graph:
    """Run graph passes on the bodies of all scans, and apply `hoisted`."""
    if not any(isinstance(n.op, Scan) for n in graph.nodes):
        return graph
    bodies = Bodies(passes, machine)
    result = rewrite(graph, [bodies.passed])
    notes = (note for scan in bodies.done.values() for note in scan.body.notes)
    return replace(result, notes=(*result.notes, *notes))


def final(node: Node) -> Node | None:
    """[i] = stack[last, i]   ->   the carry's final value, which needs no stack."""
    op = node.op
    if not isinstance(op, Formula) or len(node.inputs) != 1 or op.expr != op.args[0]:
        return None
    (stack,), (read,) = node.inputs, op.reads
    scan = stack.op
    if not isinstance(scan, Scan) or not 0 <= scan.output < len(scan.carries):
        return None
    if read[0] != Affine((), scan.last) or read[1:] != op.writes:
        return None
    if node.type != scan.carries[scan.output].type:
        return None
    return make(replace(scan, output=-1 - scan.output), stack.inputs, node.type)


def stacked(nodes: Collection[Node], node: Node) -> Node | None:
    """A result that a carry takes on as well   ->   part of the carry's stack, if there is one."""
    scan = node.op
    if not isinstance(scan, Scan) or scan.output < len(scan.carries):
        return None
    value = scan.body.outputs[scan.output]
    for output in range(len(scan.carries)):
        if scan.body.outputs[output] is value and scan.result(output, node.inputs) in nodes:
            return scan.steps_of(output, node.inputs)
    return None


class Bodies:
    """Passes bodies through the graph passes, each once."""

    def __init__(self, passes: tuple[GraphPass, ...], machine: Machine) -> None:
        self.passes, self.machine = passes, machine
        self.done: dict[Scan, Scan] = {}
        self.made: set[Scan] = set()

    def passed(self, node: Node) -> Node | None:
        """scan(body)   ->   scan(body after all passes)."""
        op = node.op
        if not isinstance(op, Scan) or replace(op, output=0) in self.made:
            return None
        family = replace(op, output=0)
        if family not in self.done:
            body = op.body
            for step in self.passes:
                body = step(body, self.machine)
            if pack in self.passes:
                body = pack_once(body, op.length, fixed(op, body), self.machine)
            self.done[family] = replace(family, body=prepare(body, self.passes, self.machine))
        scan, inputs = hoisted(self.done[family], node.inputs)
        self.made.add(scan)
        return make(replace(scan, output=once(scan, op.output)), inputs, node.type)


def once(scan: Scan, output: int) -> int:
    """Results i and j of the same value at each step   ->   the first alone."""
    outputs, count = scan.body.outputs, len(scan.carries)
    return outputs.index(outputs[output], count) if output >= count else output


def hoisted(scan: Scan, inputs: tuple[Node, ...]) -> tuple[Scan, tuple[Node, ...]]:
    """scan(f(shared))   ->   g = f(shared); scan(g): what no step changes is computed once."""
    operands = dict(zip(scan.placeholders, inputs, strict=True))
    still = fixed(scan, scan.body)
    inside = {i for n in scan.body.nodes if n not in still for i in n.inputs}
    taken = [n for n in scan.body.nodes if n in still and n.inputs and n in inside and big(n)]
    if not taken:
        return scan, inputs
    places = {
        node: make(leaf.Input(f"hoisted{number}"), (), node.type)
        for number, node in enumerate(taken)
    }
    outside = {p: operands[p] for p in scan.shared}
    values = tuple(substitute(node, outside) for node in taken)
    body = scan.body.replaced(lambda root: substitute(root, places))
    shared = (*scan.shared, *places.values())
    return replace(scan, body=body, shared=shared), (*inputs, *values)


def fixed(scan: Scan, body: Graph) -> set[Node]:
    """The nodes of a scan's body that no step changes."""
    moving = {*scan.carries, *scan.slices}
    for node in body.nodes:
        if any(operand in moving for operand in node.inputs):
            moving.add(node)
    return set(body.nodes) - moving


def big(node: Node) -> bool:
    """Whether a node has more than one element: a number is as well computed again."""
    return any(extent != 1 for extent in node.shape)


def cut(scan: Scan, nodes: tuple[Node, ...], fuse: Fuse, plan: Planner) -> Body:
    """The body of a run in groups, and where its values go. `nodes` are the run's results in use.

    A carry whose stack nobody reads is thin: a variable of the body that every step updates.
    """
    results = {n.op.output: n for n in nodes if isinstance(n.op, Scan)}
    count = len(scan.carries)
    thin = tuple(j for j in range(count) if j not in results)
    wanted = [j for j in range(len(scan.body.outputs)) if j in results]
    graph = Graph(
        tuple(scan.body.outputs[j] for j in wanted),
        tuple(f"out{j}" for j in wanted),
        tuple((scan.carries[j], scan.body.outputs[j]) for j in thin),
    )
    fused = fuse(graph)
    order = plan(fused)
    made = {fused.home(r) for g in fused.groups for r in g.roots if g.direct}
    direct: dict[Node, int] = {}
    for j in wanted:
        home = fused.home(scan.body.outputs[j])
        if home in made:
            direct.setdefault(home, j)
    inplace = {fused.home(scan.body.outputs[j]) for j in thin if scan.carries[j] in order.inplace}
    overwritten = {scan.carries[j] for j in thin}
    aside = tuple(
        number
        for number, j in enumerate(thin)
        if scan.carries[j] not in order.inplace
        and fused.home(scan.body.outputs[j]) in overwritten - {scan.carries[j]}
    )
    kept = [
        home
        for g in order.groups
        for home in dict.fromkeys(fused.home(r) for r in g.roots)
        if home not in direct and home not in inplace
    ]
    kept += [scan.carries[j] for j in thin if -1 - j not in results]
    return Body(fused, order, direct, thin, aside, tuple(kept))
