"""A watch: the time of every kernel in the calls of a live program, read at any moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from graphc.runtime.cost import KernelCost
from graphc.runtime.profile import TRACED, Profile, costs, rows
from graphc.runtime.stages import Stages
from graphc.runtime.times import Clock, Records


class Watch:
    """What a program's kernels take from the moment that this was made: see `Program.watch`.

    Used with `with`, it is stopped at the end of the block.
    """

    def __init__(
        self,
        stages: Stages,
        records: Records,
        clock: Clock,
        extents: Callable[[], Mapping[str, int]],
        unwatch: Callable[[], None],
    ) -> None:
        self.stages, self.records, self.clock = stages, records, clock
        self.extents, self.unwatch = extents, unwatch
        self.steps, self.sums = records.steps, records.sums
        self.watching = True
        self.counted: tuple[dict[str, int], list[KernelCost]] | None = None

    def times(self, *, traced: int = TRACED) -> Profile:
        """The mean time of every kernel over the steps since the watch began: `repeats` of them.

        FLOPs and bytes are those of the last call's extents. `traced` steps can be made a trace of.
        """
        steps, ticks = self.records.steps - self.steps, self.records.sums - self.sums
        known = self.extents()
        extents = {name: known.get(name, 1) for name in self.stages.extents}
        period = self.clock.period()
        seconds = ticks * period / max(steps, 1)
        return Profile(
            rows(self.costs(extents), seconds.tolist()),
            steps,
            None,
            extents,
            self.records.threads,
            tuple(self.records.spans(min(traced, steps))) if min(traced, steps) else (),
            period,
        )

    def costs(self, extents: dict[str, int]) -> list[KernelCost]:
        """The work of every kernel, counted anew where the extents are others than before."""
        if self.counted is None or self.counted[0] != extents:
            self.counted = extents, costs(self.stages, extents)
        return self.counted[1]

    def stop(self) -> None:
        """Stop; what was counted can still be read. A second time does nothing."""
        if self.watching:
            self.watching = False
            self.unwatch()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
