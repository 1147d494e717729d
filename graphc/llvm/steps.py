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
    """The function that calls the kernels in order, run by every thread of a team."""

    def __init__(
        self,
        extents: tuple[str, ...],
        together: bool,
        *,
        name: str = "steps",
        stamps: Stamps | None = None,
    ) -> None:
        self.extents, self.together, self.stamps = extents, together, stamps
        self.lines = [
            f"define internal void @{name}(ptr %table, ptr %extents, ptr %context, i64 %thread, "
            "i64 %threads, ptr %team) #0 {",
            "entry:",
        ]
        for number, extent in enumerate(extents):
            self.lines.append(f"  %at.{extent} = getelementptr i64, ptr %extents, i64 {number}")
            self.lines.append(f"  %size.{extent} = load i64, ptr %at.{extent}, align 8")
        if together:
            self.lines.append("  %first = icmp eq i64 %thread, 0")
        self.guarded = False
        self.inside = 0  # the number of the part that the first thread runs, where one is open
        self.parts = 0
        if stamps is not None:
            self.lines += stamps.start()
        self.waited = True

    def all(self, calls: Sequence[Call], names: Sequence[str], ending: Ending) -> None:
        """Every kernel by the name of its function, and the copies that follow them."""
        for number, (call, name) in enumerate(zip(calls, names, strict=True)):
            self.kernel(call, name, number)
        for number, copy in enumerate(ending.copies):
            self.copy(number, *copy, after=len(calls))

    def text(self) -> str:
        """The whole function."""
        self.close()
        if self.stamps is not None:
            self.barrier()
            self.lines += self.stamps.stop()
        ends = ["  ret void", *(["refused:", "  ret void"] if self.guarded else []), "}"]
        return "\n".join([*self.lines, *ends])

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

    def copy(self, number: int, source: int, destination: int, size: int, *, after: int) -> None:
        """A variable's new value copied to its place, after all checks and so many kernels."""
        self.commit()
        self.open()
        if self.stamps is not None and not number:
            self.lines += self.stamps.begin(after)
        start = self.pointer(f"%c{number}.from", source)
        end = self.pointer(f"%c{number}.to", destination)
        self.lines.append(
            f"  call void @llvm.memcpy.p0.p0.i64(ptr {end}, ptr {start}, i64 {size}, i1 false)"
        )

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
