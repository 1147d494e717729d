"""The kernels of a program, each to be looked at by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphc.errors import InputError, near
from graphc.graph.node import Node
from graphc.graph.site import Site
from graphc.runtime.cost import KernelCost, kernel_cost
from graphc.runtime.memory import assume
from graphc.runtime.stages import Stages
from graphc.runtime.text import kernel_text


@dataclass(frozen=True, eq=False)
class KernelView:
    """One kernel of a program: what it computes, where that comes from, and its code."""

    name: str
    number: int
    stages: Stages = field(repr=False)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes it computes, operands before users."""
        return self.stages.plan.groups[self.number].nodes

    @property
    def sites(self) -> tuple[Site, ...]:
        """The lines of the user's code, and the layers, that its nodes come from."""
        return self.stages.kernels[self.number].sites

    @property
    def notes(self) -> tuple[str, ...]:
        """Why its nodes stand together, and how its loops were scheduled."""
        reasons = self.stages.plan.groups[self.number].reasons
        return tuple(dict.fromkeys((*reasons, *self.stages.kernels[self.number].notes)))

    @property
    def flops(self) -> int:
        """Floating-point operations of one call, run-time extents taken as 1."""
        return self.cost().flops

    @property
    def bytes(self) -> int:
        """Bytes it must read and write, run-time extents taken as 1."""
        return self.cost().bytes

    def cost(self, **extents: int) -> KernelCost:
        """Its work for given run-time extents."""
        return kernel_cost(self.stages, self.number, assume(self.stages, extents))

    def as_text(self, stage: str = "loops") -> str:
        """Its "fused" group, "lowered" or scheduled "loops", "llvm" or "asm".

        Raises InputError for another stage.
        """
        return kernel_text(self.stages, self.number, stage)

    def __str__(self) -> str:
        return f"{self.name}: {', '.join(node.op.name for node in self.nodes)}"


class Kernels(Mapping[str, KernelView]):
    """A program's kernels by name, in the order in which they run."""

    def __init__(self, stages: Stages) -> None:
        self._views = {
            kernel.name: KernelView(kernel.name, number, stages)
            for number, kernel in enumerate(stages.kernels)
        }

    def __getitem__(self, name: str) -> KernelView:
        """The kernel of that name. Raises InputError with the nearest names."""
        if name not in self._views:
            raise InputError(f"no kernel {name!r}; {self._range()}{near(name, self._views)}")
        return self._views[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The kernel of that name, or the default."""
        return self._views.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._views

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __repr__(self) -> str:
        return "\n".join(map(str, self._views.values())) or "no kernels"

    def _range(self) -> str:
        known = list(self._views)
        if not known:
            return "the program has none"
        return f"there are {known[0]} to {known[-1]}" if len(known) > 1 else f"there is {known[0]}"
