"""The GRAPHC_* settings, stage timing and dumps.

GRAPHC_DEBUG=1..4     times; loops; the graph after each pass; LLVM and assembly (on stderr)
GRAPHC_DUMP=dir       numbered files, one a stage, that diff
GRAPHC_SKIP=fuse,...  leave passes out, to bisect
GRAPHC_REFERENCE=1    run the numpy oracle instead of native code
GRAPHC_DEBUG_NANS=1   name the node that makes a NaN; inf: or an infinity
GRAPHC_TARGET=avx2    generate for another level: avx512, avx2, sse2, neon
GRAPHC_CACHE_DIR=dir  where compiled objects are kept ("off": nowhere)
GRAPHC_DEBUG_INFO=1   machine code that says which line of the user's code it is for: for gdb
GRAPHC_PERF=dir       that, and what `perf` needs to know of it: dir/jit-PID.dump, /tmp/perf-PID.map
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from graphc.errors import InputError


def level() -> int:
    """GRAPHC_DEBUG as a number, 0 where it is unset. Raises InputError if it is no number."""
    text = os.environ.get("GRAPHC_DEBUG") or "0"
    if not text.isdigit():
        raise InputError(f"GRAPHC_DEBUG is a number from 0 to 4, not {text!r}")
    return int(text)


def skipped(known: Iterable[str]) -> frozenset[str]:
    """The passes named in GRAPHC_SKIP. Raises InputError for one that is not known."""
    parts = map(str.strip, os.environ.get("GRAPHC_SKIP", "").split(","))
    named = frozenset(filter(None, parts))
    strange = named - set(known)
    if strange:
        raise InputError(
            f"GRAPHC_SKIP names {', '.join(sorted(strange))}; the passes that can be left out are "
            f"{', '.join(known)}"
        )
    return named


def dumps() -> bool:
    """Whether GRAPHC_DUMP names a folder."""
    return bool(os.environ.get("GRAPHC_DUMP"))


def reference() -> bool:
    """Whether GRAPHC_REFERENCE asks for the numpy oracle."""
    return os.environ.get("GRAPHC_REFERENCE", "") not in ("", "0")


def lines() -> bool:
    """Whether GRAPHC_DEBUG_INFO, or GRAPHC_PERF, asks for line information in machine code."""
    return os.environ.get("GRAPHC_DEBUG_INFO", "") not in ("", "0") or perf() is not None


def perf() -> Path | None:
    """The folder in which GRAPHC_PERF asks for a record of loaded code; None where it is unset."""
    named = os.environ.get("GRAPHC_PERF")
    return Path(named).expanduser() if named else None


def nans() -> bool | str:
    """What GRAPHC_DEBUG_NANS asks for: nothing, NaN, or "inf". Raises InputError for another."""
    text = os.environ.get("GRAPHC_DEBUG_NANS") or "0"
    known: dict[str, bool | str] = {"0": False, "1": True, "inf": "inf"}
    if text not in known:
        raise InputError(f"GRAPHC_DEBUG_NANS is {', '.join(known)}, not {text!r}")
    return known[text]


@dataclass
class Log:
    """What one compilation did: seconds by stage, and dumps where they are asked for."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time inside to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent
            if level() >= 1:
                print(f"graphc: {stage:<12} {spent * 1e3:8.2f} ms", file=sys.stderr)

    def dump(self, stage: str, needed: int, text: Callable[[], str]) -> None:
        """Print a stage's text at GRAPHC_DEBUG >= needed; write it to GRAPHC_DUMP."""
        if level() >= needed:
            print(f"--- {stage}\n{text()}", file=sys.stderr)
        folder = os.environ.get("GRAPHC_DUMP")
        if folder:
            path = Path(folder).expanduser()
            try:
                path.mkdir(parents=True, exist_ok=True)
                number = len(list(path.iterdir()))
                (path / f"{number:03d}-{stage}.txt").write_text(text() + "\n")
            except OSError as error:
                raise InputError(f"GRAPHC_DUMP={folder}: cannot write there: {error}") from None
