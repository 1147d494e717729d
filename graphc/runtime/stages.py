"""Stages: what every stage of the compiler made, kept with the program for inspection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from graphc.debug import Log
from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.lazy import cached_property
from graphc.llvm.module import Done, Module, ignored, numbered
from graphc.llvm.steps import Call, Ending
from graphc.llvm.targets import Target
from graphc.loops.ir import Kernel
from graphc.passes.group import Fused
from graphc.passes.memory import Plan


@dataclass(frozen=True)
class Pass:
    """What a graph pass made of the graph before it."""

    name: str
    graph: Graph


@dataclass(frozen=True)
class Stages:
    """What each stage of the compiler made. `passes` are the graph passes in order."""

    source: Graph
    passes: tuple[Pass, ...]
    graph: Graph
    fused: Fused
    plan: Plan
    lowered: tuple[Kernel, ...]
    target: Target
    extents: tuple[str, ...]
    tags: tuple[Node, ...]
    ending: Ending
    finish: Callable[[Done], tuple[tuple[Call, ...], Module]] = field(repr=False)
    key: str
    log: Log

    @property
    def seconds(self) -> Mapping[str, float]:
        """The time that each stage took."""
        return self.log.seconds

    @cached_property
    def finished(self) -> tuple[tuple[Call, ...], Module]:
        """The scheduled kernels and their module; made when asked for: a cached object runs."""
        return self.finish(ignored)

    def write(self, done: Done) -> None:
        """Make them, and hand each part of the module over once it is complete."""
        if "finished" in vars(self):
            for part in self.module.parts:
                done(part)
        else:
            vars(self)["finished"] = self.finish(done)

    @property
    def calls(self) -> tuple[Call, ...]:
        """The kernels after scheduling, with the table slots of their buffers."""
        return self.finished[0]

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels after scheduling."""
        return tuple(call.kernel for call in self.calls)

    @property
    def module(self) -> Module:
        """The LLVM module."""
        return self.finished[1]

    @cached_property
    def numbered(self) -> Module:
        """The module with instructions that point at their statements' numbers (see `lines`)."""
        return numbered(self.module, self.calls, self.extents, self.target)
