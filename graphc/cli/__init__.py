"""The command line: graphc inspect, summary and doctor."""

from graphc.cli.group import main

__all__ = ["main"]
