"""Tuning a program: its kernels searched, the longest first, and the winners kept on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphc import cache
from graphc.errors import CompileError, InputError
from graphc.graph.show import aligned
from graphc.llvm import tuned
from graphc.loops.alternatives import nests
from graphc.loops.choice import described, written
from graphc.loops.nest import NOMINAL
from graphc.loops.show import exact
from graphc.runtime.caller import SHARED
from graphc.runtime.cost import cost, shortened
from graphc.runtime.program import Program
from graphc.tuning.search import Finding, search
from graphc.tuning.trial import Trial

HEADER = ("kernel", "ops", "before", "after", "speed", "choice")
LEAST = 1 << 16
"""Operations below which a kernel is not measured: it takes no longer than the call of it."""


@dataclass(frozen=True)
class Row:
    """A kernel, how many of the program are like it, and what measuring it gave."""

    kernel: str
    ops: tuple[str, ...]
    alike: int
    finding: Finding

    @property
    def speed(self) -> float:
        """How many times as fast as the cost model's schedule."""
        return self.finding.before / self.finding.after


@dataclass(frozen=True)
class Tuning:
    """What tuning a program gave, the kernels in the order of the program. str() gives a table.

    `unmeasured` are the kernels for which there was no time; `kept` says whether the winners are
    on disk.
    """

    rows: tuple[Row, ...]
    unmeasured: tuple[str, ...]
    seconds: float
    kept: bool

    @property
    def winners(self) -> tuple[Row, ...]:
        """The kernels for which a faster schedule was found."""
        return tuple(row for row in self.rows if row.finding.choices)

    def __str__(self) -> str:
        rows = [
            (
                row.kernel + (f" (of {row.alike})" if row.alike > 1 else ""),
                shortened(row.ops, 3),
                f"{row.finding.before * 1e6:,.1f} us",
                f"{row.finding.after * 1e6:,.1f} us",
                f"{row.speed:.2f}x",
                described(row.finding.choices) or "the model's",
            )
            for row in self.rows
        ]
        lines = aligned([HEADER, *rows], right=(2, 3, 4)) if rows else []
        return "\n".join([*lines, *self.footnotes()])

    def footnotes(self) -> list[str]:
        """What the table does not say."""
        if not self.rows and not self.unmeasured:
            return ["there is no schedule to choose: no kernel here has a sum of some length"]
        tried = sum(row.finding.tried for row in self.rows)
        kept = "kept: programs compiled from now on take them" if self.kept else "not kept"
        found = f"{len(self.winners)} of {len(self.rows)} kernels have a faster schedule"
        where = f"; {kept}" if self.winners else ""
        lines = [f"{found}; {tried} were tried in {self.seconds:.1f} s{where}"]
        refused = sum(row.finding.refused for row in self.rows)
        if refused:
            lines.append(f"{refused} schedules had other bits and were refused")
        if self.unmeasured:
            lines.append(f"no time for {shortened(self.unmeasured, 6)}: give a larger budget")
        return lines

    def as_json(self) -> dict[str, Any]:
        """All numbers, seconds where they are times, ready for JSON."""
        return {
            "kernels": [
                {
                    "kernel": row.kernel,
                    "ops": row.ops,
                    "alike": row.alike,
                    "before": row.finding.before,
                    "after": row.finding.after,
                    "speed": row.speed,
                    "choices": written(row.finding.choices),
                    "tried": row.finding.tried,
                    "refused": row.finding.refused,
                    "whole": row.finding.whole,
                }
                for row in self.rows
            ],
            "unmeasured": list(self.unmeasured),
            "seconds": self.seconds,
            "kept": self.kept,
        }


@dataclass(frozen=True)
class Moment:
    """Where a tuning stands: the kernel, its place among all, the schedules it has tried."""

    kernel: str
    number: int
    total: int
    tried: int
    row: Row | None = None


@dataclass(frozen=True)
class Task:
    """A kernel to tune, by its number in the program, with its text and its operations."""

    number: int
    text: str
    alike: int
    flops: int


def tune(
    subject: Program | Any,
    *,
    kernels: Iterable[str] | None = None,
    budget: float | None = 60.0,
    dry_run: bool = False,
    progress: Callable[[Moment], None] | None = None,
    **extents: int,
) -> Tuning:
    """Measure alternative schedules for a program's kernels, and keep the winners in the cache.

    `subject`: a program or a compiled step. `kernels`: names such as "k03", all for None. `budget`:
    seconds after which no further schedule is tried, None for no end. `dry_run`: keep nothing.
    `extents`: the run-time extents by name for which kernels are measured, 128 where none is given.

    No schedule is accepted whose results differ in a bit from the cost model's. The program given
    stays as it is; programs that are compiled afterwards take the winners. Raises InputError for an
    unknown kernel or extent, or a budget that is no time, CompileError where nothing can be run.
    """
    program = program_in(subject)
    if budget is not None and not 0 < budget < float("inf"):
        raise InputError(f"budget must be a number of seconds above 0, or None, got {budget!r}")
    if not dry_run and cache.folder() is None:
        raise InputError('there is no cache to keep winners in (GRAPHC_CACHE_DIR is "off")')
    if not dry_run and not cache.ready():
        raise InputError(f"the winners could not be kept: {cache.folder()} cannot be written to")
    if program.loaded is None:
        raise CompileError("the program has no native code here that could be measured")
    began = time.monotonic()
    deadline = began + budget if budget is not None else float("inf")
    sizes = {name: extents.get(name, NOMINAL) for name in program.stages.extents} | extents
    todo = tasks(program, kernels, sizes)
    rows: dict[int, Row] = {}
    unmeasured: list[str] = []
    for place, task in enumerate(todo, 1):
        name = program.stages.lowered[task.number].name
        if time.monotonic() > deadline:
            unmeasured.append(name)
            continue

        def step(tried: int, name: str = name, place: int = place) -> None:
            if progress is not None:
                progress(Moment(name, place, len(todo), tried))

        step(0)
        row = rows[task.number] = tuned_row(program, task, sizes, deadline, step)
        if not dry_run:
            settle(task.text, program, row.finding)
        if progress is not None:
            progress(Moment(name, place, len(todo), row.finding.tried, row))
    kept = not dry_run and cache.place(tuned.ROOM) is not None
    seconds = time.monotonic() - began
    return Tuning(tuple(rows[n] for n in sorted(rows)), tuple(unmeasured), seconds, kept)


def program_in(subject: Program | Any) -> Program:
    """The program, or the one in a compiled step. Raises InputError for anything else."""
    program = subject if isinstance(subject, Program) else getattr(subject, "program", None)
    if not isinstance(program, Program):
        raise InputError(f"tune takes a program or a compiled step, not {type(subject).__name__}")
    return program


def tasks(program: Program, names: Iterable[str] | None, extents: Mapping[str, int]) -> list[Task]:
    """The kernels for which there is something to choose, those with most work first.

    Raises InputError for the name of a kernel that the program does not have.
    """
    stages = program.stages
    work = cost(stages, extents).rows
    wanted = None if names is None else {program.kernels[name].number for name in names}
    first: dict[str, int] = {}
    alike: dict[str, int] = {}
    for number, kernel in enumerate(stages.lowered):
        text = exact(kernel)
        if wanted is None or number in wanted:
            first.setdefault(text, number)
        alike[text] = alike.get(text, 0) + 1
    found = [
        Task(number, text, alike[text], work[number].flops)
        for text, number in first.items()
        if nests(stages.lowered[number], stages.target.model)
    ]
    large = [task for task in found if task.flops >= LEAST or wanted is not None]
    return sorted(large, key=lambda task: -task.flops * task.alike)


def tuned_row(
    program: Program,
    task: Task,
    extents: Mapping[str, int],
    deadline: float,
    step: Callable[[int], None],
) -> Row:
    """A kernel measured."""
    stages = program.stages
    kernel = stages.lowered[task.number]
    several = program.threads if program.image.work(dict(extents)) >= SHARED else 1
    trial = Trial(kernel, extents, stages.target, several)
    finding = search(trial, deadline, step)
    ops = tuple(node.op.name for node in stages.plan.groups[task.number].nodes)
    return Row(kernel.name, ops, task.alike, finding)


def settle(text: str, program: Program, finding: Finding) -> None:
    """Keep a winner; forget an earlier one where the model's schedule has won."""
    target = program.stages.target
    if finding.choices:
        tuned.keep(text, target, tuned.Entry(finding.choices, finding.before, finding.after))
    elif finding.whole:
        tuned.forget(text, target)


def reset(subject: Program | Any, kernels: Iterable[str] | None = None) -> int:
    """Forget what tuning has found for a program's kernels; for how many there was something."""
    program = program_in(subject)
    stages = program.stages
    numbers = range(len(stages.lowered))
    chosen = numbers if kernels is None else [program.kernels[name].number for name in kernels]
    texts = dict.fromkeys(exact(stages.lowered[number]) for number in chosen)
    return sum(tuned.forget(text, stages.target) for text in texts)
