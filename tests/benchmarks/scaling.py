"""`python -m tests.benchmarks.scaling`: two threads of graphc against one thread of graphc.

    python -m tests.benchmarks.scaling --workloads train-mlp --markdown docs/performance.md

Two processes run the same workload, one on one core and one on two, and take turns in rounds; so do
loops of multiply-adds on one core and on both. Where these do not reach twice the peak, the second
core was not there, or both were slower together, and no program could be twice as fast.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks import machine, page
from tests.benchmarks.__main__ import selected
from tests.benchmarks.driver import CHECKED_STEPS, Rounds, steps_per_round
from tests.benchmarks.process import Place, Process
from tests.benchmarks.report import duration, grid
from tests.benchmarks.workloads import Workload

HEAD = (
    *("workload", "one thread", "two", "faster", "by the medians", "same bits"),
    *("peak of one core", "of two", "of that ratio"),
)
LEGEND = """\
Times are the least of {rounds} rounds of {seconds} s, *faster* is their ratio; *peak* is that of a
loop of multiply-adds, the best of the same rounds, and *of that ratio* the part of it that the
workload's is. *same bits*: whether the results of its first {steps} steps are equal."""


@dataclass
class Pair:
    """A workload on one thread and on two: seconds a step and GFLOP/s of the peak, by round."""

    workload: str
    same: bool = True
    times: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    peaks: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))

    @property
    def faster(self) -> float:
        """How many times as fast two threads are, by the least times."""
        one, two = map(min, self.times)
        return one / two

    @property
    def faster_by_medians(self) -> float:
        """The same by the medians."""
        one, two = map(statistics.median, self.times)
        return one / two

    @property
    def more(self) -> float:
        """How many times the peak of one core two cores reached."""
        one, two = map(max, self.peaks)
        return two / one

    def cells(self) -> list[str]:
        """As the columns of HEAD."""
        return [
            self.workload,
            *(duration(min(times)) for times in self.times),
            f"{self.faster:.2f}x",
            f"{self.faster_by_medians:.2f}x",
            "yes" if self.same else "NO",
            *(f"{max(peaks):.0f} GFLOP/s" for peaks in self.peaks),
            f"{self.faster / self.more:.0%}",
        ]


def measure(workload: Workload, cores: Sequence[int], rounds: Rounds) -> Pair:
    """Both, in turns; what goes first changes from round to round."""
    found = Pair(workload.name)
    with ExitStack() as stack:
        places = [Place(cores[:count]) for count in (1, 2)]
        peers = [stack.enter_context(Process("graphc", place)) for place in places]
        gauges = [stack.enter_context(Process("gauge", place)) for place in places]
        variant = peers[0].ask("variants", workload=workload.name)[0]
        grains = [p.ask("prepare", workload=workload.name, variant=variant) for p in peers]
        one, two = (peer.ask("check", steps=CHECKED_STEPS) for peer in peers)
        found.same = one == two
        steps = [steps_per_round(p, grain, rounds) for p, grain in zip(peers, grains, strict=True)]
        for turn in range(rounds.count):
            for i in (0, 1) if turn % 2 else (1, 0):
                gauges[i].ask("measure", clock="wall")
                taken = peers[i].ask("measure", steps=steps[i], clock="wall")
                found.times[i].append(taken / steps[i])
        for peaks, gauge in zip(found.peaks, gauges, strict=True):
            peaks += gauge.ask("found")["gflops"]
    return found


def report(pairs: Sequence[Pair], rounds: Rounds, described: str) -> str:
    """The table, with what it says."""
    legend = LEGEND.format(rounds=rounds.count, seconds=rounds.seconds, steps=CHECKED_STEPS)
    return f"{described}\n\n{legend}\n\n{grid([HEAD, *(pair.cells() for pair in pairs)])}"


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scaling", description=__doc__)
    parser.add_argument("--workloads", nargs="+", default=["train-*"], metavar="NAME")
    parser.add_argument("--rounds", type=int, default=Rounds.count)
    parser.add_argument("--seconds", type=float, default=Rounds.seconds, help="a round")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write its part of this page")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write. The exit status is 1 where bits differ, 2 where it cannot be run."""
    options = arguments(argv)
    try:
        workloads = selected(options.workloads)
        cores = machine.idlest_cores(2)
        if options.markdown:  # known before it is measured for long
            page.placed(options.markdown.read_text("utf-8"), "scaling", "")
    except (LookupError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    rounds = Rounds(options.rounds, options.seconds)
    pairs = []
    for workload in workloads:
        pairs.append(measure(workload, cores, rounds))
        print("  ".join(pairs[-1].cells()), file=sys.stderr, flush=True)
    facts = ", ".join(f"{name} {value}" for name, value in machine.describe().items())
    text = report(pairs, rounds, f"{time.strftime('%Y-%m-%d')}: {facts}.")
    print(text)
    if options.markdown:
        page.write(options.markdown, "scaling", text)
    return int(not all(pair.same for pair in pairs))


if __name__ == "__main__":
    sys.exit(main())
