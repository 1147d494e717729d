"""The cache on disk: owner-only, written atomically, checked before use; and what its keys name.

Object code and images lie in its folder, what belongs together apart from them in rooms below it.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from functools import cache as cache_forever
from pathlib import Path

MAGIC = b"graphc1\n"
OURS = re.compile(r"[0-9a-f]{64}\.o|\.new-\w+")
"""The names of files that graphc writes: of objects by their keys, and of unfinished ones."""


def folder() -> Path | None:
    """Where objects are kept: GRAPHC_CACHE_DIR, else the user's cache; None where it is "off"."""
    named = os.environ.get("GRAPHC_CACHE_DIR")
    if named == "off":
        return None
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "graphc"


def trusted(path: Path) -> bool:
    """Whether a folder is ours alone: code is loaded from it."""
    try:
        status = path.stat()
    except OSError:
        return False
    return not hasattr(os, "getuid") or (
        status.st_uid == os.getuid() and not status.st_mode & 0o022
    )


def place(room: str = "") -> Path | None:
    """The folder of a room, where it and the cache are ours alone; else None."""
    root = folder()
    if root is None or not trusted(root):
        return None
    inside = root / room
    return inside if not room or trusted(inside) else None


def ready() -> bool:
    """Whether something can be kept; the folder is made where it is missing."""
    root = folder()
    if root is None:
        return False
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return False
    return trusted(root) and os.access(root, os.W_OK)


def read(key: str, room: str = "") -> bytes | None:
    """The object kept under a key; None where there is none, or where it is damaged."""
    inside = place(room)
    if inside is None:
        return None
    path = inside / f"{key}.o"
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    head, data = raw[: len(MAGIC) + 32], raw[len(MAGIC) + 32 :]
    if (
        head[: len(MAGIC)] != MAGIC
        or hashlib.sha256(key.encode() + data).digest() != head[len(MAGIC) :]
    ):
        path.unlink(missing_ok=True)
        return None
    return data


def forget(key: str, room: str = "") -> None:
    """Delete the object kept under a key."""
    inside = place(room)
    if inside is not None:
        (inside / f"{key}.o").unlink(missing_ok=True)


def write(key: str, data: bytes, room: str = "") -> None:
    """Keep an object; a folder that cannot be written is passed over."""
    root = folder()
    if root is None:
        return
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        if room and trusted(root):
            (root / room).mkdir(exist_ok=True, mode=0o700)
        inside = place(room)
        if inside is None:
            return
        handle, name = tempfile.mkstemp(dir=inside, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(MAGIC + hashlib.sha256(key.encode() + data).digest() + data)
            os.replace(name, inside / f"{key}.o")
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError:
        return


# --- what is kept ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A file of the cache: where it is, the room it lies in ("" for none), its size and date.

    `begins` are the first bytes of what is kept in it; None for a file that is damaged, or was
    left behind unfinished.
    """

    path: Path
    room: str
    size: int
    written: float
    begins: bytes | None


def entries() -> list[Entry]:
    """Every file of graphc's in its folder and the rooms below, the newest first.

    Empty where the folder is not ours alone. Other files, links, and what lies in folders that
    others may write to, are passed over.
    """
    root = place()
    if root is None:
        return []
    below = [path for path in listed(root) if path.is_dir() and not path.is_symlink()]
    found = [
        entry
        for folder in (root, *filter(trusted, below))
        for path in listed(folder)
        if (entry := look(path, "" if folder == root else folder.name)) is not None
    ]
    return sorted(found, key=lambda entry: (-entry.written, str(entry.path)))


def listed(folder: Path) -> list[Path]:
    """What a folder holds; nothing where it cannot be read."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def look(path: Path, room: str) -> Entry | None:
    """A file as an entry; None for one that is none of graphc's, or is gone."""
    if path.is_symlink() or not OURS.fullmatch(path.name):
        return None
    try:
        status = path.stat()
        with path.open("rb") as file:
            head = file.read(len(MAGIC) + 32 + 64)
    except OSError:
        return None
    whole = head.startswith(MAGIC) and path.suffix == ".o"
    begins = head[len(MAGIC) + 32 :] if whole else None
    return Entry(path, room, status.st_size, status.st_mtime, begins)


def clear() -> list[Entry]:
    """Delete every entry; those that were deleted."""
    gone = []
    for entry in entries():
        try:
            entry.path.unlink()
        except OSError:
            continue
        gone.append(entry)
    return gone


# --- keys -----------------------------------------------------------------------------------


def digest(*parts: str) -> str:
    """The key of what depends on some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@cache_forever
def source(rooms: tuple[str, ...]) -> str:
    """What tells one version of some rooms of this package from another: its files' dates."""
    return repr([*map(room_dates, rooms)])


@cache_forever
def room_dates(room: str) -> list[tuple[str, int, int]]:
    """Those of one room, looked at once: the keys of several things name the same rooms."""
    return dates(os.path.join(os.path.dirname(os.path.abspath(__file__)), room))


def dates(path: str) -> list[tuple[str, int, int]]:
    """Name, size and date of a source, or of all those in a folder and below it."""
    if path.endswith(".py"):
        status = os.stat(path)
        return [(os.path.basename(path), status.st_size, status.st_mtime_ns)]
    with os.scandir(path) as entries:
        inside = sorted(e.path for e in entries if e.name.endswith(".py") or below(e))
    return [found for name in inside for found in dates(name)]


def below(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder of sources is one of sources too."""
    return entry.name != "__pycache__" and entry.is_dir()
