"""What must be in memory at once: in any order of the kernels, and when the loss is known."""

from __future__ import annotations

from collections.abc import Mapping

from graphc.graph.node import Node
from graphc.passes.arena import sizes
from graphc.passes.group import Fused, Group
from graphc.passes.memory import Plan, operands


def least(plan: Plan, fused: Fused, extents: Mapping[str, int]) -> int:
    """Bytes that some moment needs whatever the order of these kernels: no arena is smaller.

    While a kernel runs there lie in memory what it reads and makes, and all that a kernel before it
    must have made and a kernel after it has still to read. A kernel comes before another one that
    reads what it makes, or that overwrites in place what it reads.
    """
    size = sizes(plan.slots, extents)
    uses = [used(plan, fused, group) for group in plan.groups]
    maker: dict[int, int] = {}  # of the value that a slot holds, as the kernels go by
    readers: dict[tuple[int, int], list[int]] = {}  # of each value, by its slot and its maker
    before = [0] * len(plan.groups)  # the kernels that must come before each, one bit a kernel
    for step, group in enumerate(plan.groups):
        roots = {plan.place[fused.home(root)] for root in group.roots}
        for number in roots:  # a variable is overwritten after what reads it
            for other in readers.get((number, maker.get(number, -1)), ()):
                before[step] |= before[other] | 1 << other
        for operand in operands(group, fused):
            number = plan.place.get(operand, -1)
            readers.setdefault((number, maker.get(number, -1)), []).append(step)
            if number in maker:
                before[step] |= before[maker[number]] | 1 << maker[number]
        maker |= dict.fromkeys(roots, step)
    most = 0
    for step, own in enumerate(uses):
        passing = (
            number
            for (number, made), later in readers.items()
            if made >= 0
            and before[step] >> made & 1
            and any(before[reader] >> step & 1 for reader in later)
        )
        most = max(most, sum(size.get(number, 0) for number in {*own, *passing}))
    return most


def used(plan: Plan, fused: Fused, group: Group) -> set[int]:
    """The slots that a kernel reads, makes, or keeps for itself while it runs."""
    nodes = [*operands(group, fused), *map(fused.home, group.roots)]
    inside = group.body.keys(group) if group.body is not None else ()
    return {plan.place[key] for key in (*nodes, *inside) if key in plan.place}


def kept(plan: Plan, fused: Fused, extents: Mapping[str, int]) -> int:
    """Bytes of temporary values that the forward pass makes and the backward pass reads.

    They are all alive when the loss is known. 0 where nothing was differentiated. A kernel that
    makes something of the forward pass, too, comes before.
    """
    size = sizes(plan.slots, extents)
    made = {fused.home(r) for g in plan.groups for r in g.roots if not r.site.derived}
    read: dict[Node, None] = {}
    for group in plan.groups:
        if group.roots and all(root.site.derived for root in group.roots):
            read |= dict.fromkeys(n for n in operands(group, fused) if n in made)
    numbers = {plan.place[node] for node in read}
    return sum(size[number] for number in numbers & set(size))
