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
from types import ModuleType
from typing import Any

from tests.benchmarks.peers import Session
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

    def prepare(self, workload: str, variant: str) -> None:
        """Make the session."""
        self.session = self.peer.prepare(named(workload), variant, self.threads)

    def first_step(self, workload: str, variant: str) -> float:
        """Seconds to make the session and take one step, so that no compilation is put off."""
        start = time.perf_counter()
        self.prepare(workload, variant)
        self.check(1)
        return time.perf_counter() - start

    def check(self, steps: int) -> list[float]:
        """The first losses of the session."""
        assert self.session is not None
        return self.session.check(steps)

    def measure(self, steps: int) -> float:
        """Seconds for so many steps, Python's garbage collector off as in timeit."""
        assert self.session is not None
        gc.collect()
        gc.disable()
        start = time.perf_counter()
        self.session.run(steps)
        seconds = time.perf_counter() - start
        gc.enable()
        return seconds


def answer(worker: Worker, request: dict[str, Any]) -> dict[str, Any]:
    """Do what a request asks: {"value": ...}, or {"error": a traceback}."""
    try:
        method = getattr(worker, request.pop("do"))
        return {"value": method(**request)}
    except Exception:
        return {"error": traceback.format_exc()}


def main() -> None:
    """Serve requests from standard input until it ends."""
    name, cores = sys.argv[1], [int(core) for core in sys.argv[2].split(",")]
    os.sched_setaffinity(0, cores)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        peer = importlib.import_module(f"tests.benchmarks.peers.{name}")
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), file=answers)
        return
    print(json.dumps({"value": "ready"}), file=answers)
    worker = Worker(peer, len(cores))
    for line in sys.stdin:
        print(json.dumps(answer(worker, json.loads(line))), file=answers)


if __name__ == "__main__":
    main()
