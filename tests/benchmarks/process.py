"""The driver's end of a worker: starts the process, asks, and waits for the answer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tests.benchmarks.environment import environment


class PeerMissingError(Exception):
    """The peer's library, or a part of it, cannot be imported here."""


class PeerRefusedError(Exception):
    """The peer's library cannot run the workload, and says why."""


class PeerFailedError(Exception):
    """The peer raised an exception or its process ended."""


@dataclass(frozen=True)
class Place:
    """Where workers run: a thread on each of these cores, at most this instruction set."""

    cores: Sequence[int]
    isa: str = "host"


class Process:
    """A worker process for one peer, with `cache` as the folder for compiled code."""

    def __init__(self, peer: str, place: Place, cache: str | None = None) -> None:
        cores = place.cores
        command = ["-m", "tests.benchmarks.worker", peer, ",".join(map(str, cores))]
        self.peer = peer
        self.child = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=environment(len(cores), place.isa, cache),
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
        if "refused" in found:
            raise PeerRefusedError(f"{self.peer}: {found['refused']}")
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
