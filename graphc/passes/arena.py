"""The arena: memory for what is temporary; values that are never alive together may share it."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Protocol

from graphc.passes import layout
from graphc.types import SIZE, TensorType

ALIGNMENT = 64


class Placed(Protocol):
    """What laying out an arena needs of a slot."""

    @property
    def kind(self) -> str:
        """Only "arena" is placed."""

    @property
    def type(self) -> TensorType:
        """Dtype and shape."""

    @property
    def first(self) -> int:
        """The kernel that makes the value."""

    @property
    def last(self) -> int:
        """The last kernel that reads it."""


Weigh = Callable[[int, int], tuple[int, ...]]
ORDERS: tuple[Weigh, ...] = (
    lambda size, steps: (size,),
    lambda size, steps: (size * steps,),
    lambda size, steps: (steps, size),
    lambda size, steps: (size.bit_length(), steps, size),
)
"""What slots are placed by, the greatest first: by their bytes and the steps they are alive."""
HARDLY = 1.02
"""How many times the greatest live set an arena may take before another order is tried."""


def arena(slots: Sequence[Placed], extents: Mapping[str, int]) -> tuple[dict[int, int], int]:
    """Offsets of the arena's slots in bytes, and the arena's size, for given extents.

    First fit in the first order that needs hardly more than the greatest live set, else in the
    best: slots that are never alive together may share memory.
    """
    size = sizes(slots, extents)
    enough = greatest(slots, size) * HARDLY
    best: tuple[dict[int, int], int] = {}, 0
    for weigh in ORDERS:
        found = first_fit(slots, size, weigh)
        if weigh is ORDERS[0] or found[1] < best[1]:
            best = found
        if best[1] <= enough:
            break
    return best


def first_fit(
    slots: Sequence[Placed], sizes: Mapping[int, int], weigh: Weigh
) -> tuple[dict[int, int], int]:
    """Offsets, each the lowest that is free while its slot is alive, and the end of the last."""
    placed: list[tuple[int, int, int, int]] = []
    offsets: dict[int, int] = {}
    steps = {number: slots[number].last - slots[number].first + 1 for number in sizes}
    order = sorted(sizes, key=lambda n: (*(-w for w in weigh(sizes[n], steps[n])), n))
    for number in order:
        size, first, last = sizes[number], slots[number].first, slots[number].last
        at = 0
        for start, end, begin, finish in placed:  # by their starts
            if begin <= last and first <= finish:
                if at + size <= start:
                    break
                at = max(at, end)
        offsets[number] = at
        insort(placed, (at, at + size, first, last))
    return offsets, max((end for _, end, _, _ in placed), default=0)


def greatest(slots: Sequence[Placed], sizes: Mapping[int, int]) -> int:
    """Bytes of the greatest live set: of what is alive while some kernel runs."""
    change: dict[int, int] = {}
    for number, size in sizes.items():
        slot = slots[number]
        change[slot.first] = change.get(slot.first, 0) + size
        change[slot.last + 1] = change.get(slot.last + 1, 0) - size
    return max(accumulate(change[step] for step in sorted(change)), default=0)


def sizes(slots: Sequence[Placed], extents: Mapping[str, int]) -> dict[int, int]:
    """The bytes of the arena's slots, by their numbers."""
    return {
        number: padded(layout.elements(slot.type, extents) * SIZE[slot.type.dtype])
        for number, slot in enumerate(slots)
        if slot.kind == "arena"
    }


def padded(size: int) -> int:
    """A size rounded up so that the next buffer is aligned."""
    return -(-max(size, 1) // ALIGNMENT) * ALIGNMENT
