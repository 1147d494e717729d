"""The memory plan in numbers, and as text: every slot's kind, size, lifetime and place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphc.errors import InputError
from graphc.graph.node import Node
from graphc.graph.show import aligned
from graphc.passes import layout
from graphc.passes.liveness import kept, least
from graphc.passes.memory import Slot
from graphc.runtime.stages import Stages
from graphc.types import SIZE

HEADER = ("slot", "holds", "kind", "type", "bytes", "alive", "offset")


@dataclass(frozen=True)
class Memory:
    """The memory of a call in bytes.

    `arena` holds the temporary values, which add up to `values`. `kept`: of them what the forward
    pass makes and the backward pass reads, all alive when the loss is known. `least`: what some
    moment needs whatever the order of the kernels. `states` are the variables.
    """

    arena: int
    values: int
    kept: int
    least: int
    inputs: int
    states: int
    constants: int
    outputs: int

    @property
    def must(self) -> int:
        """What an arena must hold at once: the larger of `kept` and `least`."""
        return max(self.kept, self.least)

    @property
    def excess(self) -> float:
        """The part by which the arena is larger than it must be: 0.05 for 5 %."""
        return self.arena / self.must - 1 if self.must else 0.0


def memory(stages: Stages, extents: Mapping[str, int]) -> Memory:
    """The memory of a call for given run-time extents, those not given taken as 1."""
    extents, plan = assume(stages, extents), stages.plan
    totals = dict.fromkeys(("input", "state", "constant", "output", "arena"), 0)
    for slot in plan.slots:
        totals[slot.kind] += size_of(slot.node, extents)
    return Memory(
        plan.arena(extents)[1],
        totals["arena"],
        kept(plan, stages.fused, extents),
        least(plan, stages.fused, extents),
        totals["input"],
        totals["state"],
        totals["constant"],
        totals["output"],
    )


def memory_text(stages: Stages, extents: Mapping[str, int], names: Mapping[Node, str]) -> str:
    """A table of the slots, and what each kind of memory adds up to."""
    extents = assume(stages, extents)
    plan = stages.plan
    offsets = plan.arena(extents)[0]
    held = holders(stages)
    rows = []
    for number, slot in enumerate(plan.slots):
        amount = size_of(slot.node, extents)
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
    lines += totals(memory(stages, extents))
    return "\n".join([*assumption(stages, extents), *lines])


def totals(found: Memory) -> list[str]:
    """What the table adds up to, and how much of the arena there must be."""
    kinds = ("input", "state", "constant", "output")
    amounts = (found.inputs, found.states, found.constants, found.outputs)
    sums = [f"{kind} {n:,} bytes" for kind, n in zip(kinds, amounts, strict=True) if n]
    together = f"arena {found.arena:,} bytes for {found.values:,} bytes of values"
    must = f"any order of the kernels needs an arena of {found.least:,} bytes"
    if found.kept:
        must += f"; {found.kept:,} bytes in it are kept for the backward pass"
    return ["; ".join(filter(None, (together, ", ".join(sums)))), *([must] if found.values else [])]


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
    if slot.first >= len(kernels):
        return "at the end"
    first = kernels[slot.first].name
    if slot.last >= len(kernels):
        return f"{first} to the end"
    return f"{first} to {kernels[slot.last].name}"
