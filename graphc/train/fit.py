"""One call of fit: the loop over epochs, many steps in each native call."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Protocol

from graphc.errors import InputError, NumericsError
from graphc.optim.optimizer import Optimizer
from graphc.train.callbacks import Callback, Steps, TrainerLike
from graphc.train.epoch import Batches, Epoch
from graphc.train.interrupt import Interrupts
from graphc.train.progress import Progress
from graphc.train.standing import Standing, plateaus_of
from graphc.train.step import TrainStep


class Fitting(TrainerLike, Protocol):
    """What a call of fit knows of its trainer; callbacks may change it on the way."""

    seed: int
    optimizer: Optimizer
    terminate_on_nan: bool

    @property
    def position(self) -> int:
        """How many steps of the unfinished epoch are done."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A trainer's step, the batches that it is to take, how far to go, and who looks on.

    `last` is the number of the last epoch, `budget` the optimiser's step at which training ends;
    `validate` gives the values of the data held out.
    """

    trainer: Fitting
    standing: Standing
    step: TrainStep
    batches: Batches
    last: int
    budget: float
    validate: Callable[[], dict[str, float]] | None
    callbacks: tuple[Callback, ...]
    progress: Progress
    interrupts: Interrupts = field(default_factory=Interrupts)

    def run(self) -> None:
        """Train to the last epoch, to the end of the budget, or until the trainer is stopped."""
        trainer = self.trainer
        with self.interrupts, self.standing.under_way(trainer.seed), self.progress:
            for callback in self.callbacks:
                callback.on_train_begin(trainer)
            while self._epochs_left() > 0 and self._steps_left() > 0 and not trainer.stop:
                count = self._at_once()
                if count > 1:
                    self._run_epochs(count)
                else:
                    self._run_epoch()
            for callback in self.callbacks:
                callback.on_train_end(trainer)

    def _epochs_left(self) -> int:
        return self.last - self.standing.epoch

    def _steps_left(self) -> float:
        return self.budget - self.trainer.optimizer.step

    def _one_by_one(self) -> bool:
        """Whether each step is looked at for NaN."""
        return self.trainer.terminate_on_nan or self.step.program.nans is not None

    # --- one epoch --------------------------------------------------------------------------

    def _run_epoch(self) -> None:
        """The rest of an epoch, and its end, as far as the budget of steps goes."""
        trainer = self.trainer
        for callback in self.callbacks:
            callback.on_epoch_begin(trainer)
        began = monotonic()
        self.progress.epoch(self.standing.epoch + 1)
        epoch = self.batches.epoch(trainer.seed, self.standing.epoch)
        while trainer.position < self.step.steps_per_epoch:
            if self._steps_left() <= 0:
                return
            self._run_steps(epoch)
        self._end_epoch(began)

    def _run_steps(self, epoch: Epoch) -> None:
        """Some steps of an epoch.

        Whole batches are trained on many at a time, in one native call, at the step's pace; with
        terminate_on_nan or debug_nans one by one.
        """
        trainer, step, number = self.trainer, self.step, self.standing.epoch + 1
        most = 1 if self._one_by_one() else step.pace.steps(epoch.batch_size)
        rows, steps = epoch.part(trainer.position, int(min(most, self._steps_left())))
        average = self.standing.averages(step.metrics)
        began = monotonic()
        with self.interrupts.held:  # a step counts with its values, or not at all
            values, done = step.advance(epoch.data.named, rows, steps)
            average.add_all(values, rows.batch)
        if done < steps:
            epoch.refused(step, trainer.position, number)
        if trainer.terminate_on_nan and not math.isfinite(values["loss"][-1]):
            raise NumericsError(
                f"the loss is {float(values['loss'][-1])} in step {trainer.position} of epoch "
                f"{number}; a smaller learning rate or clip_norm may help"
            )
        self.progress.step(trainer.position, average.values)
        step.pace.made(rows.batch, steps, monotonic() - began)
        made = Steps(average.values, partial(epoch.batch, rows, steps - 1))
        for callback in self.callbacks:
            callback.on_steps_end(trainer, made)

    def _end_epoch(self, began: float) -> None:
        """Validate, report the epoch, and let schedules and callbacks see what it reported."""
        values = self.standing.averages(self.step.metrics).values()
        if self.validate is not None:
            values |= {f"val_{name}": value for name, value in self.validate().items()}
        with self.interrupts.held:
            self.standing.finish(values, self.trainer.optimizer.step)
            for plateau in plateaus_of(self.trainer.optimizer):
                if plateau.monitor not in values:
                    raise InputError(
                        f"the schedule watches {plateau.monitor!r}, which the epoch did not "
                        f"report: it has {', '.join(values)}"
                    )
                plateau.on_epoch_end(values[plateau.monitor])
        self.progress.end_epoch(self.standing.history.last, monotonic() - began)
        for callback in self.callbacks:
            callback.on_epoch_end(self.trainer)

    # --- many epochs ------------------------------------------------------------------------

    def _at_once(self) -> int:
        """How many epochs to make in one native call: those that take no longer than its span.

        One where the last batch of an epoch is smaller, or something looks at each step or epoch.
        """
        size, each = self.batches.size, self.step.steps_per_epoch
        watched = self.callbacks or self.validate is not None or self._one_by_one()
        if watched or plateaus_of(self.trainer.optimizer):
            return 1
        if len(self.batches.data) % size or self.trainer.position:
            return 1
        most = min(self._epochs_left(), self._steps_left() / each)
        return int(min(most, self.step.pace.steps(size) // each))

    def _run_epochs(self, count: int) -> None:
        """Epochs in one native call. One whose labels are refused stays unfinished."""
        step, standing, optimizer = self.step, self.standing, self.trainer.optimizer
        size, each = self.batches.size, step.steps_per_epoch
        rows = self.batches.rows(self.trainer.seed, range(standing.epoch, standing.epoch + count))
        began = monotonic()
        with self.interrupts.held:
            values, done = step.advance(self.batches.data.named, rows, count * each)
            seconds = monotonic() - began
            for first in range(0, done, each):
                average = standing.averages(step.metrics)
                average.add_all({name: v[first : first + each] for name, v in values.items()}, size)
                if first + each <= done:
                    self.progress.epoch(standing.epoch + 1)
                    self.progress.step(each, average.values)
                    standing.finish(average.values(), optimizer.step)
                    self.progress.end_epoch(standing.history.last, seconds / count)
            standing.start = optimizer.step - done % each
        if done < count * each:
            epoch = self.batches.epoch(self.trainer.seed, standing.epoch)
            epoch.refused(step, self.trainer.position, standing.epoch + 1)
        step.pace.made(size, done, seconds)
