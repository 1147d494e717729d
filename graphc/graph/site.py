"""Where a node comes from: the user's file and line, and the path of the layer being traced."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from types import FrameType

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

_path: ContextVar[str] = ContextVar("graphc_layer_path", default="")
_pinned: ContextVar[Site | None] = ContextVar("graphc_site", default=None)
_home: ContextVar[tuple[FrameType, Site] | None] = ContextVar("graphc_home", default=None)
_deriving: ContextVar[bool] = ContextVar("graphc_deriving", default=False)


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the user's code: file, line, and the layer's path ("" outside layers).

    `derived` marks what differentiation made for the place; it is the same place all the same.
    """

    file: str
    line: int
    path: str = ""
    derived: bool = field(default=False, compare=False, repr=False)

    def __str__(self) -> str:
        where = f"{os.path.basename(self.file)}:{self.line}"
        return f"{where} ({self.path})" if self.path else where


def current_site() -> Site:
    """The nearest caller outside graphc, with the layer being traced.

    Where graphc calls itself on behalf of an object that the user made, such as a layer whose
    forward is graphc's own, it is the line that made the object.
    """
    pinned = _pinned.get()
    if pinned is not None:
        derived = pinned.derived or not _deriving.get()
        return pinned if derived else Site(pinned.file, pinned.line, pinned.path, True)
    home = _home.get()
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        if home is not None and frame is home[0]:
            return Site(home[1].file, home[1].line, _path.get(), _deriving.get())
        frame = frame.f_back
    return Site(frame.f_code.co_filename, frame.f_lineno, _path.get(), _deriving.get())


def here() -> str:
    """The end of an error's text: the layer being traced, and the user's file and line."""
    site = current_site()
    layer = f"\n  layer: {site.path}" if site.path else ""
    return f"{layer}\n  at {site.file}:{site.line}"


def current_path() -> str:
    """The path of the layer being traced, e.g. "encoder.0.linear"."""
    return _path.get()


class on_behalf_of:  # noqa: N801  # a context manager, used as the functions beside it
    """Nodes that graphc makes inside, not the user's own code, belong to the line of a site."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def __enter__(self) -> None:
        self.token: Token[tuple[FrameType, Site] | None] = _home.set((sys._getframe(1), self.site))

    def __exit__(self, *error: object) -> None:
        _home.reset(self.token)


@contextmanager
def layer(path: str) -> Iterator[None]:
    """Nodes made inside belong to the layer with this path."""
    token = _path.set(path)
    try:
        yield
    finally:
        _path.reset(token)


class made_for:  # noqa: N801  # a context manager, as above; entered for every node of every pass
    """Nodes made inside carry this site: derived nodes point at the line they derive from."""

    __slots__ = ("site", "token")

    def __init__(self, site: Site) -> None:
        self.site = site

    def __enter__(self) -> None:
        self.token: Token[Site | None] = _pinned.set(self.site)

    def __exit__(self, *error: object) -> None:
        _pinned.reset(self.token)


@contextmanager
def deriving() -> Iterator[None]:
    """Nodes made inside are marked as derivatives of the places they point at."""
    token = _deriving.set(True)
    try:
        yield
    finally:
        _deriving.reset(token)
