"""Index expressions: which elements an op reads and writes.

Each is affine, one number for each index and a constant, or data that is looked up. One that leaves
its operand contributes nothing: padding needs no other notion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from graphc.types import Extent


@dataclass(frozen=True, slots=True)
class Affine:
    """sum(coefficient * index) + constant. Terms are sorted by name, without zeros."""

    terms: tuple[tuple[str, int], ...] = ()
    constant: int = 0

    @property
    def plain(self) -> str | None:
        """The index this expression is, if it is just that."""
        if self.constant == 0 and len(self.terms) == 1 and self.terms[0][1] == 1:
            return self.terms[0][0]
        return None

    @property
    def names(self) -> tuple[str, ...]:
        """The indices that occur."""
        return tuple([name for name, _ in self.terms])

    @property
    def outermost(self) -> tuple[str, ...]:
        """The indices that occur, those of longer steps first: g, f of f + 32*g."""
        return tuple(sorted(self.names, key=lambda name: -abs(self.coefficient(name))))

    def coefficient(self, index: str) -> int:
        """The factor of an index, 0 where it does not occur."""
        for name, factor in self.terms:
            if name == index:
                return factor
        return 0

    def __add__(self, other: Affine | int) -> Affine:
        if isinstance(other, int):
            return Affine(self.terms, self.constant + other)
        if not self.terms or not other.terms:
            return Affine(self.terms or other.terms, self.constant + other.constant)
        return affine([*self.terms, *other.terms], self.constant + other.constant)

    def __sub__(self, other: Affine | int) -> Affine:
        return self + (other * -1 if isinstance(other, Affine) else -other)

    def __mul__(self, factor: int) -> Affine:
        if factor in (0, 1):
            return self if factor else Affine()
        return Affine(tuple([(n, c * factor) for n, c in self.terms]), self.constant * factor)

    def substitute(self, values: Mapping[str, Affine]) -> Affine:
        """Replace indices by expressions."""
        for name, _ in self.terms:
            if name in values:
                break
        else:  # met most often: the substitution is of other indices
            return self
        terms: list[tuple[str, int]] = []
        constant, moved = self.constant, False
        for name, factor in self.terms:
            value = values.get(name)
            if value is None:
                terms.append((name, factor))
                continue
            if value.terms:
                terms += [(n, c * factor) for n, c in value.terms]
                moved = True
            constant += value.constant * factor
        return affine(terms, constant) if moved else Affine(tuple(terms), constant)

    def without(self, indices: set[str]) -> Affine:
        """The expression where some indices are 0."""
        return Affine(tuple(t for t in self.terms if t[0] not in indices), self.constant)

    def range(self, extents: Mapping[str, Extent]) -> tuple[int, int]:
        """Smallest and largest value over number-sized extents (none may be zero)."""
        low = high = self.constant
        for name, factor in self.terms:
            extent = extents[name]
            assert isinstance(extent, int)
            reach = factor * (extent - 1)
            low, high = low + min(reach, 0), high + max(reach, 0)
        return low, high

    def __str__(self) -> str:
        text = ""
        for name, factor in self.terms:
            sign = "-" if factor < 0 else "+" if text else ""
            amount = name if abs(factor) == 1 else f"{abs(factor)}*{name}"
            text += f" {sign} {amount}" if text else f"{sign}{amount}"
        if self.constant or not text:
            sign = " - " if self.constant < 0 and text else " + " if text else ""
            text += f"{sign}{abs(self.constant) if text else self.constant}"
        return text


@dataclass(frozen=True, slots=True)
class Lookup:
    """An index that is data: the value of operand `operand` at its own index."""

    operand: int

    def __str__(self) -> str:
        return f"@{self.operand}"


@dataclass(frozen=True, slots=True)
class Runtime:
    """scale * (a named extent), rounded down to a multiple: known when the program runs."""

    name: str
    scale: int = 1
    multiple: int = 1

    def __str__(self) -> str:
        text = self.name if self.scale == 1 else f"{self.scale}*{self.name}"
        return text if self.multiple == 1 else f"{text} // {self.multiple} * {self.multiple}"


Bound = int | Runtime
Dim = Affine | Lookup
Index = tuple[Dim, ...]
Domain = tuple[tuple[str, Extent], ...]


@cache
def index(name: str) -> Affine:
    """The expression that is one index."""
    return Affine(((name, 1),))


def affine(terms: Iterable[tuple[str, int]], constant: int = 0) -> Affine:
    """An Affine from terms in any order, possibly repeated."""
    total: dict[str, int] = {}
    for name, factor in terms:
        total[name] = total.get(name, 0) + factor
    kept = [term for term in total.items() if term[1]]
    return Affine(tuple(sorted(kept) if len(kept) > 1 else kept), constant)


def show(position: Index) -> str:
    """An index tuple as text, e.g. `n, 2*h + r`."""
    return ", ".join(map(str, position))


def stays(e: Affine, size: Extent, extents: Mapping[str, Extent]) -> bool:
    """Whether an index expression stays inside [0, size) over the whole domain."""
    if not isinstance(size, int):
        return e.plain is not None and extents[e.plain] == size
    low = high = e.constant
    empty = False
    for name, factor in e.terms:
        extent = extents[name]
        if not isinstance(extent, int):
            return False
        empty = empty or not extent
        if factor > 0:
            high += factor * (extent - 1)
        else:
            low += factor * (extent - 1)
    return empty or (low >= 0 and high < size)
