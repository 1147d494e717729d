"""A whole program as one LLVM module: its kernels, and the entry that calls them in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.llvm import epoch, fastcall, team
from graphc.llvm.emit import define
from graphc.llvm.engine import Target, module_text
from graphc.llvm.function import Function
from graphc.loops.ir import Kernel
from graphc.types import Shape

ENTRY_NAME, CALL_NAME = "entry", "entry_call"
MEMCPY = "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"
ALONE = """define i64 @entry(ptr %table, ptr %extents, ptr %context) #0 {
entry:
  call void @steps(ptr %table, ptr %extents, ptr %context, i64 0, i64 1, ptr null)
  %code = load i64, ptr %context, align 8
  ret i64 %code
}"""
TOGETHER = """define i64 @entry(ptr %table, ptr %extents, ptr %context) #0 {
entry:
  %team.at = getelementptr i64, ptr %context, i64 1
  %team = load ptr, ptr %team.at, align 8
  %threads.at = getelementptr i64, ptr %context, i64 2
  %threads = load i64, ptr %threads.at, align 8
  %several = icmp ugt i64 %threads, 1
  br i1 %several, label %together, label %alone
together:
  %ran = call i1 @team.launch(
      ptr %team, i64 %threads, ptr @steps, ptr %table, ptr %extents, ptr %context)
  br i1 %ran, label %done, label %alone
alone:
  call void @steps(ptr %table, ptr %extents, ptr %context, i64 0, i64 1, ptr null)
  br label %done
done:
  %code = load i64, ptr %context, align 8
  ret i64 %code
}"""
ENTRIES = {False: ALONE, True: TOGETHER}
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
class Module:
    """The module's text, and each kernel's part of it."""

    text: str
    functions: dict[str, str]


def emit(
    calls: Sequence[Call],
    extents: tuple[str, ...],
    target: Target,
    *,
    copies: Sequence[tuple[int, int, int]] = (),
    bound: Sequence[tuple[int, Shape]] = (),
    many: bool = False,
) -> Module:
    """The program's module. The entry takes the pointer table, the extents and the context.

    The context's words are the outcome of the checks, the team's address and how many of its
    threads to use. Kernels that share their work run on all of them, the others on the first.

    `copies` (from slot, to slot, bytes) follow the kernels. `bound` (slot, shape) are what the
    entry's form as a C function of Python objects binds.

    Kernels that write state follow all that check indices: where a check failed, the entry returns
    before the first of them, and no state has changed.
    """
    functions: dict[str, str] = {}
    declarations: set[str] = set()
    bodies: dict[str, str] = {}
    for number, call in enumerate(calls):
        if call.like not in (None, number):
            continue
        function = Function(call.kernel)
        functions[call.kernel.name] = define(function, extents)
        declarations |= function.b.declarations
    together = any(call.kernel.parallel for call in calls) and team.architecture(target.triple)
    if together:
        declarations |= set(team.declarations(target.triple))
    steps = Steps(extents, bool(together))
    for number, call in enumerate(calls):
        steps.kernel(number, call, calls[number if call.like is None else call.like].kernel.name)
    for number, copy in enumerate(copies):
        declarations.add(MEMCPY)
        steps.copy(number, *copy)
    entry = ENTRY_NAME
    called = fastcall.emit(entry, CALL_NAME, bound, extents)
    bodies = {**functions, "steps": steps.text(), entry: ENTRIES[bool(together)], CALL_NAME: called}
    if together:
        bodies["team"] = team.functions(target.triple)
    if many:
        declarations.add(MEMCPY)
        bodies[epoch.EPOCH_NAME] = epoch.TEXT
    parts = ["\n".join(sorted(declarations)), *bodies.values()]
    return Module(module_text(target, parts), functions)


class Steps:
    """The function that calls the kernels in order, run by every thread of a team."""

    def __init__(self, extents: tuple[str, ...], together: bool) -> None:
        self.extents, self.together = extents, together
        self.lines = [
            "define internal void @steps(ptr %table, ptr %extents, ptr %context, i64 %thread, "
            "i64 %threads, ptr %team) #0 {",
            "entry:",
        ]
        for number, name in enumerate(extents):
            self.lines.append(f"  %at.{name} = getelementptr i64, ptr %extents, i64 {number}")
            self.lines.append(f"  %size.{name} = load i64, ptr %at.{name}, align 8")
        if together:
            self.lines.append("  %first = icmp eq i64 %thread, 0")
        self.guarded = False
        self.inside = 0  # the number of the part that the first thread runs, where one is open
        self.parts = 0
        self.waited = True

    def text(self) -> str:
        """The whole function."""
        self.close()
        ends = ["  ret void", *(["refused:", "  ret void"] if self.guarded else []), "}"]
        return "\n".join([*self.lines, *ends])

    def kernel(self, number: int, call: Call, name: str) -> None:
        """One kernel by its function's name, on all threads or on the first."""
        if call.commits:
            self.commit()
        shared = self.together and call.kernel.parallel
        if shared:
            self.close()
            self.barrier()
        else:
            self.open()
        arguments = []
        for place, slot in enumerate(call.slots):
            arguments.append(f"ptr {self.pointer(f'%p{number}.{place}', slot)}")
        arguments += [f"i64 %size.{e}" for e in self.extents] + ["ptr %context"]
        if call.kernel.parallel:
            arguments += (
                ["i64 %thread", "i64 %threads", "ptr %team"]
                if shared
                else ["i64 0", "i64 1", "ptr null"]
            )
        self.lines.append(f"  call void @{name}({', '.join(arguments)})")
        self.waited = False

    def copy(self, number: int, source: int, destination: int, size: int) -> None:
        """A variable's new value copied to its place, after all checks."""
        self.commit()
        self.open()
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
