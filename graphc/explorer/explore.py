"""`graphc.explore`: the explorer page of a compiled program or of a training, as one file."""

from __future__ import annotations

import webbrowser
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from graphc.errors import CompileError, InputError
from graphc.explorer.nodes import Numbers
from graphc.explorer.page import page
from graphc.explorer.report import report
from graphc.explorer.training import gradients, training
from graphc.explorer.work import work
from graphc.inspect.subject import program_of
from graphc.nn.module import Module
from graphc.runtime import invented
from graphc.runtime.program import Program
from graphc.train.files import check_place, writing
from graphc.train.history import History
from graphc.train.trainer import Trainer

INVENTED = "invented inputs (numbers between 0 and 1, indices within bounds)"
GIVEN = "the inputs that were given"


def explore(
    subject: Any,
    path: str | PathLike[str] = "explore.html",
    *,
    inputs: Mapping[str, Any] | None = None,
    title: str = "",
    run: bool = True,
    open: bool = False,
    extents: Mapping[str, int] | None = None,
    layers: Mapping[str, str] | None = None,
) -> Path:
    """Write the explorer page of a program, of a compiled step, or of a Trainer that has trained.

    The page is one HTML file that loads nothing. Its kernels are timed on `inputs`, by name, or on
    invented ones for the run-time `extents` by name (otherwise 32), the state being as it was
    afterwards; with run=False nothing runs, and the page has no roofline and no gradients. With
    `open` it is shown in the browser, if there is one. `layers` are the types of layers by their
    paths, where the subject is no Trainer, which knows them. Returns the file's path.

    Raises InputError for what is none of these, and WriteError where the file cannot be written.
    """
    check_place(path)
    program, history = explored(subject)
    title, layers = title or titled(subject), layers or layers_of(subject)
    text = page(described(program, history, title, inputs, run, extents or {}, layers))
    target = Path(path)
    with writing(target):
        target.write_text(text, encoding="utf-8")
    if open:
        webbrowser.open(target.resolve().as_uri())
    return target


def titled(subject: Any) -> str:
    """The title of a page for which none is given."""
    if isinstance(subject, Trainer):
        return f"Trainer of {type(subject.model).__name__}"
    text = repr(subject)
    return text if len(text) <= 60 else text[:59] + "…"


def explored(subject: Any) -> tuple[Program, History | None]:
    """The program of what is to be explored, and the history of its training."""
    if isinstance(subject, Trainer):
        if subject.step is None:
            raise InputError(
                "this Trainer has compiled nothing yet: call fit first, or explore its step with "
                "`graphc explore FILE.py:NAME --train`"
            )
        return subject.step.program, subject.history
    program = program_of(subject)
    if program is None:
        raise InputError(
            f"explore takes a program, a compiled step or a Trainer, not {type(subject).__name__}"
        )
    return program, None


def layers_of(subject: Any) -> dict[str, str]:
    """The types of a model's layers, or of a Trainer's model's, by their paths."""
    model = subject.model if isinstance(subject, Trainer) else subject
    if not isinstance(model, Module):
        return {}
    return {path: type(module).__name__ for path, module in model.named_modules() if path}


def described(
    program: Program,
    history: History | None,
    title: str,
    inputs: Mapping[str, Any] | None,
    run: bool,
    extents: Mapping[str, int],
    layers: Mapping[str, str],
) -> dict[str, Any]:
    """The report of a program, its kernels timed."""
    stages = program.stages
    known = dict.fromkeys(stages.extents, invented.EXTENT) | told(program, inputs) | dict(extents)
    numbers = Numbers(stages)
    if not run:
        train = training(numbers, history, {}, "") if stages.source.updates else None
        return report(program, title, numbers, extents=known, training=train, layers=layers)
    arrays = invented.inputs(stages, known) | dict(inputs or {})
    said = GIVEN if inputs and set(inputs) >= set(arrays) else INVENTED
    try:
        roofline = work(program.roofline(arrays), said)
    except CompileError as error:  # code for another machine
        roofline = {"missing": str(error)}
    train = None
    if stages.source.updates:
        slopes = gradients(program)
        train = training(numbers, history, slopes(**arrays) if slopes else {}, f"Gradients: {said}")
    found = {"roofline": roofline, "training": train, "layers": layers}
    return report(program, title, numbers, extents=known, **found)


def told(program: Program, inputs: Mapping[str, Any] | None) -> dict[str, int]:
    """The run-time extents that given inputs tell."""
    found: dict[str, int] = {}
    for node in program.inputs:
        given = (inputs or {}).get(node.op.name)
        if given is not None:
            shape = np.shape(given)
            pairs = zip(node.shape, shape, strict=False)
            found |= {extent: size for extent, size in pairs if isinstance(extent, str)}
    return found
