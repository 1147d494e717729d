"""Where training stands: the epochs finished, and how far the next one has come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.errors import InputError
from graphc.metrics.metric import Average, Metric
from graphc.ops import random
from graphc.optim.optimizer import Optimizer
from graphc.optim.schedules import ReduceLROnPlateau, plateau_of
from graphc.train.history import History


@dataclass
class Standing:
    """What a training has come to, besides its arrays and the step, which the optimiser counts.

    The unfinished epoch began at the optimiser's step `start`; `plan` says how it goes through the
    data, and `average` holds its values so far, None before the first. random_step is that of the
    numbers drawn, as the last call of fit left it.
    """

    random_step: int = 0
    epoch: int = 0
    start: int = 0
    plan: list[int] = field(default_factory=list)
    average: Average | None = None
    history: History = field(default_factory=History)
    fitting: bool = False

    @contextmanager
    def under_way(self, seed: int) -> Iterator[None]:
        """Inside of a fit: lend the default generator this seed and step, keep where it ends."""
        before = [np.array(cell.value) for cell in (random.DEFAULT.seed, random.DEFAULT.step)]
        random.DEFAULT.restart(seed)
        random.DEFAULT.step.assign(self.random_step)
        self.fitting = True
        try:
            yield
        finally:
            self.fitting = False
            self.random_step = int(random.DEFAULT.step.value)
            random.DEFAULT.seed.assign(before[0])
            random.DEFAULT.step.assign(before[1])

    def last_epoch(self, epochs: int, initial_epoch: int | None) -> int:
        """The number of the last of `epochs` more; or `epochs` itself, from initial_epoch on."""
        if initial_epoch is None:
            return self.epoch + epochs
        if initial_epoch < self.epoch:
            raise InputError(f"initial_epoch={initial_epoch}, but {self.epoch} epochs are finished")
        self.epoch = initial_epoch
        return epochs

    def go_on(self, plan: list[int], step: int) -> None:
        """Go on with an unfinished epoch of the same plan, start it anew with another."""
        if plan != self.plan or step < self.start:
            self.start, self.average = step, None
        self.plan = plan

    def averages(self, metrics: Mapping[str, Metric]) -> Average:
        """The running averages of the unfinished epoch."""
        if self.average is None:
            self.average = Average(metrics)
        return self.average

    def finish(self, values: Mapping[str, float], step: int) -> None:
        """Count the epoch, which reported these values; the next one begins at this step."""
        self.epoch, self.start, self.average = self.epoch + 1, step, None
        self.history.append(self.epoch, values)

    def state_dict(self) -> dict[str, Any]:
        """All of it as JSON, also in the midst of a fit."""
        average = self.average
        step = random.DEFAULT.step.value if self.fitting else self.random_step
        return {
            "random_step": int(step),
            "epoch": self.epoch,
            "epoch_start": self.start,
            "epoch_plan": self.plan,
            "average": None if average is None else [average.sums, average.weight],
            "history": [self.history.epochs, self.history.rows],
        }

    def load_state_dict(self, state: Mapping[str, Any], metrics: Mapping[str, Metric]) -> None:
        """Go on where state_dict was taken."""
        self.random_step, self.epoch = state["random_step"], state["epoch"]
        self.start, self.plan = state["epoch_start"], state["epoch_plan"]
        self.history = History(*state["history"])
        average = state["average"]
        self.average = None if average is None else Average(metrics, *average)


def plateaus_of(optimizer: Optimizer) -> list[ReduceLROnPlateau]:
    """The schedules that must be told what each epoch reported, each once."""
    found = {id(p): p for p in map(plateau_of, optimizer.schedules) if p is not None}
    return list(found.values())
