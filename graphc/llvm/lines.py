"""Debug line information: metadata that tells for which line of a file an instruction stands."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from graphc.graph.site import Site
from graphc.loops.ir import Kernel, Stmt, walk
from graphc.loops.origin import apart, origin

HEADER = """!llvm.dbg.cu = !{!0}
!llvm.module.flags = !{!1, !2}
!0 = distinct !DICompileUnit(language: DW_LANG_C99, file: !3, producer: "graphc", \
isOptimized: true, runtimeVersion: 0, emissionKind: FullDebug, nameTableKind: None)
!1 = !{i32 2, !"Dwarf Version", i32 4}
!2 = !{i32 2, !"Debug Info Version", i32 3}
!3 = !DIFile(filename: "graphc", directory: "")
!4 = !DISubroutineType(types: !5)
!5 = !{null}"""
"""What a module of functions with line information has once."""
FIRST = 6
"""The first number that metadata of functions may have."""
NAMED = 4
"""Ops that a kernel's name lists at most."""


@dataclass(frozen=True)
class Place:
    """A line of a file. In column 2 stands what differentiation made for it, in 1 all else."""

    file: str
    line: int
    column: int = 1


@dataclass
class Lines:
    """The line information of one function being written.

    `title` is its name for debuggers, `first` the line that it begins at, `place` finds the line of
    a statement, `number` is the next number of metadata that is free.
    """

    title: str
    first: Place
    place: Callable[[Stmt], Place | None]
    number: int = FIRST
    text: list[str] = field(default_factory=list)
    marks: dict[int, str] = field(default_factory=dict)
    locations: dict[Place, int] = field(default_factory=dict)
    scopes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        file = self.add(spelled(self.first.file))
        self.subprogram = self.add(
            f'distinct !DISubprogram(name: "{escaped(self.title)}", scope: !{file}, '
            f"file: !{file}, line: {self.first.line}, scopeLine: {self.first.line}, type: !4, "
            "spFlags: DISPFlagDefinition | DISPFlagOptimized, unit: !0)"
        )
        self.scopes[self.first.file] = self.subprogram
        self.begin = self.mark(self.first)

    def add(self, right: str) -> int:
        """The number of a new piece of metadata."""
        self.text.append(f"!{self.number} = {right}")
        self.number += 1
        return self.number - 1

    def at(self, stmt: Stmt) -> str:
        """What ends the instructions of a statement, "" where its line is not known."""
        mark = self.marks.get(id(stmt))
        if mark is None:
            place = self.place(stmt)
            mark = self.marks[id(stmt)] = self.mark(place) if place is not None else ""
        return mark

    def mark(self, place: Place) -> str:
        """What ends the instructions of a line."""
        number = self.locations.get(place)
        if number is None:
            where = f"line: {place.line}, column: {place.column}, scope: !{self.scope(place.file)}"
            number = self.locations[place] = self.add(f"!DILocation({where})")
        return f", !dbg !{number}"

    def scope(self, file: str) -> int:
        """The function, as far as it comes from a file."""
        if file not in self.scopes:
            there = f"scope: !{self.subprogram}, file: !{self.add(spelled(file))}"
            self.scopes[file] = self.add(f"!DILexicalBlockFile({there}, discriminator: 0)")
        return self.scopes[file]


def user_lines(kernel: Kernel, number: int) -> Lines:
    """The lines of the user's code that a kernel's statements come from."""
    of = origin(kernel)

    def place(stmt: Stmt) -> Place | None:
        nodes = of(stmt)
        return place_of(nodes[0].site) if nodes else None

    return Lines(title(kernel), place_of(kernel.sites[0]), place, number)


def statement_lines(kernel: Kernel, number: int) -> tuple[Kernel, Lines]:
    """The kernel, and as its lines the numbers of its statements: from 1, outer before inner."""
    kernel = replace(kernel, body=apart(kernel.body))
    places = {id(s): Place(kernel.name, n) for n, s in enumerate(walk(kernel.body), 1)}
    return kernel, Lines(kernel.name, Place(kernel.name, 0), lambda s: places[id(s)], number)


def place_of(site: Site) -> Place:
    """A node's place in the user's code."""
    return Place(site.file, site.line, 2 if site.derived else 1)


def title(kernel: Kernel) -> str:
    """A kernel's name, its ops and the layer: what debuggers and profilers call it."""
    ops = list(dict.fromkeys(nodes[-1].op.name for nodes in kernel.origins.values()))
    more = "+..." if len(ops) > NAMED else ""
    path = kernel.sites[0].path
    layer = f" ({path})" if path else ""
    return f"{kernel.name} {'+'.join(ops[:NAMED])}{more}{layer}"


def marked(kernel: Kernel) -> str:
    """All that the line information of a kernel is made of, as text."""
    places = [
        (name, [(n.op.name, place_of(n.site), n.site.path) for n in nodes])
        for name, nodes in kernel.origins.items()
    ]
    return repr((kernel.sites[0], places))


def spelled(file: str) -> str:
    """A file as metadata."""
    folder, name = os.path.split(file)
    return f'!DIFile(filename: "{escaped(name)}", directory: "{escaped(folder)}")'


def escaped(text: str) -> str:
    """A user's text inside LLVM's quotes."""
    data = text.encode("utf-8", "surrogateescape")
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:02X}" for byte in data
    )
