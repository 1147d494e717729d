"""Quota: how many processors the control groups of this process grant it, in either version."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
"""A line for each hierarchy, `number:controllers:path`; of version 2 `0::path`."""


def granted() -> int | None:
    """The processors that every quota over this process covers, rounded up; None without one.

    A group is held to its own quota and to those of all groups around it. Where a container shows
    its group as the root of the tree, the path that the system names is not there, and the root is
    what counts.
    """
    quotas = [found for folder in folders() if (found := quota(folder)) is not None]
    return min(quotas, default=None)


def folders() -> Iterator[Path]:
    """The folders of this process's groups and of those around them, that may limit processors."""
    try:
        lines = OWN.read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = [ROOT / controllers, ROOT / "cpu"] if controllers else [ROOT, ROOT / "unified"]
        names = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
        for mount in dict.fromkeys(mounts):
            for depth in range(len(names) + 1):
                yield mount.joinpath(*names[:depth])


def quota(folder: Path) -> int | None:
    """The processors that a group's own files grant, rounded up; None where they do not say."""
    words = read(folder, "cpu.max") or read(folder, "cpu.cfs_quota_us", "cpu.cfs_period_us")
    try:
        time, period = map(int, words)
    except ValueError:  # no such files, or "max"
        return None
    return math.ceil(time / period) if time > 0 and period > 0 else None  # -1: no quota


def read(folder: Path, *names: str) -> list[str]:
    """The words in some files of a folder; none where one cannot be read."""
    try:
        return " ".join((folder / name).read_text("ascii") for name in names).split()
    except (OSError, ValueError):
        return []
