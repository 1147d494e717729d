"""Choices: what a schedule may decide in another way than the cost model does, as plain data.

None of them changes the order of a sum: a tuned kernel gives the bits of the untuned one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

Tiles = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Choice:
    """What to do for one nest of a kernel otherwise than the cost model would: None is its choice.

    `tile`: the vector index, its lanes, the vectors side by side, and the sizes of the tiles of
    other indices. `part`: steps of the outermost sum at a time, 0 for all at once. `gather`,
    `pack`: whether operands are copied for a nest, row by row or panel by panel. `unroll`: whether
    a short inner loop, or a few steps of a long one, are written out.
    """

    tile: tuple[str, int, int, Tiles] | None = None
    part: int | None = None
    gather: bool | None = None
    pack: bool | None = None
    unroll: bool | None = None

    def __str__(self) -> str:
        said = []
        if self.tile is not None:
            vector, lanes, vectors, tiles = self.tile
            sizes = "".join(f"{size} of {name} by " for name, size in tiles)
            plural = "s" * (vectors > 1)
            said.append(f"tile {sizes}{vectors} vector{plural} of {lanes} along {vector}")
        if self.part is not None:
            steps = f"{self.part} step{'s' * (self.part > 1)} of the sum at a time"
            said.append(steps if self.part else "sum at once")
        for name, word in (("gather", "gathered"), ("pack", "packed"), ("unroll", "unrolled")):
            value = getattr(self, name)
            if value is not None:
                said.append(word if value else f"not {word}")
        return ", ".join(said) or "as the model says"


MODEL = Choice()
Choices = tuple[Choice, ...]
"""One for each nest of a kernel that sums, in order; those that are missing are the model's."""


def changed(choices: Choices, number: int, choice: Choice) -> Choices:
    """The choices with another one for nest `number`."""
    padded = list(choices) + [MODEL] * (number + 1 - len(choices))
    padded[number] = choice
    return tuple(padded)


def described(choices: Choices) -> str:
    """The choices of a kernel on a line."""
    said = [str(c) if len(choices) == 1 else f"nest {n}: {c}" for n, c in enumerate(choices)]
    return "; ".join(text for text, c in zip(said, choices, strict=True) if c != MODEL)


def flags(choice: Choice) -> Iterator[Choice]:
    """The choice with one of its copies or its unrolling decided each way."""
    for value in (True, False):
        yield replace(choice, pack=value)
        yield replace(choice, unroll=value)
        yield replace(choice, gather=value)


def written(choices: Choices) -> list[dict[str, Any]]:
    """Choices as JSON can hold them."""
    names = [field.name for field in fields(Choice)]
    return [{n: getattr(c, n) for n in names if getattr(c, n) is not None} for c in choices]


def read(found: Any) -> Choices:
    """The choices that `written` wrote. Raises ValueError for anything else."""
    if not isinstance(found, list):
        raise ValueError("choices are a list")
    return tuple(map(one, found))


def one(found: Any) -> Choice:
    """One choice that `written` wrote. Raises ValueError for anything else."""
    if not isinstance(found, dict) or not set(found) <= {field.name for field in fields(Choice)}:
        raise ValueError(f"{found!r} is no choice")
    for name in ("gather", "pack", "unroll"):
        if not isinstance(found.get(name, False), bool):
            raise ValueError(f"{name} is {found[name]!r}")
    part, tile = found.get("part"), found.get("tile")
    if part is not None and not counts(part, 0):
        raise ValueError(f"part is {part!r}")
    return Choice(**{**found, "tile": None if tile is None else tile_of(tile)})


def tile_of(found: Any) -> tuple[str, int, int, Tiles]:
    """A tile that `written` wrote. Raises ValueError for anything else."""
    match found:
        case [str(vector), lanes, vectors, [*pairs]] if counts(lanes, 1) and counts(vectors, 1):
            return vector, lanes, vectors, tuple(map(pair, pairs))
    raise ValueError(f"{found!r} is no tile")


def pair(found: Any) -> tuple[str, int]:
    """An index and its tile's size. Raises ValueError for anything else."""
    match found:
        case [str(name), size] if counts(size, 1):
            return name, size
    raise ValueError(f"{found!r} is no side of a tile")


def counts(value: Any, least: int) -> bool:
    """Whether a value is a whole number of some size."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
