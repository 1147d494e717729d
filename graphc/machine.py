"""The machine model that schedules are chosen by: vectors, registers and caches."""

from __future__ import annotations

from dataclasses import dataclass

MATH = ("exact", "fast")
"""Whether results are exact to rounding, or may cost digits for speed."""


@dataclass(frozen=True)
class Machine:
    """What a core offers. Bytes; `registers` counts vector registers.

    `threads` says whether several threads may share a kernel's work; `math` is one of MATH.
    """

    vector_bytes: int
    registers: int
    masked: bool
    level2: int = 2 << 20
    threads: bool = True
    math: str = "exact"

    def lanes(self, element: int) -> int:
        """Elements of `element` bytes in a vector."""
        return max(1, self.vector_bytes // max(element, 4))
