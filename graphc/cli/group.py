"""The command group: its verbs, its version, and errors as one message with exit code 2."""

from __future__ import annotations

from typing import Any

import click

from graphc import __version__
from graphc.cli.doctor import doctor
from graphc.cli.inspect import inspect
from graphc.cli.summary import summary
from graphc.errors import GraphcError


class Refusal(click.ClickException):
    """An error of the user's making: its message, and exit code 2."""

    exit_code = 2


class Group(click.Group):
    """A group whose verbs may raise GraphcError; the user sees the message alone."""

    def invoke(self, context: click.Context) -> Any:
        """Run the verb."""
        try:
            return super().invoke(context)
        except GraphcError as error:
            raise Refusal(str(error)) from None


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="graphc")
def main() -> None:
    """Look inside networks compiled by graphc, and at the machine they run on."""


main.add_command(inspect)
main.add_command(summary)
main.add_command(doctor)
