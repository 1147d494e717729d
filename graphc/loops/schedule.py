"""What the schedules of a kernel's nests share: the machine, what is said of them, fresh names."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from graphc.loops.choice import MODEL, Choice, Choices
from graphc.machine import Machine


@dataclass
class Schedule:
    """One kernel being scheduled. `notes` say what was chosen and why.

    `choices` are decided before, one for each nest that sums; `choice` is that of the nest at hand.
    `steps`: how often the loops around what is being scheduled run it; `changing`: the buffers that
    these steps write; `once`: bytes that a copy for all steps may take. `panels`: bytes on the
    stack that packed panels take.
    """

    machine: Machine
    choices: Choices = ()
    notes: list[str] = field(default_factory=list)
    serial: int = 0
    nests: int = 0
    choice: Choice = MODEL
    steps: int = 1
    once: float = math.inf
    panels: int = 0
    changing: frozenset[str] = frozenset()

    def begin(self) -> Choice:
        """Go on to the next nest that sums; what is decided for it."""
        self.choice = self.choices[self.nests] if self.nests < len(self.choices) else MODEL
        self.nests += 1
        return self.choice
