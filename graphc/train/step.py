"""A training step as one program: forward, loss, gradients, optimiser, buffers and metrics."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np

from graphc.autodiff import grad
from graphc.compiler import compile
from graphc.errors import DTypeError, IndexError, InputError, ShapeError, near
from graphc.graph.graph import postorder
from graphc.graph.node import Node
from graphc.graph.site import on_behalf_of
from graphc.interpreter import waiting
from graphc.metrics.metric import Metric, Metrics, metrics_of
from graphc.nn.loss import LossFunction, loss_of, target_dtype
from graphc.nn.module import Module
from graphc.nn.parameter import Parameter
from graphc.nn.trace import declare, float_dtype, tensor_type, traced
from graphc.ops.random import advance
from graphc.optim.optimizer import Optimizer
from graphc.runtime.binding import converted
from graphc.runtime.program import Program
from graphc.runtime.steps import Rows, can_run, run
from graphc.runtime.threads import resolve
from graphc.train.arrays import check_numbers
from graphc.train.pace import Pace

Specs = Mapping[str, Any]


@dataclass
class TrainStep:
    """A compiled training step: `step(x=..., y=...)` returns {"loss": ..., metrics...}.

    One native call computes them and advances all state: parameters, the optimiser's state,
    running statistics and the step of random numbers. A schedule of the learning rate is followed
    by writing its rate before the call; steps_per_epoch is what schedules by epochs go by.
    """

    program: Program
    optimizer: Optimizer
    metrics: dict[str, Metric]
    steps_per_epoch: int = 1
    pace: Pace = field(default_factory=Pace)

    def __call__(self, **batch: Any) -> dict[str, Any]:
        """One step on one batch, given by name."""
        if self.optimizer.scheduled:
            self.optimizer.set_rates(self.optimizer.step, self.steps_per_epoch)
        result: dict[str, Any] = self.program.by_name(batch)
        return result

    def run(
        self,
        data: Mapping[str, Any],
        order: Any = None,
        *,
        batch_size: int | None = None,
        start: int = 0,
        steps: int | None = None,
    ) -> dict[str, Any]:
        """Many steps in each native call, over arrays (n, ...) that stay where they are.

        Step k takes the rows order[k] of every array, for an int64 order (steps, batch_size); or,
        without one, the batch_size rows from start + k * batch_size on, `steps` times, as often as
        they fit where that is not given. Returns {"loss": (steps,), metrics...}: the bits are those
        of as many calls of the step. Raises InputError where the data has not the rows, or the
        arrays are none that a step takes; IndexError for a label out of bounds, once the steps
        before it are made. Ctrl-C takes effect between two steps, some 50 ms later: those before
        it are made, and count.
        """
        arrays = self._arrays(data)
        rows, count = _rows(arrays, order, batch_size, start, steps)
        found, done = self._paced(arrays, rows, count)
        if done < count:
            taken = slice(rows.start + done * rows.batch, rows.start + (done + 1) * rows.batch)
            chosen = taken if rows.order is None else rows.order[done]
            self(**{name: array[chosen] for name, array in arrays.items()})
            raise InputError(f"step {done} of {count} was refused, but not when made by itself")
        return found

    def _paced(self, data: Mapping[str, Any], rows: Rows, count: int) -> tuple[dict[str, Any], int]:
        """As `advance`, in native calls that are not long."""
        rows.check({name: len(array) for name, array in data.items()}, count)  # before any is made
        parts: list[dict[str, Any]] = []
        done, refused = 0, False
        while not parts or (done < count and not refused):
            steps = min(count - done, self.pace.steps(rows.batch))
            began = monotonic()
            values, made = self.advance(data, rows.part(done, steps), steps)
            parts.append(values)
            done, refused = done + made, made < steps
            self.pace.made(rows.batch, made, monotonic() - began)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, done

    def _arrays(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The data by the program's inputs, in their dtypes, converted as a call converts them."""
        inputs = {node.op.name: node for node in self.program.inputs}
        for name in data:
            if name not in inputs:
                takes = ", ".join(inputs) or "none"
                raise InputError(f"no input {name!r}; the step takes {takes}{near(name, inputs)}")
        found = {}
        for name, value in data.items():
            array = np.asarray(value)
            if not array.ndim:
                raise InputError(f"{name!r} needs a first axis of examples; it is a single number")
            if array.dtype != inputs[name].dtype:
                array = converted(inputs[name], array)
            if not (array.flags.c_contiguous and array.flags.aligned):
                array = np.require(array, None, ["C", "A"])
            found[name] = array
        lengths = {name: len(array) for name, array in found.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise InputError(f"all need the same number of examples: {listed}")
        return found

    def advance(
        self, data: Mapping[str, Any], rows: Rows, count: int
    ) -> tuple[dict[str, Any], int]:
        """Up to `count` steps: their values, and how many were made before a label was refused."""
        if not can_run(self.program):
            return self._one_by_one(data, rows, count)
        writes = {}
        if self.optimizer.scheduled:
            first = self.optimizer.step
            writes = self.optimizer.rates(range(first, first + count), self.steps_per_epoch)
        return run(self.program, data, rows, count, writes)

    def _one_by_one(
        self, data: Mapping[str, Any], rows: Rows, count: int
    ) -> tuple[dict[str, Any], int]:
        """The same by a call a step, where there is no native code."""
        values: dict[str, list[Any]] = {name: [] for name in self.program.names}
        done = 0
        for done in range(count):
            first = rows.start + done * rows.batch
            taken = slice(first, first + rows.batch) if rows.order is None else rows.order[done]
            try:
                found = self(**{n: array[taken] for n, array in data.items()})
            except IndexError:
                break
            for name, value in found.items():
                values[name].append(value)
        else:
            done = count
        return {name: np.array(found) for name, found in values.items()}, done


def _rows(
    data: Mapping[str, Any], order: Any, batch_size: int | None, start: int, steps: int | None
) -> tuple[Rows, int]:
    """What `run` was asked for, as rows and a number of steps. Raises InputError."""
    if (order is None) == (batch_size is None):
        raise InputError("give the order of the rows, (steps, batch_size), or a batch_size")
    if order is None:
        assert batch_size is not None
        check_numbers(batch_size=(batch_size, 1), start=(start, 0), steps=(steps or 0, 0))
        fit = (min(map(len, data.values()), default=0) - start) // batch_size
        return Rows(batch_size, None, start), max(fit, 0) if steps is None else steps
    chosen = np.ascontiguousarray(order)
    if chosen.ndim != 2 or chosen.dtype.kind not in "iu" or not chosen.shape[1]:
        found = f"{chosen.dtype} {chosen.shape}"
        raise InputError(f"the order must be of integers, (steps, batch_size), not {found}")
    if chosen.dtype.kind == "u" and chosen.size and int(chosen.max()) >= 2**63:
        raise InputError(f"the order names row {int(chosen.max())}, which no data has")
    if steps is not None or start:
        raise InputError("an order tells the steps itself: give no start and no steps with it")
    return Rows(chosen.shape[1], chosen.astype(np.int64, copy=False)), len(chosen)


@dataclass
class EvalStep:
    """A compiled evaluation: `step(x=..., y=...)` returns {"loss": ..., metrics...}.

    No state moves.
    """

    program: Callable[..., dict[str, Any]]
    metrics: dict[str, Metric]

    def __call__(self, **batch: Any) -> dict[str, Any]:
        """The values of one batch, given by name."""
        return self.program(**batch)


@dataclass(frozen=True)
class Traced:
    """The scalars of a step as nodes, and the updates of buffers."""

    scalars: dict[str, Node]
    updates: dict[Node, Node]
    metrics: dict[str, Metric]


@waiting
def compile_train_step(
    model: Module,
    loss: str | LossFunction,
    optimizer: Optimizer,
    inputs: Specs,
    targets: Specs,
    *,
    metrics: Metrics = (),
    threads: int | None = None,
    math: str = "exact",
    dtype: str | None = None,
    steps_per_epoch: int = 1,
    debug_nans: bool | str | None = None,
) -> TrainStep:
    """Compile forward, loss, gradients and updates into one program.

    inputs and targets map names to a shape, (shape, dtype) or a TensorType; a leading extent may
    be a name such as "batch". Inputs are of `dtype`, by default that of the model; targets are
    int64 where a loss of graphc's takes labels, and else as inputs: for a loss of your own, declare
    labels as (("batch",), "int64"). loss is a name ("cross_entropy", "mse", "bce_with_logits", ...)
    or a function from (prediction, *targets) to a scalar node; metrics are names, functions of the
    same arguments, or a dict of functions by name. Inputs are handed over by name; several targets
    too where the function's parameters have their names, and in order where they have none of them.

    Parameters that are not trainable, or that the loss does not depend on, stay as they are.
    threads is the largest number to use, all that this process may use for None; no bit depends on
    it, and short steps stay on one. math="fast" trades digits for speed, and debug_nans names what
    makes a NaN, as in compile.

    Raises InputError for an unknown loss or metric, or an optimiser of another model; ShapeError
    or DTypeError where shapes do not fit or the loss is no float scalar.
    """
    resolve(threads)
    step = trace_step(model, loss, inputs, targets, metrics, dtype, training=True)
    below = set(postorder([step.scalars["loss"]]))
    trained = [p for p in model.parameters() if p.trainable and p.ready and p.node in below]
    if not trained:
        raise InputError("the loss depends on no trainable parameter of the model")
    optimizer.attach(model.named_parameters())
    gradients = gradients_of(step.scalars["loss"], trained)
    with on_behalf_of(optimizer.made_at):
        updates = {**optimizer.updates(gradients), **step.updates}
    updates |= advance([*step.scalars.values(), *updates.values()])
    program = compile(step.scalars, updates, threads=threads, math=math, debug_nans=debug_nans)
    return TrainStep(program, optimizer, step.metrics, steps_per_epoch)


@waiting
def compile_eval_step(
    model: Module,
    loss: str | LossFunction,
    inputs: Specs,
    targets: Specs,
    *,
    metrics: Metrics = (),
    threads: int | None = None,
    math: str = "exact",
    dtype: str | None = None,
    debug_nans: bool | str | None = None,
) -> EvalStep:
    """Compile loss and metrics in evaluation mode; arguments and errors as compile_train_step's."""
    resolve(threads)
    step = trace_step(model, loss, inputs, targets, metrics, dtype, training=False)
    program = compile(step.scalars, threads=threads, math=math, debug_nans=debug_nans)
    return EvalStep(program, step.metrics)


def gradients_of(loss: Node, parameters: list[Parameter]) -> dict[Parameter, Node]:
    """The gradient of each parameter."""
    found = grad(loss, [p.node for p in parameters])
    return dict(zip(parameters, found, strict=True))


def trace_step(
    model: Module,
    loss: str | LossFunction,
    inputs: Specs,
    targets: Specs,
    metrics: Metrics,
    dtype: str | None,
    *,
    training: bool,
) -> Traced:
    """Apply model, loss and metrics to declared inputs and targets."""
    both = [name for name in targets if name in inputs]
    if both:
        raise InputError(f"{both[0]!r} names an input and a target; give them different names")
    function, kind = loss_of(loss), dtype or float_dtype(model)
    nodes = declare({name: tensor_type(spec, kind) for name, spec in inputs.items()})
    prediction, trace = traced(model, nodes, training=training)
    wanted = declare(targets, target_dtype(function, kind) or kind)
    value = answered("loss", function, prediction, wanted)
    check_loss(value)
    chosen = metrics_of(metrics)
    scalars = {"loss": value}
    for name, metric in chosen.items():
        scalars[name] = answered(f"metric {name!r}", metric.function, prediction, wanted)
        if scalars[name].shape != ():
            raise ShapeError(f"metric {name!r} gives {scalars[name].type}, not a scalar")
    return Traced(scalars, trace.updates, chosen)


def answered(what: str, function: Any, prediction: Any, targets: Mapping[str, Node]) -> Any:
    """A loss or metric of the prediction and the targets. Raises InputError where they differ."""
    try:
        taken = inspect.signature(getattr(function, "forward", function))
    except (TypeError, ValueError):  # a callable without a signature
        return function(prediction, *targets.values())
    known = [name for name, p in taken.parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD][1:]
    by_name = len(targets) > 1 and any(name in known for name in targets)
    given = dict(targets) if by_name else {}
    rest = () if by_name else tuple(targets.values())
    try:
        taken.bind(prediction, *rest, **given)
    except TypeError as error:
        raise InputError(
            f"the {what} takes {taken}, and the targets are {', '.join(targets) or 'none'}: {error}"
        ) from None
    return function(prediction, *rest, **given)


def check_loss(value: Any) -> None:
    """Refuse a loss that has no gradient."""
    if not isinstance(value, Node):
        raise InputError(f"the loss must return a node, it returned {type(value).__name__}")
    if value.shape != ():
        raise ShapeError(f"the loss must be a scalar, it is {value.type}; use its mean or sum")
    if not value.dtype.startswith("float"):
        raise DTypeError(f"the loss must be a float, it is {value.type}")
