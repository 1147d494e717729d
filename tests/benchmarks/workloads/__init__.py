"""What is timed: each workload is declared once, as plain data with all numbers that peers need.

`Training` is a whole step, `Inference` a forward pass, a `Kernel` one piece of them. A workload of
another kind is a dataclass with the properties below, and a case in the peers that can run it;
those that cannot say so and are left out of its table.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal, Protocol

from tests.benchmarks.workloads.kernels import KERNELS
from tests.benchmarks.workloads.nets import INFERENCE, TRAINING


class Workload(Protocol):
    """What the driver and the report need of a workload."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    @property
    def title(self) -> str:
        """Its description in the table."""

    @property
    def group(self) -> str:
        """The workloads that it is summarised with."""

    @property
    def held_out(self) -> bool:
        """Whether it stands beside the summary: a net that nothing was built for."""

    @property
    def tolerance(self) -> float:
        """How far, relatively, the peers' check values may differ."""

    @property
    def compared(self) -> Literal["each", "largest"]:
        """In relation to what check values differ: to themselves, or to the largest of them."""

    @property
    def flops(self) -> int:
        """Floating-point operations of products in one step; pointwise work is not counted."""

    @property
    def bytes(self) -> int:
        """Bytes that one step must move between memory and processor, 0 where that says nothing."""


WORKLOADS: tuple[Workload, ...] = (*TRAINING, *INFERENCE, *KERNELS)


def named(name: str) -> Workload:
    """The workload of that name. Raises LookupError with the names there are."""
    return matching(name)[0]


def matching(pattern: str) -> list[Workload]:
    """The workloads whose names fit a shell pattern, such as "train-*". Raises LookupError."""
    found = [workload for workload in WORKLOADS if fnmatchcase(workload.name, pattern)]
    if not found:
        known = ", ".join(workload.name for workload in WORKLOADS)
        raise LookupError(f"no workload {pattern!r}; there are {known}")
    return found
