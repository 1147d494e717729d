"""Writing files: a refusal of the system is one error of graphc's, with the path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from graphc.errors import GraphcError, InputError, WriteError

Path = str | os.PathLike[str]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What is inside writes the file: a refusal of the system is a WriteError with its path."""
    try:
        yield
    except GraphcError:
        raise
    except OSError as error:
        raise WriteError(f"cannot save {os.fspath(path)}: {error.strerror or error}") from error


def suffix(path: Path, known: tuple[str, ...]) -> str:
    """What kind of file a path names, without its dot. Raises InputError for a kind not known."""
    found = os.path.splitext(os.fspath(path))[1].lower()
    if found not in known:
        raise InputError(
            f"{os.fspath(path)!r} ends in {found or 'no suffix'}; a picture is one of "
            f"{', '.join(known)}"
        )
    return found[1:]
