"""What may watch a training run, stop it, and keep its results.

The trainer calls each hook of each callback, in the order in which they were given. In
on_epoch_end, trainer.epoch is the number of the epoch just finished, counted from 1, and its
values are already the last row of trainer.history.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from graphc.errors import InputError
from graphc.train.files import writing
from graphc.train.history import EPOCH, History, write_line

Mode = Literal["min", "max"]

_watching: ContextVar[tuple[Callback, ...]] = ContextVar("graphc_watching", default=())

SMALLER_IS_BETTER = ("loss", "error", "mse", "mae", "perplexity")
LARGER_IS_BETTER = ("accuracy", "precision", "recall", "f1", "auc", "r2")


class TrainerLike(Protocol):
    """All that a callback may know of a trainer."""

    stop: bool
    """Set to True, training ends after this epoch."""

    @property
    def epoch(self) -> int:
        """Number of epochs finished, over all calls of fit and across a resume."""

    @property
    def history(self) -> History:
        """What each finished epoch reported."""

    def state_dict(self) -> dict[str, NDArray[np.generic]]:
        """The arrays that make up the trained state, by name."""

    def load_state_dict(self, state: dict[str, NDArray[np.generic]], /) -> object:
        """Take back what state_dict returned."""

    def save(self, path: str, /) -> object:
        """Write to a file all that is needed to use the model, or to resume."""


@dataclass(frozen=True)
class Steps:
    """What the steps just made have to tell, worked out when it is asked for.

    `values` gives the epoch's averages so far, `batch` a copy of the last step's arrays by name.
    """

    values: Callable[[], dict[str, float]]
    batch: Callable[[], dict[str, NDArray[Any]]]


class Callback:
    """The hooks, each doing nothing: derive from this and override what is of interest."""

    def on_train_begin(self, trainer: TrainerLike) -> None:
        """Before the first epoch of a call of fit."""

    def on_epoch_begin(self, trainer: TrainerLike) -> None:
        """Before an epoch; trainer.epoch counts those before it."""

    def on_steps_end(self, trainer: TrainerLike, made: Steps) -> None:
        """After some steps of an epoch: those of one native call, about 50 ms of them."""

    def on_epoch_end(self, trainer: TrainerLike) -> None:
        """After an epoch and its validation; trainer.history.last holds its values."""

    def on_train_end(self, trainer: TrainerLike) -> None:
        """After the last epoch of a call of fit, or after the one that set trainer.stop."""


@contextmanager
def watching(callback: Callback) -> Iterator[None]:
    """Every call of fit inside has this callback too, after its own: for runs of others' code."""
    token = _watching.set((*_watching.get(), callback))
    try:
        yield
    finally:
        _watching.reset(token)


def callbacks_of(given: Sequence[Callback]) -> tuple[Callback, ...]:
    """The callbacks given to fit, then those that every call of it has here.

    Raises InputError for what is none.
    """
    if isinstance(given, Callback):
        raise InputError(f"callbacks takes several: [{type(given).__name__}(...)]")
    for callback in given:
        if not isinstance(callback, Callback):
            raise InputError(
                f"{callback!r} is no callback: give an instance of a class derived from "
                "graphc.train.Callback"
            )
    return (*given, *_watching.get())


class EarlyStopping(Callback):
    """Stop once a monitored value has not improved for `patience` epochs.

    An epoch improves where its value is better than the best so far by more than min_delta; NaN
    never is. mode says whether smaller ("min") or larger ("max") values are better; without one it
    follows from names such as val_loss or accuracy. With restore_best_weights, the end of training
    gives the trainer back the state_dict of its best epoch (a copy is held meanwhile).

    best, best_epoch, wait and stopped_epoch can be read at any time; stopped_epoch is None unless
    it stopped the run. Raises InputError for a negative patience or min_delta, a name whose mode
    cannot be told, or a value that an epoch did not report.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        patience: int = 0,
        mode: Mode | None = None,
        min_delta: float = 0.0,
        restore_best_weights: bool = False,
    ) -> None:
        if patience < 0 or not min_delta >= 0:
            raise InputError(
                f"patience and min_delta must not be negative, got {patience} and {min_delta}"
            )
        self.monitor = monitor
        self.mode = mode_of(monitor, mode)
        self.patience = patience
        self.min_delta = min_delta
        self.restore_best_weights = restore_best_weights
        self._start()

    def _start(self) -> None:
        self.best = _worst(self.mode)
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self.wait = 0
        self._best_state: dict[str, NDArray[np.generic]] | None = None

    def on_train_begin(self, trainer: TrainerLike) -> None:
        self._start()

    def on_epoch_end(self, trainer: TrainerLike) -> None:
        value = _monitored(self.monitor, trainer, type(self).__name__)
        if _improves(value, self.best, self.mode, self.min_delta):
            self.best, self.best_epoch, self.wait = value, trainer.epoch, 0
            if self.restore_best_weights:
                self._best_state = {k: np.array(v) for k, v in trainer.state_dict().items()}
            return
        self.wait += 1
        if self.wait >= self.patience:
            self.stopped_epoch = trainer.epoch
            trainer.stop = True

    def on_train_end(self, trainer: TrainerLike) -> None:
        if self._best_state is not None:
            trainer.load_state_dict(self._best_state)
            self._best_state = None


class Checkpoint(Callback):
    """Call trainer.save after every epoch, or after each that is the best so far.

    path is a pattern for str.format, filled with `epoch` and the epoch's values:
    "run/{epoch:03d}-{val_loss:.3f}.safetensors"; without a field the one file is replaced. Missing
    folders are made. With save_best_only an epoch is saved where its monitored value is better
    than that of every epoch before it, those before a resume included; mode is as in
    EarlyStopping. last_path is the file written last, or None.

    Raises InputError for a pattern with a field that the epoch did not report, and as
    EarlyStopping does.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        monitor: str = "val_loss",
        mode: Mode | None = None,
        save_best_only: bool = False,
    ) -> None:
        self.path = os.fspath(path)
        self.monitor = monitor
        self.mode = mode_of(monitor, mode) if save_best_only else mode
        self.save_best_only = save_best_only
        self.last_path: str | None = None

    def on_epoch_end(self, trainer: TrainerLike) -> None:
        if self.save_best_only and not self._is_best(trainer):
            return
        path = self._fill(trainer)
        with writing(path):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        trainer.save(path)
        self.last_path = path

    def _is_best(self, trainer: TrainerLike) -> bool:
        value, mode = (
            _monitored(self.monitor, trainer, "Checkpoint"),
            mode_of(self.monitor, self.mode),
        )
        earlier = (row.get(self.monitor, math.nan) for row in trainer.history.rows[:-1])
        best = _worst(mode)
        for other in earlier:
            if _improves(other, best, mode, 0.0):
                best = other
        return _improves(value, best, mode, 0.0)

    def _fill(self, trainer: TrainerLike) -> str:
        values: dict[str, float] = {**trainer.history.last, EPOCH: trainer.epoch}
        try:
            return self.path.format(**values)
        except (LookupError, ValueError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise InputError(
                f"Checkpoint: cannot fill the path {self.path!r} ({reason}); "
                f"epoch {trainer.epoch} has {', '.join(values)}"
            ) from error


class CSVLog(Callback):
    """Write one line an epoch to a CSV file, at once, so that a run can be followed or cut short.

    A run that starts at its first epoch starts the file anew. A resumed one (trainer.epoch > 0)
    keeps the lines up to the epoch it resumes from, drops later ones, which it is about to repeat,
    and appends. A value that appears only later adds its column to the whole file. Missing folders
    are made. Raises InputError where the file to resume is no log of epochs, WriteError where the
    system refuses to write.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._written = History()

    def on_train_begin(self, trainer: TrainerLike) -> None:
        self._written = History()
        if trainer.epoch > 0 and self.path.exists():
            found = History.from_csv(self.path)
            kept = sum(epoch <= trainer.epoch for epoch in found.epochs)
            self._written = History(found.epochs[:kept], found.rows[:kept])
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self._written.to_csv(self.path)

    def on_epoch_end(self, trainer: TrainerLike) -> None:
        names = self._written.names
        self._written.append(trainer.epoch, trainer.history.last)
        if self._written.names != names:
            self._written.to_csv(self.path)
            return
        with writing(self.path), self.path.open("a", newline="", encoding="utf-8") as file:
            values = self._written.last
            write_line(file, (trainer.epoch, *(values.get(name, "") for name in names)))


def mode_of(monitor: str, mode: Mode | None) -> Mode:
    """The mode given, or the one that the name implies. Raises InputError where neither does."""
    if mode is not None:
        if mode not in ("min", "max"):
            raise InputError(f"mode must be 'min' or 'max', got {mode!r}")
        return mode
    words = monitor.lower()
    if any(word in words for word in SMALLER_IS_BETTER):
        return "min"
    if any(word in words for word in LARGER_IS_BETTER):
        return "max"
    raise InputError(f"is a larger {monitor!r} better, or a smaller one? Give mode='max' or 'min'")


def _worst(mode: Mode) -> float:
    return math.inf if mode == "min" else -math.inf


def _improves(value: float, best: float, mode: Mode, min_delta: float) -> bool:
    return value < best - min_delta if mode == "min" else value > best + min_delta


def _monitored(monitor: str, trainer: TrainerLike, who: str) -> float:
    values = trainer.history.last
    if monitor in values:
        return values[monitor]
    hint = "; pass validation_data for it" if monitor.startswith("val_") else ""
    raise InputError(
        f"{who} watches {monitor!r}, which epoch {trainer.epoch} did not report: it has "
        f"{', '.join(values) or 'nothing'}{hint}"
    )
