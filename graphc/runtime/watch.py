"""A watch: the time of every kernel in the calls of a live program, read at any moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from graphc.runtime.cost import KernelCost
from graphc.runtime.profile import TRACED, Profile, costs, rows
from graphc.runtime.stages import Stages
from graphc.runtime.times import Array, Clock, Records, Timed


class Watch:
    """What a program's kernels take from the moment that this was made: see `Program.watch`.

    Used with `with`, it is stopped at the end of the block.
    """

    def __init__(
        self,
        stages: Stages,
        code: Timed,
        records: Records,
        extents: Callable[[], Mapping[str, int]],
        unwatch: Callable[[], None],
    ) -> None:
        self.stages, self.records, self.clock = stages, records, Clock(code.ticks)
        self.extents, self.unwatch = extents, unwatch
        self.began = records.steps, records.sums
        self.ended: tuple[int, Array] | None = None
        self.counted: tuple[dict[str, int], list[KernelCost]] | None = None

    def times(self, *, traced: int = TRACED) -> Profile:
        """The mean time of every kernel over the steps since the watch began: `repeats` of them.

        FLOPs and bytes are those of the last call's extents. `traced` steps can be made a trace of.
        """
        end = self.ended or (self.records.steps, self.records.sums)
        steps, ticks = end[0] - self.began[0], end[1] - self.began[1]
        known = self.extents()
        extents = {name: known.get(name, 1) for name in self.stages.extents}
        period = self.clock.period()
        seconds = ticks / max(steps, 1) * period
        return Profile(
            rows(self.costs(extents), seconds.tolist()),
            steps,
            None,
            extents,
            self.records.threads,
            spans=tuple(self.records.spans(min(traced, steps))) if min(traced, steps) else (),
            period=period,
        )

    def costs(self, extents: dict[str, int]) -> list[KernelCost]:
        """The work of every kernel, counted anew where the extents are others than before."""
        if self.counted is None or self.counted[0] != extents:
            self.counted = extents, costs(self.stages, extents)
        return self.counted[1]

    def stop(self) -> None:
        """Stop; what was counted can still be read. A second time does nothing."""
        if self.ended is None:
            self.unwatch()
            self.ended = self.records.steps, self.records.sums

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
