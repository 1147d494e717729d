"""`graphc explore`: the explorer page of a compiled model, trainer or program, or of a training."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from graphc.cli.compiled import inference, training
from graphc.cli.inspect import numbers
from graphc.cli.load import load
from graphc.cli.measured import THREADS, beside, limit
from graphc.cli.options import TRAIN, extent_option, shape_option
from graphc.cli.script import browse, served
from graphc.cli.shapes import parsed
from graphc.explorer.explore import explore as write_page
from graphc.explorer.explore import layers_of
from graphc.runtime.invented import EXTENT
from graphc.train.files import check_place


@click.command(short_help="Write a page of all that compiling decided, every pane linked.")
@click.argument("place", metavar="FILE.py:NAME")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARGUMENT...]")
@TRAIN
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    metavar="FILE",
    help="Where the page goes. By default NAME.html, here.",
)
@click.option("--open", "show", is_flag=True, help="Show it in the browser.")
@click.option("--no-run", is_flag=True, help="Run nothing: no times, no gradients.")
@click.option(
    "--serve", is_flag=True, help="Run FILE.py as a script, and serve the page while it trains."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="With --serve, the port of 127.0.0.1; by default one that is free.",
)
@THREADS
@shape_option()
@extent_option(f"to state sizes and measure with, as batch=64; otherwise {EXTENT}")
@click.pass_context
def explore(
    context: click.Context,
    place: str,
    arguments: tuple[str, ...],
    train: bool,
    html: Path | None,
    show: bool,
    no_run: bool,
    serve: bool,
    port: int,
    threads: int | None,
    shapes: tuple[str, ...],
    extents: tuple[str, ...],
) -> None:
    """Write the explorer page of what NAME in FILE.py compiles to: one HTML file, with no network.

    Source, graph, mathematics, passes, kernels, loops, machine code, memory, and the time of every
    kernel, all linked: a click on one shows what belongs to it in the others.

    With --serve, FILE.py without a name is run as a script with the arguments after "--". The page
    of each Trainer shows its curves, weights, gradients and the time of every kernel while it
    trains, at an address that is printed; it can be paused and stopped there. When the script has
    ended, the page stays until Ctrl-C. The exit code is the script's.

    \b
    Examples:
      graphc explore examples/digits.py:model --open
      graphc explore examples/digits.py:trainer --train --threads 1 --html digits.html
      graphc explore net.py:model --shape x=batch,1,8,8 --extent batch=64
      graphc explore --serve examples/digits.py
      graphc explore --serve --port 8000 --open train.py -- --epochs 20
    """
    check_together(context, serve, arguments)
    limit(threads)
    if serve:
        context.exit(served(Path(place), arguments, port, show))
    if html is not None:
        check_place(html)
    given, sizes, found = parsed(shapes), numbers(extents), load(place)
    program = found.at_definition(lambda: (training if train else inference)(found, given))
    arrays = beside(found, {node.op.name for node in program.inputs})
    target = html or Path(f"{found.name.rpartition('.')[2]}.html")
    title = f"{Path(place.rpartition(':')[0]).name}:{found.name}"
    write_page(
        program,
        target,
        inputs=arrays or None,
        title=title,
        run=not no_run,
        extents=sizes,
        layers=layers_of(found.value),
    )
    click.echo(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
    if show:
        browse(target.resolve().as_uri())


def check_together(context: click.Context, serve: bool, arguments: tuple[str, ...]) -> None:
    """Raise UsageError where options are given that mean nothing together."""
    given = {
        parameter.opts[0]: parameter.name
        for parameter in context.command.params
        if context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
    }
    if serve:
        other = [n for n in ("--train", "--html", "--no-run", "--shape", "--extent") if n in given]
        if other:
            raise click.UsageError(f"{other[0]} says how a page is written; --serve writes none")
    elif arguments:
        raise click.UsageError(f"{arguments[0]!r}: only a script that --serve runs has arguments")
    elif "--port" in given:
        raise click.UsageError("--port goes with --serve")
