"""The memory plan for the page: every buffer over the course of the step, and the arena's peak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphc.explorer.nodes import Numbers
from graphc.passes.liveness import used
from graphc.runtime.memory import alive, holders, memory, size_of


def plan(numbers: Numbers, extents: Mapping[str, int]) -> dict[str, Any]:
    """The slots, the bytes alive at each kernel, the kernel where most are, and the totals."""
    stages = numbers.stages
    offsets, arena = stages.plan.arena(extents)
    held, count = holders(stages), len(stages.plan.groups)
    live, buffers = [0] * count, []
    inside = [used(stages.plan, stages.fused, group) for group in stages.plan.groups]
    for number, slot in enumerate(stages.plan.slots):
        size = size_of(slot.node, extents)
        if number in offsets:
            for step in range(max(slot.first, 0), min(slot.last, count - 1) + 1):
                live[step] += size
        readers = [k for k, numbers_ in enumerate(inside) if number in numbers_]
        buffers.append(
            {
                "slot": number,
                "kind": slot.kind,
                "type": str(slot.type),
                "bytes": size,
                "offset": offsets.get(number, -1),
                "first": slot.first,
                "last": min(slot.last, count - 1),
                "alive": alive(slot, stages),
                "nodes": numbers.of(held[number]),
                "names": [numbers.name.get(n, f"{n.op.name} inside") for n in held[number]],
                "kernels": readers,
            }
        )
    found = memory(stages, extents)
    return {
        "slots": buffers,
        "live": live,
        "peak": max(range(count), key=live.__getitem__, default=-1),
        "arena": arena,
        "values": found.values,
        "kept": found.kept,
        "least": found.least,
        "inputs": found.inputs,
        "states": found.states,
        "constants": found.constants,
        "outputs": found.outputs,
    }
