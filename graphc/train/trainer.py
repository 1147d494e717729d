"""Trainer: fit, evaluate and predict, save and resume, on arrays that fit into memory."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from numpy.typing import NDArray

from graphc.errors import InputError
from graphc.graph.site import current_site, on_behalf_of
from graphc.machine import MATH
from graphc.metrics.metric import Average, Metrics, metrics_of
from graphc.nn.loss import LossFunction, loss_of, target_dtype
from graphc.nn.module import Module
from graphc.nn.trace import float_dtype
from graphc.optim.optimizer import Optimizer
from graphc.train.arrays import Data, Examples, check_numbers, examples
from graphc.train.callbacks import Callback, callbacks_of
from graphc.train.epoch import Batches
from graphc.train.fit import Fit
from graphc.train.history import History
from graphc.train.predict import Predictor, compile_predictor
from graphc.train.progress import Progress
from graphc.train.saved import load_training, save_training
from graphc.train.standing import Standing
from graphc.train.step import EvalStep, TrainStep, compile_eval_step, compile_train_step

Array = NDArray[Any]


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
        if math not in MATH:
            raise InputError(f"math={math!r}: there are {' and '.join(map(repr, MATH))}")
        metrics_of(metrics)
        self.model, self.loss, self.optimizer = model, loss_of(loss), optimizer
        self.metrics, self.seed, self.threads, self.math = metrics, seed, threads, math
        self.terminate_on_nan, self.debug_nans = terminate_on_nan, debug_nans
        self.made_at = current_site()
        self.step: TrainStep | None = None
        self.stop = False
        self._standing = Standing()
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
        last = self._standing.last_epoch(epochs, initial_epoch)
        batches, step = Batches(data, batch_size, shuffle), self._train_step(data)
        step.steps_per_epoch = data.steps(batch_size)
        self._standing.go_on(batches.plan, self.optimizer.step)
        validate = None if held_out is None else partial(self._evaluate, held_out, batch_size)
        self.stop = False
        Fit(
            trainer=self,
            standing=self._standing,
            step=step,
            batches=batches,
            last=last,
            budget=math.inf if steps is None else self.optimizer.step + steps,
            validate=validate,
            callbacks=callbacks,
            progress=Progress(last, step.steps_per_epoch, verbose, examples_per_epoch=len(data)),
        ).run()
        return self.history

    @property
    def epoch(self) -> int:
        """How many epochs are finished."""
        return self._standing.epoch

    @epoch.setter
    def epoch(self, number: int) -> None:
        self._standing.epoch = number

    @property
    def history(self) -> History:
        """What each finished epoch reported."""
        return self._standing.history

    @history.setter
    def history(self, history: History) -> None:
        self._standing.history = history

    @property
    def position(self) -> int:
        """How many steps of the unfinished epoch are done; the step itself counts them."""
        return self.optimizer.step - self._standing.start

    @property
    def fitting(self) -> bool:
        """Whether a call of fit is under way."""
        return self._standing.fitting

    # --- using ------------------------------------------------------------------------------

    def evaluate(self, x: Data, y: Data = None, *, batch_size: int = 32) -> dict[str, float]:
        """The loss and metrics over all examples, in evaluation mode; data as for fit."""
        return self._evaluate(self._examples(x, y), batch_size)

    def _evaluate(self, data: Examples, batch_size: int) -> dict[str, float]:
        check_numbers(batch_size=(batch_size, 1))
        specs = data.specs
        step: EvalStep = self._once(
            ("evaluate", *specs),
            lambda: compile_eval_step(
                self.model, self.loss, *specs, metrics=self.metrics, **self._options()
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
        predictor: Predictor = self._once(
            ("predict", inputs), lambda: compile_predictor(self.model, inputs, **self._options())
        )
        return predictor.over(data, batch_size)

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
        state = {"seed": self.seed, **self._standing.state_dict()}
        save_training(path, self.model, self.optimizer, state)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take over the whole state from a file that save wrote, to go on exactly from there.

        Raises InputError where the file is of another kind, model or optimiser, and as
        load_arrays does.
        """
        state = load_training(path, self.model, self.optimizer)
        self.seed = state["seed"]
        self._standing.load_state_dict(state, metrics_of(self.metrics))

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
        return data.split(split) if split else (data, None)

    def _train_step(self, data: Examples) -> TrainStep:
        specs, given = data.specs, (self.model, self.loss, self.optimizer)
        self.step = self._once(
            ("fit", *specs),
            lambda: compile_train_step(*given, *specs, metrics=self.metrics, **self._options()),
        )
        return self.step

    def _options(self) -> dict[str, Any]:
        """What is asked of every program."""
        return {"threads": self.threads, "math": self.math, "debug_nans": self.debug_nans}

    def _once(self, key: tuple[Any, ...], build: Any) -> Any:
        """What was compiled for these types and this state of the model before, or is now."""
        modes = [m.training for _, m in self.model.named_modules()]
        trained = [p.trainable for p in self.model.parameters()]
        name = repr((key, modes, trained))
        if name not in self._compiled:
            with on_behalf_of(self.made_at):
                self._compiled[name] = build()
        return self._compiled[name]
