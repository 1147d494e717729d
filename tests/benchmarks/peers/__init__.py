"""Peers: one file for each library that runs the workloads. Each has these three functions.

def describe() -> dict[str, object]
    What runs: its `version`. Where it applies also `compiles` (True: the report shows how long
    `prepare` and a step took, with an empty cache, and in a second process with a full one).

def variants(workload) -> list[str]
    The settings in which to run it, each timed in a process of its own; [] if it does not apply.

def prepare(workload, variant, threads) -> Session
    Everything that is done once, before the first step.

variants and prepare raise RefusedError with the reason where the library cannot run a workload
that it should. A module that lacks something raises ImportError when it is imported.
"""

from __future__ import annotations

from typing import Protocol

FAST = "fast"
"""The variant that trades digits for speed, beside those that do not."""
RESIDENT = ("scan", "resident", "fit")
"""Variants that take many steps in one call, over batches that stay where the library put them."""


class RefusedError(Exception):
    """The library cannot run a workload; the message says why."""


class Session(Protocol):
    """A workload that is ready to run, at its initial weights.

    It may have a method `planned`: bytes of the `arena` of a step, and what that `must` hold.
    """

    grain: int
    """How many steps one call takes; `run` is asked for multiples of it."""

    def check(self, steps: int) -> list[float]:
        """Run from the start; the losses of so many steps, or samples of the outputs."""

    def run(self, steps: int) -> None:
        """Run so many further steps as fast as the library can; what is timed."""
