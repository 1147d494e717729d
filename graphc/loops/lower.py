"""Group -> Kernel: the loop nest of a group in its plainest form, one element at a time.

Every member's loops are its indices. Members that are stored, or reduced, get a place of their own;
the others are computed where they are read, at the index they are read at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphc.graph.node import Node
from graphc.loops.border import border, runs
from graphc.loops.ir import Access, Kernel, Stmt
from graphc.loops.lowering import Lowering, formula, reduces
from graphc.loops.member import accumulate, finish, mapped, reserve, save, scatter, start
from graphc.loops.place import Row
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, index
from graphc.passes import layout
from graphc.passes.blocks import spread
from graphc.passes.fit import order_of, widest
from graphc.passes.group import Fused, Group, Key
from graphc.passes.inlay import axes_of
from graphc.passes.invert import covered
from graphc.types import Extent


@dataclass(frozen=True)
class Lowered:
    """A kernel and, for each of its buffers, the node whose value lies there."""

    kernel: Kernel
    nodes: tuple[Key, ...]


def lower(group: Group, fused: Fused, name: str, tags: list[Node]) -> Lowered:
    """The group's kernel before any scheduling. Nodes that check an index are added to `tags`."""
    lowering = Lowering(group, fused, tags)
    body = statements(lowering)
    stored = dict.fromkeys(lowering.home(r).buffer(lowering.buffers).name for r in group.roots)
    sites = tuple(dict.fromkeys(n.site for n in group.nodes))
    buffers = tuple(lowering.buffers.values())
    origins = {made: (node,) for made, node in lowering.origins.items()}
    kernel = Kernel(name, buffers, body, sites, tuple(stored), group.reasons, origins=origins)
    return Lowered(kernel, tuple(lowering.buffers))


def statements(lowering: Lowering) -> tuple[Stmt, ...]:
    """Fill borders, then lower the group, or its parts within the loops over their first axis."""
    whole = lowering.group
    for node in whole.roots:
        if node in lowering.fused.inlaid.values():
            lowering.scopes[0].body += border(lowering, node)
    if not whole.parts:
        members(lowering, 0)
    else:
        ((letter, extent),) = lowering.loops[0].items()
        lowering.open(letter)
        read = last_reads(lowering.fused, whole.parts)
        for number, part in enumerate(whole.parts):
            lowering.begin(part)
            for node in part.roots:
                if node not in whole.roots:
                    hand_over(lowering, node)
            members(lowering, 1)
            lowering.spare += [
                row.buffer
                for node, row in lowering.local.items()
                if read.get(node) == number and lowering.fused.home(node) is node
            ]
        lowering.close(letter, extent)
    return tuple(lowering.scopes[0].body)


def last_reads(fused: Fused, parts: tuple[Group, ...]) -> dict[Node, int]:
    """The last of some parts that reads what another one has made."""
    return {
        fused.home(operand): number
        for number, part in enumerate(parts)
        for node in part.nodes
        for operand in node.inputs
    }


def members(lowering: Lowering, opened: int) -> None:
    """Open the outer loops, some of whose axes are open, and lower each placed member in turn."""
    outer = [loop for loops in lowering.loops[opened:] for loop in loops.items()]
    for letter, _ in outer:
        lowering.open(letter)
    for batch in batches(lowering):
        lower_batch(lowering, batch)
    for letter, extent in reversed(outer):
        lowering.close(letter, extent)


def hand_over(lowering: Lowering, node: Node) -> None:
    """Give what a part hands to another one a place on the stack, and zeros around it."""
    if node in lowering.fused.inlaid:
        return  # its copy has a place for it
    views = [view for view in lowering.fused.aliases if lowering.fused.viewed(view) is node]
    lowering.local[node] = row = reserve(lowering, node, 1, dense=bool(views))
    for view in views:
        lowering.local[view] = Row(row.buffer, 1, layout.strides(view.shape[1:]))
    for value, copy in lowering.fused.inlaid.items():
        if copy is node:
            axes = axes_of(copy)[1:]
            start = sum(a.before * by for a, by in zip(axes, row.strides, strict=True))
            lowering.local[value] = replace(row, start=start)
            for stmt in runs(lowering, Access(row.buffer, Affine()), axes):
                lowering.write(stmt)


def lower_batch(lowering: Lowering, batch: list[Node]) -> None:
    """One loop nest that computes every member of the batch."""
    if not covered(formula(batch[0]), batch[0]):
        scatter(lowering, batch[0])
        return
    kept, summed = space(lowering, batch[0])
    loops = [lowering.fresh("k") for _ in kept]
    for letter in loops:
        lowering.open(letter)
    reductions = [n for n in batch if reduces(formula(n))]
    maps = [n for n in batch if not reduces(formula(n))]
    bindings = {n: bind(lowering, n, loops) for n in batch}
    if reductions:
        accumulators = {n: start(lowering, n) for n in reductions}
        inside = [lowering.fresh("s") for _ in summed]
        for letter in inside:
            lowering.open(letter)
        for node in reductions:
            op = formula(node)
            values = bindings[node] | dict(zip(op.summed, map(index, inside), strict=True))
            accumulate(lowering, node, values, accumulators[node])
        kind = order_of(reductions[0])
        for letter, extent in reversed(list(zip(inside, summed, strict=True))):
            lowering.close(letter, extent, kind)
            kind = "serial"
        for node in reductions:
            finish(lowering, node, bindings[node], accumulators[node], bool(kept))
    names = {node: mapped(lowering, node, bindings[node]) for node in maps}
    for node in maps:
        if kept or formula(node).pointwise or lowering.is_stored(node) or node in lowering.local:
            save(lowering, node, bindings[node], names[node])
    written_out = len(cases(lowering, batch[0]))
    for letter, extent in reversed(list(zip(loops, kept, strict=True))):
        lowering.close(letter, extent, "unrolled" if written_out > 0 else "serial")
        written_out -= 1


def batches(lowering: Lowering) -> list[list[Node]]:
    """Placed members cut into runs that share their inner loops.

    A reduction joins the first run that it can: nothing then goes over its elements once more.
    """
    result: list[list[Node]] = []
    for node in placed(lowering):
        first = len(result) - 1
        early = reduces(formula(node)) and not lowering.switches
        while early and first > 0 and free(lowering, node, result[first]):
            first -= 1
        for batch in result[max(first, 0) :]:
            if joins(lowering, node, batch):
                batch.append(node)
                break
        else:
            result.append([node])
    return result


def free(lowering: Lowering, node: Node, batch: list[Node]) -> bool:
    """Whether a member reads nothing, directly or not, that a batch makes."""
    return not reaches(lowering, node, set(batch))


def placed(lowering: Lowering) -> list[Node]:
    """Members with a place of their own: roots, reductions, and costly shared maps."""
    roots = set(lowering.group.roots) | windowed(lowering)
    roots -= set(lowering.fused.inlaid.values())
    return [n for n in lowering.group.nodes if n in roots or not formula(n).pointwise]


def windowed(lowering: Lowering) -> set[Node]:
    """Maps that a formula with cases reads at several places, and that have none themselves."""
    found: set[Node] = set()
    if not lowering.switches:
        return found
    for node in lowering.group.nodes:
        found |= {i for i in node.inputs if i in lowering.members and spread(node, i)}
    return found


def joins(lowering: Lowering, node: Node, batch: list[Node]) -> bool:
    """Whether a member may share the loops of a batch.

    It reads none of the batch's reductions, and its maps only at the element they have just made.
    """
    if space(lowering, node) != space(lowering, batch[0]) or order_of(node) != order_of(batch[0]):
        return False
    if cases(lowering, node) or cases(lowering, batch[0]):
        return False
    if not all(covered(formula(n), n) for n in (node, batch[0])):
        return False
    reductions = {n for n in batch if not formula(n).pointwise}
    if reductions and reaches(lowering, node, reductions):
        return False
    if len({widest(n) for n in (node, *batch) if reduces(formula(n))}) > 1:
        return False
    return not elsewhere(lowering, node, set(batch))


def elsewhere(lowering: Lowering, node: Node, batch: set[Node]) -> bool:
    """Whether a member reads, directly or not, a batch's value at another element than its own."""
    op = formula(node)
    for operand, read in zip(node.inputs, op.reads, strict=True):
        home = lowering.fused.viewed(operand)
        here = home is operand and read == op.writes and operand.shape == node.shape
        if home in batch and not here:
            return True
        if home in batch or home not in lowering.members:
            continue
        found = elsewhere(lowering, home, batch) if here else reaches(lowering, home, batch)
        if found:
            return True
    return False


def reaches(lowering: Lowering, node: Node, targets: set[Node]) -> bool:
    """Whether a member's value inside the group depends on one of the targets."""
    stack, seen = list(node.inputs), set()
    while stack:
        operand = lowering.fused.viewed(stack.pop())
        if operand in targets:
            return True
        if operand in lowering.members and operand not in seen:
            seen.add(operand)
            stack.extend(operand.inputs)
    return False


def space(lowering: Lowering, node: Node) -> tuple[tuple[Extent, ...], tuple[Extent, ...]]:
    """The extents of a member's own loops: kept, then summed."""
    op = formula(node)
    loops = own_loops(lowering, node)
    return (
        tuple(op.extents[n] for n in loops),
        tuple(op.extents[n] for n in op.summed),
    )


def own_indices(lowering: Lowering, op: Formula) -> tuple[str, ...]:
    """The kept indices that are no outer loop of the group, in the result's order.

    One that takes a single value is no loop, but in blocks.
    """
    writes = op.writes[: len(lowering.group.outer)]
    bound = {name for e in writes if isinstance(e, Affine) for name in e.names}
    blocks = lowering.switches
    return tuple(n for n in op.kept if n not in bound and (blocks or op.extents[n] != 1))


def cases(lowering: Lowering, node: Node) -> tuple[str, ...]:
    """The kept indices for each value of which a map, or one computed for it, is another formula.

    Innermost and unrolled, they let what all cases read be read once.
    """
    if not lowering.switches:
        return ()
    op, found = formula(node), dict[str, None]()
    for operand, read in zip(node.inputs, op.reads, strict=True):
        if operand not in lowering.members or operand in placed(lowering):
            continue
        inner = cases(lowering, operand)
        for e, write in zip(read, formula(operand).writes, strict=True):
            if isinstance(e, Affine) and isinstance(write, Affine) and write.plain in inner:
                found |= dict.fromkeys(e.names)
    if op.switch is not None:
        found[op.switch] = None
    return tuple(name for name in found if name in op.kept)


def own_loops(lowering: Lowering, node: Node) -> tuple[str, ...]:
    """The own indices in the order of their loops."""
    own, last = own_indices(lowering, formula(node)), cases(lowering, node)
    return (*(n for n in own if n not in last), *(n for n in last if n in own))


def by_step(place: Affine, order: Sequence[str]) -> list[str]:
    """The indices of a place by the steps that they take, those alike in an order."""
    return sorted(place.names, key=lambda name: (place.coefficient(name), order.index(name)))


def bind(lowering: Lowering, node: Node, loops: list[str]) -> dict[str, Affine]:
    """Which loop each kept index of a member is."""
    op = formula(node)
    values = {name: Affine() for name in op.kept}
    for e, place, around in zip(op.writes, lowering.outer, lowering.loops, strict=False):
        assert isinstance(e, Affine)
        if e.plain is not None:
            values[e.plain] = place
        else:
            own, given = by_step(e, op.kept), by_step(place, tuple(around))
            values |= dict(zip(own, map(index, given), strict=True))
    return values | dict(zip(own_loops(lowering, node), map(index, loops), strict=True))
