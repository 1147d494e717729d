"""`graphc bench`: the time of a model or training step, and of the same in other libraries."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
import numpy as np

from graphc.cli.compiled import nodes_of, trainer_of
from graphc.cli.inspect import numbers
from graphc.cli.load import Found, load
from graphc.cli.options import TRAIN, extent_option, shape_option
from graphc.cli.peers import PEERS, Array, Inexpressible, Session, Work, prepare
from graphc.cli.shapes import Specs, inputs_of, parsed, sorted_out, targets_of
from graphc.compiler import compile
from graphc.errors import InputError, near
from graphc.graph.show import aligned
from graphc.inspect.colour import write
from graphc.inspect.subject import program_of
from graphc.inspect.timing import Timing, timed
from graphc.machine import processor
from graphc.nn.module import Module
from graphc.nn.trace import trace
from graphc.runtime import threads as threads_
from graphc.runtime.invented import EXTENT
from graphc.runtime.invented import inputs as drawn
from graphc.runtime.program import Program
from graphc.train.step import compile_train_step
from graphc.train.trainer import Trainer

CLOSE = 1e-4
"""How far from graphc's, as a part of the largest, the numbers of another library may be."""
STEPS = 3
"""Training steps whose losses are compared."""
REST = 0.2
HEADER = ("library", "microseconds", "spread", "time to graphc's")


@dataclass(frozen=True)
class Subject:
    """What is timed: a program, its inputs by name, and its work where that is a model's."""

    program: Program
    inputs: dict[str, Array]
    work: Work | None


@click.command(short_help="Time a model or training step, against other libraries too.")
@click.argument("place", metavar="FILE.py:NAME")
@click.option("--against", default="", metavar="A,B", help=f"Of {', '.join(PEERS)}.")
@TRAIN
@shape_option()
@extent_option(f"to measure with, as batch=64; otherwise {EXTENT}")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="For each.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=2.0,
    show_default=True,
    help="To measure each for.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def bench(
    place: str,
    against: str,
    train: bool,
    shapes: tuple[str, ...],
    extents: tuple[str, ...],
    threads: int,
    seconds: float,
    as_json: bool,
) -> None:
    """Time what NAME in FILE.py compiles to, in turns with the same model in other libraries.

    Inputs are drawn at random. Another library gets the same layers, weights and inputs; its
    numbers, in training the losses of the first steps, must agree before anything is timed. What
    it has no equal for is said by name. Times are medians of a call, the spread is the
    interquartile range. A training step is taken without metrics, at the first step's rate.

    Exits with 1 where a library's numbers disagree.

    \b
    Examples:
      graphc bench examples/digits.py:model
      graphc bench examples/digits.py:trainer --train --against torch --extent batch=64
      graphc bench examples/digits.py:model --against torch,jax,onnxruntime --json
    """
    chosen = [name.strip() for name in against.split(",") if name.strip()]
    for name in chosen:
        if name not in PEERS:
            raise InputError(
                f"no library {name!r}; there are {', '.join(PEERS)}{near(name, PEERS)}"
            )
    if threads > threads_.available():
        raise InputError(f"--threads {threads}: this process may use {threads_.available()}")
    given, sizes, found = parsed(shapes), numbers(extents), load(place)
    with cores(threads):
        subject = found.at_definition(
            lambda: (step if train else forward)(found, given, sizes, threads)
        )
        sessions, said, wrong = others(chosen, subject)
        runs = {"graphc": own(subject).run, **{name: s.run for name, s in sessions.items()}}
        times = timed(runs, seconds, REST if threads > 1 and len(runs) > 1 else 0.0)
    labels = {"graphc": "graphc", **{name: s.label for name, s in sessions.items()}}
    facts = {
        "what": f"{place}, {'training step' if train else 'forward pass'}",
        "inputs": {name: [str(a.dtype), *a.shape] for name, a in subject.inputs.items()},
        "threads": threads,
        "processor": processor(),
        "times": [row(labels[name], name, time, times["graphc"]) for name, time in times.items()],
        "left_out": said,
    }
    if as_json:
        write(json.dumps(facts, indent=2))
    else:
        write("\n".join(report(facts)), "bench")
    if wrong:
        raise SystemExit(1)


# --- graphc's own ---------------------------------------------------------------------------


def forward(found: Found, given: Specs, sizes: dict[str, int], threads: int) -> Subject:
    """A model's forward pass, or any program that changes no state."""
    program = program_of(found.value)
    model = found.value.model if isinstance(found.value, Trainer) else found.value
    if program is not None:
        return Subject(program, invented(program, sizes), None)
    if isinstance(model, Module):
        result, updates = trace(model, inputs_of(found, model, given))
        program = compile(result, updates, threads=threads)
        inputs = invented(program, sizes)
        return Subject(program, inputs, Work(model, tuple(inputs.values()), threads))
    program = compile(nodes_of(found.name, found.value), threads=threads)
    return Subject(program, invented(program, sizes), None)


def step(found: Found, given: Specs, sizes: dict[str, int], threads: int) -> Subject:
    """A trainer's step, without metrics."""
    trainer = trainer_of(found)
    for_inputs, for_targets = sorted_out(trainer.model, given)
    inputs = inputs_of(found, trainer.model, for_inputs)
    targets = targets_of(found, trainer, inputs, for_targets)
    compiled = compile_train_step(
        trainer.model,
        trainer.loss,
        trainer.optimizer,
        inputs,
        targets,
        threads=threads,
        math=trainer.math,
    )
    arrays = invented(compiled.program, sizes)
    work = Work(
        trainer.model,
        tuple(arrays[name] for name in inputs),
        threads,
        tuple(arrays[name] for name in targets),
        trainer.loss,
        trainer.optimizer,
    )
    return Subject(compiled.program, arrays, work)


def invented(program: Program, sizes: dict[str, int]) -> dict[str, Array]:
    """Random inputs for a program, whole numbers within every bound."""
    return drawn(program.stages, dict.fromkeys(program.image.extents, EXTENT) | sizes)


def own(subject: Subject) -> Session:
    """The program as the other libraries are held: a call, and its numbers."""
    call, inputs = subject.program.by_name, subject.inputs

    def values(result: Any) -> list[Array]:
        parts = result.values() if isinstance(result, dict) else result
        return [np.asarray(part) for part in parts]

    return Session("graphc", lambda: call(inputs), values)


# --- the others -----------------------------------------------------------------------------


def others(
    names: list[str], subject: Subject
) -> tuple[dict[str, Session], list[dict[str, str]], bool]:
    """The libraries that agree; why the rest is left out; whether one's numbers disagree."""
    sessions: dict[str, Session] = {}
    said: dict[str, str] = {}
    for name in names:
        if subject.work is None:
            said[name] = "only what is made of a model's layers is expressible"
            continue
        try:
            sessions[name] = prepare(name, subject.work)
        except ImportError as error:
            said[name] = f"not installed ({error}): pip install 'graphc[bench]'"
        except Exception as error:
            said[name] = refusal(error)
    wrong = False
    steps = STEPS if subject.work is not None and subject.work.trains else 1
    expected = made(own(subject), steps) if sessions else []
    for name, session in list(sessions.items()):
        try:
            distance = apart(expected, made(session, steps))
        except Exception as error:
            said[name] = refusal(error)
            del sessions[name]
            continue
        if distance > CLOSE:
            said[name] = f"its numbers differ, by {distance:.1e} of the largest, so it is not timed"
            del sessions[name]
            wrong = True
    left = [{"library": name, "why": said[name]} for name in names if name in said]
    return sessions, left, wrong


def refusal(error: Exception) -> str:
    """Why a library is left out: what it has no equal for, or how it fails."""
    if isinstance(error, Inexpressible):
        return str(error)
    first = next(iter(str(error).splitlines()), "")
    return f"it fails: {type(error).__name__}: {first}"


def made(session: Session, steps: int) -> list[Array]:
    """The numbers of the first calls."""
    return [np.array(value) for _ in range(steps) for value in session.values(session.run())]


def apart(expected: list[Array], found: list[Array]) -> float:
    """The largest distance, as a part of the largest number; infinite where shapes differ."""
    if [a.shape for a in expected] != [a.shape for a in found]:
        return math.inf
    far = 0.0
    for ours, theirs in zip(expected, found, strict=True):
        scale = float(np.abs(ours).max(initial=0.0)) or 1.0
        gap = float(np.abs(ours.astype(np.float64) - theirs).max(initial=0.0)) / scale
        far = max(far, gap if math.isfinite(gap) else math.inf)
    return far


@contextmanager
def cores(count: int) -> Iterator[None]:
    """Inside, the process keeps to so many cores: no library takes more than it is given."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


# --- what is said ---------------------------------------------------------------------------


def row(label: str, name: str, time: Timing, ours: Timing) -> dict[str, Any]:
    """A library's time as plain data."""
    return {
        "library": name,
        "version": label,
        "seconds": time.median,
        "spread": time.spread,
        "samples": len(time.samples),
        "calls": time.calls,
        "relative": time.median / ours.median,
    }


def report(facts: dict[str, Any]) -> list[str]:
    """The facts as lines."""
    given = ", ".join(
        f"{name} {dtype}[{','.join(map(str, shape))}]"
        for name, (dtype, *shape) in facts["inputs"].items()
    )
    count = f"{facts['threads']} thread{'s' if facts['threads'] > 1 else ''}"
    rows = [
        (
            time["version"],
            f"{time['seconds'] * 1e6:,.1f}",
            f"{time['spread']:.1%}",
            f"{time['relative']:.2f}",
        )
        for time in facts["times"]
    ]
    return [
        f"# {facts['what']}; {given}; {count}; {facts['processor']}",
        *aligned([HEADER, *rows], right=(1, 2, 3)),
        *(f"{left['library']}: {left['why']}" for left in facts["left_out"]),
    ]
