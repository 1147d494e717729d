"""The machine under the benchmarks: what it is, and which of its cores are idle."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil

from graphc.llvm import targets


def describe() -> dict[str, object]:
    """Processor, instruction set, cores, memory, system and load, for the head of the report."""
    return {
        "processor": _processor(),
        "instructions": targets.host_level(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def idlest_cores(count: int) -> list[int]:
    """The `count` cores of this process's set that did least for half a second, least first.

    Raises ValueError if there are not so many.
    """
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < count:
        raise ValueError(f"{count} threads need {count} cores; this process may use {len(mine)}")
    busy = psutil.cpu_percent(interval=0.5, percpu=True)
    return sorted(mine, key=lambda core: (busy[core] if core < len(busy) else 100.0, -core))[:count]
