"""A whole program as one LLVM module: its kernels, and the entry that calls them in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from graphc.llvm import epoch, fastcall, team
from graphc.llvm.emit import define, header
from graphc.llvm.engine import module_text
from graphc.llvm.function import Function
from graphc.llvm.lines import FIRST, HEADER, statement_lines, user_lines
from graphc.llvm.steps import PARAMETERS, SECTION, Call, Ending, Steps
from graphc.llvm.targets import Target
from graphc.loops.ir import Kernel

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
        self.steps: Steps | None = None  # where the step is written as far as it goes
        self.sections: dict[str, str] = {}  # of the step

    def kernels(self, calls: Sequence[Call]) -> None:
        """The next kernels in order."""
        for call in calls:
            number = len(self.calls)
            if number and not number % SECTION:
                self.section()
            self.calls.append(call)
            if call.like not in (None, number):
                continue
            lines = user_lines(call.kernel, self.number) if self.lines else None
            function = Function(call.kernel, lines, self.target.model.masked)
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

    def section(self) -> None:
        """Hand over what calls the kernels since the last section, as more follow."""
        if self.steps is None:
            self.steps = Steps(self.extents, bool(team.architecture(self.target.triple)))
        begin = len(self.sections) * SECTION
        kernels = [self.function(call, n) for n, call in enumerate(self.calls[begin:], begin)]
        for number, kernel in enumerate(kernels, begin):
            self.steps.kernel(self.calls[number], f"@{kernel.name}", number)
        text = self.steps.section()
        self.sections[self.steps.sections[-1]] = text
        self.hand(self.declared(kernels) | self.waits(self.steps.together), [text])

    def function(self, call: Call, number: int) -> Kernel:
        """The kernel whose function serves a call."""
        return self.calls[number if call.like is None else call.like].kernel

    def declared(self, kernels: Iterable[Kernel]) -> set[str]:
        """The declarations of some kernels' functions."""
        return {f"declare {header(kernel, self.extents)}" for kernel in kernels}

    def waits(self, together: bool) -> set[str]:
        """The declarations of what a step's threads wait in."""
        return {team.DECLARED[team.BARRIER_NAME]} if together else set()

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
        calls, steps = self.calls, self.steps
        if steps is None:
            steps = Steps(self.extents, shares(calls, self.target))
        kernels = [self.function(call, number) for number, call in enumerate(calls)]
        names = [f"@{kernel.name}" for kernel in kernels]
        for number in range(len(self.sections) * SECTION, len(calls)):
            steps.kernel(calls[number], names[number], number)
        steps.end(len(calls), ending)
        together = steps.together
        entry = {"steps": steps.text(), ENTRY_NAME: ENTRIES[together]}
        mine = {**entry, CALL_NAME: called(ending, self.extents), KERNELS_NAME: addresses(names)}
        needs = {MEMCPY} if ending.copies else set()
        needs |= self.waits(together)
        needs |= {team.DECLARED[team.LAUNCH_NAME]} if together else set()
        if self.parts:
            self.complete()
            needs |= {f"declare void @{name}({PARAMETERS})" for name in self.sections}
            self.hand(needs | self.declared(kernels), mine.values())
        else:
            self.hand(needs | self.needs, [*self.open, *mine.values()])
        entry = {**self.sections, **entry}
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


def numbered(
    module: Module, calls: Sequence[Call], extents: tuple[str, ...], target: Target
) -> Module:
    """A module whose instructions point at their statements' numbers, else the same."""
    number, functions = FIRST, {}
    for call in calls:
        if call.kernel.name in module.functions:
            kernel, lines = statement_lines(call.kernel, number)
            function = Function(kernel, lines, target.model.masked)
            functions[call.kernel.name] = define(function, extents)
            number = lines.number
    parts, at = [], 0
    for name, text in module.functions.items():
        start = module.text.index(text, at)
        parts += [module.text[at:start], functions[name]]
        at = start + len(text)
    rest = module.text[at:].replace(HEADER, "")
    return Module("".join([*parts, rest, HEADER, "\n"]), functions)
