"""The function that is being written for a kernel: its text so far, and what is known in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from graphc.llvm.builder import Builder, Value
from graphc.llvm.lines import Lines
from graphc.loops.ir import Kernel
from graphc.ops.index import Affine


@dataclass
class Loop:
    """A serial loop around the statement being emitted: its index and where to hoist to.

    `opaque`: LLVM is not to see how addresses at its steps are made. Where a loop begins at a place
    known at run time only, its search for cheaper ones takes longer than all else.
    """

    index: str
    value: Value
    prelude: list[Any]
    opaque: bool = False
    pointers: dict[tuple[str, tuple[tuple[str, int], ...]], str] = field(default_factory=dict)
    scaled: dict[int, str] = field(default_factory=dict)


@dataclass
class Lanes:
    """The vector loop around the statement being emitted.

    `factors`: what is loaded in it for nothing but sums of products, and is 0 where `mask` is off.
    `known`: how many lanes are on, where that is known and they are the first; 0 else.
    """

    index: str
    start: Affine
    count: int
    mask: Value | None = None
    factors: frozenset[str] = frozenset()
    known: int = 0


@dataclass
class Function:
    """One kernel's function being written.

    `entry` holds what is computed once, on entry, `globals` what stands before the function;
    `label` is the block that is open. `lines`: what its instructions are said to be for, if that is
    asked for. `masked`: whether a store under a mask costs what others do. `past`: whether some of
    its stores go past the caches. `begun`: the masks under which registers began; nobody looks at
    the lanes that were off then.
    """

    kernel: Kernel
    lines: Lines | None = None
    masked: bool = False
    b: Builder = field(default_factory=Builder)
    values: dict[str, Value] = field(default_factory=dict)
    constants: dict[str, Affine] = field(default_factory=dict)
    loops: list[Loop] = field(default_factory=list)
    lanes: Lanes | None = None
    registers: dict[tuple[str, int], Value] = field(default_factory=dict)
    begun: dict[tuple[str, int], Value | None] = field(default_factory=dict)
    stack: dict[str, str] = field(default_factory=dict)
    entry: list[Any] = field(default_factory=list)
    globals: list[str] = field(default_factory=list)
    label: str = "entry"
    past: bool = False
    labels: int = 0

    def __post_init__(self) -> None:
        if self.lines is not None:
            self.b.where = self.lines.begin

    def once(self, line: str) -> None:
        """Append an instruction to what is computed on entry."""
        self.entry.append(f"  {line}{self.b.where}")

    def ahead(self, loop: Loop, line: str) -> None:
        """Append an instruction to the head of a loop."""
        loop.prelude.append(f"  {line}{self.b.where}")

    def fresh(self, stem: str) -> str:
        """A new block label."""
        self.labels += 1
        return f"{stem}{self.labels}"

    def open(self, label: str) -> None:
        """Begin a block."""
        self.b.block(label)
        self.label = label
