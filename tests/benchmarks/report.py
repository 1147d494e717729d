"""Results as tables for people and as JSON for programs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from tests.benchmarks.driver import Entry, Measured, Rounds
from tests.benchmarks.workloads import Workload

OURS, TORCH = "graphc", "torch_eager"
HEAD = (
    *("peer", "time a step", "spread", "speed", "GFLOP/s", "of peak", "of memory"),
    *("compile", "from cache", "memory", "of torch's", "while compiling", "arena"),
)
SUMMARY = (
    *("workload", "graphc", "fastest peer", "its time", "speed", "call a step", "of peak"),
    "fast",
)
TITLES = {"train": "Training", "infer": "Inference", "kernel": "Kernels"}
LEGEND = """\
Every workload is one table. Its peers start from the same weights and batches, and nothing is timed
unless the losses of their first 20 steps agree, or samples of their outputs. Batches arrive as
numpy arrays and all state advances. Each peer runs in a process of its own on the same cores, and
they take turns in rounds. *time a step* is the median of the rounds, *spread* their interquartile
range, *speed* how many times as fast as the best other library, *call a step* the same among those
that take one step a call (the others are a *scan*, steps over *resident* data, and *fit*, a whole
call of graphc's Trainer), and *fast* the same with `math="fast"`, which takes fewer products for
some last digits, and is in no other column of the summary; *GFLOP/s* counts products only, those
with a border's zeros too, which some leave out, *of
peak* is their share of the FMA peak that a loop of multiply-adds reached in the same rounds, and
*of memory* that of the bytes which the step must move in the traffic of a streaming triad out of
cache (above 100 % where caches hold the data). *compile* is the time until the first step is done
with an empty cache, *from cache* with a full one, both without the start of the program and the
import of libraries; *memory* is the most that the timed process held, *of torch's* its ratio to
eager PyTorch's in the layout that holds least, *while compiling* what the process that compiled
held. *arena* is the memory that a compiler planned for all temporary values of a step, and by how
much it exceeds what the backward pass must keep or any order of the kernels holds at once."""


AVX2 = """\
The machine has AVX2 and no AVX-512: limiting the instruction set to AVX2 changes nothing here, and
this page is the record for both."""


@dataclass(frozen=True)
class Result:
    """A workload and what was measured of it."""

    workload: Workload
    measured: Measured

    @property
    def entries(self) -> list[Entry]:
        """The peers, fastest first."""
        return sorted(self.measured.entries, key=lambda entry: entry.step)

    @property
    def peak(self) -> float:
        """GFLOP/s of multiply-adds in the same rounds."""
        return statistics.median(self.measured.gflops)

    @property
    def traffic(self) -> float:
        """GB/s of a triad in the same rounds."""
        return statistics.median(self.measured.gbytes)

    def speed(self, entry: Entry) -> float | None:
        """The best other library's time over this one's; None where there is no other."""
        others = (e for e in self.entries if e.peer != entry.peer and not e.fast)
        return _over(entry, others)

    def speed_by_call(self, entry: Entry) -> float | None:
        """As speed, among those that take one step a call."""
        if entry.resident:
            return None
        others = (e for e in self.entries if e.peer != entry.peer and not e.resident and not e.fast)
        return _over(entry, others)

    def share_of_peak(self, entry: Entry) -> float:
        """GFLOP/s over those of the peak."""
        return self.workload.flops / entry.step / 1e9 / self.peak

    def share_of_memory(self, entry: Entry) -> float:
        """Bytes that must move, over what a triad moves in the time."""
        return self.workload.bytes / entry.step / 1e9 / self.traffic

    def share_of_torch(self, entry: Entry) -> float | None:
        """Peak memory over that of eager PyTorch in the layout that holds least."""
        held = [other.memory_bytes for other in self.entries if other.peer == TORCH]
        return entry.memory_bytes / min(held) if held and min(held) else None

    @property
    def ours(self) -> Entry | None:
        """graphc's fastest entry that gives up no digits."""
        return next((e for e in self.entries if e.peer == OURS and not e.fast), None)

    @property
    def ours_fast(self) -> Entry | None:
        """graphc's entry that gives up digits, where there is one."""
        return next((e for e in self.entries if e.peer == OURS and e.fast), None)

    @property
    def ours_by_call(self) -> Entry | None:
        """graphc's fastest entry that takes one step a call and gives up no digits."""
        found = (e for e in self.entries if e.peer == OURS and not e.resident and not e.fast)
        return next(found, None)

    @property
    def best(self) -> Entry | None:
        """The fastest other library's entry."""
        return next((entry for entry in self.entries if entry.peer != OURS), None)


def _over(entry: Entry, others: Iterable[Entry]) -> float | None:
    times = [other.step for other in others]
    return min(times) / entry.step if times else None


def duration(seconds: float | None) -> str:
    """Three digits and a unit."""
    if seconds is None:
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def _times(ratio: float | None) -> str:
    return f"{ratio:.2f}x" if ratio else ""


def _mebibytes(size: int | None) -> str:
    return f"{size / 2**20:.0f} MiB" if size else ""


def _arena(planned: Mapping[str, int] | None) -> str:
    if not planned or not planned["must"]:
        return ""
    return f"{planned['arena'] / 2**20:.3g} MiB, +{planned['arena'] / planned['must'] - 1:.1%}"


def grid(rows: Sequence[Sequence[str]]) -> str:
    """A table in markdown; the first column is of names."""
    head, *body = rows
    lines = [head, ["---" if i == 0 else "---:" for i in range(len(head))], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def table(result: Result) -> str:
    """One workload in markdown; a column that nobody fills is left out."""
    rows = [_row(result, entry) for entry in result.entries]
    kept = [i for i in range(len(HEAD)) if any(row[i] for row in rows)]
    parts = [f"### {result.workload.name}: {result.workload.title}"]
    if len(rows) > 1:
        kind = "losses" if result.workload.compared == "each" else "outputs"
        difference = f"Largest relative difference of {kind}: {result.measured.difference:.1e}."
        parts.append(
            f"{difference} FMA peak {result.peak:.0f} GFLOP/s, triad {result.traffic:.1f} GB/s."
        )
    else:
        parts.append("One peer only: nothing to agree with.")
    parts += [
        f"Left out: {reason.splitlines()[0]} {reason.splitlines()[-1]}"
        if "\n" in reason
        else f"Left out: {reason}"
        for reason in result.measured.left_out
    ]
    if rows:
        parts.append(grid([[row[i] for i in kept] for row in [list(HEAD), *rows]]))
    return "\n\n".join(parts)


def _row(result: Result, entry: Entry) -> list[str]:
    work = result.workload
    return [
        entry.label,
        duration(entry.step),
        f"{entry.spread:.1%}",
        _times(result.speed(entry)),
        f"{work.flops / entry.step / 1e9:.3g}" if work.flops else "",
        f"{result.share_of_peak(entry):.1%}" if work.flops else "",
        f"{result.share_of_memory(entry):.1%}" if work.bytes else "",
        duration(entry.compile_s),
        duration(entry.cached_s),
        _mebibytes(entry.memory_bytes),
        _times(result.share_of_torch(entry)),
        _mebibytes(entry.compile_bytes),
        _arena(entry.planned),
    ]


def summary(results: Sequence[Result]) -> str:
    """One table a group: graphc against the fastest peer, and geometric means."""
    parts = []
    for held_out in (False, True):
        for group, title in TITLES.items():
            chosen = [
                r for r in results if (r.workload.group, r.workload.held_out) == (group, held_out)
            ]
            if chosen:
                parts.append(f"### {title}{', other nets' if held_out else ''}")
                rows = [[*SUMMARY], *map(_line, chosen), _means(chosen)]
                fast = any(result.ours_fast for result in chosen)
                parts.append(grid(rows if fast else [row[:-1] for row in rows]))
    return "\n\n".join(parts)


def _line(result: Result) -> list[str]:
    ours, best, by_call = result.ours, result.best, result.ours_by_call
    fast = result.ours_fast
    work = result.workload
    share = ""
    if ours and work.flops:
        share = f"{result.share_of_peak(ours):.1%}"
    elif ours and work.bytes:
        share = f"{result.share_of_memory(ours):.1%} of memory"
    return [
        work.name,
        f"{duration(ours.step)}" if ours else "",
        best.label if best else "",
        duration(best.step) if best else "",
        _times(result.speed(ours)) if ours else "",
        _times(result.speed_by_call(by_call)) if by_call else "",
        share,
        _times(result.speed(fast)) if fast else "",
    ]


def geometric_mean(
    results: Sequence[Result], speed: Callable[[Result], float | None]
) -> float | None:
    """Of the speeds that there are; None where there is none."""
    speeds = [found for result in results if (found := speed(result))]
    return math.exp(statistics.fmean(map(math.log, speeds))) if speeds else None


def _speed(result: Result) -> float | None:
    return result.speed(result.ours) if result.ours else None


def _speed_by_call(result: Result) -> float | None:
    return result.speed_by_call(result.ours_by_call) if result.ours_by_call else None


def _means(results: Sequence[Result]) -> list[str]:
    whole, by_call = geometric_mean(results, _speed), geometric_mean(results, _speed_by_call)
    return ["geometric mean", "", "", "", _times(whole), _times(by_call), "", ""]


@dataclass(frozen=True)
class Run:
    """The conditions of a run: the command's options, the machine, the day."""

    threads: int
    isa: str
    rounds: Rounds
    machine: Mapping[str, object]
    when: str
    command: str
    missing: Sequence[str]


def markdown(results: Sequence[Result], run: Run) -> str:
    """The whole report as a page."""
    versions = {e.peer: e.description.get("version") for r in results for e in r.entries}
    limit = "" if run.isa == "host" else f", instruction set limited to {run.isa}"
    facts = [f"- {key}: {value}" for key, value in [*run.machine.items(), *versions.items()]]
    facts += [f"- left out: {reason}" for reason in run.missing]
    head = [
        "# Benchmarks",
        LEGEND,
        f"Measured {run.when} by `{run.command}` with {run.threads} "
        f"thread{'s' * (run.threads > 1)}{limit}, {run.rounds.count} rounds of "
        f"{run.rounds.seconds} s a peer, by the {run.rounds.clock}'s clock.",
        "\n".join(facts),
        *([AVX2] if run.machine.get("instructions") == "avx2" else []),
        "## Summary",
        summary(results),
        "## Every workload",
    ]
    return "\n\n".join([*head, *map(table, results)]) + "\n"


def as_json(results: Sequence[Result], run: Run) -> dict[str, object]:
    """Everything measured, each round's time included."""
    groups = {r.workload.group for r in results if not r.workload.held_out}
    listed = {
        g: [r for r in results if r.workload.group == g and not r.workload.held_out]
        for g in sorted(groups)
    }
    return {
        "run": asdict(run),
        "geometric_means": {g: geometric_mean(rs, _speed) for g, rs in listed.items()},
        "geometric_means_by_call": {
            g: geometric_mean(rs, _speed_by_call) for g, rs in listed.items()
        },
        "workloads": [_workload(result) for result in results],
    }


def _workload(result: Result) -> dict[str, object]:
    work = result.workload
    return {
        "name": work.name,
        "title": work.title,
        "group": work.group,
        "held_out": work.held_out,
        "flops": work.flops,
        "bytes": work.bytes,
        "difference": result.measured.difference,
        "peak_gflops": result.measured.gflops,
        "triad_gbytes": result.measured.gbytes,
        "left_out": result.measured.left_out,
        "entries": [
            asdict(entry)
            | {
                "step": entry.step,
                "spread": entry.spread,
                "speed": result.speed(entry),
                "speed_by_call": result.speed_by_call(entry),
                "of_peak": result.share_of_peak(entry),
                "of_memory": result.share_of_memory(entry),
                "memory_of_torch": result.share_of_torch(entry),
            }
            for entry in result.entries
        ],
    }
