"""The memory plan as text: every slot's kind, size, lifetime and place in the arena."""

from __future__ import annotations

from collections.abc import Mapping

from graphc.errors import InputError
from graphc.graph.node import Node
from graphc.graph.show import aligned
from graphc.passes import layout
from graphc.passes.memory import Slot
from graphc.runtime.stages import Stages
from graphc.types import SIZE

HEADER = ("slot", "holds", "kind", "type", "bytes", "alive", "offset")


def memory_text(stages: Stages, extents: Mapping[str, int], names: Mapping[Node, str]) -> str:
    """A table of the slots, and what each kind of memory adds up to."""
    extents = assume(stages, extents)
    plan = stages.plan
    offsets, size = plan.arena(extents)
    held = holders(stages)
    rows = []
    totals: dict[str, int] = {}
    for number, slot in enumerate(plan.slots):
        amount = size_of(slot.node, extents)
        totals[slot.kind] = totals.get(slot.kind, 0) + amount
        offset = str(offsets[number]) if number in offsets else ""
        shown = ", ".join(names.get(node, f"{node.op.name} inside") for node in held[number])
        rows.append(
            (
                str(number),
                shown,
                slot.kind,
                str(slot.node.type),
                f"{amount:,}",
                alive(slot, stages),
                offset,
            )
        )
    lines = aligned([HEADER, *rows], right=(0, 4, 6))
    for old, new in plan.copies:
        lines.append(f"at the end: copy slot {old} to slot {new}")
    shared = totals.pop("arena", 0)
    sums = [f"{kind} {amount:,} bytes" for kind, amount in totals.items()]
    lines.append(f"arena {size:,} bytes for {shared:,} bytes of values; {', '.join(sums)}")
    return "\n".join([*assumption(stages, extents), *lines])


def assume(stages: Stages, extents: Mapping[str, int]) -> dict[str, int]:
    """The run-time extents, 1 where none is given. Raises InputError for an unknown name.

    Raises it too for what is no extent.
    """
    for name in extents:
        if name not in stages.extents:
            known = ", ".join(stages.extents) or "none"
            raise InputError(f"the program has no run-time extent {name!r}; it has: {known}")
    for name, number in extents.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise InputError(f"{name}={number!r} must be a whole number of at least 0")
    return {name: extents.get(name, 1) for name in stages.extents}


def assumption(stages: Stages, extents: Mapping[str, int]) -> list[str]:
    """A first line that says for which extents the numbers are; none where all sizes are fixed."""
    if not stages.extents:
        return []
    return [f"# for {', '.join(f'{name} = {extents[name]}' for name in stages.extents)}"]


def size_of(node: Node, extents: Mapping[str, int]) -> int:
    """Bytes of a node's value."""
    return layout.elements(node.type, extents) * SIZE[node.dtype]


def holders(stages: Stages) -> list[list[Node]]:
    """For each slot the nodes whose values lie in it, in turn."""
    held: list[list[Node]] = [[slot.node] for slot in stages.plan.slots]
    for key, number in stages.plan.place.items():
        node = key if isinstance(key, Node) else key[1]
        if node not in held[number]:
            held[number].append(node)
    return held


def alive(slot: Slot, stages: Stages) -> str:
    """From which kernel to which a slot is in use."""
    kernels = stages.lowered
    if slot.first < 0:
        return "always"
    first = kernels[slot.first].name
    if slot.last >= len(kernels):
        return f"{first} to the end"
    return f"{first} to {kernels[slot.last].name}"
