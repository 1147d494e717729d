"""Peers: one file for each library that runs the workloads. Each has these three functions.

def describe() -> dict[str, object]
    What runs: its `version`. Where it applies also `compiles` (True: the table shows how long
    `prepare` and a step took, with an empty cache, and in a second process with a full one)
    and `peak_gflops` (the host's measured limit; the table shows the share that was reached).

def variants(workload) -> list[str]
    The settings in which to run it, each timed in a process of its own; [] if it cannot.

def prepare(workload, variant, threads) -> Session
    Everything that is done once, before the first step.
"""

from __future__ import annotations

from typing import Protocol


class Session(Protocol):
    """A workload that is ready to run, at its initial weights."""

    def check(self, steps: int) -> list[float]:
        """Run from the start; the losses of so many steps, or as many samples of a result."""

    def run(self, steps: int) -> None:
        """Run so many further steps as fast as the library can; what is timed."""
