"""Things timed against one another: in turns, so that what else the machine does meets them all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SAMPLE = 5e-3
"""Seconds that the clock runs at least between two readings."""
LEAST = 5
"""Samples that are taken however long one takes."""


@dataclass(frozen=True)
class Timing:
    """Seconds of a call, sample by sample, each the mean of `calls`."""

    samples: tuple[float, ...]
    calls: int

    @property
    def median(self) -> float:
        """Seconds of a call."""
        return statistics.median(self.samples)

    @property
    def spread(self) -> float:
        """The interquartile range of the samples, as a part of the median."""
        low, _, high = statistics.quantiles(self.samples, n=4)
        return (high - low) / self.median


def timed(
    runs: Mapping[str, Callable[[], object]], seconds: float, rest: float = 0.0
) -> dict[str, Timing]:
    """The timing of each, about `seconds` of measuring each, in turns of one sample.

    Before a sample comes one call that is not timed; `rest` seconds before that let what others
    have left running, such as threads that wait by spinning, come to an end.
    """
    counts = {name: calls(run) for name, run in runs.items()}
    samples: dict[str, list[float]] = {name: [] for name in runs}
    ends = time.perf_counter() + seconds * len(runs)
    while len(samples[next(iter(runs))]) < LEAST or time.perf_counter() < ends:
        for name, run in runs.items():
            time.sleep(rest)
            run()
            samples[name].append(once(run, counts[name]))
    return {name: Timing(tuple(found), counts[name]) for name, found in samples.items()}


def once(run: Callable[[], object], count: int) -> float:
    """Seconds of a call, the mean of some."""
    start = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - start) / count


def calls(run: Callable[[], object]) -> int:
    """How many calls make a sample."""
    run()
    return max(1, round(SAMPLE / max(min(once(run, 1) for _ in range(3)), 1e-9)))
