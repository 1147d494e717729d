"""The command group: its verbs, its version, and errors as one message with exit code 2."""

from __future__ import annotations

import importlib
from typing import Any

import click

from graphc import __version__
from graphc.errors import GraphcError, near

VERBS = (
    "summary",
    "inspect",
    "explore",
    "profile",
    "roofline",
    "diff",
    "bench",
    "tune",
    "cache",
    "doctor",
)


class Refusal(click.ClickException):
    """An error of the user's making: its message, and exit code 2."""

    exit_code = 2


class Group(click.Group):
    """Verbs that are imported when they are called, and whose GraphcErrors end in a message."""

    def list_commands(self, context: click.Context) -> list[str]:
        """The verbs in the order of the help."""
        return list(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The verb, from the file of its name."""
        if name not in VERBS:
            return None
        command: click.Command = getattr(importlib.import_module(f"graphc.cli.{name}"), name)
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that the arguments begin with; another word is refused with the nearest."""
        if args[0] not in VERBS:
            raise click.UsageError(f"no verb {args[0]!r}{near(args[0], VERBS) or '.'}", context)
        return super().resolve_command(context, args)

    def invoke(self, context: click.Context) -> Any:
        """Run the verb."""
        try:
            return super().invoke(context)
        except GraphcError as error:
            raise Refusal(str(error)) from None


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="graphc")
def main() -> None:
    """Look inside networks compiled by graphc, tune them, and look at the machine they run on."""
