"""`python -m tests.exhaustive`: measure the elementary functions over every float32."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from graphc.llvm.targets import WIDTHS, target
from tests.exhaustive import record, report
from tests.exhaustive.subjects import NAMED, Subject
from tests.exhaustive.sweep import Outcome, sweep


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.exhaustive", description=__doc__)
    host = target().name
    names = list(NAMED)
    parser.add_argument("--functions", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument(
        "--target",
        nargs="+",
        choices=[name for name in WIDTHS if target(name).native],
        default=list(dict.fromkeys((host, "sse2" if host != "neon" else host))),
        metavar="NAME",
        help="the host's best and sse2 unless given",
    )
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="one operand in N, as a sample"
    )
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FOLDER",
        help="keep each function's outcome there, and take those that are there already",
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page")
    return parser.parse_args(argv)


def measure(options: argparse.Namespace, console: Console) -> list[Outcome]:
    """Every function that was asked for, in the order asked."""
    outcomes = []
    for name in options.functions:
        subject = NAMED[name]
        if not options.record:
            found = with_bar(subject, options, console)
        else:
            path = record.place(options.record, subject, options.target, options.every)
            if not path.exists():
                record.write(path, with_bar(subject, options, console))
            found = record.read(path, subject)
        errors = ", ".join(f"{t} {report.error(tally)}" for t, tally in found.tallies.items())
        verdict = "" if found.within else "  MISSED"
        console.print(f"{name:12}{errors}  of {subject.bound:g}, {found.seconds:.0f} s{verdict}")
        outcomes.append(found)
    return outcomes


def with_bar(subject: Subject, options: argparse.Namespace, console: Console) -> Outcome:
    """Sweep a function and show how far it has come."""
    columns = (TextColumn("{task.description:12}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(subject.name, total=1.0)
        return sweep(
            subject,
            options.target,
            options.every,
            advance=lambda part: progress.update(task, completed=part),
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write. The exit status is 1 if a bound is missed."""
    options, console = arguments(argv), Console(highlight=False)
    outcomes = measure(options, console)
    console.print(report.table(outcomes, options.target))
    if options.markdown:
        when = time.strftime("%Y-%m-%d")
        page = report.markdown(outcomes, options.target, options.every, when)
        options.markdown.write_text(page, "utf-8")
    return 0 if all(outcome.within for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
