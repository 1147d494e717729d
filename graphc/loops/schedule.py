"""What the schedules of a kernel's nests share: the machine, what is said of them, fresh names."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphc.machine import Machine


@dataclass
class Schedule:
    """One kernel being scheduled. `notes` say what was chosen and why.

    `steps`: how often the loops in order around what is being scheduled run it; `changing`: the
    buffers that these steps write.
    """

    machine: Machine
    notes: list[str] = field(default_factory=list)
    serial: int = 0
    steps: int = 1
    changing: frozenset[str] = frozenset()
