"""The shapes of inputs and targets: from --shape, or from the file that the model stands in."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from graphc.cli.load import Found
from graphc.errors import InputError
from graphc.graph.node import Node
from graphc.nn.loss import integer_target
from graphc.nn.module import Module
from graphc.nn.trace import trace

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
    accepted = parameters(model)
    chosen = {name: spec for name, spec in given.items() if name in accepted}
    if given and not chosen:
        name = next(iter(given))
        chosen = {name: given[name]}
    if chosen:
        return chosen
    beside = found.beside(f"{found.name}_inputs")
    if isinstance(beside, Mapping):
        return dict(beside)
    shape = getattr(model, "input_shape", getattr(found.value, "input_shape", None))
    if shape is not None:
        return {accepted[0] if accepted else "x": with_batch(tuple(shape))}
    beside = found.beside("inputs")
    if isinstance(beside, Mapping):
        return dict(beside)
    advice = ADVICE.format(name=found.name)
    raise InputError(f"the shape of the inputs of {found.name} is not known: {advice}")


def with_batch(shape: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The shape of a batch: an example's with a run-time extent before it, unless it has one."""
    return shape if shape and isinstance(shape[0], str) else ("batch", *shape)


def targets_of(found: Found, trainer: Any, inputs: Specs, given: Specs) -> Specs:
    """The targets of a trainer; from the loss and the model's result where nothing is said."""
    chosen = {name: spec for name, spec in given.items() if name not in inputs}
    if chosen:
        return chosen
    beside = found.beside(f"{found.name}_targets", "targets")
    if isinstance(beside, Mapping):
        return dict(beside)
    result, _ = trace(trainer.model, inputs)
    if not isinstance(result, Node):
        raise InputError(
            f"the shape of the targets of {found.name} is not known: give --shape y=batch:int64, "
            'or set targets = {"y": ("batch",)} in the file'
        )
    if integer_target(trainer.loss):
        return {"y": (result.shape[:1] + result.shape[2:], "int64")}
    return {"y": result.type}


def parameters(model: Module) -> list[str]:
    """The names of what forward takes."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    signature = inspect.signature(model.forward)
    return [name for name, p in signature.parameters.items() if p.kind not in kinds]
