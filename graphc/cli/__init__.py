"""The command line: a file a verb."""

from graphc.cli.group import main

__all__ = ["main"]
