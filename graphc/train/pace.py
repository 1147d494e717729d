"""Pace: how many steps are made in one native call, so that Python is heard of again soon."""

from __future__ import annotations

from dataclasses import dataclass, field

SPAN = 0.05
"""Seconds of training in one native call: progress is shown, and Ctrl-C waits, for so long."""


@dataclass
class Pace:
    """The steps that take about SPAN seconds, for each size of batch, as those before tell."""

    known: dict[int, int] = field(default_factory=dict)

    def steps(self, batch: int) -> int:
        """How many steps of batches of this size to make at once: at least one."""
        return self.known.get(batch, 1)

    def made(self, batch: int, steps: int, seconds: float) -> None:
        """Go by what so many steps took; the number at most doubles."""
        if steps:
            fit = int(SPAN * steps / max(seconds, 1e-9))
            self.known[batch] = max(1, min(2 * self.steps(batch), fit))
