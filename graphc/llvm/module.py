"""A whole program as one LLVM module: its kernels, and the entry that calls them in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from graphc.llvm import epoch, fastcall, team
from graphc.llvm.emit import define, header
from graphc.llvm.engine import Target, module_text
from graphc.llvm.function import Function
from graphc.llvm.lines import FIRST, HEADER, statement_lines, user_lines
from graphc.loops.ir import Kernel
from graphc.types import Shape

ENTRY_NAME, CALL_NAME, KERNELS_NAME = "entry", "entry_call", "entry_kernels"
MAKING_NAME = "entry_making"
"""The step, the step as a C function of Python objects, and the table of its kernels' addresses;
the step as a C function that makes its results."""
PART = 1500
"""Lines of kernels that are compiled together, while what follows is written."""
MEMCPY = "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"
ENTRY = f"declare i64 @{ENTRY_NAME}(ptr, ptr, ptr)"
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


@dataclass(frozen=True)
class Module:
    """The module's text, each kernel's part of it, and the parts that are compiled.

    What every program has is in the text, but in none of the parts: see `common`.
    """

    text: str
    functions: dict[str, str]
    parts: tuple[str, ...] = ()


NOTHING = Ending()
Done = Callable[[str], object]
"""What is to be done with a part of a program: compile it."""


def ignored(part: str) -> None:
    """A part that is not compiled: the whole is only looked at."""


class Writer:
    """Writes a program's module. Parts that can be compiled apart are handed over once complete.

    The entry takes the pointer table, the extents and the context. The context's words are the
    outcome of the checks, the team's address and how many of its threads to use. Kernels that share
    their work run on all of them, the others on the first. With `lines` instructions point at the
    lines of the user's code that they come from.
    """

    def __init__(
        self,
        extents: tuple[str, ...],
        target: Target,
        done: Done = ignored,
        *,
        lines: bool = False,
    ) -> None:
        self.extents, self.target, self.done, self.lines = extents, target, done, lines
        self.number = FIRST  # the next number of metadata
        self.calls: list[Call] = []
        self.functions: dict[str, str] = {}
        self.declarations: set[str] = set()
        self.parts: list[str] = []  # those handed over
        self.open: list[str] = []  # functions of the part that is not complete
        self.needs: set[str] = set()  # what that part declares

    def kernels(self, calls: Sequence[Call]) -> None:
        """The next kernels in order."""
        for call in calls:
            number = len(self.calls)
            self.calls.append(call)
            if call.like not in (None, number):
                continue
            lines = user_lines(call.kernel, self.number) if self.lines else None
            function = Function(call.kernel, lines)
            text = define(function, self.extents)
            self.number = lines.number if lines is not None else self.number
            self.functions[call.kernel.name] = text
            self.declarations |= function.b.declarations
            self.open.append(text)
            self.needs |= function.b.declarations
            self.needs |= {line for name, line in team.DECLARED.items() if name in text}
            if sum(part.count("\n") for part in self.open) >= PART:
                self.complete()

    def complete(self) -> None:
        """Hand the open part over."""
        if self.open:
            self.hand(self.needs, self.open)
        self.open, self.needs = [], set()

    def hand(self, needs: set[str], functions: Iterable[str]) -> None:
        """Hand functions over as a module of their own."""
        self.parts.append(self.module(needs, functions))
        self.done(self.parts[-1])

    def module(self, needs: set[str], functions: Iterable[str]) -> str:
        """Functions and what they declare as a module's text."""
        header = [HEADER] if self.lines else []
        return module_text(self.target, ["\n".join(sorted(needs)), *functions, *header])

    def close(self, ending: Ending = NOTHING) -> Module:
        """The whole, and the entry's part handed over; all in one where there is little.

        Kernels that write state follow all that check indices: where a check failed, the entry
        returns before the first of them, and no state has changed.
        """
        calls = self.calls
        together = shares(calls, self.target)
        steps = Steps(self.extents, together)
        first = [calls[n if c.like is None else c.like] for n, c in enumerate(calls)]
        names = [f"@{call.kernel.name}" for call in first]
        steps.all(calls, names, ending)
        entry = {"steps": steps.text(), ENTRY_NAME: ENTRIES[together]}
        mine = {**entry, CALL_NAME: called(ending, self.extents), KERNELS_NAME: addresses(names)}
        needs = {MEMCPY} if ending.copies else set()
        calling = (team.BARRIER_NAME, team.LAUNCH_NAME) if together else ()
        needs |= {team.DECLARED[name] for name in calling}
        if self.parts:
            self.complete()
            made = [call.kernel for call in calls if call.kernel.name in self.functions]
            kernels = {f"declare {header(kernel, self.extents)}" for kernel in made}
            self.hand(needs | kernels, mine.values())
        else:
            self.hand(needs | self.needs, [*self.open, *mine.values()])
        needs = around(entry, together, ending, self.extents, self.target)
        entry[KERNELS_NAME] = addresses(names)
        whole = self.module(self.declarations | needs, [*self.functions.values(), *entry.values()])
        return Module(whole, self.functions, tuple(self.parts))


def shares(calls: Sequence[Call], target: Target) -> bool:
    """Whether threads may share the work of some of the kernels."""
    return any(call.kernel.parallel for call in calls) and bool(team.architecture(target.triple))


def around(
    entry: dict[str, str], together: bool, ending: Ending, extents: Sequence[str], target: Target
) -> set[str]:
    """Add what stands around a step to an entry's functions; what they all declare."""
    entry[CALL_NAME] = called(ending, extents)
    if together:
        entry["team"] = team.functions(target.triple)
    if ending.many:
        entry[epoch.EPOCH_NAME] = epoch.TEXT
    needs = set(team.declarations(target.triple)) if together else set()
    return needs | ({MEMCPY} if ending.copies or ending.many else set())


def called(ending: Ending, extents: Sequence[str]) -> str:
    """The step as C functions of Python objects: given arrays for results, and making them."""
    inputs = len(ending.bound) - ending.arrays
    arrays, numbers = [shape for _, shape in ending.bound[inputs:]], ending.numbers
    given = fastcall.emit(ENTRY_NAME, CALL_NAME, ending.bound, extents)
    making = fastcall.emit_making(MAKING_NAME, inputs, arrays, numbers, extents, CALL_NAME)
    return f"{given}\n{making}"


def common(target: Target) -> str:
    """The module of what every program has: the team's launch and barrier, and many steps."""
    together = bool(team.architecture(target.triple))
    needs = [*(team.declarations(target.triple) if together else []), MEMCPY, ENTRY]
    functions = [team.functions(target.triple)] if together else []
    return module_text(target, ["\n".join(sorted(needs)), *functions, epoch.TEXT])


def addresses(names: Sequence[str]) -> str:
    """The table of the kernels' addresses, in the order of the calls: for who calls them alone."""
    listed = ", ".join(f"ptr {name}" for name in names)
    return f"@{KERNELS_NAME} = constant [{len(names)} x ptr] [{listed}]"


def emit(calls: Sequence[Call], extents: tuple[str, ...], target: Target) -> Module:
    """The module of some kernels, called in order."""
    writer = Writer(extents, target)
    writer.kernels(calls)
    return writer.close()


def numbered(module: Module, calls: Sequence[Call], extents: tuple[str, ...]) -> Module:
    """A module whose instructions point at their statements' numbers, else the same."""
    number, functions = FIRST, {}
    for call in calls:
        if call.kernel.name in module.functions:
            kernel, lines = statement_lines(call.kernel, number)
            functions[call.kernel.name] = define(Function(kernel, lines), extents)
            number = lines.number
    parts, at = [], 0
    for name, text in module.functions.items():
        start = module.text.index(text, at)
        parts += [module.text[at:start], functions[name]]
        at = start + len(text)
    rest = module.text[at:].replace(HEADER, "")
    return Module("".join([*parts, rest, HEADER, "\n"]), functions)


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
