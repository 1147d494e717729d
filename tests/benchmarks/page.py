"""Measured parts of a page of docs, between two marks that a command knows."""

from __future__ import annotations

from pathlib import Path


def marks(name: str) -> tuple[str, str]:
    """The lines around the part that the command `python -m tests.benchmarks.NAME` writes."""
    return (
        f"<!-- written by tests.benchmarks.{name} -->",
        f"<!-- end of tests.benchmarks.{name} -->",
    )


def placed(page: str, name: str, text: str) -> str:
    """The page with another text in a command's part. Raises LookupError where it has none."""
    begin, end = marks(name)
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise LookupError(f"the page has no lines {begin!r} and, below, {end!r}")
    return f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}"


def write(path: Path, name: str, text: str) -> None:
    """Write a command's part of a page. Raises LookupError as `placed` does, and OSError."""
    path.write_text(placed(path.read_text("utf-8"), name, text), "utf-8")
