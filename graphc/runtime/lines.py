"""The lines of a kernel's texts, each with the nodes that it comes from, the hot loop marked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from graphc.graph.node import Node
from graphc.loops.ir import For, Stmt, walk
from graphc.loops.nest import extent
from graphc.loops.origin import origin
from graphc.loops.parallel import work
from graphc.ops.index import Runtime
from graphc.runtime.stages import Stages
from graphc.runtime.text import DEBUG_LINE, assembly, function_lines, function_name, kernel_text

INSIDE = ("unrolled", "vector", "single")
"""The kinds of loops that machine code has no loop for."""
NOWHERE = range(0)


@dataclass(frozen=True)
class Line:
    """A line of a kernel's text, the nodes that it comes from, and whether the hot loop has it.

    What is computed inside a scan comes from the node of its body, and from the scan. A loop comes
    from all nodes inside it; a declaration, and what the machine alone needs, from none.
    """

    text: str
    nodes: tuple[Node, ...]
    hot: bool


def lines(stages: Stages, number: int, stage: str) -> tuple[Line, ...]:
    """The lines of one stage of one kernel, those of `kernel_text`. Raises InputError as it does.

    The hot loop is the innermost loop that takes the most work, by its instructions (vectors
    counted as one) and the steps of all loops around it, run-time extents guessed. In LLVM's text
    and in assembly it is the innermost loop, from a label to the last branch back to it, that holds
    the most instructions of that loop's statements.
    """
    text = kernel_text(stages, number, stage).splitlines()
    if stage == "fused":
        members = stages.plan.groups[number].nodes
        rows = [(), *((node,) for node in members), *([()] * (len(text) - len(members) - 1))]
        return tuple(Line(line, row, False) for line, row in zip(text, rows, strict=True))
    kernel = (stages.lowered if stage == "lowered" else stages.kernels)[number]
    nodes = [(), *map(origin(kernel), walk(kernel.body))]
    loop = hottest(kernel.body)
    if stage in MARKS:
        numbers = MARKS[stage](stages, function_name(stages, number))
        numbers += [0] * (len(text) - len(numbers))  # metadata after the function
        hot = around(text, numbers, loop)
    else:
        head = len(text) - len(nodes) + 1  # the signature and the notes
        numbers = [0] * head + list(range(1, len(nodes)))
        hot = range(head + loop.start - 1, head + loop.stop - 1)
    rows = [nodes[number] for number in numbers]
    return tuple(
        Line(line, row, at in hot) for at, (line, row) in enumerate(zip(text, rows, strict=True))
    )


# --- the hot loop ---------------------------------------------------------------------------


def hottest(body: tuple[Stmt, ...]) -> range:
    """The numbers of the statements, the loop's own first, of the loop that takes the most work."""
    loops = innermost(body, 1, 1.0)
    return max(loops, key=lambda found: found[0], default=(0.0, NOWHERE))[1]


def innermost(stmts: Sequence[Stmt], first: int, times: float) -> Iterator[tuple[float, range]]:
    """The innermost loops, each with its work and the numbers of its statements."""
    for stmt in stmts:
        after = first + sum(1 for _ in walk((stmt,)))
        if isinstance(stmt, For):
            inside = list(innermost(stmt.body, first + 1, times * steps(stmt)))
            if not inside and loops(stmt):
                inside = [(times * steps(stmt) * sum(map(work, stmt.body)), range(first, after))]
            yield from inside
        first = after


def loops(loop: For) -> bool:
    """Whether machine code has a loop for it."""
    return loop.kind not in INSIDE and (loop.extent != 1 or loop.kind == "parallel")


def steps(loop: For) -> int:
    """How many steps a loop takes, guessed where that is known only at run time."""
    if loop.extent is not None:
        return 1 if loop.kind == "vector" else loop.extent
    if isinstance(loop.start, Runtime):  # what whole tiles leave over
        return max(1, loop.start.multiple // 2 // loop.step)
    return -(-extent(loop) // loop.step)


def around(text: Sequence[str], numbers: Sequence[int], loop: range) -> range:
    """The lines of the innermost loop of code that holds the most lines of some statements."""
    labels: dict[str, int] = {}
    ends: dict[str, int] = {}
    for at, line in enumerate(text):
        label = LABEL.match(line)
        if label:
            labels[label[1]] = at
        else:
            ends |= {target: at for target in BRANCH.findall(line) if target in labels}
    spans = [range(labels[target], end + 1) for target, end in ends.items()]
    inner = [a for a in spans if not any(b.start in a and b != a for b in spans)]
    held = {span: sum(numbers[at] in loop for at in span) for span in inner}
    best = max(inner, key=lambda span: held[span], default=NOWHERE)
    return best if held.get(best) else NOWHERE


LABEL = re.compile(r"([\w.]+):")
BRANCH = re.compile(r"(?<=label %)\w+|\.LBB\d+_\d+")
"""A label of LLVM's text or of assembly, and where a branch goes."""


# --- statements of instructions -------------------------------------------------------------


def llvm_numbers(stages: Stages, name: str) -> list[int]:
    """The statement of each line of a function's LLVM text, 0 where there is none."""
    text = stages.numbered.functions[name]
    places = {number: int(line) for number, line in LOCATION.findall(text)}
    code = text[: text.index("\n}") + 2].splitlines()
    marks = (MARK.search(line) for line in code)
    return [places[mark[1]] if mark else 0 for mark in marks]


def assembly_numbers(stages: Stages, name: str) -> list[int]:
    """The statement of each line of a function's assembly, by the debug lines between them."""
    numbers, number = [], 0
    for line in function_lines(assembly(stages.numbered.text, stages.target), name):
        place = PLACE.match(line)
        if place:
            number = int(place[1])
        elif not DEBUG_LINE.match(line):
            numbers.append(number if INSTRUCTION.match(line) else 0)
    return numbers


LOCATION = re.compile(r"^!(\d+) = !DILocation\(line: (\d+)", re.MULTILINE)
MARK = re.compile(r", !dbg !(\d+)$")
PLACE = re.compile(r"\s+\.loc\s+\d+ (\d+)")
INSTRUCTION = re.compile(r"\s+[^.\s]")
MARKS = {"llvm": llvm_numbers, "asm": assembly_numbers}
