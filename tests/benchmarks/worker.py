"""One peer in a process of its own: pinned to its cores, it answers one line of JSON with another.

`python -m tests.benchmarks.worker PEER CORE,CORE` is started by process.py. The answers go through
the original standard output; whatever a library prints is sent to standard error.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.benchmarks.clock import CLOCKS, Clock
from tests.benchmarks.peers import RefusedError, Session
from tests.benchmarks.workloads import named


class Worker:
    """A peer's module and, once prepared, its session."""

    def __init__(self, peer: ModuleType, threads: int) -> None:
        self.peer = peer
        self.threads = threads
        self.session: Session | None = None

    def describe(self) -> dict[str, object]:
        """What the peer says of itself."""
        found: dict[str, object] = self.peer.describe()
        return found

    def variants(self, workload: str) -> list[str]:
        """The settings in which the peer runs a workload."""
        found: list[str] = self.peer.variants(named(workload))
        return found

    def prepare(self, workload: str, variant: str) -> int:
        """Make the session; how many steps one call of it takes."""
        self.session = self.peer.prepare(named(workload), variant, self.threads)
        return self.session.grain

    def first_step(self, workload: str, variant: str) -> float:
        """Seconds to make the session and take one step, so that no compilation is put off.

        The batches are made before, as a user's data is there before the program is; so is what
        the peer counts as a program's start.
        """
        getattr(self.peer, "begin", lambda: None)()
        getattr(named(workload), "ring", None)
        start = time.perf_counter()
        self.prepare(workload, variant)
        self.check(1)
        return time.perf_counter() - start

    def check(self, steps: int) -> list[float]:
        """The first losses of the session, or samples of its outputs."""
        assert self.session is not None
        return self.session.check(steps)

    def measure(self, steps: int, clock: Clock) -> float:
        """Seconds for so many steps, Python's garbage collector off as in timeit."""
        assert self.session is not None
        now = CLOCKS[clock]
        gc.collect()
        gc.disable()
        start = now()
        self.session.run(steps)
        seconds = now() - start
        gc.enable()
        return seconds

    def planned(self) -> dict[str, int] | None:
        """Bytes of the session's `arena`, and what it `must` hold, where its library plans one."""
        planned = getattr(self.session, "planned", None)
        return planned() if planned is not None else None

    def memory(self) -> int:
        """The most bytes of memory that this process has held."""
        for line in Path("/proc/self/status").read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise LookupError("/proc/self/status has no VmHWM")


class Gauge:
    """In the place of a peer: measures what the cores can do at most."""

    def __init__(self, cores: list[int]) -> None:
        from tests.benchmarks.limits import Limits

        self.limits = Limits(cores)

    def measure(self, clock: Clock) -> None:
        """One round."""
        self.limits.measure(CLOCKS[clock])

    def found(self) -> dict[str, list[float]]:
        """All rounds: GFLOP/s and GB/s."""
        return {"gflops": self.limits.gflops, "gbytes": self.limits.gbytes}


def answer(worker: Worker | Gauge, request: dict[str, Any]) -> dict[str, Any]:
    """What a request asks for, {"value": ...}; or {"refused": why}, {"error": a traceback}."""
    try:
        method = getattr(worker, request.pop("do"))
        return {"value": method(**request)}
    except RefusedError as error:
        return {"refused": str(error)}
    except Exception:
        return {"error": traceback.format_exc()}


def start(name: str, cores: list[int]) -> Worker | Gauge:
    """What answers: the peer of that name, or the gauge."""
    if name == "gauge":
        return Gauge(cores)
    peer = importlib.import_module(f"tests.benchmarks.peers.{name}")
    return Worker(peer, len(cores))


def main() -> None:
    """Serve requests from standard input until it ends."""
    name, cores = sys.argv[1], [int(core) for core in sys.argv[2].split(",")]
    os.sched_setaffinity(0, cores)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        worker = start(name, cores)
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), file=answers)
        return
    print(json.dumps({"value": "ready"}), file=answers)
    for line in sys.stdin:
        print(json.dumps(answer(worker, json.loads(line))), file=answers)


if __name__ == "__main__":
    main()
