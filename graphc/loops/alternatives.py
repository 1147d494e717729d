"""Alternatives: the schedules of a kernel that are worth measuring beside the cost model's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from graphc.loops.choice import MODEL, Choice, Choices, changed, flags
from graphc.loops.choose import Plan, choose, like
from graphc.loops.ir import Alloc, Kernel, walk
from graphc.loops.nest import Nest
from graphc.loops.order import order
from graphc.loops.residues import residues
from graphc.loops.tile import reductions
from graphc.machine import Machine
from graphc.types import SIZE

SHAPES = 8
"""Tiles compared for a nest, at most."""
PARTS = (64, 128, 256, 512)
"""Terms of a sum made at a time."""
STACK = 1 << 19
"""Bytes that a kernel may keep on the stack of its thread."""


def nests(kernel: Kernel, machine: Machine) -> list[Nest]:
    """The nests of a lowered kernel for which there is something to choose."""
    return reductions(residues(order(kernel, machine), machine).body)


def tiles(choices: Choices, number: int, nest: Nest, machine: Machine) -> Iterator[Choices]:
    """The choices with other register tiles for one nest: the likeliest, and some of each width."""
    model = choose(nest, machine)
    now = choices[number] if number < len(choices) else MODEL
    for plan in shortlist(like(nest, model, machine), model):
        if plan.vector is not None:
            tile = plan.vector, plan.lanes, plan.vectors, plan.tiles
            yield changed(choices, number, replace(now, tile=tile))


def shortlist(plans: list[Plan], model: Plan) -> list[Plan]:
    """The best plan of each vector index and width, then the best of all, without the model's."""
    first: dict[object, Plan] = {}
    others = [plan for plan in plans if plan.tile != model.tile]
    for plan in others:
        first.setdefault((plan.vector, plan.lanes, plan.vectors), plan)
    chosen = list(first.values())[: SHAPES // 2]
    chosen += [plan for plan in others if plan not in chosen][: SHAPES - len(chosen)]
    return chosen


def variations(choices: Choices, number: int, nest: Nest, machine: Machine) -> Iterator[Choices]:
    """The choices with other copies, parts or unrolling for one nest, its tile left as it is."""
    now = choices[number] if number < len(choices) else MODEL
    for choice in (*flags(now), *parts(now, nest, machine)):
        if choice != now:
            yield changed(choices, number, choice)


def parts(now: Choice, nest: Nest, machine: Machine) -> Iterator[Choice]:
    """The choice with the outermost sum made at once, or in parts of some terms."""
    if choose(nest, machine).vector not in {loop.index for loop in nest.kept}:
        return  # parts would change the order of the sum
    outer = nest.summed[0].extent
    each = 1
    for loop in nest.summed[1:]:
        each *= loop.extent or 1
    counts = {0, *(max(1, terms // each) for terms in PARTS if terms >= each)}
    for count in sorted(counts):
        if count == 0 or outer is None or count < outer:
            yield replace(now, part=count)


def stack(kernel: Kernel) -> int:
    """Bytes that a scheduled kernel keeps on the stack, its panels and partial sums."""
    buffers = {s.buffer for s in walk(kernel.body) if isinstance(s, Alloc)}
    return sum(
        b.size * SIZE[b.dtype] for b in buffers if b.space == "stack" and isinstance(b.size, int)
    )
