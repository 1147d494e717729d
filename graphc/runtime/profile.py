"""Per-kernel times, taken inside the step: a table, plain data, and a trace."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc import html
from graphc.errors import InputError
from graphc.graph.graph import Graph
from graphc.graph.leaf import Variable
from graphc.graph.show import aligned
from graphc.llvm import timed
from graphc.llvm.module import ENTRY_NAME
from graphc.runtime.cost import KernelCost, cost, shortened
from graphc.runtime.stages import Stages
from graphc.runtime.times import DEPTH, Clock, Records, Span, Timed

Array = np.ndarray[Any, Any]
HEADER = ("kernel", "ops", "microseconds", "share", "GFLOP/s", "GB/s", "source")
COPIES = "copies"
"""The row of the variables that are copied to their places when all kernels have run."""
WARM = 2
"""Rounds before those that count."""
TRACED = 8
"""Steps of which the stamps are kept for a trace."""
CHUNK = 0.05
"""Seconds of rounds in one native call, so that an interrupt does not wait for long."""


@dataclass(frozen=True)
class KernelTime:
    """One kernel's seconds in a step, its part of the step, and its work for these extents."""

    cost: KernelCost
    seconds: float
    share: float

    @property
    def kernel(self) -> str:
        """The kernel's name."""
        return self.cost.kernel

    @property
    def gflops(self) -> float:
        """Billions of floating-point operations a second."""
        return self.cost.flops / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def gbytes(self) -> float:
        """Billions of bytes a second, of those that it must read and write."""
        return self.cost.bytes / self.seconds / 1e9 if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """The row as plain data."""
        return {
            "kernel": self.kernel,
            "ops": list(self.cost.ops),
            "seconds": self.seconds,
            "share": self.share,
            "flops": self.cost.flops,
            "bytes": self.cost.bytes,
            "gflops": self.gflops,
            "gbytes": self.gbytes,
            "sites": [{"file": s.file, "line": s.line, "layer": s.path} for s in self.cost.sites],
        }


@dataclass(frozen=True)
class Profile:
    """The time of every kernel in order, in seconds of a step. str() gives a table.

    `repeats` steps were timed. `step` is the median of as many without time stamps, made in turn
    with those; None for a watch. `overhead` is by which part of it the median with time stamps is
    longer. `threads` is how many shared a step at most.
    """

    rows: tuple[KernelTime, ...]
    repeats: int
    step: float | None
    extents: Mapping[str, int]
    threads: int = 1
    overhead: float = 0.0
    spans: tuple[Span, ...] = field(default=(), repr=False)
    period: float = field(default=0.0, repr=False)

    @property
    def seconds(self) -> float:
        """The sum over the kernels."""
        return sum(row.seconds for row in self.rows)

    def __iter__(self) -> Iterator[KernelTime]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        return self.as_text()

    def as_text(self, rows: tuple[KernelTime, ...] | None = None) -> str:
        """The table, of other rows or in another order where they are given."""
        shown = [
            (
                row.kernel,
                shortened(row.cost.ops),
                f"{row.seconds * 1e6:,.3f}",
                f"{row.share:.1%}",
                f"{row.gflops:.2f}",
                f"{row.gbytes:.2f}",
                shortened(list(map(str, row.cost.sites)), 1),
            )
            for row in (self.rows if rows is None else rows)
        ]
        shown.append(("total", "", f"{self.seconds * 1e6:,.3f}", "", "", "", ""))
        return "\n".join([self.head(), *aligned([HEADER, *shown], right=(2, 3, 4, 5))])

    def head(self) -> str:
        """What was measured, as a comment's line."""
        given = [f"{name} = {extent}" for name, extent in self.extents.items()]
        given.append(f"{self.threads} thread{'s' if self.threads > 1 else ''}")
        kind = "all" if self.step is None else "the middle fifth of"
        step = "" if self.step is None else f"; a step by itself {self.step * 1e6:,.3f} us"
        return f"# means over {kind} {self.repeats} steps, {', '.join(given)}{step}"

    def as_json(self) -> dict[str, Any]:
        """All numbers as plain data."""
        return {
            "repeats": self.repeats,
            "extents": dict(self.extents),
            "threads": self.threads,
            "step_seconds": self.step,
            "kernels_seconds": self.seconds,
            "overhead": self.overhead,
            "kernels": [row.as_json() for row in self.rows],
        }

    def trace(self) -> dict[str, Any]:
        """The last steps as Chrome's trace events, a track a thread."""
        first = min((span.begin for span in self.spans), default=0)
        threads = sorted({span.thread for span in self.spans})
        events: list[dict[str, Any]] = [
            {"ph": "M", "pid": 1, "tid": t, "name": "thread_name", "args": {"name": f"thread {t}"}}
            for t in threads
        ]
        for span in self.spans:
            row = self.rows[span.part].cost
            events.append(
                {
                    "ph": "X",
                    "pid": 1,
                    "tid": span.thread,
                    "name": f"{row.kernel} {shortened(row.ops)}",
                    "cat": "kernel",
                    "ts": (span.begin - first) * self.period * 1e6,
                    "dur": (span.end - span.begin) * self.period * 1e6,
                    "args": {
                        "step": span.step,
                        "ops": ", ".join(row.ops),
                        "layer": ", ".join(dict.fromkeys(s.path for s in row.sites if s.path)),
                        "source": ", ".join(dict.fromkeys(f"{s.file}:{s.line}" for s in row.sites)),
                        "FLOPs": row.flops,
                        "bytes": row.bytes,
                    },
                }
            )
        return {"traceEvents": events, "displayTimeUnit": "ns"}

    def to_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the trace to a file that Perfetto and chrome://tracing open.

        Raises InputError where the file cannot be written.
        """
        try:
            with open(path, "w", encoding="utf-8") as file:
                json.dump(self.trace(), file)
        except OSError as error:
            raise InputError(f"{os.fspath(path)}: cannot write there: {error.strerror}") from None

    def _repr_html_(self) -> str:
        """The table, for notebooks."""
        return html.text(str(self), "print(profile)")


def costs(stages: Stages, extents: Mapping[str, int]) -> list[KernelCost]:
    """What the parts of a step must do: the kernels, and the copies that follow them."""
    found = list(cost(stages, {name: extents[name] for name in stages.extents}).rows)
    if stages.ending.copies:
        moved = sum(2 * size for _, _, size in stages.ending.copies)
        found.append(KernelCost(COPIES, ("copy",), 0, moved, ()))
    return found


def rows(work: list[KernelCost], seconds: list[float]) -> tuple[KernelTime, ...]:
    """The rows of so many seconds a part."""
    whole = sum(seconds) or 1.0
    return tuple(
        KernelTime(part, took, took / whole) for part, took in zip(work, seconds, strict=True)
    )


def profile(
    stages: Stages,
    code: Timed,
    call: tuple[Any, Any, Any],
    extents: Mapping[str, int],
    threads: int,
    repeats: int,
) -> Profile | None:
    """The profile of a program whose pointer table, sizes and context (`call`) are filled in.

    Steps with time stamps and steps without are made in turn. The state is left as it was. None
    where a check failed, as the context tells. Raises InputError unless repeats is positive.
    """
    if repeats < 1:
        raise InputError(f"repeats must be at least 1, got {repeats}")
    work, records, clock = costs(stages, extents), Records(code.parts, threads), Clock(code.ticks)
    context, saved = call[2], State(stages.source)
    before, context[timed.TIMES] = context[timed.TIMES], records.address
    try:
        found = made(code, [ctypes.addressof(part) for part in call], records, clock, repeats)
    finally:
        context[timed.TIMES] = before
        saved.restore()
    if found is None:
        return None
    period, (plain, stamped) = clock.period(), np.median(found[0], axis=0).tolist()
    each = min(max((stamped - plain) / max(code.parts, 1), 0.0), code.cost)  # what a stamp adds
    seconds = np.maximum(typical(found[1]) - each, 0.0) * period
    return Profile(
        rows(work, seconds.tolist()),
        repeats,
        plain * period,
        extents,
        threads,
        stamped / plain - 1,
        tuple(records.spans(min(TRACED, repeats))),
        period,
    )


def made(
    code: Timed, call: Sequence[int], records: Records, clock: Clock, repeats: int
) -> tuple[Array, Array] | None:
    """Ticks of each step without and with stamps, (repeats, 2); of each part, (repeats, parts)."""
    plain = code.plain.addresses[ENTRY_NAME]
    out = np.zeros((DEPTH, 2), np.int64)
    steps, parts, left = [], [], repeats
    count, warm = WARM, True
    while left:
        began = clock.reading()[1]
        if code.rounds(plain, *call, count, out.ctypes.data) < count:
            return None
        if not warm:
            steps.append(out[:count].copy())
            parts.append(records.latest(count))
            left -= count
        each = (clock.reading()[1] - began) * 1e-9 / count
        count, warm = max(1, min(int(CHUNK / max(each, 1e-9)), DEPTH, left)), False
    return np.concatenate(steps), np.concatenate(parts)


def typical(steps: Array) -> Array:
    """What each part of (steps, parts) takes: its mean in the middle fifth of the steps.

    Steps are in order of their whole time. Medians of the parts would not add up to a step: where
    threads wait for each other, or a processor is shared, each is disturbed in other steps.
    """
    order = np.argsort(steps.sum(axis=1))
    outside = len(order) * 2 // 5
    middle: Array = steps[order[outside : len(order) - outside]].mean(axis=0)
    return middle


class State:
    """The values of all variables that a call overwrites, to be put back."""

    def __init__(self, source: Graph) -> None:
        cells = (v.op.cell for v, _ in source.updates if isinstance(v.op, Variable))
        self.values = [(cell, np.array(cell.value)) for cell in cells]

    def restore(self) -> None:
        """Put the values back, in place."""
        for cell, value in self.values:
            cell.value[...] = value
