"""Times inside the step: a program's entry with time stamps, and the records that they fill."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.graph.leaf import aligned
from graphc.llvm import engine, timed
from graphc.llvm.engine import Loaded
from graphc.llvm.epoch import EPOCH_NAME
from graphc.llvm.module import CALL_NAME, ENTRY_NAME, KERNELS_NAME, MAKING_NAME
from graphc.runtime.stages import Stages

Array = np.ndarray[Any, Any]
DEPTH = 64
"""Steps of which each thread's record keeps the stamps."""
ATTEMPTS, MANY = 5, 5000
"""How often a stamp's cost is measured, and how many stamps at once."""
SETTLED = 0.02
"""Seconds over which the counter's rate is measured at least."""
TICKS = ctypes.CFUNCTYPE(ctypes.c_int64)
STAMPS = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)
ROUNDS = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 4, ctypes.c_int64, ctypes.c_void_p)


@dataclass(frozen=True)
class Timed:
    """A program's entry with time stamps, linked; it calls the kernels of `plain`.

    `cost` is the ticks of a stamp by itself: the most that it makes a part of a step longer.
    """

    plain: Loaded
    loaded: Loaded
    parts: int
    cost: float
    ticks: Callable[[], int]
    rounds: Callable[..., int]


def timed_entry(stages: Stages, plain: Loaded) -> Timed:
    """The entry with time stamps for a program that is linked. Compiled in some milliseconds."""
    places = addresses(plain, len(stages.calls))
    text = timed.emit(stages.calls, places, stages.ending, stages.extents, stages.target)
    names = [ENTRY_NAME, CALL_NAME, MAKING_NAME]
    names += [timed.ROUNDS_NAME, timed.TICKS_NAME, timed.STAMPS_NAME]
    names += [EPOCH_NAME] if stages.ending.many else []
    loaded = engine.link([engine.compiled(text, stages.target)], tuple(names), False)
    ticks = TICKS(loaded.addresses[timed.TICKS_NAME])
    return Timed(
        plain,
        loaded,
        timed.parts(stages.calls, stages.ending),
        stamp_cost(STAMPS(loaded.addresses[timed.STAMPS_NAME]), ticks),
        ticks,
        ROUNDS(loaded.addresses[timed.ROUNDS_NAME]),
    )


def stamp_cost(stamps: Callable[..., None], ticks: Callable[[], int]) -> float:
    """The ticks of a stamp, of the best of some attempts at many."""
    place = ctypes.c_int64()
    spent = []
    for _ in range(ATTEMPTS):
        start = ticks()
        stamps(MANY, ctypes.addressof(place))
        spent.append(ticks() - start)
    return min(spent) / MANY


def addresses(loaded: Loaded, count: int) -> list[int]:
    """Where the kernels of a program lie, in the order of their calls."""
    return list((ctypes.c_int64 * count).from_address(loaded.addresses[KERNELS_NAME]))


@dataclass(frozen=True)
class Span:
    """One part of one step on one thread: its number, and when it began and ended, in ticks."""

    step: int
    thread: int
    part: int
    begin: int
    end: int


@dataclass
class Records:
    """The block that the stamps go to: a record for each thread."""

    parts: int
    threads: int
    depth: int = DEPTH
    block: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.words = timed.record_words(self.parts, self.depth)
        self.block = aligned(np.zeros(timed.HEAD + self.threads * self.words, np.int64))
        self.block[:2] = self.words * 8, self.depth
        self.record = self.block[timed.HEAD :].reshape(self.threads, self.words)

    @property
    def address(self) -> int:
        """What the context's word holds."""
        return int(self.block.ctypes.data)

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return int(self.record[0, 0])

    @property
    def sums(self) -> Array:
        """Ticks of each part in all steps, as the first thread saw them."""
        return self.record[0, 1 : 1 + self.parts].copy()

    def rows(self, thread: int = 0) -> Array:
        """The stamps of the last steps, oldest first."""
        made = int(self.record[thread, 0])
        kept = self.record[thread, 1 + self.parts :].reshape(self.depth, -1)
        return kept[[turn % self.depth for turn in range(max(0, made - self.depth), made)]]

    def latest(self, count: int) -> Array:
        """Ticks of each part in the last `count` steps, (count, parts)."""
        return np.diff(self.rows()[-count:, : self.parts + 1], axis=1)

    def spans(self, count: int) -> Iterator[Span]:
        """The parts of the last `count` steps on every thread.

        Another thread's record tells what it shared. A part that was not shared ends where the
        next one begins.
        """
        steps = self.rows()[-count:]
        for step, row in enumerate(steps):
            for part in range(self.parts):
                begin, after, end = (int(row[i]) for i in (part, part + 1, self.parts + 1 + part))
                yield Span(step, 0, part, begin, end if begin <= end <= after else after)
        starts, stops = steps[:, 0], steps[:, self.parts]
        for thread in range(1, self.threads):
            for row in self.rows(thread):
                for part in range(self.parts):
                    begin, end = int(row[part]), int(row[self.parts + 1 + part])
                    step = int(np.searchsorted(stops, begin))
                    if 0 < begin <= end and step < len(steps) and end >= starts[step]:
                        yield Span(step, thread, part, begin, end)


@dataclass
class Clock:
    """Ticks as seconds: the counter's rate by the system's clock, from when this was made on."""

    ticks: Callable[[], int]

    def __post_init__(self) -> None:
        self.start = self.reading()

    def reading(self) -> tuple[int, int]:
        """The counter, and the system's nanoseconds at that time: the closest of a few pairs."""
        pairs = []
        for _ in range(5):
            before = time.perf_counter_ns()
            count = self.ticks()
            after = time.perf_counter_ns()
            pairs.append((after - before, count, (before + after) // 2))
        _, count, now = min(pairs)
        return count, now

    def period(self) -> float:
        """Seconds of a tick."""
        count, now = self.reading()
        if now - self.start[1] < SETTLED * 1e9:
            time.sleep(SETTLED)
            count, now = self.reading()
        return (now - self.start[1]) * 1e-9 / max(count - self.start[0], 1)
