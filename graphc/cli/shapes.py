"""The shapes of inputs and targets: from --shape, or from the file that the model stands in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.cli.load import Found
from graphc.errors import InputError
from graphc.graph.node import Node
from graphc.nn.loss import target_dtype
from graphc.nn.module import Module
from graphc.nn.trace import parameters, trace

Specs = dict[str, Any]
ADVICE = (
    "give --shape x=batch,1,8,8, or set in the file {name}.input_shape, {name}_inputs or inputs, "
    'such as inputs = {{"x": ("batch", 1, 8, 8)}}'
)


def parsed(options: Sequence[str]) -> Specs:
    """Every NAME=EXTENT,EXTENT,...[:DTYPE] as name -> (shape, dtype), or the shape alone."""
    found: Specs = {}
    for option in options:
        name, equals, rest = option.partition("=")
        shape, colon, dtype = rest.partition(":")
        parts = [part.strip() for part in shape.split(",") if part.strip()]
        if not equals or not name.isidentifier() or not (parts or not shape.strip()):
            raise InputError(f"--shape {option!r}: write NAME=EXTENT,EXTENT,... as x=batch,1,8,8")
        extents = tuple(int(part) if part.lstrip("-").isdigit() else part for part in parts)
        found[name] = (extents, dtype) if colon else extents
    return found


def inputs_of(found: Found, model: Module, given: Specs) -> Specs:
    """The model's inputs. Raises InputError that says how to give them."""
    if given:
        return given
    beside = found.beside(f"{found.name}_inputs")
    if isinstance(beside, Mapping):
        return {name: spec_of(value) for name, value in beside.items()}
    shape = getattr(model, "input_shape", getattr(found.value, "input_shape", None))
    if shape is not None:
        accepted = names(model)
        return {accepted[0] if accepted else "x": with_batch(tuple(shape))}
    beside = found.beside("inputs")
    if isinstance(beside, Mapping):
        return dict(beside)
    advice = ADVICE.format(name=found.name)
    raise InputError(f"the shape of the inputs of {found.name} is not known: {advice}")


def spec_of(value: Any) -> Any:
    """A shape as it is; of an array its own, as a batch of any size."""
    if not isinstance(value, np.ndarray):
        return value
    return ("batch", *value.shape[1:]) if value.ndim else (), value.dtype.name


def sorted_out(model: Module, given: Specs) -> tuple[Specs, Specs]:
    """What is given for a training step: for the model's inputs, and for the targets."""
    accepted = names(model)
    inputs = {name: spec for name, spec in given.items() if name in accepted}
    if given and not inputs:  # a single input may have any name: the first is it
        name = next(iter(given))
        inputs = {name: given[name]}
    return inputs, {name: spec for name, spec in given.items() if name not in inputs}


def with_batch(shape: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The shape of a batch: an example's with a run-time extent before it, unless it has one."""
    return shape if shape and isinstance(shape[0], str) else ("batch", *shape)


def targets_of(found: Found, trainer: Any, inputs: Specs, given: Specs) -> Specs:
    """The targets of a trainer; from the loss and the model's result where nothing is said."""
    if given:
        return given
    beside = found.beside(f"{found.name}_targets", "targets")
    if isinstance(beside, Mapping):
        return dict(beside)
    result, _ = trace(trainer.model, inputs)
    if not isinstance(result, Node):
        raise InputError(
            f"the shape of the targets of {found.name} is not known: give --shape y=batch:int64, "
            'or set targets = {"y": ("batch",)} in the file'
        )
    if target_dtype(trainer.loss, result.dtype) == "int64":
        return {"y": (result.shape[:1] + result.shape[2:], "int64")}
    return {"y": result.type}


def names(model: Module) -> list[str]:
    """The names of what forward takes."""
    return [p.name for p in parameters(model) if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
