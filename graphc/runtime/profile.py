"""Per-kernel times: every kernel as a function of its own, called in the program's order."""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.errors import InputError
from graphc.graph.leaf import Cell, Variable
from graphc.graph.show import aligned
from graphc.llvm import engine
from graphc.llvm.engine import ENTRY, Loaded
from graphc.llvm.module import Call, emit
from graphc.loops.lower import lower
from graphc.runtime.cost import KernelCost, cost, shortened
from graphc.runtime.stages import Stages

HEADER = ("kernel", "ops", "microseconds", "share", "GFLOP/s", "GB/s")


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
                    row.kernel, shortened(row.cost.ops), f"{row.seconds * 1e6:,.2f}",
                    f"{row.seconds / whole:.1%}", f"{row.cost.flops / took / 1e9:.2f}",
                    f"{row.cost.bytes / took / 1e9:.2f}",
                )
            )
        rows.append(("total", "", f"{self.seconds * 1e6:,.2f}", "", "", ""))
        lines = aligned([HEADER, *rows], right=(2, 3, 4, 5))
        return "\n".join([f"# medians of {self.repeats} calls, one kernel at a time", *lines])


@dataclass(frozen=True)
class Kernel:
    """One kernel as a function of the program's pointer table."""

    name: str
    loaded: Loaded
    run: Callable[..., int]


def separate(stages: Stages) -> list[Kernel]:
    """Every kernel compiled as a program of its own over the same pointer table."""
    found = []
    for group, kernel in zip(stages.plan.groups, stages.kernels, strict=True):
        nodes = lower(group, stages.fused, kernel.name, []).nodes
        call = Call(kernel, tuple(stages.plan.place[node] for node in nodes))
        module = emit([call], stages.extents, stages.target, "entry")
        loaded = engine.load(module.text, (module.entry,), stages.target)
        found.append(Kernel(kernel.name, loaded, ENTRY(loaded.addresses[module.entry])))
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
    """Median seconds of each kernel, called in order `repeats` times. The state is left as it was.

    The cost of a call that does nothing is subtracted.
    """
    kernels = separate(stages)
    empty = emit([], stages.extents, stages.target, "entry")
    nothing = engine.load(empty.text, (empty.entry,), stages.target)
    calls = [ENTRY(nothing.addresses[empty.entry]), *(kernel.run for kernel in kernels)]
    pointers = [ctypes.c_void_p(address) for address in arguments]
    cells = state(stages)
    before = [np.array(cell.value) for cell in cells]
    spent: list[list[float]] = [[] for _ in calls]
    try:
        for _ in range(repeats + 1):
            for call, times in zip(calls, spent, strict=True):
                start = time.perf_counter_ns()
                call(*pointers)
                times.append((time.perf_counter_ns() - start) * 1e-9)
    finally:
        for cell, value in zip(cells, before, strict=True):
            cell.value[...] = value
    overhead, *rest = (statistics.median(times[1:]) for times in spent)
    return [max(seconds - overhead, 0.0) for seconds in rest]


def state(stages: Stages) -> list[Cell]:
    """The cells that a call overwrites."""
    return [v.op.cell for v, _ in stages.graph.updates if isinstance(v.op, Variable)]
