"""A training that runs, as its page shows it: looked at between steps, described elsewhere.

The training's own thread copies what is to be seen, between two steps and only while somebody asks;
histograms and tables are made of the copies in the thread that asks. Each takes a small part of the
time: what is expensive to look at is looked at less often.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, perf_counter, thread_time
from typing import Any

import numpy as np

from graphc.errors import CompileError
from graphc.explorer.nodes import Numbers
from graphc.explorer.page import data, page
from graphc.explorer.report import report
from graphc.explorer.training import finite, gradients, trained, training
from graphc.explorer.work import watched
from graphc.graph.leaf import Variable
from graphc.lazy import cached_property
from graphc.runtime.limits import Limits, limits
from graphc.runtime.program import Program
from graphc.runtime.watch import Watch
from graphc.train.callbacks import Steps
from graphc.train.history import History
from graphc.train.trainer import Trainer

Array = np.ndarray[Any, Any]
SPAN = 1.0
"""Seconds between two looks at least."""
PART = 0.005
"""The part of the time that each kind of work for the page may take."""
SAMPLE = 8192
"""Values of a parameter that are looked at; of a larger one, as many drawn at random."""
POINTS = 300
"""Points of the curve within an epoch, beyond which every second one is left out."""


class Turn:
    """When something may be done again: after a second, or later where it takes long."""

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self.clock, self.due = clock, 0.0

    @property
    def come(self) -> bool:
        """Whether it may be done."""
        return monotonic() >= self.due

    @contextmanager
    def taken(self) -> Iterator[None]:
        """It is done inside."""
        began = self.clock()
        try:
            yield
        finally:
            self.due = monotonic() + max(SPAN, (self.clock() - began) / PART)


@dataclass
class Within:
    """The averages of an unfinished epoch, about once a second: after which step, and by name."""

    steps: list[int] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)
    apart: float = SPAN

    def append(self, step: int, values: dict[str, float]) -> None:
        """Add a point; where there are many, leave out every second one."""
        self.steps.append(step)
        self.rows.append(values)
        if len(self.steps) >= POINTS:
            del self.steps[::2], self.rows[::2]
            self.apart *= 2

    def described(self) -> dict[str, Any]:
        """The curves for the page."""
        names = self.rows[-1] if self.rows else {}
        values = {name: [finite(row[name]) for row in self.rows] for name in names}
        return {"steps": self.steps, "values": values}


@dataclass(frozen=True)
class Look:
    """What was seen of a training between two steps."""

    history: History
    within: Within
    values: Mapping[str, Array]
    gradients: Mapping[str, Array]
    said: str


class Running:
    """One trainer and the step that it trains with; `prefix` is where its page is."""

    def __init__(self, trainer: Trainer, number: int, prefix: str) -> None:
        assert trainer.step is not None
        self.trainer, self.number, self.prefix = trainer, number, prefix
        self.program: Program = trainer.step.program
        self.title = f"{Path(trainer.made_at.file).name}:{trainer.made_at.line}"
        self.going = threading.Event()
        self.going.set()
        self.wanted = self.waiting = self.ended = False
        self.within, self.next_point = Within(), 0.0
        self.looking, self.deriving, self.describing = Turn(), Turn(), Turn(thread_time)
        self.seen: Look | None = None
        self.gradients: tuple[dict[str, Array], str] = {}, ""
        self.extents: dict[str, int] = {}
        self.watch: Watch | None = None
        self.limits: Limits | None = None
        self.unwatched = ""
        self.stopping = threading.Lock()  # of the watch
        self.making = threading.Lock()  # of what is made for the page
        self.html = ""
        self.slopes: Program | None = None
        self.asked = False  # for the slopes, which are compiled once somebody looks
        self.shown: tuple[Look | None, int, str] = None, 0, ""
        self.begin()

    # --- in the training's thread -------------------------------------------------------------

    def begin(self) -> None:
        """A call of fit begins."""
        self.ended = False
        self.going.set()
        self.unwatch()
        try:
            self.limits = self.limits or limits(self.program.threads)  # measured before it trains
            self.watch = self.program.watch()
        except CompileError as error:  # no native code here
            self.unwatched = str(error)

    def begin_epoch(self) -> None:
        """An epoch begins, or goes on."""
        if not self.trainer.position:
            self.within, self.next_point = Within(), monotonic() + SPAN

    def steps(self, made: Steps) -> None:
        """Some steps were made: look where somebody wants to, and wait where that is asked for."""
        if monotonic() >= self.next_point:
            self.within.append(self.trainer.position, made.values())
            self.next_point = monotonic() + self.within.apart
        if self.seen is None:
            self.extents = dict(self.program.known or {})
            self.look()
        elif self.wanted and self.looking.come:
            self.look(made)
        if not self.going.is_set():
            self.look(made)
            self.waiting = True
            try:
                self.going.wait()
            finally:
                self.waiting = False

    def end(self) -> None:
        """A call of fit has come to its end."""
        self.look()
        self.ended = True
        self.unwatch()

    def unwatch(self) -> None:
        """Take no times any more; those taken stay."""
        with self.stopping:
            if self.watch is not None:
                self.watch.stop()

    def look(self, made: Steps | None = None) -> None:
        """Copy what is to be seen, and the gradients where they are due."""
        if made is not None and self.slopes is not None and self.deriving.come:
            with self.deriving.taken():
                self.gradients = self.derived(self.slopes, made)
        with self.looking.taken():
            self.wanted = False
            history = self.trainer.history
            self.seen = Look(
                History(list(history.epochs), list(history.rows)),
                Within(list(self.within.steps), list(self.within.rows)),
                {name: self.part(name, cell.value) for name, cell in self.cells.items()},
                *self.gradients,
            )

    def derived(self, slopes: Program, made: Steps) -> tuple[dict[str, Array], str]:
        """The gradients on the last batch, and what is to be said of them."""
        batch, takes = made.batch(), {node.op.name for node in slopes.inputs}
        found = slopes(**{name: array for name, array in batch.items() if name in takes})
        where = f"step {self.trainer.position} of epoch {self.trainer.epoch + 1}"
        said = f"Gradients on the batch of {where}, with the weights after it. Of a parameter "
        said += f"of more than {SAMPLE:,} values so many are counted, drawn at random."
        return {name: self.part(name, array) for name, array in found.items()}, said

    @cached_property
    def cells(self) -> dict[str, Any]:
        """The cells of what is trained, by name."""
        variables = [v.op for v in trained(self.program.source.variables())]
        return {op.name: op.cell for op in variables if isinstance(op, Variable)}

    @cached_property
    def places(self) -> dict[str, Array]:
        """Which values of each large parameter are looked at."""
        random = np.random.default_rng(0)
        sizes = {name: cell.value.size for name, cell in self.cells.items()}
        return {n: np.sort(random.integers(0, s, SAMPLE)) for n, s in sizes.items() if s > SAMPLE}

    def part(self, name: str, array: Array) -> Array:
        """A copy of the values that are looked at."""
        flat = array.reshape(-1)
        return flat[self.places[name]] if name in self.places else flat.copy()

    # --- in the server's threads --------------------------------------------------------------

    def control(self, what: str) -> bool:
        """Pause, resume, or stop after this epoch; False where nothing is under way."""
        if self.status not in ("training", "pausing", "paused"):
            return False
        if what == "stop":
            self.trainer.stop = True
        if what == "pause":
            self.going.clear()
        else:
            self.going.set()
        return True

    @property
    def fitting(self) -> bool:
        """Whether the trainer trains with this very step."""
        step = self.trainer.step
        return self.trainer.fitting and step is not None and step.program is self.program

    @property
    def status(self) -> str:
        """How the training stands, in a word or two."""
        if not self.fitting:
            self.unwatch()
            return "ended" if self.ended else "broken off"
        if self.going.is_set():
            return "training"
        return "paused" if self.waiting else "pausing"

    def state(self, since: int) -> str:
        """Where the training stands, as JSON; with what is to be seen, where that is newer."""
        self.wanted = True
        with self.making:
            number, parts = self.described()
        trainer, fitting = self.trainer, self.fitting
        place = {
            "number": number,
            "status": self.status,
            "stopping": fitting and trainer.stop,
            "epoch": trainer.epoch + fitting,
            "step": trainer.position,
            "steps": trainer.step.steps_per_epoch if trainer.step is not None else 0,
        }
        text = data(place)
        return text if since == number else f"{text[:-1]},{parts}}}"

    def described(self) -> tuple[int, str]:
        """What is to be seen as members of a JSON object, and the number of that look."""
        look, number, text = self.shown
        newer = self.seen is not look
        if newer and (self.describing.come or not self.fitting or not text):
            with self.describing.taken():
                look = self.seen
                number, text = number + 1, data(self.parts(look))[1:-1]
                self.shown = look, number, text
        if self.html and not self.asked:
            self.asked, self.slopes = True, gradients(self.program)
        return number, text

    def parts(self, look: Look | None) -> dict[str, Any]:
        """What the panes of the times and of the training show."""
        assert look is not None  # a training is shown once its first step is made
        found = training(self.numbers, look.history, look.gradients, look.said, look.values)
        return {"training": found | {"within": look.within.described()}, "roofline": self.work()}

    def work(self) -> dict[str, Any] | None:
        """Every kernel's time so far."""
        if self.watch is None or self.limits is None:
            return {"missing": self.unwatched}
        times = self.watch.times(traced=0)
        return watched(self.program.stages, times, self.limits) if times.repeats else None

    @cached_property
    def numbers(self) -> Numbers:
        """The numbers of the program's nodes."""
        return Numbers(self.program.stages)

    def page(self) -> str:
        """The explorer page, which then asks for what is new."""
        with self.making:
            if not self.html:
                parts = self.parts(self.seen)
                found = report(
                    self.program, self.title, self.numbers, extents=self.extents, **parts
                )
                self.html = page(found, live=self.prefix)
            return self.html
