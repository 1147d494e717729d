"""`graphc inspect`: any stage of a compiled model, trainer or program."""

from __future__ import annotations

import json

import click

from graphc.cli.compiled import inference, training
from graphc.cli.load import load
from graphc.cli.options import TRAIN, extent_option, shape_option
from graphc.cli.shapes import parsed
from graphc.errors import InputError, near
from graphc.inspect.colour import write
from graphc.inspect.data import kernel_data, stage_data
from graphc.machine import MATH
from graphc.runtime.text import STAGES

VIEWS = (*STAGES, "kernels", "cost")


@click.command(short_help="Print a stage of a compiled model, trainer or program.")
@click.argument("place", metavar="FILE.py:NAME")
@click.option(
    "--stage",
    default=None,
    metavar="STAGE",
    help=f"One of {', '.join(VIEWS)}. By default graph; with --kernel, loops.",
)
@click.option("--kernel", default=None, metavar="K", help="Only this kernel, such as k03.")
@click.option("--explain", default=None, metavar="NODE", help="Explain a node, layer or kernel.")
@TRAIN
@shape_option()
@click.option(
    "--math",
    type=click.Choice(MATH),
    default=None,
    help="Exact, or fast at the cost of digits. By default the trainer's, else exact.",
)
@extent_option("for memory and cost, as batch=64; otherwise 1")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def inspect(
    place: str,
    stage: str | None,
    kernel: str | None,
    explain: str | None,
    train: bool,
    shapes: tuple[str, ...],
    extents: tuple[str, ...],
    math: str | None,
    as_json: bool,
) -> None:
    """Print a stage of what NAME in FILE.py compiles to.

    NAME is a model, a Trainer, a compiled program, a node, or a function that returns one. The file
    is imported, not run as a script.

    \b
    Examples:
      graphc inspect examples/digits.py:model --stage loops
      graphc inspect examples/digits.py:trainer --train --stage asm --kernel k03
      graphc inspect net.py:model --shape x=batch,1,8,8 --explain relu_1
      graphc inspect examples/digits.py:trainer --train --stage cost --extent batch=32 --json
    """
    if explain is not None and (as_json or stage or kernel):
        raise InputError("--explain tells of one node, layer or kernel in words: give it alone")
    if stage not in (None, *VIEWS):
        known = ", ".join(VIEWS)
        raise InputError(f"no stage {stage!r}; there are {known}{near(str(stage), VIEWS)}")
    given, found = parsed(shapes), load(place)
    program = found.at_definition(lambda: (training if train else inference)(found, given, math))
    if explain is not None:
        write(program.explain(explain))
    elif as_json:
        sizes = numbers(extents)
        facts = (
            stage_data(program, stage or "graph", sizes)
            if kernel is None
            else kernel_data(program.kernels[kernel], stage or "loops")
        )
        write(json.dumps(facts, indent=2))
    elif kernel is not None:
        chosen = stage or "loops"
        write(program.kernels[kernel].as_text(chosen), chosen)
    elif stage == "kernels":
        write(repr(program.kernels))
    elif stage == "cost":
        write(str(program.cost(**numbers(extents))), stage)
    else:
        chosen = stage or "graph"
        write(program.as_text(chosen, **numbers(extents)), chosen)


def numbers(options: tuple[str, ...]) -> dict[str, int]:
    """Every NAME=N as name -> number. Raises InputError."""
    found = {}
    for option in options:
        name, _, number = option.partition("=")
        if not name or not number.isdigit():
            raise InputError(f"--extent {option!r}: write NAME=N, as batch=64")
        found[name] = int(number)
    return found
