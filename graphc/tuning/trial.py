"""A trial: one kernel by itself, on buffers of its real sizes, in several schedules to compare."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphc.compiler import schedule
from graphc.graph.leaf import aligned
from graphc.llvm import engine
from graphc.llvm.engine import ENTRY
from graphc.llvm.module import ENTRY_NAME, emit
from graphc.llvm.steps import Call
from graphc.llvm.targets import Target
from graphc.loops.alternatives import STACK, stack
from graphc.loops.choice import Choices
from graphc.loops.ir import Kernel, Transpose, Update, walk
from graphc.runtime import threads as threads_
from graphc.runtime.invented import drawn, indices_below

Array = np.ndarray[Any, Any]
SPAN = 0.5e-3
"""Seconds that the clock is left to run at least between two readings."""
MOST = 2000
PAGE, STAGGER = 4096, 13 * 64
"""Bytes of a page, and how far beyond whole pages one buffer begins after another."""


@dataclass(frozen=True)
class Version:
    """The kernel in one schedule, compiled."""

    choices: Choices
    kernel: Kernel
    loaded: engine.Loaded
    run: Any


class Trial:
    """A lowered kernel with buffers to run on: numbers drawn at random, indices within bounds.

    Runs on `threads` threads where more than one is asked for and the schedule shares its work.
    """

    def __init__(
        self, kernel: Kernel, extents: Mapping[str, int], target: Target, threads: int
    ) -> None:
        self.kernel, self.extents, self.target = kernel, dict(extents), target
        self.several = threads > 1 and threads_.supported()
        random = np.random.default_rng(0)
        most = indices_below(kernel, extents)
        self.arrays = apart([drawn(kernel, b, extents, most, random) for b in kernel.buffers])
        self.table = (ctypes.c_void_p * max(len(self.arrays), 1))()
        for number, array in enumerate(self.arrays):
            self.table[number] = array.ctypes.data
        self.sizes = (ctypes.c_int64 * max(len(extents), 1))(*extents.values())
        self.context = (ctypes.c_int64 * 8)()
        if self.several:
            self.team = threads_.team_of(threads)
            self.context[1], self.context[2] = self.team.address, threads
        self.pointers = [
            ctypes.c_void_p(ctypes.addressof(part))
            for part in (self.table, self.sizes, self.context)
        ]
        names = stored(kernel)
        self.written = [
            a for a, b in zip(self.arrays, kernel.buffers, strict=True) if b.name in names
        ]
        self.before = [array.copy() for array in self.written]
        self.clock = time.perf_counter_ns if self.several else time.thread_time_ns

    def version(self, choices: Choices, seen: Sequence[Version] = ()) -> Version | None:
        """The kernel with some choices, compiled; None where its loops are those of another one.

        None too where it would need more of its thread's stack than there may be.
        """
        kernel = schedule(replace(self.kernel, choices=choices), self.target.model)
        if any(other.kernel.body == kernel.body for other in seen):
            return None
        if seen and stack(kernel) > max(STACK, stack(seen[0].kernel)):
            return None
        slots = tuple(range(len(kernel.buffers)))
        module = emit([Call(kernel, slots)], tuple(self.extents), self.target)
        data = engine.compiled(module.text, self.target)
        loaded = engine.link([data], (ENTRY_NAME,), False)
        return Version(choices, kernel, loaded, ENTRY(loaded.addresses[ENTRY_NAME]))

    def restore(self) -> None:
        """Put back what a run has written."""
        for array, value in zip(self.written, self.before, strict=True):
            array[...] = value

    def results(self, version: Version) -> list[bytes] | None:
        """The bytes of all that one run writes; None where an index is refused."""
        self.restore()
        self.context[0] = 0
        version.run(*self.pointers)
        found = [array.tobytes() for array in self.written]
        return None if self.context[0] else found

    def count(self, version: Version) -> int:
        """Runs that take as long as the clock needs."""
        once = min(self.seconds(version, 1) for _ in range(3))
        return max(1, min(round(SPAN / max(once, 1e-9)), MOST))

    def seconds(self, version: Version, count: int) -> float:
        """Seconds of a run, the mean of `count`, after what was written is put back."""
        self.restore()
        run, pointers = version.run, self.pointers
        run(*pointers)  # what was put back is near again
        start = self.clock()
        for _ in range(count):
            run(*pointers)
        return (self.clock() - start) * 1e-9 / count


def apart(arrays: Sequence[Array]) -> list[Array]:
    """The arrays in one block, one after the other, no two at the same place in a page.

    Those that begin at the same place in their pages crowd each other out of the nearest cache.
    """
    block = aligned(np.empty(sum(a.nbytes + PAGE + STAGGER for a in arrays), np.uint8))
    found, at = [], 0
    for array in arrays:
        place = block[at : at + array.nbytes].view(array.dtype)
        place[...] = array
        found.append(place)
        at += -(-array.nbytes // PAGE) * PAGE + STAGGER
    return found


def stored(kernel: Kernel) -> set[str]:
    """The arguments that a kernel writes."""
    statements = [s for s in walk(kernel.body) if isinstance(s, Update | Transpose)]
    buffers = [s.target.buffer for s in statements]
    buffers += [s.companion.buffer for s in statements if isinstance(s, Update) and s.companion]
    return {buffer.name for buffer in buffers if buffer.space == "argument"}
