"""The compiler's spine: graph in, callable out. Read this first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from graphc import debug
from graphc.debug import Log
from graphc.graph.graph import Graph, make_graph
from graphc.graph.node import Node
from graphc.graph.verify import verify
from graphc.llvm import engine
from graphc.llvm.module import Call, Module, emit
from graphc.loops import show as loops
from graphc.loops.ir import Kernel
from graphc.loops.lower import lower
from graphc.loops.machine import Machine
from graphc.loops.order import order
from graphc.loops.scan import lower_scan
from graphc.loops.tile import tile
from graphc.passes import layout
from graphc.passes.bodies import prepare
from graphc.passes.border import border
from graphc.passes.fold import fold
from graphc.passes.fuse import fuse, separate
from graphc.passes.invert import invert
from graphc.passes.memory import Plan
from graphc.passes.memory import plan as plan_memory
from graphc.passes.pack import pack
from graphc.passes.simplify import simplify
from graphc.runtime.program import Program, Stages
from graphc.types import SIZE

GRAPH_PASSES: tuple[Callable[[Graph], Graph], ...] = (fold, simplify, invert, border, pack)
LOOP_PASSES: tuple[Callable[[Kernel, Machine], Kernel], ...] = (order, tile)


def compile(
    outputs: Node | Iterable[Node] | Mapping[str, Node] | Any,
    updates: Mapping[Node, Node] | None = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    target: str | None = None,
) -> Program:
    """Graph in, callable out. Each stage is kept for inspection.

    `outputs`: a node, several, or a dict of named ones; or a model, traced for inference with
    `inputs` (name -> shape). `updates`: variable -> its value after the call. `target`: avx512,
    avx2, sse2 or neon instead of the host's best.
    """
    if hasattr(outputs, "trace"):
        outputs = outputs.trace(inputs)
    graph = make_graph(outputs, updates)
    stages, loaded = build(graph, target)
    return Program(stages, loaded, isinstance(outputs, Mapping))


def build(source: Graph, target: str | None = None) -> tuple[Stages, engine.Loaded | None]:
    """Every stage in order."""
    log = Log()
    machine = engine.target(target)
    verify(source)
    graph = source                                                  # nodes  -> nodes
    for step in GRAPH_PASSES:
        if step.__name__ in debug.skipped():
            continue
        with log.timed(step.__name__):
            graph = step(graph)
        verify(graph)
    with log.timed("bodies"):
        graph = prepare(graph, GRAPH_PASSES)
    with log.timed("fuse"):
        fused = separate(graph) if "fuse" in debug.skipped() else fuse(graph)                                         # nodes  -> groups
    with log.timed("memory"):
        plan = plan_memory(fused)                                   # groups -> an order and slots
    tags: list[Node] = []
    with log.timed("lower"):
        lowered = [
            (lower_scan if g.body else lower)(g, fused, f"k{i:02d}", tags)
            for i, g in enumerate(plan.groups)
        ]
    kernels = []
    for kernel in (low.kernel for low in lowered):                  # group  -> loop nest
        for rewrite in LOOP_PASSES:
            if rewrite.__name__ not in debug.skipped():
                kernel = rewrite(kernel, machine.model)
        kernels.append(kernel)
    log.dump("loops", 2, lambda: "\n\n".join(map(loops.show, kernels)))
    extents = tuple(dict.fromkeys(s for n in graph.nodes for s in n.type.symbols))
    calls = [
        Call(kernel, tuple(plan.place[n] for n in low.nodes), number in plan.commits)
        for number, (kernel, low) in enumerate(zip(kernels, lowered, strict=True))
    ]
    with log.timed("emit"):
        module: Module = emit(                                      # loops  -> LLVM
            calls, extents, machine, "entry",
            copies=[(a, b, size_of(plan.slots[b].node)) for a, b in plan.copies],
            inputs=[(plan.place[n], n.shape) for n in inputs_of(source, plan)],
        )
    log.dump("llvm", 4, lambda: module.text)
    loaded = None
    if machine.native and not debug.reference():
        with log.timed("codegen"):
            loaded = engine.load(module.text, (module.entry, module.call), machine)
    stages = Stages(
        source, graph, fused, plan, tuple(low.kernel for low in lowered), tuple(kernels), module,
        machine, extents, tuple(tags), log.seconds,
    )
    return stages, loaded


def size_of(variable: Node) -> int:
    """Bytes of a variable."""
    return layout.elements(variable.type, {}) * SIZE[variable.dtype]


def inputs_of(source: Graph, plan: Plan) -> list[Node]:
    """The inputs that the program takes, in the order of the source graph."""
    taken = {slot.node for slot in plan.slots if slot.kind == "input"}
    return [node for node in source.nodes if node in taken]
