"""The step: the native function that calls a program's kernels in order, on every thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from graphc.loops.ir import Kernel
from graphc.types import Shape

COMMIT = [
    "  %failed = load i64, ptr %context, align 8",
    "  %stop = icmp ne i64 %failed, 0",
    "  br i1 %stop, label %refused, label %commit",
    "commit:",
]

SECTION = 64
"""Kernels that a function of its own calls where more follow; LLVM compiles it meanwhile."""
MANY = 16
"""Copies from which on a loop makes them."""
PARAMETERS = "ptr %table, ptr %extents, ptr %context, i64 %thread, i64 %threads, ptr %team"
COPY = "  call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {start}, i64 {size}, i1 false)"
COPIES = f"""@{{name}}.copied = private constant [{{count}} x [3 x i64]] [{{places}}]
define internal void @{{name}}.copies(ptr %table) #0 {{{{
entry:
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k.next, %loop ]
  %from.number.at = getelementptr [3 x i64], ptr @{{name}}.copied, i64 %k
  %to.number.at = getelementptr i64, ptr %from.number.at, i64 1
  %size.at = getelementptr i64, ptr %from.number.at, i64 2
  %from.number = load i64, ptr %from.number.at, align 8
  %to.number = load i64, ptr %to.number.at, align 8
  %size = load i64, ptr %size.at, align 8
  %from.at = getelementptr ptr, ptr %table, i64 %from.number
  %to.at = getelementptr ptr, ptr %table, i64 %to.number
  %from = load ptr, ptr %from.at, align 8
  %to = load ptr, ptr %to.at, align 8
{COPY.format(to="%to", start="%from", size="%size")}
  %k.next = add i64 %k, 1
  %more = icmp slt i64 %k.next, {{count}}
  br i1 %more, label %loop, label %done
done:
  ret void
}}}}"""


@dataclass(frozen=True)
class Call:
    """One kernel of the program and the table slot of each of its buffers.

    `like` is the number of the first call with the same kernel, whose function serves both.
    """

    kernel: Kernel
    slots: tuple[int, ...]
    commits: bool = False
    like: int | None = None


@dataclass(frozen=True)
class Ending:
    """What the entry needs beside the kernels.

    `copies` (from slot, to slot, bytes) follow the kernels. `bound` (slot, shape) are what the
    entry's form as a C function of Python objects binds, inputs and then `arrays` results;
    `numbers` are the slots of other results. `many` asks for many steps in one call.
    """

    copies: tuple[tuple[int, int, int], ...] = ()
    bound: tuple[tuple[int, Shape], ...] = ()
    arrays: int = 0
    numbers: tuple[int, ...] = ()
    many: bool = False


class Stamps(Protocol):
    """What a step that takes the time adds to its lines: see `timed`."""

    def start(self) -> list[str]:
        """When the step begins."""

    def begin(self, number: int) -> list[str]:
        """Before the kernel of a number; the number after the last one's is that of the copies."""

    def end(self, number: int) -> list[str]:
        """After a kernel, on every thread that shares it."""

    def stop(self) -> list[str]:
        """When the step is done, on all threads."""


class Steps:
    """The function that calls the kernels in order, run by every thread of a team.

    Sections of it can be taken out as functions that it calls.
    """

    def __init__(
        self,
        extents: tuple[str, ...],
        together: bool,
        *,
        name: str = "steps",
        stamps: Stamps | None = None,
    ) -> None:
        self.extents, self.together, self.stamps, self.name = extents, together, stamps, name
        self.head: list[str] = []
        for number, extent in enumerate(extents):
            self.head.append(f"  %at.{extent} = getelementptr i64, ptr %extents, i64 {number}")
            self.head.append(f"  %size.{extent} = load i64, ptr %at.{extent}, align 8")
        if together:
            self.head.append("  %first = icmp eq i64 %thread, 0")
        if stamps is not None:
            self.head += stamps.start()
        self.lines: list[str] = []
        self.before: list[str] = []  # calls of the sections that were taken out
        self.sections: list[str] = []  # their names
        self.others: list[str] = []  # functions beside the step's own
        self.guarded = False
        self.inside = 0  # the number of the part that the first thread runs, where one is open
        self.parts = 0
        self.waited = True

    def all(self, calls: Sequence[Call], names: Sequence[str], ending: Ending) -> None:
        """Every kernel by the name of its function, and the copies that follow them."""
        for number, (call, name) in enumerate(zip(calls, names, strict=True)):
            self.kernel(call, name, number)
        self.end(len(calls), ending)

    def end(self, count: int, ending: Ending) -> None:
        """What follows so many kernels: variables' new values copied to their places."""
        if not ending.copies:
            return
        self.commit()
        self.open()
        if self.stamps is not None:
            self.lines += self.stamps.begin(count)
        if len(ending.copies) < MANY:
            for number, (source, to, size) in enumerate(ending.copies):
                start = self.pointer(f"%c{number}.from", source)
                end = self.pointer(f"%c{number}.to", to)
                self.lines.append(COPY.format(to=end, start=start, size=size))
            return
        listed = (f"[3 x i64] [{', '.join(f'i64 {n}' for n in copy)}]" for copy in ending.copies)
        places = ", ".join(listed)
        self.others.append(COPIES.format(name=self.name, count=len(ending.copies), places=places))
        self.lines.append(f"  call void @{self.name}.copies(ptr %table)")

    def section(self) -> str:
        """Take out what was written since the last one, as a function: its text."""
        self.close()
        name = f"{self.name}.{len(self.sections)}"
        self.sections.append(name)
        text = self.function(f"void @{name}", self.lines)
        self.before.append(f"  call void @{name}({PARAMETERS})")
        if "commit:" in self.lines:
            self.before += COMMIT
        self.lines = []
        return text

    def text(self) -> str:
        """The whole function, and those beside it that are no sections."""
        self.close()
        if self.stamps is not None:
            self.barrier()
            self.lines += self.stamps.stop()
        whole = self.function(f"internal void @{self.name}", [*self.before, *self.lines])
        return "\n".join([whole, *self.others])

    def function(self, name: str, lines: Sequence[str]) -> str:
        """The text of a function of the step's arguments."""
        ends = ["  ret void", *(["refused:", "  ret void"] if "commit:" in lines else []), "}"]
        begin = [f"define {name}({PARAMETERS}) #0 {{", "entry:", *self.head]
        return "\n".join([*begin, *lines, *ends])

    def kernel(self, call: Call, name: str, number: int) -> None:
        """One kernel by its function's name, on all threads or on the first."""
        if call.commits:
            self.commit()
        shared = self.together and call.kernel.parallel
        if shared:
            self.close()
            self.barrier()
        else:
            self.open()
        arguments = ["ptr %table", *(f"i64 {slot}" for slot in call.slots)]
        arguments += [*(f"i64 %size.{e}" for e in self.extents), "ptr %context"]
        if call.kernel.parallel:
            arguments += (
                ["i64 %thread", "i64 %threads", "ptr %team"]
                if shared
                else ["i64 0", "i64 1", "ptr null"]
            )
        if self.stamps is not None:
            self.lines += self.stamps.begin(number)
        self.lines.append(f"  call void {name}({', '.join(arguments)})")
        if self.stamps is not None and shared:
            self.lines += self.stamps.end(number)
        self.waited = False

    def pointer(self, name: str, slot: int) -> str:
        """The pointer in a slot of the table."""
        self.lines.append(f"  {name}.at = getelementptr ptr, ptr %table, i64 {slot}")
        self.lines.append(f"  {name} = load ptr, ptr {name}.at, align 8")
        return name

    def commit(self) -> None:
        """Return where a check failed: what follows changes state."""
        if self.guarded:
            return
        self.close()
        self.barrier()
        self.guarded = True
        self.lines += COMMIT

    def barrier(self) -> None:
        """Every thread waits for what the others have done since the last barrier."""
        if self.together and not self.waited:
            self.lines.append("  call void @team.barrier(ptr %team, i64 %threads)")
        self.waited = True

    def open(self) -> None:
        """Begin a part for the first thread, which waits for what all have done before."""
        if not self.together or self.inside:
            return
        self.barrier()
        self.parts += 1
        self.inside = self.parts
        self.lines.append(f"  br i1 %first, label %first{self.inside}, label %all{self.inside}")
        self.lines.append(f"first{self.inside}:")

    def close(self) -> None:
        """End a part for the first thread."""
        if self.inside:
            self.lines += [f"  br label %all{self.inside}", f"all{self.inside}:"]
        self.inside = 0
