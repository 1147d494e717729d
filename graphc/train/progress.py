"""What a run shows while it trains: a bar on a terminal, a line an epoch elsewhere, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bar
from rich.table import Column

from graphc.errors import InputError

INTERVAL = 0.1  # seconds between two drawings
MAX_STRIDE = 64  # steps between two looks at the clock, at most
BAR = 20  # columns of the bar itself
NEVER = sys.maxsize

Values = Callable[[], Mapping[str, float]]


class Progress:
    """Shows the epochs of one call of fit; to be used as a context manager.

    epochs is the number of the last epoch and steps_per_epoch the number of steps in each; where
    examples_per_epoch is given, the rate is in examples a second, otherwise in steps a second.
    verbose: 0 shows nothing; 1 a bar if the console is a terminal, and a line for each finished
    epoch in any case; 2 the lines alone.

        with Progress(epochs, steps_per_epoch, verbose=1) as progress:
            progress.epoch(1)                       # epochs and steps are counted from 1
            progress.step(1, lambda: {"loss": 0.5}) # after the step; called only to be drawn
            progress.end_epoch({"loss": 0.4, "val_loss": 0.45}, seconds)

    A step costs one comparison. Every few steps, 64 at most, the clock is read; and the bar is
    drawn at most ten times a second, without a thread. Raises InputError for another verbose.
    """

    def __init__(
        self,
        epochs: int,
        steps_per_epoch: int,
        verbose: int = 1,
        *,
        examples_per_epoch: int | None = None,
        console: Console | None = None,
    ) -> None:
        if verbose not in (0, 1, 2):
            raise InputError(f"verbose must be 0 (nothing), 1 (a bar) or 2 (lines), got {verbose}")
        self._epochs = epochs
        self._steps = steps_per_epoch
        self._unit = "steps" if examples_per_epoch is None else "examples"
        self._weight = (examples_per_epoch or steps_per_epoch) / steps_per_epoch
        self._console = console or Console(highlight=False)
        self._lines = verbose > 0
        self._bar = _bar(self._console) if verbose == 1 and self._console.is_terminal else None
        self._task = TaskID(0)
        self._epoch = 0
        self._first = 0
        self._began = self._epoch_began = self._looked = self._drawn = 0.0
        self._next, self._stride = NEVER, 1

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=self._steps, epoch="", note="", visible=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._next = NEVER
        if self._bar is not None:
            self._bar.stop()

    def epoch(self, number: int) -> None:
        """Epoch `number`, counted from 1, begins. A resumed run begins with a later one."""
        self._epoch, self._epoch_began = number, monotonic()
        if not self._first:
            self._first, self._began = number, self._epoch_began
        if self._bar is not None:
            self._next = 1

    def step(self, number: int, values: Values) -> None:
        """Step `number` of this epoch, counted from 1, is done; `values` tells the loss so far."""
        if number < self._next:
            return
        now = monotonic()
        pause, self._looked = now - self._looked, now
        if pause < INTERVAL / 10:
            self._stride = min(2 * self._stride, MAX_STRIDE)
        elif pause > INTERVAL / 4:
            self._stride = max(self._stride // 2, 1)
        self._next = number + self._stride
        if now - self._drawn >= INTERVAL:
            self._draw(number, values(), now)

    def end_epoch(self, values: Mapping[str, float], seconds: float) -> None:
        """The epoch took that many seconds and reported these values. Prints its line."""
        self._next = NEVER
        if not self._lines:
            return
        rate = self._rate(self._steps, seconds)
        line = f"epoch {self._epoch}/{self._epochs}  {_clock(seconds)}  {rate}  {_text(values)}"
        self._console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)

    def _draw(self, number: int, values: Mapping[str, float], now: float) -> None:
        if self._bar is None:
            return
        self._drawn = now
        done = (self._epoch - self._first) * self._steps + number
        left = (self._epochs - self._epoch + 1) * self._steps - number
        remaining = (now - self._began) / done * left
        rate = self._rate(number, now - self._epoch_began)
        epoch, left_over = f"epoch {self._epoch}/{self._epochs}", f"{_clock(remaining)} left"
        taken = len(epoch) + BAR + 2 * len(str(self._steps)) + 1 + 3  # and a blank between each
        self._bar.update(
            self._task,
            completed=number,
            visible=True,
            epoch=epoch,
            note=_fitting(values, rate, left_over, self._console.width - taken),
        )
        self._bar.refresh()

    def _rate(self, steps: int, seconds: float) -> str:
        return f"{steps * self._weight / max(seconds, 1e-9):,.0f} {self._unit}/s"


def _bar(console: Console) -> Bar:
    """A bar that draws when told to: rich's own thread would take the interpreter's lock."""
    return Bar(
        TextColumn("{task.fields[epoch]}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=BAR),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True)),
        console=console,
        auto_refresh=False,
        transient=True,
    )


def _fitting(values: Mapping[str, float], rate: str, left: str, width: int) -> str:
    """Values, rate and time left as far as they fit: the rate goes first, then the last value."""
    named = [f"{name} {value:.4g}" for name, value in values.items()]
    choices = [[*named, rate, left], *([*named[:n], left] for n in range(len(named), 0, -1))]
    texts = map("  ".join, [*choices, named[:1], []])
    return next(text for text in texts if len(text) <= width or not text)


def _text(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


def _clock(seconds: float) -> str:
    """Seconds as 12 ms, 1.2 s, 3:45 or 1:02:03."""
    if seconds < 0.1:
        return f"{seconds * 1e3:.2g} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
