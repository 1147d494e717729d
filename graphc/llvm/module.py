"""A whole program as one LLVM module: its kernels, and the entry that calls them in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.llvm import fastcall
from graphc.llvm.emit import define
from graphc.llvm.engine import Target, header
from graphc.llvm.function import Function
from graphc.loops.ir import Kernel
from graphc.types import Shape

ATTRIBUTES = (
    'attributes #0 = {{ nounwind "no-trapping-math"="true" "target-cpu"="{cpu}" '
    '"target-features"="{features}" "prefer-vector-width"="{bits}" }}'
)


ENTRY_NAME, CALL_NAME = "entry", "entry_call"
COMMIT = [
    "  %failed = load i64, ptr %context, align 8",
    "  %stop = icmp ne i64 %failed, 0",
    "  br i1 %stop, label %refused, label %commit",
    "commit:",
]


@dataclass(frozen=True)
class Call:
    """One kernel of the program and the table slot of each of its buffers."""

    kernel: Kernel
    slots: tuple[int, ...]
    commits: bool = False


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
    inputs: Sequence[tuple[int, Shape]] = (),
) -> Module:
    """The program's module. The entry takes the pointer table, the extents and the context.

    `copies` (from slot, to slot, bytes) follow the kernels. `inputs` (slot, shape) are what the
    entry's form as a C function of Python objects binds.

    Kernels that write state follow all that check indices: where a check failed, the entry returns
    before the first of them, and no state has changed.
    """
    functions: dict[str, str] = {}
    declarations: set[str] = set()
    bodies: dict[str, str] = {}
    for call in calls:
        function = Function(call.kernel)
        functions[call.kernel.name] = define(function, extents)
        declarations |= function.b.declarations
    entry = ENTRY_NAME
    lines = [f"define i64 @{entry}(ptr %table, ptr %extents, ptr %context) #0 {{", "entry:"]
    for number, name in enumerate(extents):
        lines.append(f"  %at.{name} = getelementptr i64, ptr %extents, i64 {number}")
        lines.append(f"  %size.{name} = load i64, ptr %at.{name}, align 8")
    guarded = False
    for number, call in enumerate(calls):
        if call.commits and not guarded:
            guarded = True
            lines += COMMIT
        arguments = []
        for place, slot in enumerate(call.slots):
            name = f"%p{number}.{place}"
            lines.append(f"  {name}.at = getelementptr ptr, ptr %table, i64 {slot}")
            lines.append(f"  {name} = load ptr, ptr {name}.at, align 8")
            arguments.append(f"ptr {name}")
        arguments += [f"i64 %size.{e}" for e in extents] + ["ptr %context"]
        lines.append(f"  call void @{call.kernel.name}({', '.join(arguments)})")
    if copies and not guarded:
        guarded = True
        lines += COMMIT
    for number, (source, destination, size) in enumerate(copies):
        for end, slot in (("from", source), ("to", destination)):
            lines.append(f"  %c{number}.{end}.at = getelementptr ptr, ptr %table, i64 {slot}")
            lines.append(f"  %c{number}.{end} = load ptr, ptr %c{number}.{end}.at, align 8")
        lines.append(
            f"  call void @llvm.memcpy.p0.p0.i64(ptr %c{number}.to, ptr %c{number}.from, "
            f"i64 {size}, i1 false)"
        )
        declarations.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    lines += ["  %code = load i64, ptr %context, align 8", "  ret i64 %code"]
    if guarded:
        lines += ["refused:", "  ret i64 %failed"]
    lines.append("}")
    bound = fastcall.emit(entry, CALL_NAME, inputs, extents)
    bodies = {**functions, entry: "\n".join(lines), CALL_NAME: bound}
    attributes = ATTRIBUTES.format(
        cpu=target.cpu, features=target.features, bits=target.vector_bytes * 8
    )
    text = "\n\n".join(
        [header(target), "\n".join(sorted(declarations)), *bodies.values(), attributes]
    )
    return Module(text + "\n", functions)
