"""Results as tables for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from tests.benchmarks.driver import Entry, Rounds
from tests.benchmarks.workloads import Workload

HEAD = ("peer", "time a step", "spread", "speed", "GFLOP/s", "of peak", "compile", "from cache")
LEGEND = """\
Every workload is one table. Its peers start from the same weights and batches, and nothing is timed
unless the losses of their first 20 steps agree. Each peer runs in a process of its own on the same
cores, and they take turns in rounds. *time a step* is the median of the rounds, *spread* their
interquartile range, *speed* how many times as fast as the best other library; *GFLOP/s* counts
products only. *compile* is the time until the first step is done with an empty cache, *from cache*
with a full one, both without the start of the program and the import of libraries."""


@dataclass(frozen=True)
class Result:
    """A workload, what was measured of its peers, and how far their losses differed."""

    workload: Workload
    entries: Sequence[Entry]
    difference: float

    def speed(self, entry: Entry) -> float | None:
        """The best other library's time over this one's; None where there is no other."""
        others = [other.step for other in self.entries if other.peer != entry.peer]
        return min(others) / entry.step if others else None


def duration(seconds: float | None) -> str:
    """Three digits and a unit."""
    if seconds is None:
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def table(result: Result) -> str:
    """One workload in markdown; a column that nobody fills is left out."""
    rows = [_row(result, entry) for entry in sorted(result.entries, key=lambda e: e.step)]
    kept = [i for i in range(len(HEAD)) if any(row[i] for row in rows)]
    lines = [[HEAD[i] for i in kept], ["---" if i == 0 else "---:" for i in kept]]
    lines += [[row[i] for i in kept] for row in rows]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    title = f"## {result.workload.name}: {result.workload.title}"
    if len(result.entries) < 2:
        return f"{title}\n\nOne peer only: nothing to agree with.\n\n{body}"
    return f"{title}\n\nLargest relative difference of losses: {result.difference:.1e}\n\n{body}"


def _row(result: Result, entry: Entry) -> list[str]:
    speed = result.speed(entry)
    rate = result.workload.flops / entry.step / 1e9
    peak = entry.description.get("peak_gflops")
    return [
        entry.label,
        duration(entry.step),
        f"{entry.spread:.1%}",
        f"{speed:.2f}x" if speed else "",
        f"{rate:.3g}",
        f"{rate / peak:.0%}" if isinstance(peak, float) else "",
        duration(entry.compile_s),
        duration(entry.cached_s),
    ]


def markdown(
    results: Sequence[Result],
    machine: Mapping[str, object],
    threads: int,
    rounds: Rounds,
    when: str,
) -> str:
    """The whole report as a page."""
    versions = {e.peer: e.description.get("version") for r in results for e in r.entries}
    head = [
        "# Benchmarks",
        LEGEND,
        f"Measured {when} by `python -m tests.benchmarks --markdown docs/benchmarks.md` with "
        f"{threads} thread{'s' * (threads > 1)}, {rounds.count} rounds of {rounds.seconds} s.",
        "\n".join(f"- {key}: {value}" for key, value in [*machine.items(), *versions.items()]),
    ]
    return "\n\n".join([*head, *map(table, results)]) + "\n"


def as_json(
    results: Sequence[Result], machine: Mapping[str, object], threads: int, when: str
) -> dict[str, object]:
    """Everything measured, each round's time included."""
    return {
        "when": when,
        "threads": threads,
        "machine": dict(machine),
        "workloads": [
            {
                "name": result.workload.name,
                "title": result.workload.title,
                "flops": result.workload.flops,
                "difference": result.difference,
                "entries": [
                    asdict(entry) | {"step": entry.step, "speed": result.speed(entry)}
                    for entry in result.entries
                ],
            }
            for result in results
        ],
    }
