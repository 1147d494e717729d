"""Times one workload in all its peers: first they must agree, then they take turns in rounds."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from tests.benchmarks.clock import Clock
from tests.benchmarks.peers import FAST, RESIDENT
from tests.benchmarks.process import PeerFailedError, PeerRefusedError, Place, Process
from tests.benchmarks.workloads import Workload

CHECKED_STEPS = 20


class DisagreementError(Exception):
    """Two peers computed different losses, so that their times do not compare."""


@dataclass(frozen=True)
class Rounds:
    """How to measure: so many rounds, each of about so many seconds a peer, by this clock."""

    count: int = 15
    seconds: float = 0.3
    clock: Clock = "wall"


@dataclass
class Entry:
    """What was measured of one peer in one variant; times in seconds, memory in bytes."""

    peer: str
    variant: str
    description: dict[str, Any]
    grain: int = 1
    steps: int = 0
    times: list[float] = field(default_factory=list)
    checks: list[float] = field(default_factory=list)
    compile_s: float | None = None
    cached_s: float | None = None
    compile_bytes: int | None = None
    memory_bytes: int = 0
    planned: dict[str, int] | None = None

    @property
    def label(self) -> str:
        """The peer, with its variant where it has several."""
        return self.peer if self.variant == "default" else f"{self.peer} {self.variant}"

    @property
    def resident(self) -> bool:
        """Whether it takes many steps in one call."""
        return self.variant in RESIDENT

    @property
    def fast(self) -> bool:
        """Whether it trades digits for speed."""
        return self.variant == FAST

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


@dataclass
class Measured:
    """What one run of a workload gave.

    gflops and gbytes are the limits of the cores, a value a round; `left_out` has the reasons of
    the peers that did not run, and `failed` whether one of them should have.
    """

    entries: list[Entry]
    difference: float
    gflops: list[float]
    gbytes: list[float]
    left_out: list[str]
    failed: bool


def run(
    workload: Workload, scouts: Mapping[str, Process], place: Place, rounds: Rounds
) -> Measured:
    """Measure a workload in every variant of every peer that can run it.

    The scouts, one a peer, are asked what their peer can do.

    Raises DisagreementError before anything is timed if the peers' check values differ by more
    than the workload's tolerance. A peer that fails is left out, with its reason.
    """
    with ExitStack() as stack:
        pairs: list[tuple[Entry, Process]] = []
        left_out: list[str] = []
        failed = False
        for peer, scout in scouts.items():
            try:
                for entry in _variants(workload, peer, scout):
                    pairs.append((entry, _prepared(workload, entry, place, stack)))
            except (PeerRefusedError, PeerFailedError) as error:
                left_out.append(str(error))
                failed = failed or isinstance(error, PeerFailedError)
        difference = agree(workload, [entry for entry, _ in pairs])
        for entry, process in pairs:
            entry.steps = steps_per_round(process, entry.grain, rounds)
        gauge = stack.enter_context(Process("gauge", place))
        for turn in range(rounds.count):
            gauge.ask("measure", clock=rounds.clock)
            first = turn % max(1, len(pairs))
            for entry, process in pairs[first:] + pairs[:first]:
                taken = process.ask("measure", steps=entry.steps, clock=rounds.clock)
                entry.times.append(taken / entry.steps)
        for entry, process in pairs:
            entry.memory_bytes = process.ask("memory")
            entry.planned = process.ask("planned")
        entries = [entry for entry, _ in pairs]
        limits = gauge.ask("found")
        return Measured(entries, difference, left_out=left_out, failed=failed, **limits)


def _variants(workload: Workload, peer: str, scout: Process) -> list[Entry]:
    """An entry for each setting in which a peer runs a workload."""
    description = scout.ask("describe")
    variants = scout.ask("variants", workload=workload.name)
    return [Entry(peer, variant, description) for variant in variants]


def _prepared(workload: Workload, entry: Entry, place: Place, stack: ExitStack) -> Process:
    """A process that is ready to be timed. Compilation is timed in processes of its own."""
    cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-"))
    asked = {"workload": workload.name, "variant": entry.variant}
    if entry.description.get("compiles"):
        with Process(entry.peer, place, cache) as first:
            entry.compile_s = first.ask("first_step", **asked)
            entry.compile_bytes = first.ask("memory")
        with Process(entry.peer, place, cache) as second:
            entry.cached_s = second.ask("first_step", **asked)
    process = stack.enter_context(Process(entry.peer, place, cache))
    entry.grain = process.ask("prepare", **asked)
    entry.checks = process.ask("check", steps=CHECKED_STEPS)
    return process


def agree(workload: Workload, entries: Sequence[Entry]) -> float:
    """The largest relative difference of the peers' check values. Raises DisagreementError."""
    worst = 0.0
    for entry in entries:
        if not all(map(math.isfinite, entry.checks)):
            raise DisagreementError(f"{workload.name}: {entry.label} gives {entry.checks}")
    for one, other in combinations(entries, 2):
        largest = max(map(abs, one.checks + other.checks), default=0.0)
        for place, (a, b) in enumerate(zip(one.checks, other.checks, strict=True)):
            size = largest if workload.compared == "largest" else max(abs(a), abs(b))
            difference = abs(a - b) / max(size, 1e-30)
            worst = max(worst, difference)
            if difference > workload.tolerance:
                raise DisagreementError(
                    f"{workload.name}: check value {place} is {a!r} in {one.label} and {b!r} in "
                    f"{other.label}, a relative difference of {difference:.1e}; the workload "
                    f"allows {workload.tolerance:.0e}. Nothing was timed"
                )
    return worst


def steps_per_round(process: Process, grain: int, rounds: Rounds) -> int:
    """Steps that take about as long as a round, by doubling; it warms the peer up as well."""

    def taken(calls: int) -> float:
        return float(process.ask("measure", steps=calls * grain, clock=rounds.clock))

    taken(1)
    calls = 1
    while (seconds := taken(calls)) < rounds.seconds / 4:
        calls *= 2
    return grain * max(1, round(calls * rounds.seconds / seconds))
