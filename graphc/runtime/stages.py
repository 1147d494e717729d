"""Stages: what every stage of the compiler made, kept with the program for inspection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.llvm.engine import Target
from graphc.llvm.module import Module
from graphc.loops.ir import Kernel
from graphc.passes.group import Fused
from graphc.passes.memory import Plan


@dataclass(frozen=True)
class Stages:
    """What each stage of the compiler made."""

    source: Graph
    graph: Graph
    fused: Fused
    plan: Plan
    lowered: tuple[Kernel, ...]
    kernels: tuple[Kernel, ...]
    module: Module
    target: Target
    extents: tuple[str, ...]
    tags: tuple[Node, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)
