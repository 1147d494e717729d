"""`graphc explore`: the explorer page of a compiled model, trainer or program."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from graphc.cli.compiled import inference, training
from graphc.cli.inspect import numbers
from graphc.cli.load import load
from graphc.cli.measured import beside
from graphc.cli.options import TRAIN, extent_option, shape_option
from graphc.cli.shapes import parsed
from graphc.explorer.explore import EXTENT, layers_of
from graphc.explorer.explore import explore as write_page


@click.command(short_help="Write a page of all that compiling decided, every pane linked.")
@click.argument("place", metavar="FILE.py:NAME")
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
@shape_option()
@extent_option(f"to state sizes and measure with, as batch=64; otherwise {EXTENT}")
def explore(
    place: str,
    train: bool,
    html: Path | None,
    show: bool,
    no_run: bool,
    shapes: tuple[str, ...],
    extents: tuple[str, ...],
) -> None:
    """Write the explorer page of what NAME in FILE.py compiles to: one HTML file, with no network.

    Source, graph, mathematics, passes, kernels, loops, machine code, memory, and the time of every
    kernel, all linked: a click on one shows what belongs to it in the others.

    \b
    Examples:
      graphc explore examples/digits.py:model --open
      graphc explore examples/digits.py:trainer --train --html digits.html
      graphc explore net.py:model --shape x=batch,1,8,8 --extent batch=64
    """
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
        webbrowser.open(target.resolve().as_uri())
