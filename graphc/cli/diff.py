"""`graphc diff`: two programs stage by stage; or one program, and what an option makes of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import click

from graphc.cli.compiled import inference, training
from graphc.cli.inspect import numbers
from graphc.cli.load import Found, load
from graphc.cli.options import TRAIN, extent_option, shape_option
from graphc.cli.shapes import parsed
from graphc.compiler import PASSES
from graphc.errors import InputError, near
from graphc.inspect.colour import write
from graphc.inspect.compare import Difference, compared, table
from graphc.inspect.subject import program_of
from graphc.llvm.targets import WIDTHS
from graphc.machine import MATH
from graphc.runtime.program import Program
from graphc.runtime.text import STAGES


@click.command(short_help="Compare two programs stage by stage.")
@click.argument("first", metavar="A")
@click.argument("second", metavar="[B]", required=False)
@click.option(
    "--stage", "stages", multiple=True, metavar="STAGE", help="Show this stage. May be repeated."
)
@click.option(
    "--without",
    "passes",
    multiple=True,
    metavar="PASS",
    help="Leave this pass out of B. May be repeated.",
)
@click.option("--math", type=click.Choice(MATH), default=None, help="B's math.")
@click.option("--target", type=click.Choice(list(WIDTHS)), default=None, help="B's target.")
@TRAIN
@shape_option()
@extent_option("for memory, as batch=64; otherwise 1")
@click.option(
    "--context", type=click.IntRange(0), default=3, show_default=True, help="Lines around a change."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def diff(
    first: str,
    second: str | None,
    stages: tuple[str, ...],
    passes: tuple[str, ...],
    math: str | None,
    target: str | None,
    train: bool,
    shapes: tuple[str, ...],
    extents: tuple[str, ...],
    context: int,
    as_json: bool,
) -> None:
    """Compare what A and B compile to; each is a FILE.py:NAME, and B is A where it is left out.

    Prints for every stage whether it is equal, then the first that differs; with --stage, the
    difference of those. Lines of source and the widths of columns do not count. Exits with 1 where
    something differs.

    \b
    Examples:
      graphc diff net.py:model net.py:wider
      graphc diff examples/digits.py:model --without fuse
      graphc diff examples/digits.py:trainer --train --without pack --stage simplified
      graphc diff examples/digits.py:model --target sse2 --stage loops --json
    """
    check(stages, STAGES, "stage")
    check(passes, PASSES, "pass")
    if second is None and not (passes or math or target):
        raise InputError(
            f"{first} alone: give a second FILE.py:NAME to compare it with, or what to change of "
            "it: --without PASS, --math or --target"
        )
    one = load(first)
    other = one if second in (None, first) else load(str(second))
    changes = {"GRAPHC_SKIP": ",".join(passes), "GRAPHC_TARGET": target or ""}
    if any((passes, math, target)) and program_of(other.value) is not None:
        raise InputError(f"{other.name} is compiled already: nothing about it can be changed")
    given, sizes = parsed(shapes), numbers(extents)

    def program(found: Found, math: str | None) -> Program:
        return found.at_definition(lambda: (training if train else inference)(found, given, math))

    def texts(program: Program) -> dict[str, str]:
        return {stage: program.as_text(stage, **sizes) for stage in stages or STAGES}

    before = texts(program(one, None))
    with settings(changes):
        after = texts(program(other, math))
    found = compared(before.__getitem__, after.__getitem__, stages or STAGES)
    way = [*(f"--without {p}" for p in passes)]
    way += [f"--{k} {v}" for k, v in (("math", math), ("target", target)) if v]
    names = (first, " ".join([second or first, *way]))
    if as_json:
        write(json.dumps(as_data(found, names, bool(stages), context), indent=2))
    else:
        report(found, names, bool(stages), context)
    if not all(one.equal for one in found):
        raise SystemExit(1)


def check(given: tuple[str, ...], known: Mapping[str, object] | tuple[str, ...], what: str) -> None:
    """Refuse a name that is not known, with the nearest ones."""
    for name in given:
        if name not in known:
            raise InputError(f"no {what} {name!r}; there are {', '.join(known)}{near(name, known)}")


@contextmanager
def settings(changes: Mapping[str, str]) -> Iterator[None]:
    """Some GRAPHC_* settings for what is compiled and looked at inside; GRAPHC_SKIP grows."""
    before = {name: os.environ.get(name) for name in changes}
    for name, value in changes.items():
        old = before[name] if name == "GRAPHC_SKIP" else None
        if value:
            os.environ[name] = ",".join(filter(None, (old, value)))
    try:
        yield
    finally:
        for name, old in before.items():
            os.environ.pop(name, None)
            if old is not None:
                os.environ[name] = old


def shown(found: list[Difference], asked: bool) -> list[Difference]:
    """The stages to be printed: those that were asked for, else the first that differs."""
    different = [one for one in found if not one.equal]
    return different if asked else different[:1]


def report(found: list[Difference], names: tuple[str, str], asked: bool, context: int) -> None:
    """Print the table of stages, then the differences."""
    if not asked:
        write("\n".join(table(found)), "diff stages")
    for one in shown(found, asked):
        write("" if not asked else f"{one.stage}:")
        write("\n".join(one.lines(names, context)), "diff")
    if asked:
        equal = [one.stage for one in found if one.equal]
        if equal:
            write(f"equal: {', '.join(equal)}")


def as_data(
    found: list[Difference], names: tuple[str, str], asked: bool, context: int
) -> dict[str, object]:
    """The same as plain data."""
    return {
        "a": names[0],
        "b": names[1],
        "equal": all(one.equal for one in found),
        "stages": [one.as_data() for one in found],
        "differences": {one.stage: one.lines(names, context) for one in shown(found, asked)},
    }
