"""Options that several verbs take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

TRAIN: Decorator = click.option(
    "--train", is_flag=True, help="The training step of a Trainer, not the forward pass."
)


def shape_option(what: str = "an input or target, as x=batch,1,8,8 or y=batch:int64") -> Decorator:
    """--shape, any number of times, of `what`."""
    return click.option(
        "--shape",
        "shapes",
        multiple=True,
        metavar="NAME=EXTENTS",
        help=f"Shape of {what}. May be repeated.",
    )


def extent_option(use: str) -> Decorator:
    """--extent, any number of times, for `use`."""
    return click.option(
        "--extent",
        "extents",
        multiple=True,
        metavar="NAME=N",
        help=f"A run-time extent {use}.",
    )
