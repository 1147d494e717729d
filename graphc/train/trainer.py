"""Trainer: fit, evaluate and predict, save and resume, on arrays that fit into memory."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.compiler import compile
from graphc.data.sampling import shuffled
from graphc.errors import InputError, NumericsError
from graphc.graph.site import current_site, on_behalf_of
from graphc.metrics.metric import Average, Metrics, metrics_of
from graphc.nn.loss import LossFunction, loss_of, target_dtype
from graphc.nn.module import Module
from graphc.nn.trace import float_dtype
from graphc.ops import random
from graphc.optim.optimizer import Optimizer
from graphc.optim.schedules import ReduceLROnPlateau, plateau_of
from graphc.train.arrays import Data, Examples, check_numbers, examples
from graphc.train.callbacks import Callback, Steps, callbacks_of
from graphc.train.epoch import Epoch, rows_of
from graphc.train.files import load_arrays, save_arrays
from graphc.train.history import History
from graphc.train.interrupt import Interrupts
from graphc.train.progress import Progress
from graphc.train.step import EvalStep, TrainStep, compile_eval_step, compile_train_step

Array = NDArray[Any]

FORMAT = "graphc.trainer"


class Trainer:
    """Trains a model on arrays: many steps in each native call.

    loss, metrics, threads, math and debug_nans are as in compile_train_step. seed decides the
    order of examples, with the number of the epoch, and what dropout drops, with that of the step:
    the same seed, initial weights and data give the same result, bit for bit, also across save and
    load. During a fit the default generator is this trainer's: of fits in several threads at once,
    those that draw random numbers share it, and do not repeat; give them a process each.

    epoch counts the finished epochs and history holds what each reported; setting stop ends fit
    after the current epoch. With terminate_on_nan, a loss that is NaN or infinite raises
    NumericsError at once; the state is then that after the step.
    """

    def __init__(
        self,
        model: Module,
        loss: str | LossFunction,
        optimizer: Optimizer,
        metrics: Metrics = (),
        *,
        seed: int = 0,
        threads: int | None = None,
        math: str = "exact",
        terminate_on_nan: bool = False,
        debug_nans: bool | str | None = None,
    ) -> None:
        if not isinstance(model, Module):
            raise InputError(f"model={model!r} is no nn.Module, such as nn.Linear(4, 2)")
        if not isinstance(optimizer, Optimizer):
            raise InputError(f"optimizer={optimizer!r} is no optimizer, such as optim.Adam(1e-3)")
        metrics_of(metrics)
        self.model, self.loss, self.optimizer = model, loss_of(loss), optimizer
        self.metrics, self.seed, self.threads, self.math = metrics, seed, threads, math
        self.terminate_on_nan, self.debug_nans = terminate_on_nan, debug_nans
        self.made_at = current_site()
        self.history = History()
        self.step: TrainStep | None = None
        self.epoch = 0
        self.stop = False
        self._epoch_start = 0
        self._epoch_plan: list[int] = []
        self._average: Average | None = None
        self._random_step = 0
        self._in_fit = False
        self._compiled: dict[Any, Any] = {}

    # --- training ---------------------------------------------------------------------------

    def fit(
        self,
        x: Data,
        y: Data = None,
        *,
        batch_size: int = 32,
        epochs: int = 1,
        validation_data: tuple[Data, Data] | None = None,
        validation_split: float = 0.0,
        shuffle: bool = True,
        callbacks: Sequence[Callback] = (),
        verbose: int = 1,
        initial_epoch: int | None = None,
        steps: int | None = None,
    ) -> History:
        """Train for `epochs` more epochs and return the history of all.

        x is an array [n, ...], or a dict of them by the names of the model's inputs; y the same
        for targets. The last batch of an epoch may be smaller. validation_data=(x, y) is evaluated
        after every epoch, its values called val_...; validation_split takes that part from the end
        of x and y instead. verbose: 0 nothing, 1 a progress bar on a terminal, 2 a line an epoch.

        With initial_epoch, `epochs` is the number of the last epoch instead, as in Keras: a
        resumed run ends where it would have with fit(..., epochs=10, initial_epoch=trainer.epoch).
        With steps, training ends after that many steps of this call at the latest; an epoch cut
        short, so or by KeyboardInterrupt, goes on at the next call with the same number of
        examples, batch_size and shuffle (and starts anew with others), also after save and load.
        Ctrl-C takes effect between two steps, so that each counts with its values. Short epochs
        that no callback or validation looks at are made many in one native call, bit for bit alike.

        Raises ShapeError, DTypeError or InputError where the data does not fit the model.
        """
        callbacks = callbacks_of(callbacks)
        data = self._examples(x, y)
        data, held_out = self._held_out(data, validation_data, validation_split)
        check_numbers(batch_size=(batch_size, 1), epochs=(epochs, 0), steps=(steps or 0, 0))
        last = self._last_epoch(epochs, initial_epoch)
        step = self._train_step(data)
        step.steps_per_epoch = data.steps(batch_size)
        self._plan([len(data), batch_size, int(shuffle)])
        budget = math.inf if steps is None else self.optimizer.step + steps
        self.stop = False
        progress = Progress(last, step.steps_per_epoch, verbose, examples_per_epoch=len(data))
        with Interrupts() as interrupts, self._randomness(), progress:
            for callback in callbacks:
                callback.on_train_begin(self)
            while self.epoch < last and not self.stop and self.optimizer.step < budget:
                if not callbacks and held_out is None:
                    left = min(
                        last - self.epoch, (budget - self.optimizer.step) / step.steps_per_epoch
                    )
                    count = self._at_once(step, len(data), batch_size, left)
                    if count > 1:
                        self._run_epochs(
                            step, data, batch_size, shuffle, count, progress, interrupts
                        )
                        continue
                for callback in callbacks:
                    callback.on_epoch_begin(self)
                began = monotonic()
                progress.epoch(self.epoch + 1)
                if not self._run_epoch(
                    step, data, batch_size, shuffle, budget, progress, interrupts, callbacks
                ):
                    break
                self._end_epoch(held_out, batch_size, interrupts)
                progress.end_epoch(self.history.last, monotonic() - began)
                for callback in callbacks:
                    callback.on_epoch_end(self)
            for callback in callbacks:
                callback.on_train_end(self)
        return self.history

    def _run_epoch(
        self,
        step: TrainStep,
        data: Examples,
        batch_size: int,
        shuffle: bool,
        budget: float,
        progress: Progress,
        interrupts: Interrupts,
        callbacks: Sequence[Callback],
    ) -> bool:
        """The rest of an epoch; whether it was finished within the budget of steps.

        Whole batches are trained on many at a time, in one native call, at the step's pace; with
        terminate_on_nan or debug_nans one by one.
        """
        if self._average is None:
            self._average = Average(step.metrics)
        average = self._average
        order = shuffled(len(data), seed=self.seed, epoch=self.epoch) if shuffle else None
        epoch = Epoch(data, batch_size, order)
        while self.position < step.steps_per_epoch:
            if self.optimizer.step >= budget:
                return False
            alone = self.terminate_on_nan or step.program.nans is not None
            most = 1 if alone else step.pace.steps(batch_size)
            rows, steps = epoch.part(self.position, int(min(most, budget - self.optimizer.step)))
            began = monotonic()
            with interrupts.held:  # a step counts with its values, or not at all
                values, done = step.advance(data.named, rows, steps)
                average.add_all(values, rows.batch)
            if done < steps:
                epoch.refused(step, self.position, self.epoch + 1)
            if self.terminate_on_nan and not math.isfinite(values["loss"][-1]):
                raise NumericsError(
                    f"the loss is {float(values['loss'][-1])} in step {self.position} of epoch "
                    f"{self.epoch + 1}; a smaller learning rate or clip_norm may help"
                )
            progress.step(self.position, average.values)
            step.pace.made(rows.batch, steps, monotonic() - began)
            made = Steps(average.values, partial(epoch.batch, rows, steps - 1))
            for callback in callbacks:
                callback.on_steps_end(self, made)
        return True

    def _at_once(self, step: TrainStep, examples: int, batch_size: int, most: float) -> int:
        """How many epochs to make in one native call: those that take no longer than its span.

        One where the last batch of an epoch is smaller, or something looks at each step or epoch.
        """
        size = min(batch_size, examples)
        watched = self.terminate_on_nan or step.program.nans is not None or self._plateaus()
        if examples % size or watched or self.position:
            return 1
        return int(min(most, step.pace.steps(size) // step.steps_per_epoch))

    def _run_epochs(
        self,
        step: TrainStep,
        data: Examples,
        batch_size: int,
        shuffle: bool,
        count: int,
        progress: Progress,
        interrupts: Interrupts,
    ) -> None:
        """Epochs in one native call. One whose labels are refused stays unfinished."""
        size, each = min(batch_size, len(data)), step.steps_per_epoch
        numbers = range(self.epoch, self.epoch + count)
        orders = [
            shuffled(len(data), seed=self.seed, epoch=n) if shuffle else np.arange(len(data))
            for n in numbers
        ]
        began = monotonic()
        with interrupts.held:
            values, done = step.advance(data.named, rows_of(orders, size), count * each)
            seconds = monotonic() - began
            for first in range(0, done, each):
                self._average = Average(step.metrics)
                part = {name: found[first : first + each] for name, found in values.items()}
                self._average.add_all(part, size)
                if first + each <= done:
                    progress.epoch(self.epoch + 1)
                    progress.step(each, self._average.values)
                    self._report(self._average.values())
                    progress.end_epoch(self.history.last, seconds / count)
            self._epoch_start = self.optimizer.step - done % each
        step.pace.made(size, done, seconds)

    def _end_epoch(
        self, held_out: Examples | None, batch_size: int, interrupts: Interrupts
    ) -> None:
        """Validate, and report the epoch."""
        assert self._average is not None
        values = self._average.values()
        if held_out is not None:
            found = self._evaluate(held_out, batch_size)
            values |= {f"val_{name}": value for name, value in found.items()}
        with interrupts.held:
            self._report(values)

    def _report(self, values: dict[str, float]) -> None:
        """Count the epoch, and let schedules see what it reported."""
        self.epoch += 1
        self._epoch_start = self.optimizer.step
        self._average = None
        self.history.append(self.epoch, values)
        for plateau in self._plateaus():
            if plateau.monitor not in values:
                raise InputError(
                    f"the schedule watches {plateau.monitor!r}, which the epoch did not report: "
                    f"it has {', '.join(values)}"
                )
            plateau.on_epoch_end(values[plateau.monitor])

    @property
    def position(self) -> int:
        """How many steps of the unfinished epoch are done; the step itself counts them."""
        return self.optimizer.step - self._epoch_start

    @property
    def fitting(self) -> bool:
        """Whether a call of fit is under way."""
        return self._in_fit

    def _plan(self, plan: list[int]) -> None:
        """Go on with an unfinished epoch of the same plan, start it anew with another."""
        if plan != self._epoch_plan or self.position < 0:
            self._epoch_start, self._average = self.optimizer.step, None
        self._epoch_plan = plan

    def _last_epoch(self, epochs: int, initial_epoch: int | None) -> int:
        if initial_epoch is None:
            return self.epoch + epochs
        if initial_epoch < self.epoch:
            raise InputError(f"initial_epoch={initial_epoch}, but {self.epoch} epochs are finished")
        self.epoch = initial_epoch
        return epochs

    def _plateaus(self) -> list[ReduceLROnPlateau]:
        found = {id(p): p for p in map(plateau_of, self.optimizer.schedules) if p is not None}
        return list(found.values())

    @contextmanager
    def _randomness(self) -> Iterator[None]:
        """Lend the default generator this trainer's seed and step, and keep where it ends."""
        seed, step = (np.array(c.value) for c in (random.DEFAULT.seed, random.DEFAULT.step))
        random.DEFAULT.restart(self.seed)
        random.DEFAULT.step.assign(self._random_step)
        self._in_fit = True
        try:
            yield
        finally:
            self._in_fit = False
            self._random_step = int(random.DEFAULT.step.value)
            random.DEFAULT.seed.assign(seed)
            random.DEFAULT.step.assign(step)

    # --- using ------------------------------------------------------------------------------

    def evaluate(self, x: Data, y: Data = None, *, batch_size: int = 32) -> dict[str, float]:
        """The loss and metrics over all examples, in evaluation mode; data as for fit."""
        return self._evaluate(self._examples(x, y), batch_size)

    def _evaluate(self, data: Examples, batch_size: int) -> dict[str, float]:
        check_numbers(batch_size=(batch_size, 1))
        inputs, targets = data.specs
        step: EvalStep = self._once(
            ("evaluate", inputs, targets),
            lambda: compile_eval_step(
                self.model,
                self.loss,
                inputs,
                targets,
                metrics=self.metrics,
                threads=self.threads,
                math=self.math,
                debug_nans=self.debug_nans,
            ),
        )
        average = Average(step.metrics)
        for values, size in data.applied(step, batch_size):
            average.add(values, size)
        return average.values()

    def predict(self, x: Data, *, batch_size: int = 32) -> Any:
        """What the model gives for all examples, in evaluation mode.

        An array [n, ...]; a tuple or dict of them where the model returns several.
        """
        check_numbers(batch_size=(batch_size, 1))
        data = self._examples(x, None)
        inputs, _ = data.specs

        def build() -> tuple[Any, str]:
            found = self.model.trace(inputs)
            kind = "dict" if isinstance(found, Mapping) else "tuple"
            program = compile(
                found, threads=self.threads, math=self.math, debug_nans=self.debug_nans
            )
            return program, kind if isinstance(found, Mapping | list | tuple) else "array"

        program, kind = self._once(("predict", inputs), build)
        results = [result for result, _ in data.applied(program, batch_size)]
        if kind == "dict":
            return {name: np.concatenate([r[name] for r in results]) for name in results[0]}
        joined = tuple(np.concatenate(parts) for parts in zip(*results, strict=True))
        return joined[0] if kind == "array" else joined

    # --- saving -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Array]:
        """The model's parameters and buffers, by path: what early stopping keeps and restores."""
        return self.model.state_dict()

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Overwrite the model's parameters and buffers."""
        self.model.load_state_dict(state)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file with all that resuming needs, atomically.

        Parameters and buffers ("model."), the optimiser's state ("optimizer."), and as metadata
        the epoch, the place in it, the seed, random state, schedules and history.
        """
        self.optimizer.attach(self.model.named_parameters())
        arrays = {f"model.{name}": array for name, array in self.model.state_dict().items()}
        for name, array in self.optimizer.state_dict().items():
            arrays[f"optimizer.{name}"] = array
        save_arrays(path, arrays, {FORMAT: json.dumps(self._progress())})

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take over the whole state from a file that save wrote, to go on exactly from there.

        Raises InputError where the file is of another kind, model or optimiser, and as
        load_arrays does.
        """
        arrays, metadata = load_arrays(path)
        if FORMAT not in metadata:
            raise InputError(
                f"{path} was not saved by a Trainer; for weights alone use "
                "model.load_state_dict(graphc.train.load_arrays(path)[0])"
            )
        self.model.load_state_dict(_below("model.", arrays))
        self.optimizer.attach(self.model.named_parameters())
        self.optimizer.load_state_dict(_below("optimizer.", arrays))
        self._restore(json.loads(metadata[FORMAT]))

    def _progress(self) -> dict[str, Any]:
        """Where training stands, as JSON."""
        average = self._average
        step = random.DEFAULT.step.value if self._in_fit else self._random_step
        return {
            "version": 1,
            "seed": self.seed,
            "random_step": int(step),
            "epoch": self.epoch,
            "epoch_start": self._epoch_start,
            "epoch_plan": self._epoch_plan,
            "average": None if average is None else [average.sums, average.weight],
            "history": [self.history.epochs, self.history.rows],
            "plateaus": [plateau.state_dict() for plateau in self._plateaus()],
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.seed, self._random_step = state["seed"], state["random_step"]
        self.epoch, self._epoch_start = state["epoch"], state["epoch_start"]
        self._epoch_plan = state["epoch_plan"]
        self.history = History(*state["history"])
        self._average = None
        if state["average"] is not None:
            self._average = Average(metrics_of(self.metrics), *state["average"])
        for plateau, saved in zip(self._plateaus(), state["plateaus"], strict=False):
            plateau.load_state_dict(saved)

    # --- compiling --------------------------------------------------------------------------

    def _examples(self, x: Data, y: Data) -> Examples:
        dtype = float_dtype(self.model)
        return examples(x, y, dtype, target_dtype(self.loss, dtype))

    def _held_out(
        self, data: Examples, given: tuple[Data, Data] | None, split: float
    ) -> tuple[Examples, Examples | None]:
        """The examples to train on, and those to validate on."""
        if given is not None and split:
            raise InputError("give validation_data or validation_split, not both")
        if given is not None:
            if not isinstance(given, tuple | list) or len(given) != 2:
                raise InputError("validation_data takes a pair: the inputs and the targets, (x, y)")
            return data, self._examples(*given)
        if not split:
            return data, None
        kept = len(data) - round(split * len(data))
        if not 0 < kept < len(data):
            raise InputError(
                f"validation_split={split} of {len(data)} examples leaves {kept} to train on and "
                f"{len(data) - kept} to validate on"
            )
        return data.part(0, kept), data.part(kept, len(data))

    def _train_step(self, data: Examples) -> TrainStep:
        inputs, targets = data.specs

        def build() -> TrainStep:
            return compile_train_step(
                self.model,
                self.loss,
                self.optimizer,
                inputs,
                targets,
                metrics=self.metrics,
                threads=self.threads,
                math=self.math,
                debug_nans=self.debug_nans,
            )

        self.step = self._once(("fit", inputs, targets), build)
        return self.step

    def _once(self, key: tuple[Any, ...], build: Any) -> Any:
        """What was compiled for these types and this state of the model before, or is now."""
        modes = [m.training for _, m in self.model.named_modules()]
        trained = [p.trainable for p in self.model.parameters()]
        name = repr((key, modes, trained))
        if name not in self._compiled:
            with on_behalf_of(self.made_at):
                self._compiled[name] = build()
        return self._compiled[name]


def _below(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
