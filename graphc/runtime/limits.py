"""What cores can do at most, measured: multiply-adds, and memory traffic from every level."""

from __future__ import annotations

import ctypes
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache as cache_forever
from typing import Any

import numpy as np

from graphc import cache, machine
from graphc.graph.leaf import reserved
from graphc.llvm import engine, targets
from graphc.llvm.limits import CHAINS, MULTIPLY_ADD, PAST, TRIAD, UNROLLED, emit
from graphc.types import SIZE

Array = np.ndarray[Any, Any]
Now = Callable[[], float]
ROOM = "limits"
VALID = 24 * 3600.0
"""Seconds for which what was measured is believed."""
ATTEMPTS, SPAN = 12, 4e-3
"""How often each is measured, and for how many seconds; the best counts."""
FEW = 10_000
"""Rounds that tell how long one takes; of triads so many kilobytes."""
MEMORY_BYTES = (64 << 20, 768 << 20)
"""The least and the most that is moved to see what memory itself can do."""
BEYOND = 3
"""How many times the last cache that is, where it can be."""


@dataclass(frozen=True)
class Level:
    """Caches of one level, or the memory: for how many bytes it is meant, and its GB/s."""

    name: str
    bytes: int
    gbytes: float


@dataclass(frozen=True)
class Limits:
    """The most that some threads of a machine reach together: GFLOP/s by dtype, GB/s by level.

    Levels are in order from the core on; the last is the memory.
    """

    machine: str
    threads: int
    gflops: Mapping[str, float]
    levels: tuple[Level, ...]
    when: float = field(compare=False)

    def level(self, size: int) -> Level:
        """The nearest level that holds so many bytes."""
        return next((level for level in self.levels if size <= level.bytes), self.levels[-1])

    def __str__(self) -> str:
        count = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        peaks = ", ".join(f"{name} {most:.1f}" for name, most in self.gflops.items())
        traffic = ", ".join(f"{level.name} {level.gbytes:.1f}" for level in self.levels)
        return f"{self.machine}, {count}: {peaks} GFLOP/s; {traffic} GB/s"


def limits(threads: int = 1, *, measure: bool = False) -> Limits:
    """What so many threads can do at most: as measured within the last day, else measured now."""
    target = targets.target(targets.host_level())
    key = engine.digest(f"{machine.processor()} {threads}", target)
    kept = None if measure else read(cache.read(key, ROOM))
    if kept is not None and 0 <= time.time() - kept.when < VALID:
        return kept
    found = measured(threads)
    cache.write(key, json.dumps(asdict(found)).encode(), ROOM)
    return found


def read(data: bytes | None) -> Limits | None:
    """What was kept; None where it is none."""
    try:
        found = json.loads(data or b"")
        levels = tuple(Level(**level) for level in found.pop("levels"))
        return Limits(levels=levels, **found)
    except (ValueError, KeyError, TypeError):
        return None


def measured(threads: int) -> Limits:
    """The limits of so many threads, in about a second."""
    gauges = {dtype: Gauge(dtype) for dtype in ("float32", "float64")}
    gflops = {dtype: gauge.gflops(threads) for dtype, gauge in gauges.items()}
    levels = tuple(
        Level(name, size, gauges["float32"].gbytes(moved, threads, past=name == "memory"))
        for name, size, moved in places(threads)
    )
    return Limits(machine.processor(), threads, gflops, levels, time.time())


def places(threads: int) -> list[tuple[str, int, int]]:
    """Each level's name, its bytes, and how many each thread moves to see what it can do.

    The third level is shared by the threads, the nearer ones are each core's own.
    """
    sizes = {c.level: c.size for c in machine.caches() if c.kind in ("data", "unified")}
    sizes = sizes or dict(enumerate(machine.levels()[:2], 1))
    found = []
    for level, size in sorted(sizes.items()):
        own = size // (threads if level > 2 else 1)
        found.append((f"L{level}", size if level > 2 else size * threads, own // 2))
    least, most = MEMORY_BYTES
    beyond = min(max(BEYOND * max(sizes.values()), least), most)
    return [*found, ("memory", beyond, beyond // threads)]


@cache_forever
def loops(dtype: str, hint: str) -> tuple[Any, Any, engine.Loaded]:
    """The two loops as functions, and what keeps their code."""
    target = targets.target(targets.host_level())
    text = emit(dtype, target, hint)
    loaded = engine.load(
        engine.digest(text, target), engine.whole(text), (MULTIPLY_ADD, TRIAD), target
    )
    spin = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)
    move = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 2, *[ctypes.c_void_p] * 3)
    return spin(loaded.addresses[MULTIPLY_ADD]), move(loaded.addresses[TRIAD]), loaded


class Gauge:
    """The loops over the host's widest vectors of a dtype. `now` is the clock."""

    def __init__(self, dtype: str, now: Now = time.perf_counter) -> None:
        self.dtype, self.now = dtype, now
        self.lanes = targets.target(targets.host_level()).vector_bytes // SIZE[dtype]
        self.spin = loops(dtype, "")[0]

    def gflops(self, threads: int) -> float:
        """Billions of multiplications and additions a second, of the best attempt."""
        work = 2 * CHAINS * self.lanes * threads
        rounds = max(FEW, int(SPAN * self.multiply_add(FEW, threads) * 1e9 / work))
        return max(self.multiply_add(rounds, threads) for _ in range(ATTEMPTS))

    def multiply_add(self, rounds: int, threads: int) -> float:
        """GFLOP/s of so many rounds on each thread."""
        outs = [filled(64, self.dtype) for _ in range(threads)]
        seconds = self.together(lambda i: self.spin(rounds, outs[i].ctypes.data), threads)
        return 2 * CHAINS * self.lanes * rounds * threads / seconds / 1e9

    def gbytes(self, size: int, threads: int, *, past: bool = False) -> float:
        """Billions of bytes a second, of the best attempt, of triads over `size` bytes a thread.

        Each element counts as two that are read and one that is written; the result goes to an
        array of its own, or where it was read. `past` tries stores that go past the caches too.
        """
        apart = self.arrays(size, threads)
        ways = [(apart, ""), ([[first, first, second] for first, second, _ in apart], "")]
        ways += [(apart, PAST)] if past else []
        few = max(1, FEW * 1000 // size)
        times = max(few, int(SPAN * few / max(self.streamed(apart, "", few), 1e-9)))
        best = min(self.streamed(*way, times) for way in ways for _ in range(ATTEMPTS))
        return traffic(apart) * times / best / 1e9

    def arrays(self, size: int, threads: int) -> list[list[Array]]:
        """Three arrays for each thread, `size` bytes together."""
        block = self.lanes * UNROLLED
        count = max(1, size // 3 // SIZE[self.dtype] // block) * block
        return [[filled(count, self.dtype) for _ in range(3)] for _ in range(threads)]

    def streamed(self, arrays: list[list[Array]], hint: str, times: int = 1) -> float:
        """Seconds of so many triads over all arrays."""
        move = loops(self.dtype, hint)[1]

        def work(i: int) -> None:
            move(times, arrays[i][0].size, *(array.ctypes.data for array in arrays[i]))

        return self.together(work, len(arrays))

    def together(self, work: Callable[[int], None], threads: int) -> float:
        """Seconds from a common start to the last end; native code runs without Python's lock."""
        barrier = threading.Barrier(threads)
        spans: list[tuple[float, float]] = []

        def run(i: int) -> None:
            barrier.wait()
            start = self.now()
            work(i)
            spans.append((start, self.now()))

        others = [threading.Thread(target=run, args=(i,)) for i in range(1, threads)]
        for thread in others:
            thread.start()
        run(0)
        for thread in others:
            thread.join()
        return max(end for _, end in spans) - min(start for start, _ in spans)


def traffic(arrays: list[list[Array]]) -> int:
    """Bytes that a triad over all arrays reads and writes."""
    return sum(array.nbytes for own in arrays for array in own)


def filled(elements: int, dtype: str) -> Array:
    """An array at a multiple of 64 bytes, every page touched."""
    array: Array = reserved(elements * SIZE[dtype]).view(dtype)
    array[:] = 0.5
    return array
