"""The driver's end of a worker: starts the process, asks, and waits for the answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class PeerMissingError(Exception):
    """The peer's library, or a part of it, cannot be imported here."""


class PeerFailedError(Exception):
    """The peer raised an exception or its process ended."""


class Process:
    """A worker process for one peer, pinned to `cores`, with `cache` for graphc's object code."""

    def __init__(self, peer: str, cores: Sequence[int], cache: str | None = None) -> None:
        environment = os.environ | {name: str(len(cores)) for name in THREAD_VARIABLES}
        if cache:
            environment["GRAPHC_CACHE_DIR"] = cache
        command = ["-m", "tests.benchmarks.worker", peer, ",".join(map(str, cores))]
        self.peer = peer
        self.child = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=environment,
        )
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    def ask(self, do: str, **arguments: object) -> Any:
        """The worker's answer. Raises PeerFailedError with the worker's traceback."""
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        return self._answer()

    def _answer(self) -> Any:
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            raise PeerFailedError(f"{self.peer}: its process ended with status {self.child.wait()}")
        found = json.loads(line)
        if "missing" in found:
            raise PeerMissingError(f"{self.peer}: {found['missing']}")
        if "error" in found:
            raise PeerFailedError(f"{self.peer}:\n{found['error']}")
        return found["value"]

    def close(self) -> None:
        """End the process."""
        assert self.child.stdin is not None and self.child.stdout is not None
        self.child.stdin.close()
        self.child.wait()
        self.child.stdout.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
