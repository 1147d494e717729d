"""Signature: what a program is called with, by position or by name, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from graphc.errors import InputError, near
from graphc.graph.node import Node
from graphc.runtime.binding import bind

Array = np.ndarray[Any, Any]


class Signature:
    """Inputs in the order of their declaration, and the run-time extents that none of them tells.

    Those are given by name.
    """

    def __init__(self, inputs: tuple[Node, ...], extents: Sequence[str]) -> None:
        self.inputs = inputs
        self.names = tuple(n.op.name for n in inputs)
        told = {extent for node in inputs for extent in node.type.symbols}
        self.untold = [name for name in extents if name not in told]
        get = itemgetter(*self.names) if len(self.names) > 1 else None
        self.pick: Callable[[dict[str, Any]], Sequence[Any]] = (
            get if get is not None else lambda given: [given[name] for name in self.names]
        )

    def collect(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The inputs in order. Raises InputError naming what is missing or unknown."""
        names = self.names
        if len(args) > len(names):
            raise InputError(
                f"{len(args)} inputs given; the program takes {', '.join(names) or 'none'}"
            )
        given = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name not in names:
                takes = f"the program takes {', '.join(names) or 'none'}"
                raise InputError(f"no input {name!r}; {takes}{near(name, names)}")
            if name in given:
                raise InputError(f"input {name!r} given twice")
            given[name] = value
        missing = [n for n in names if n not in given]
        if missing:
            raise InputError(f"missing input {', '.join(map(repr, missing))}")
        return [given[n] for n in names]

    def extents(self, kwargs: dict[str, Any]) -> dict[str, int]:
        """Take the run-time extents that no input tells out of what is given by name."""
        extents = {name: kwargs.pop(name) for name in self.untold if name in kwargs}
        for name in self.untold:
            size = extents.get(name)
            if not isinstance(size, int | np.integer) or size < 0:
                found = "missing" if name not in extents else f"{size!r}"
                raise InputError(
                    f"no input tells the extent {name!r}: give it by name, {name}=..., a whole "
                    f"number; it is {found}"
                )
        return {name: int(size) for name, size in extents.items()}

    def arrays(self, given: Sequence[Any], extents: dict[str, int]) -> list[Array]:
        """The inputs as arrays that can be read; `extents` learns those that they tell."""
        return [bind(node, value, extents) for node, value in zip(self.inputs, given, strict=True)]

    def by_name(self, arrays: Sequence[Array]) -> dict[str, Array]:
        """Arrays in order under the names of their inputs."""
        return dict(zip(self.names, arrays, strict=True))
