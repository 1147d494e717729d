"""`graphc profile`: the time of every kernel inside the step, as a table, JSON or a trace."""

from __future__ import annotations

import json

import click

from graphc.cli.measured import options, subject
from graphc.inspect.colour import write


@click.command(short_help="Print the time that every kernel takes inside the step.")
@options
@click.option(
    "--trace", default=None, metavar="FILE", help="Write a trace of some steps for Perfetto."
)
def profile(
    place: str,
    train: bool,
    threads: int | None,
    repeats: int,
    sort: str,
    as_json: bool,
    shapes: tuple[str, ...],
    extents: tuple[str, ...],
    trace: str | None,
) -> None:
    """Print the time of every kernel of what NAME in FILE.py compiles to.

    The times are taken inside the step, and add up to it. The state is left as it was.

    \b
    Examples:
      graphc profile examples/digits.py:trainer --train
      graphc profile examples/digits.py:model --extent batch=256 --threads 2
      graphc profile examples/digits.py:trainer --train --trace t.json
    """
    chosen = subject(place, train, threads, shapes, extents)
    found = chosen.program.profile(chosen.inputs, repeats=repeats)
    if trace is not None:
        found.to_trace(trace)
    if as_json:
        write(json.dumps(found.as_json() | {"invented": list(chosen.invented)}, indent=2))
        return
    rows = found.rows
    if sort == "time":
        rows = tuple(sorted(rows, key=lambda row: row.seconds, reverse=True))
    write("\n".join([*chosen.notes, found.as_text(rows)]))
