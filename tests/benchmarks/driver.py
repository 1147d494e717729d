"""Times one workload in all its peers: first they must agree, then they take turns in rounds."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import combinations

from tests.benchmarks.process import Process
from tests.benchmarks.workloads import Workload

CHECKED_STEPS = 20


class DisagreementError(Exception):
    """Two peers computed different losses, so that their times do not compare."""


@dataclass(frozen=True)
class Rounds:
    """How long to measure: so many rounds, each of about so many seconds a peer."""

    count: int = 15
    seconds: float = 0.3


@dataclass
class Entry:
    """What was measured of one peer in one variant; times in seconds."""

    peer: str
    variant: str
    description: dict[str, object]
    steps: int = 0
    times: list[float] = field(default_factory=list)
    checks: list[float] = field(default_factory=list)
    compile_s: float | None = None
    cached_s: float | None = None

    @property
    def label(self) -> str:
        """The peer, with its variant where it has several."""
        return self.peer if self.variant == "default" else f"{self.peer} {self.variant}"

    @property
    def step(self) -> float:
        """Seconds a step: the median of the rounds."""
        return statistics.median(self.times)

    @property
    def spread(self) -> float:
        """The rounds' interquartile range, relative to the median."""
        if len(self.times) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.times, n=4)
        return (high - low) / self.step


def run(
    workload: Workload, peers: Sequence[str], cores: Sequence[int], rounds: Rounds
) -> list[Entry]:
    """Measure a workload in every variant of every peer that can run it.

    Raises DisagreementError before anything is timed if the peers' first losses differ by more
    than the workload's tolerance; PeerMissingError or PeerFailedError where one cannot be had.
    """
    with ExitStack() as stack:
        pairs = [started for peer in peers for started in _start(workload, peer, cores, stack)]
        for entry, process in pairs:
            entry.checks = process.ask("check", steps=CHECKED_STEPS)
        agree(workload, [entry for entry, _ in pairs])
        for entry, process in pairs:
            entry.steps = _steps_per_round(process, rounds.seconds)
        for turn in range(rounds.count):
            first = turn % max(1, len(pairs))
            for entry, process in pairs[first:] + pairs[:first]:
                entry.times.append(process.ask("measure", steps=entry.steps) / entry.steps)
        return [entry for entry, _ in pairs]


def _start(
    workload: Workload, peer: str, cores: Sequence[int], stack: ExitStack
) -> list[tuple[Entry, Process]]:
    """Prepared processes, one a variant. Compilation is timed in processes of its own."""
    with Process(peer, cores) as scout:
        description = scout.ask("describe")
        variants = scout.ask("variants", workload=workload.name)
    pairs = []
    for variant in variants:
        entry = Entry(peer, variant, description)
        cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="graphc-benchmark-"))
        asked = {"workload": workload.name, "variant": variant}
        if description.get("compiles"):
            with Process(peer, cores, cache) as first:
                entry.compile_s = first.ask("first_step", **asked)
            with Process(peer, cores, cache) as second:
                entry.cached_s = second.ask("first_step", **asked)
        process = stack.enter_context(Process(peer, cores, cache))
        process.ask("prepare", **asked)
        pairs.append((entry, process))
    return pairs


def agree(workload: Workload, entries: Sequence[Entry]) -> float:
    """The largest relative difference of the peers' check values. Raises DisagreementError."""
    worst = 0.0
    for entry in entries:
        if not all(map(math.isfinite, entry.checks)):
            raise DisagreementError(f"{workload.name}: {entry.label} gives {entry.checks}")
    for one, other in combinations(entries, 2):
        for step, (a, b) in enumerate(zip(one.checks, other.checks, strict=True)):
            difference = abs(a - b) / max(abs(a), abs(b), 1e-30)
            worst = max(worst, difference)
            if difference > workload.tolerance:
                raise DisagreementError(
                    f"{workload.name}: at step {step} {one.label} has {a!r} and {other.label} "
                    f"{b!r}, a relative difference of {difference:.1e}; the workload allows "
                    f"{workload.tolerance:.0e}. Nothing was timed"
                )
    return worst


def _steps_per_round(process: Process, seconds: float) -> int:
    """Steps that take about so long, found by doubling; it warms the peer up as well."""
    steps = 1
    while (taken := process.ask("measure", steps=steps)) < seconds / 4:
        steps *= 2
    return int(max(1, round(steps * seconds / taken)))
