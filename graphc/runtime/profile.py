"""Per-kernel times: every kernel as a function of its own, called in the program's order."""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphc import html
from graphc.errors import InputError
from graphc.graph.leaf import Variable
from graphc.graph.show import aligned
from graphc.llvm import engine
from graphc.llvm.engine import ENTRY, Loaded
from graphc.llvm.module import ENTRY_NAME, emit
from graphc.runtime.cost import KernelCost, cost, shortened
from graphc.runtime.stages import Stages

HEADER = ("kernel", "ops", "microseconds", "share", "GFLOP/s", "GB/s")


SPAN = 50e-6
MOST = 200


@dataclass(frozen=True)
class KernelTime:
    """One kernel's median time over the repeats, in seconds, and its work for these inputs."""

    cost: KernelCost
    seconds: float

    @property
    def kernel(self) -> str:
        """The kernel's name."""
        return self.cost.kernel


@dataclass(frozen=True)
class Profile:
    """The time of every kernel in order. str() gives a table, in order of the kernels."""

    rows: tuple[KernelTime, ...]
    repeats: int

    @property
    def seconds(self) -> float:
        """The sum over the kernels."""
        return sum(row.seconds for row in self.rows)

    def __iter__(self) -> Iterator[KernelTime]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        whole = self.seconds or 1.0
        rows = []
        for row in self.rows:
            took = row.seconds or float("inf")
            rows.append(
                (
                    row.kernel,
                    shortened(row.cost.ops),
                    f"{row.seconds * 1e6:,.3f}",
                    f"{row.seconds / whole:.1%}",
                    f"{row.cost.flops / took / 1e9:.2f}",
                    f"{row.cost.bytes / took / 1e9:.2f}",
                )
            )
        rows.append(("total", "", f"{self.seconds * 1e6:,.3f}", "", "", ""))
        lines = aligned([HEADER, *rows], right=(2, 3, 4, 5))
        return "\n".join([f"# medians of {self.repeats} calls, one kernel at a time", *lines])

    def _repr_html_(self) -> str:
        """The table, for notebooks."""
        return html.text(str(self), "print(profile)")


@dataclass(frozen=True)
class Kernel:
    """One kernel as a function of the program's pointer table."""

    name: str
    loaded: Loaded
    run: Callable[..., int]


def separate(stages: Stages) -> list[Kernel]:
    """Every kernel compiled as a program of its own over the same pointer table."""
    found = []
    for call in stages.calls:
        module = emit([replace(call, like=None)], stages.extents, stages.target)
        key = engine.digest(module.text, stages.target)
        loaded = engine.load(key, engine.whole(module.text), (ENTRY_NAME,), stages.target)
        name = call.kernel.name
        found.append(Kernel(name, loaded, ENTRY(loaded.addresses[ENTRY_NAME])))
    return found


def profile(
    stages: Stages, table: Sequence[Any], extents: Mapping[str, int], repeats: int
) -> Profile:
    """The profile of a program whose pointer table, extents and context are filled in.

    Raises InputError unless repeats is positive.
    """
    if repeats < 1:
        raise InputError(f"repeats must be at least 1, got {repeats}")
    rows = cost(stages, {name: extents[name] for name in stages.extents}).rows
    seconds = timed(stages, [ctypes.addressof(part) for part in table], repeats)
    return Profile(tuple(map(KernelTime, rows, seconds)), repeats)


def timed(stages: Stages, arguments: Sequence[int], repeats: int) -> list[float]:
    """Median seconds of each kernel over `repeats` rounds in the program's order.

    A kernel too short for the clock is called several times a round, from the state that its round
    began with. The cost of a call that does nothing is subtracted. The state is left as it was.
    """
    kernels = separate(stages)
    empty = emit([], stages.extents, stages.target)
    key = engine.digest(empty.text, stages.target)
    nothing = engine.load(key, engine.whole(empty.text), (ENTRY_NAME,), stages.target)
    calls: list[Callable[..., int]] = [
        ENTRY(nothing.addresses[ENTRY_NAME]),
        *(kernel.run for kernel in kernels),
    ]
    pointers = [ctypes.c_void_p(address) for address in arguments]
    saved = State(stages)
    try:
        counts = [enough(call, pointers) for call in calls]
        spent: list[list[float]] = [[] for _ in calls]
        for _ in range(repeats):
            for call, count, times in zip(calls, counts, spent, strict=True):
                if count > 1:
                    saved.restore()
                times.append(once(call, pointers, count))
    finally:
        saved.restore()
    overhead, *rest = map(statistics.median, spent)
    return [max(seconds - overhead, 0.0) for seconds in rest]


def once(call: Callable[..., int], pointers: Sequence[Any], count: int) -> float:
    """Seconds of one call, the mean of `count` of them."""
    start = time.perf_counter_ns()
    for _ in range(count):
        call(*pointers)
    return (time.perf_counter_ns() - start) * 1e-9 / count


def enough(call: Callable[..., int], pointers: Sequence[Any]) -> int:
    """How many calls the clock can tell from none: they take some 50 microseconds."""
    first = min(once(call, pointers, 1) for _ in range(3))
    return max(1, min(round(SPAN / max(first, 1e-9)), MOST))


class State:
    """The values of all variables that a call overwrites, to be put back."""

    def __init__(self, stages: Stages) -> None:
        cells = (v.op.cell for v, _ in stages.graph.updates if isinstance(v.op, Variable))
        self.values = [(cell, np.array(cell.value)) for cell in cells]

    def restore(self) -> None:
        """Put the values back, in place."""
        for cell, value in self.values:
            cell.value[...] = value
