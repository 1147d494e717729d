"""`graphc tune`: alternative schedules measured on this machine, the winners kept in the cache."""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from graphc.cli.compiled import inference, training
from graphc.cli.inspect import numbers
from graphc.cli.load import load
from graphc.cli.options import TRAIN, extent_option, shape_option
from graphc.cli.shapes import parsed
from graphc.errors import InputError
from graphc.inspect.colour import write
from graphc.loops.choice import described
from graphc.tuning import tune as tuning
from graphc.tuning.tune import Moment, Row


@click.command(short_help="Measure schedules on this machine and keep the fastest.")
@click.argument("place", metavar="FILE.py:NAME")
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    metavar="K",
    help="Only this kernel, such as k03. May be repeated.",
)
@TRAIN
@click.option(
    "--budget",
    type=float,
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="After so long no further schedule is tried.",
)
@click.option("--dry-run", is_flag=True, help="Measure, and keep nothing.")
@click.option("--reset", "forget", is_flag=True, help="Forget what was found for these kernels.")
@click.option("--json", "as_json", is_flag=True, help="The outcome as JSON, for programs.")
@shape_option()
@extent_option("to measure with, as batch=64; otherwise 128")
def tune(
    place: str,
    kernels: tuple[str, ...],
    train: bool,
    budget: float,
    dry_run: bool,
    forget: bool,
    as_json: bool,
    shapes: tuple[str, ...],
    extents: tuple[str, ...],
) -> None:
    """Measure alternative schedules for the kernels of what NAME in FILE.py compiles to.

    A schedule is kept where it is faster beyond noise and computes the same bits; programs that
    are compiled afterwards take it. Nothing needs to be tuned: the cost model chooses well.

    \b
    Examples:
      graphc tune examples/digits.py:trainer --train --budget 30
      graphc tune examples/digits.py:model --kernel k00 --dry-run
      graphc tune examples/digits.py:model --reset
    """
    if forget and dry_run:
        raise InputError("--reset forgets, --dry-run changes nothing: give one of them")
    given, sizes, found = parsed(shapes), numbers(extents), load(place)
    program = found.at_definition(lambda: (training if train else inference)(found, given))
    chosen = list(kernels) or None
    if forget:
        count = tuning.reset(program, chosen)
        write(json.dumps({"forgotten": count}) if as_json else f"forgot {count} kernels' schedules")
        return
    with Shown() as shown:
        outcome = tuning.tune(
            program,
            kernels=chosen,
            budget=budget,
            dry_run=dry_run,
            progress=shown.moment,
            **sizes,
        )
    write(json.dumps(outcome.as_json(), indent=2) if as_json else str(outcome))


class Shown:
    """Progress on stderr: a bar on a terminal, else a line for each kernel that is done."""

    def __init__(self) -> None:
        console = Console(stderr=True, highlight=False)
        self.bar = None
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn())
            self.bar = Progress(*columns, TextColumn("{task.fields[note]}"), console=console)
        self.task: TaskID | None = None

    def __enter__(self) -> Self:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def moment(self, moment: Moment) -> None:
        """Show where the tuning stands."""
        if self.bar is None:
            if moment.row is not None:
                print(f"{moment.number} of {moment.total}  {line(moment.row)}", file=sys.stderr)
            return
        if self.task is None:
            self.task = self.bar.add_task("", total=moment.total, note="")
        done = moment.number - (moment.row is None)
        note = f"{moment.tried} schedules tried"
        self.bar.update(self.task, description=moment.kernel, completed=done, note=note)
        if moment.row is not None and moment.row.finding.choices:
            self.bar.console.print(line(moment.row))


def line(row: Row) -> str:
    """A kernel's outcome on a line."""
    found = row.finding
    if not found.choices:
        return (
            f"{row.kernel}: {found.before * 1e6:,.1f} us, of {found.tried + 1} schedules the best"
        )
    return (
        f"{row.kernel}: {found.before * 1e6:,.1f} us -> {found.after * 1e6:,.1f} us, "
        f"{row.speed:.2f}x, {described(found.choices)}"
    )
