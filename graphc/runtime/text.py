"""A compiled program as text, stage by stage: from the graph that was declared to the assembly."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from graphc.errors import InputError
from graphc.errors import near as near
from graphc.graph.graph import Graph
from graphc.graph.leaf import Leaf
from graphc.graph.node import Node
from graphc.graph.show import aligned, call, name_nodes, show
from graphc.llvm import engine
from graphc.llvm.targets import Target
from graphc.loops import show as loops
from graphc.loops.ir import Kernel
from graphc.passes.group import Group
from graphc.runtime.memory import memory_text
from graphc.runtime.stages import Stages

Extents = Mapping[str, int]


def as_text(stages: Stages, stage: str, extents: Extents) -> str:
    """One stage as text. Raises InputError that lists the stages for an unknown one.

    A node has the same %number in the texts of all stages. Sizes in "memory" are for the given
    extents; those not given are 1.
    """
    if stage not in STAGES:
        raise InputError(f"no stage {stage!r}; there are {', '.join(STAGES)}{near(stage, STAGES)}")
    return STAGES[stage](stages, extents)


def kernel_text(stages: Stages, number: int, stage: str) -> str:
    """One stage of one kernel: fused, lowered, loops, llvm or asm. Raises InputError otherwise."""
    if stage not in KERNEL_STAGES:
        raise InputError(
            f"no stage {stage!r} of a kernel; there are {', '.join(KERNEL_STAGES)}"
            f"{near(stage, KERNEL_STAGES)}"
        )
    return KERNEL_STAGES[stage](stages, number)


def names_of(stages: Stages) -> dict[Node, str]:
    """The printed name of every node, one and the same in all stages."""
    return name_nodes(stages.source, stages.graph)


# --- graphs ---------------------------------------------------------------------------------


def graph_text(graph: Graph, stages: Stages) -> str:
    """A graph with the program's names."""
    return show(graph, names=names_of(stages), columns=("type", "formula", "site"))


def simplified_text(stages: Stages) -> str:
    """The graph after all passes, and what they noted about its nodes."""
    notes = [f"# {note}" for note in dict.fromkeys(stages.graph.notes)]
    return "\n".join([graph_text(stages.graph, stages), *notes])


def backward_text(stages: Stages) -> str:
    """The nodes that differentiation made, after the forward nodes whose values they read."""
    graph, names = stages.source, names_of(stages)
    derived = [n for n in graph.nodes if n.site.derived and not isinstance(n.op, Leaf)]
    if not derived:
        return "# nothing was differentiated"
    members = set(derived)
    read = dict.fromkeys(operand for node in derived for operand in node.inputs)
    kept = [n for n in graph.nodes if n in read and n not in members]
    rows = [
        ("kept", f"{names[node]} = {call(node, names)}", f": {node.type}", f"# {node.site}")
        for node in kept
        if not isinstance(node.op, Leaf)
    ]
    body = show(graph, names=names, only=members, columns=("type", "formula", "site"))
    return "\n".join([*aligned(rows), body])


def fused_text(stages: Stages) -> str:
    """Every group: its kernel, its nodes (stored ones marked), and why they stand together."""
    names = names_of(stages)
    parts = [
        group_text(group, kernel.name, names)
        for group, kernel in zip(stages.plan.groups, stages.kernels, strict=True)
    ]
    views = [
        (names[node], "re-reads", names[home], f"# {stages.fused.reasons.get(node, 'a view')}")
        for node, home in stages.fused.aliases.items()
    ]
    if views:
        parts.append("\n".join(["without kernels", *(f"  {line}" for line in aligned(views))]))
    return "\n\n".join(parts)


def group_text(group: Group, name: str, names: Mapping[Node, str]) -> str:
    """One group: the loops its members share, its members, its reasons."""
    space = ", ".join(map(str, group.outer))
    roots = set(group.roots)
    rows = [
        (
            "stored" if node in roots else "inside",
            f"{names[node]} = {call(node, names)}",
            f": {node.type}",
            node.op.describe(),
        )
        for node in group.nodes
    ]
    lines = [f"{name}  over [{space}]", *(f"  {line}" for line in aligned(rows))]
    return "\n".join([*lines, *(f"  # {reason}" for reason in dict.fromkeys(group.reasons))])


# --- loops and code -------------------------------------------------------------------------


def kernels_text(kernels: Iterable[Kernel]) -> str:
    """Loop nests, one below the other."""
    return "\n\n".join(map(loops.show, kernels))


@lru_cache(maxsize=4)
def assembly(text: str, target: Target) -> str:
    """The assembly of a module's text, remembered for the next kernel that is asked for."""
    return engine.assembly(text, target)


@lru_cache(maxsize=4)
def assembled(text: str, target: Target) -> dict[str, list[str]]:
    """The lines of each function of a module's assembly, from its label to its end."""
    found: dict[str, list[str]] = {}
    inside: list[str] | None = None
    for line in assembly(text, target).splitlines():
        label = LABEL.match(line)
        if label:
            inside = found[label[1]] = []
        elif ENDS.match(line):
            inside = None
        if inside is not None:
            inside.append(line)
    return found


LABEL = re.compile(r"_?([A-Za-z][\w.]*):")
ENDS = re.compile(r"\.?Lfunc_end\d+:|\s+\.size\s")
DEBUG_LINE = re.compile(r"\s+\.(loc|file|cfi_\w+)\b|\.L(tmp|func_begin)\d+:")
"""In assembly: where a function begins, where it ends, and what debug line information adds."""


def function_lines(text: str, target: Target, name: str) -> list[str]:
    """One function's lines of a module's assembly."""
    absent = [f"# {name} has no function of its own: LLVM put it into its caller"]
    return assembled(text, target).get(name, absent)


def kernel_assembly(stages: Stages, number: int) -> str:
    """One kernel's assembly, without debug lines."""
    name = function_name(stages, number)
    found = function_lines(stages.module.text, stages.target, name)
    return "\n".join(line for line in found if not DEBUG_LINE.match(line))


def function_name(stages: Stages, number: int) -> str:
    """The function of a kernel: that of the first of all that are like it."""
    like = stages.calls[number].like
    return stages.kernels[number if like is None else like].name


STAGES: dict[str, Callable[[Stages, Extents], str]] = {
    "graph": lambda stages, _: graph_text(stages.source, stages),
    "backward": lambda stages, _: backward_text(stages),
    "simplified": lambda stages, _: simplified_text(stages),
    "fused": lambda stages, _: fused_text(stages),
    "memory": lambda stages, extents: memory_text(stages, extents, names_of(stages)),
    "lowered": lambda stages, _: kernels_text(stages.lowered),
    "loops": lambda stages, _: kernels_text(stages.kernels),
    "llvm": lambda stages, _: stages.module.text,
    "asm": lambda stages, _: assembly(stages.module.text, stages.target),
}
"""What a program can be looked at as, in the order in which it is made."""

KERNEL_STAGES: dict[str, Callable[[Stages, int], str]] = {
    "fused": lambda stages, number: group_text(
        stages.plan.groups[number], stages.kernels[number].name, names_of(stages)
    ),
    "lowered": lambda stages, number: loops.show(stages.lowered[number]),
    "loops": lambda stages, number: loops.show(stages.kernels[number]),
    "llvm": lambda stages, number: stages.module.functions[function_name(stages, number)],
    "asm": kernel_assembly,
}
"""What one kernel can be looked at as."""
