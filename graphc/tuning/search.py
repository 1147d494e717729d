"""The search: a kernel's alternatives against the cost model's schedule, measured in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphc.loops.alternatives import nests, tiles, variations
from graphc.loops.choice import Choices
from graphc.tuning.trial import Trial, Version

GAIN = 0.03
"""The part of its time that a winner must save, in the median and both quartiles."""
SCREENING, FINAL = 5, 21
"""Rounds in which alternatives take turns with the best so far, and the winner with the model's."""


@dataclass(frozen=True)
class Finding:
    """What measuring a kernel gave: the winner's choices, none where the model's schedule stays.

    Seconds are medians of the same rounds. `tried` counts the schedules that ran, `refused` those
    whose results had other bits; `whole` says whether there was time for all.
    """

    choices: Choices
    before: float
    after: float
    tried: int
    refused: int
    whole: bool


def search(trial: Trial, deadline: float, step: Callable[[int], None]) -> Finding:
    """Find the fastest schedule of a kernel that computes the same bits as the cost model's.

    Nest by nest, tiles first, then copies, parts and unrolling around the best. Ends early at the
    `deadline` of time.monotonic(). `step` is told how many schedules have been tried.
    """
    model = trial.version(())
    assert model is not None
    wanted = trial.results(model)
    counts = trial.count(model)
    best, seen, refused, whole = model, [model], 0, wanted is not None
    machine = trial.target.model
    for number, nest in enumerate(nests(trial.kernel, machine)):
        for stage in (tiles, variations):
            found: list[Version] = []
            for choices in stage(best.choices, number, nest, machine):
                if time.monotonic() > deadline or wanted is None:
                    whole = False
                    break
                version = trial.version(choices, seen)
                if version is None:
                    continue
                seen.append(version)
                step(len(seen) - 1)
                if trial.results(version) == wanted:
                    found.append(version)
                else:
                    refused += 1
            if found:
                best = least(trial, [best, *found], counts)
    final = rounds(trial, [model, best], counts, FINAL) if best is not model else []
    if final and clear(*final):
        before, after = map(statistics.median, final)
        return Finding(best.choices, before, after, len(seen) - 1, refused, whole)
    times = final[0] if final else rounds(trial, [model], counts, SCREENING)[0]
    now = statistics.median(times)
    return Finding((), now, now, len(seen) - 1, refused, whole)


def rounds(trial: Trial, versions: Sequence[Version], count: int, times: int) -> list[list[float]]:
    """Seconds of each version in so many rounds, in which they take turns."""
    found: list[list[float]] = [[] for _ in versions]
    for turn in range(times):
        first = turn % len(versions)
        order = [*range(first, len(versions)), *range(first)]
        for number in order:
            found[number].append(trial.seconds(versions[number], count))
    return found


def least(trial: Trial, versions: list[Version], count: int) -> Version:
    """The version that took least; of those as good as it, the first."""
    medians = list(map(statistics.median, rounds(trial, versions, count, SCREENING)))
    limit = min(medians) * 1.005
    return next(v for v, median in zip(versions, medians, strict=True) if median <= limit)


def clear(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether the second times are better than the first beyond noise."""
    pairs = zip(statistics.quantiles(before, n=4), statistics.quantiles(after, n=4), strict=True)
    return all(new < old * (1 - GAIN) for old, new in pairs)
