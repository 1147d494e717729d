"""`graphc roofline`: every kernel's speed beside what this machine can do at most."""

from __future__ import annotations

import json

import click

from graphc.cli.measured import options, subject
from graphc.inspect.colour import write
from graphc.inspect.picture import picture


@click.command(short_help="Print every kernel's speed beside what this machine can do.")
@options
@click.option(
    "--measure", is_flag=True, help="Measure the machine anew; otherwise once a day is enough."
)
def roofline(
    place: str,
    train: bool,
    threads: int | None,
    repeats: int,
    sort: str,
    as_json: bool,
    shapes: tuple[str, ...],
    extents: tuple[str, ...],
    measure: bool,
) -> None:
    """Draw the kernels of what NAME in FILE.py compiles to below the roofs of this machine.

    A roof is what the machine allows a kernel at most: by its multiplications and additions, or by
    the memory traffic of the nearest level that holds its data. FLOPs per byte count what a kernel
    must read and write, each buffer once.

    \b
    Examples:
      graphc roofline examples/digits.py:trainer --train
      graphc roofline examples/digits.py:model --extent batch=256 --measure
      graphc roofline examples/digits.py:model --json
    """
    chosen = subject(place, train, threads, shapes, extents)
    found = chosen.program.roofline(chosen.inputs, repeats=repeats, measure=measure)
    if as_json:
        write(json.dumps(found.as_json() | {"invented": list(chosen.invented)}, indent=2))
        return
    points = found.points
    if sort == "time":
        points = tuple(sorted(points, key=lambda point: point.seconds, reverse=True))
    write("\n".join([picture(found), "", *chosen.notes, found.as_text(points)]))
