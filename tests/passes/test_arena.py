"""The arena: slots that are alive together lie apart, in no more than what all of them take."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

import pytest

from graphc.passes import arena
from graphc.types import TensorType


@dataclass(frozen=True)
class Slot:
    """A slot of the arena."""

    first: int
    last: int
    elements: int
    kind: str = "arena"

    @property
    def type(self) -> TensorType:
        """So many bytes."""
        return TensorType("bool", (self.elements,))


@pytest.mark.parametrize("seed", range(20))
def test_slots_that_are_alive_together_do_not_overlap(seed: int) -> None:
    drawn = random.Random(seed)
    slots = []
    for _ in range(60):
        first = drawn.randrange(40)
        slots.append(Slot(first, first + drawn.randrange(12), drawn.choice([0, 3, 64, 1000, 5000])))
    offsets, size = arena.arena(slots, {})
    sizes = arena.sizes(slots, {})
    assert set(offsets) == set(range(len(slots)))
    assert arena.greatest(slots, sizes) <= size <= sum(sizes.values())
    for (a, one), (b, other) in itertools.combinations(enumerate(slots), 2):
        if one.first <= other.last and other.first <= one.last:
            apart = offsets[a] + sizes[a] <= offsets[b] or offsets[b] + sizes[b] <= offsets[a]
            assert apart, f"{one} and {other}"
    assert max(offsets[n] + sizes[n] for n in offsets) == size


def test_an_empty_arena() -> None:
    assert arena.arena([], {}) == ({}, 0)
    assert arena.arena([Slot(0, 1, 8, "output")], {}) == ({}, 0)
