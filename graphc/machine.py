"""The machine model that schedules are chosen by: vectors, registers and caches; and its name."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache as cache_forever
from pathlib import Path

CORES = Path("/sys/devices/system/cpu")
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
LEVEL1, LEVEL2, LAST = 32 << 10, 1 << 20, 32 << 20
"""Bytes of a core's caches, and of the last one, where nothing tells or no machine is meant."""
LEAST, MOST = 4 << 10, 1 << 30
"""A size beyond these is no cache's."""

MATH = ("exact", "fast")
"""Whether results are exact to rounding, or may cost digits for speed."""


def single(function: str, operands: int) -> int:
    """An elementary function as one operation, whatever it takes."""
    return 1


@dataclass(frozen=True)
class Machine:
    """What a core offers. Bytes; `registers` counts vector registers.

    `unit`: of a vector, what is loaded, or multiplied and added, at once: some processors take the
    widest in two passes. Bits may depend on it as they do on the vectors.

    `level1` and `level2` are its caches for data, `last` is the last one, which it may share. They
    decide what is copied, which part of a sum is made at a time, and which stores go past them,
    never in which order it is added up: no bit depends on them. `threads` says whether several
    threads may share a kernel's work; `math` is one of MATH; `frozen`: what no call changes is made
    once. `instructions` counts those of an elementary function of a name on so many operands.
    """

    vector_bytes: int
    registers: int
    masked: bool
    unit: int = 64
    level1: int = LEVEL1
    level2: int = LEVEL2
    last: int = LAST
    threads: bool = True
    math: str = "exact"
    frozen: bool = False
    instructions: Callable[[str, int], int] = field(default=single, compare=False, repr=False)

    def lanes(self, element: int) -> int:
        """Elements of `element` bytes in a vector."""
        return max(1, self.vector_bytes // max(element, 4))

    def grain(self, element: int) -> int:
        """Elements of `element` bytes that the units take at once, of which none should be idle."""
        return max(1, self.lanes(element) // self.passes)

    @property
    def passes(self) -> int:
        """In how many passes the widest vectors are loaded, or multiplied and added."""
        return max(1, self.vector_bytes // self.unit)


def cores() -> int:
    """The cores that this process may use, by its affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name, from /proc/cpuinfo where there is one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown"


@dataclass(frozen=True)
class Cache:
    """A cache of a core: its level, kind (data, instruction, unified), bytes, and its folder."""

    level: int
    kind: str
    size: int
    folder: str


def caches(core: Path = CORES / "cpu0") -> list[Cache]:
    """The caches of a core by the system's folder of it; empty where it does not tell."""
    found = []
    for folder in sorted((core / "cache").glob("index*")):
        try:
            level, kind = ((folder / name).read_text().strip() for name in ("level", "type"))
            found.append(Cache(int(level), kind.lower(), size(folder), folder.name))
        except (OSError, ValueError):
            continue
    return found


def size(folder: Path) -> int:
    """The bytes of the cache in a folder. Raises OSError or ValueError where it holds none."""
    text = (folder / "size").read_text().strip()
    unit = UNITS.get(text[-1:].upper())
    return int(text[:-1]) * unit if unit else int(text)


@cache_forever
def levels(cores: Path = CORES) -> tuple[int, int, int]:
    """The bytes of a core's first, second and last cache for data, where cores differ the least.

    A thread may run on any of them, and the key of kept code must not depend on where it began.
    """
    folders = sorted(cores.glob("cpu[0-9]*"))
    known = next(filter(None, map(caches, folders)), [])
    known = [c for c in known if c.kind in ("data", "unified")]
    last = max((c.level for c in known if c.level > 1), default=0)
    result = []
    for level, otherwise in ((1, LEVEL1), (2, LEVEL2), (last, LAST)):
        named = [c.folder for c in known if c.level == level]
        sizes = [found for core in folders for name in named if (found := told(core, name))]
        result.append(min(sizes, default=otherwise))
    return result[0], result[1], max(result[1:])


def told(core: Path, name: str) -> int | None:
    """The bytes of a core's cache; None where that is not told, or cannot be."""
    try:
        found = size(core / "cache" / name)
    except (OSError, ValueError):
        return None
    return found if LEAST <= found <= MOST else None
