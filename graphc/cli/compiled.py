"""What was found in a file, as a compiled program."""

from __future__ import annotations

from typing import Any

from graphc.cli.load import KINDS, Found
from graphc.cli.shapes import Specs, inputs_of, sorted_out, targets_of
from graphc.compiler import compile
from graphc.errors import InputError
from graphc.graph.node import Node
from graphc.graph.site import on_behalf_of
from graphc.inspect.subject import graph_of, program_of
from graphc.nn.module import Module
from graphc.nn.trace import trace
from graphc.runtime.program import Program
from graphc.train.step import compile_train_step
from graphc.train.trainer import Trainer


def inference(found: Found, given: Specs, math: str | None = None) -> Program:
    """The program of a model's forward pass, of nodes, or the program itself.

    `math` is that of a trainer, else exact, for None.
    """
    value = found.value
    program = program_of(value)
    if program is not None:
        return program
    model = value.model if isinstance(value, Trainer) else value
    math = math or (value.math if isinstance(value, Trainer) else "exact")
    if isinstance(model, Module):
        result, updates = trace(model, inputs_of(found, model, given))
        return compile(result, updates, math=math)
    return compile(nodes_of(found.name, value), math=math)


def training(found: Found, given: Specs, math: str | None = None) -> Program:
    """The program of a training step: of a trainer, or of the one trainer that has the model.

    `math` is the trainer's for None.
    """
    value = found.value
    program = program_of(value)
    if program is not None:
        if not program.stages.source.updates:
            raise InputError(f"{found.name} is compiled already, and is no training step")
        return program
    trainer = trainer_of(found)
    for_inputs, for_targets = sorted_out(trainer.model, given)
    inputs = inputs_of(found, trainer.model, for_inputs)
    targets = targets_of(found, trainer, inputs, for_targets)
    with on_behalf_of(trainer.made_at):
        step = compile_train_step(
            trainer.model,
            trainer.loss,
            trainer.optimizer,
            inputs,
            targets,
            metrics=trainer.metrics,
            threads=trainer.threads,
            math=math or trainer.math,
        )
    program = program_of(step)
    assert program is not None
    return program


def trainer_of(found: Found) -> Trainer:
    """The trainer itself, or the one in the file whose model it is. Raises InputError."""
    if isinstance(found.value, Trainer):
        return found.value
    beside = [
        value
        for value in vars(found.module).values()
        if isinstance(value, Trainer) and value.model is found.value
    ]
    if not beside:
        raise InputError(
            f"--train needs a Trainer, which has the loss and the optimizer; {found.name} is a "
            f"{type(found.value).__name__}, and no trainer in the file trains it"
        )
    return beside[0]


def nodes_of(name: str, value: Any) -> Any:
    """A node, or several, to be compiled. Raises InputError for anything else."""
    if isinstance(value, Node):
        return value
    try:
        graph = graph_of(value)
    except InputError:
        raise InputError(f"{name} has the type {type(value).__name__}; it may be {KINDS}") from None
    return dict(zip(graph.names, graph.outputs, strict=True))
