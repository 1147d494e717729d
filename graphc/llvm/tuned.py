"""What measuring has decided, on disk: the choices of kernels, each under the kernel's own text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from graphc import cache
from graphc.llvm import engine
from graphc.llvm.targets import Target
from graphc.loops.choice import Choices, read, written

ROOM = "tuned"


@dataclass(frozen=True)
class Entry:
    """A kernel's choices, and its seconds before and after they were found."""

    choices: Choices
    before: float
    after: float


def key(text: str, target: Target) -> str:
    """The key of a kernel's exact text on a target: of its machine and of the generator too."""
    return engine.digest(f"tuned\n{text}", target)


def entries() -> frozenset[str]:
    """The keys of all that is kept, as the folder tells; what stands in the files is not read."""
    inside = cache.place(ROOM)
    if inside is None:
        return frozenset()
    try:
        return frozenset(path.stem for path in inside.glob("*.o"))
    except OSError:
        return frozenset()


def state() -> str:
    """What tells one state of all entries from another: part of the key of a program's image."""
    inside, found = cache.place(ROOM), []
    for name in sorted(entries()):
        try:
            status = (inside / f"{name}.o").stat() if inside is not None else None
        except OSError:
            continue
        found.append((name, status and (status.st_size, status.st_mtime_ns)))
    return repr(found)


def find(text: str, target: Target, known: frozenset[str]) -> Entry | None:
    """What is kept for a kernel, among the keys `known`; None for nothing, or nothing sound."""
    found = key(text, target) if known else ""
    data = cache.read(found, ROOM) if found in known else None
    if data is None:
        return None
    try:
        return unpack(json.loads(data))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def unpack(found: Any) -> Entry:
    """The entry in what JSON held. Raises ValueError, KeyError or TypeError where it holds none."""
    before, after = float(found["before"]), float(found["after"])
    if not 0 < after <= before < float("inf"):
        raise ValueError(f"{before} and {after} seconds")
    return Entry(read(found["choices"]), before, after)


def keep(text: str, target: Target, entry: Entry) -> None:
    """Write an entry; a folder that cannot be written is passed over."""
    found = {
        "choices": written(entry.choices),
        "before": entry.before,
        "after": entry.after,
    }
    cache.write(key(text, target), json.dumps(found).encode(), ROOM)


def forget(text: str, target: Target) -> bool:
    """Delete what is kept for a kernel; whether there was something."""
    found = key(text, target)
    there = found in entries()
    cache.forget(found, ROOM)
    return there
