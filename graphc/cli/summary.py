"""`graphc summary`: a model's layers as a table."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from graphc.cli.load import load
from graphc.cli.options import shape_option
from graphc.cli.shapes import inputs_of, parsed
from graphc.errors import InputError
from graphc.inspect.colour import write
from graphc.nn.module import Module


@click.command(short_help="Print a model's layers, their shapes, parameters and work.")
@click.argument("place", metavar="FILE.py:NAME")
@shape_option("an input, as x=batch,1,8,8")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def summary(place: str, shapes: tuple[str, ...], as_json: bool) -> None:
    """Print the layers of the model, or of the Trainer's model, that NAME in FILE.py is.

    \b
    Examples:
      graphc summary examples/digits.py:model
      graphc summary examples/digits.py:trainer --json
      graphc summary net.py:model --shape x=batch,3,32,32
    """
    given, found = parsed(shapes), load(place)
    model = getattr(found.value, "model", found.value)
    if not isinstance(model, Module):
        raise InputError(
            f"{found.name} has the type {type(model).__name__}; it may be a model or a Trainer"
        )
    inputs = inputs_of(found, model, given)
    shown = found.at_definition(lambda: model.summary(inputs))
    if as_json:
        write(json.dumps(asdict(shown), indent=2))
    else:
        write(str(shown), "summary")
