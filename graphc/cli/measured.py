"""What `profile` and `roofline` measure: a program, and inputs for it, given or invented."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import click
import numpy as np

from graphc.cli.compiled import inference, training
from graphc.cli.inspect import numbers
from graphc.cli.load import Found, load
from graphc.cli.options import TRAIN, Decorator, extent_option, shape_option
from graphc.cli.shapes import parsed
from graphc.errors import InputError
from graphc.runtime import invented
from graphc.runtime.program import Program
from graphc.runtime.threads import VARIABLE

Array = np.ndarray[Any, Any]
INVENTED = "# the inputs are invented: numbers between 0 and 1, indices within bounds"

THREADS: Decorator = click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Use at most so many threads, where the file itself says nothing.",
)

OPTIONS: tuple[Decorator, ...] = (
    click.argument("place", metavar="FILE.py:NAME"),
    TRAIN,
    THREADS,
    click.option(
        "--repeats",
        type=click.IntRange(min=1),
        default=50,
        show_default=True,
        metavar="N",
        help="How many steps are timed.",
    ),
    click.option(
        "--sort",
        type=click.Choice(["time", "order"]),
        default="time",
        show_default=True,
        help="Kernels by the time they take, or in the order in which they run.",
    ),
    click.option("--json", "as_json", is_flag=True, help="All numbers as JSON, for programs."),
    shape_option(),
    extent_option(f"to measure with, as batch=64; otherwise {invented.EXTENT}"),
)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments and options that both verbs take."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True)
class Subject:
    """A program, its inputs by name and the extents that none tells, and what was invented."""

    program: Program
    inputs: dict[str, Array | int]
    invented: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        """What is to be said of the inputs above a table."""
        return [INVENTED] if self.invented else []


def subject(
    place: str,
    train: bool,
    threads: int | None,
    shapes: tuple[str, ...],
    extents: tuple[str, ...],
) -> Subject:
    """What NAME in FILE.py compiles to, with inputs from the file or invented ones.

    The file's are the arrays in NAME_inputs and NAME_targets. Raises InputError.
    """
    given, sizes = parsed(shapes), numbers(extents)
    limit(threads)
    found = load(place)
    program = found.at_definition(lambda: (training if train else inference)(found, given))
    named = program.image.extents
    arrays = beside(found, {node.op.name for node in program.inputs})
    told = {
        extent: array.shape[0]
        for node in program.inputs
        if (array := arrays.get(node.op.name)) is not None and array.ndim
        for extent in node.type.symbols
    }
    for extent, size in told.items():
        if sizes.get(extent, size) != size:
            raise InputError(
                f"--extent {extent}={sizes[extent]}: the arrays in {found.name}_inputs or "
                f"{found.name}_targets have {extent} = {size}"
            )
    known = dict.fromkeys(named, invented.EXTENT) | told | sizes
    made = invented.inputs(program.stages, known)
    missing = tuple(name for name in made if name not in arrays)
    given_by_name = {name: arrays.get(name, made[name]) for name in made}
    return Subject(
        program, given_by_name | {n: known[n] for n in program.signature.untold}, missing
    )


def limit(threads: int | None) -> None:
    """Have programs use at most so many threads from now on."""
    if threads is not None:
        os.environ[VARIABLE] = str(threads)


def beside(found: Found, names: set[str]) -> dict[str, Array]:
    """The arrays that the file has for a program's inputs."""
    arrays: dict[str, Array] = {}
    for kind in ("inputs", "targets"):
        held = found.beside(f"{found.name}_{kind}")
        if isinstance(held, Mapping):
            arrays |= {n: a for n, a in held.items() if isinstance(a, np.ndarray) and n in names}
    return arrays
