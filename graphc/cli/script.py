"""Running a user's file as a script whose trainings are served to the browser."""

from __future__ import annotations

import runpy
import signal
import sys
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import click

from graphc.cli.load import blame
from graphc.errors import InputError
from graphc.explorer.live import Live
from graphc.train.callbacks import watching

INTERRUPTED = 130
"""The exit code of what Ctrl-C ended, as shells have it."""


def served(path: Path, arguments: Sequence[str], port: int, show: bool) -> int:
    """Run a script, its trainings live; the script's exit code, once Ctrl-C ends the serving.

    Raises InputError where the file is missing, and as Live does.
    """
    if not path.is_file():
        whole, colon, _ = str(path).rpartition(":")
        if colon and Path(whole).is_file():
            raise InputError(f"--serve runs a whole file: give {whole}, without a name")
        raise InputError(f"no file {str(path)!r}; give FILE.py")
    with Live(port) as live:
        click.echo(f"live: {live.address}", err=True)
        if show:
            browse(live.address)
        with watching(live):
            code = run(path, arguments)
        sys.stdout.flush()
        if code != INTERRUPTED and any(run.seen for run in live.runs.values()):
            click.echo(f"{path} has ended; its page stays until Ctrl-C", err=True)
            wait()
    return code


def browse(address: str) -> None:
    """Show a page in the browser, or say that there is none."""
    if not webbrowser.open(address):
        click.echo(f"no browser could be started; the page is at {address}", err=True)


def run(path: Path, arguments: Sequence[str]) -> int:
    """Run a file as `python FILE ARGUMENTS` does, and return its exit code."""
    argv, sys.argv = sys.argv, [str(path), *arguments]
    sys.path.insert(0, str(path.resolve().parent))
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        return code_of(end)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        click.echo(f"Traceback (most recent call last):\n{blame(error)}", err=True)
        return 1
    finally:
        sys.path.pop(0)
        sys.argv = argv
    return 0


def code_of(end: SystemExit) -> int:
    """The exit code that SystemExit means: 1 for a message, which is printed."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    click.echo(str(end.code), err=True)
    return 1


def wait() -> None:
    """Return at Ctrl-C, whatever the script did with it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo(err=True)
