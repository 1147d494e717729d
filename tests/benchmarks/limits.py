"""What the cores can do at most, measured beside the peers: multiply-adds and memory traffic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from graphc.llvm.limits import CHAINS, PAST
from graphc.runtime.limits import Gauge, traffic

BYTES = 3 << 26
"""Of the arrays that are streamed: 64 MiB each, beyond any cache."""


@dataclass
class Limits:
    """The loops, their memory, and what was measured: GFLOP/s and GB/s of all cores together.

    Traffic is counted as 12 bytes for each element of a triad, with ordinary stores and with ones
    that go past the cache; the better counts.
    """

    cores: Sequence[int]
    gflops: list[float] = field(default_factory=list)
    gbytes: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gauge = Gauge("float32")
        self.arrays = self.gauge.arrays(BYTES // len(self.cores), len(self.cores))

    def measure(self, now: Callable[[], float]) -> None:
        """One round of each loop, about 50 ms."""
        self.gauge.now = now
        self.gflops.append(self.gauge.multiply_add(4_000_000 // CHAINS, len(self.cores)))
        best = min(self.gauge.streamed(self.arrays, hint) for hint in ("", PAST))
        self.gbytes.append(traffic(self.arrays) / best / 1e9)
