"""The compiler's spine: graph in, callable out. Read this first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache as cache_forever
from functools import partial
from typing import Any

from graphc import debug, runtime
from graphc.debug import Log
from graphc.errors import CompileError
from graphc.graph.exact import exact
from graphc.graph.graph import Graph, make_graph
from graphc.graph.node import Node
from graphc.graph.show import show
from graphc.graph.site import here
from graphc.graph.verify import verify
from graphc.interpreter import waiting
from graphc.llvm import engine, targets, tuned
from graphc.llvm.epoch import EPOCH_NAME
from graphc.llvm.lines import marked
from graphc.llvm.module import (
    CALL_NAME,
    ENTRY_NAME,
    KERNELS_NAME,
    MAKING_NAME,
    Done,
    Module,
    Writer,
    common,
)
from graphc.llvm.steps import Call, Ending
from graphc.llvm.targets import Target
from graphc.loops import show as loops
from graphc.loops.back import back
from graphc.loops.hoist import hoist
from graphc.loops.ir import Kernel
from graphc.loops.lower import lower
from graphc.loops.order import order
from graphc.loops.parallel import parallel
from graphc.loops.past import far, past
from graphc.loops.residues import residues
from graphc.loops.scan import lower_scan
from graphc.loops.share import share
from graphc.loops.sources import sources
from graphc.loops.tile import tile
from graphc.loops.trim import trim
from graphc.loops.verify import verify as verify_kernel
from graphc.machine import MATH, Machine
from graphc.ops import known
from graphc.ops.recurrence import Scan
from graphc.ops.scalar import written
from graphc.passes import layout
from graphc.passes.absorb import absorb
from graphc.passes.ahead import pack_ahead
from graphc.passes.arrange import arrange
from graphc.passes.bodies import prepare, unify
from graphc.passes.border import border
from graphc.passes.depth import depth_first
from graphc.passes.direct import direct
from graphc.passes.fold import fold
from graphc.passes.freeze import lasting, settled, steady
from graphc.passes.fuse import fuse
from graphc.passes.group import Fused
from graphc.passes.invert import invert
from graphc.passes.keep import keep
from graphc.passes.memory import Plan
from graphc.passes.memory import plan as plan_memory
from graphc.passes.merge import merge
from graphc.passes.narrow import narrow
from graphc.passes.outward import outward
from graphc.passes.pack import pack
from graphc.passes.search import search
from graphc.passes.segment import segment
from graphc.passes.separate import separate
from graphc.passes.simplify import simplify
from graphc.passes.verify import verify as verify_groups
from graphc.passes.winograd import winograd
from graphc.runtime import image as images
from graphc.runtime.image import Image, image_of
from graphc.runtime.program import Program
from graphc.runtime.stages import Pass, Stages
from graphc.types import SIZE

GRAPH_PASSES: tuple[Callable[[Graph, Machine], Graph], ...] = (
    unify,
    fold,
    simplify,
    absorb,
    keep,
    direct,
    invert,
    narrow,
    outward,
    arrange,
    search,
    merge,
    segment,
    winograd,
    border,
    pack,
)
ENTRIES = (ENTRY_NAME, CALL_NAME, MAKING_NAME, KERNELS_NAME)
BATCH = 4
"""Kernels that are scheduled before they are written."""
PROGRAM = ("graph", "ops", "passes", "runtime", "compiler.py", "machine.py")
"""The sources that an image depends on beside those of its code."""
TUNED = "tuned"
"""In GRAPHC_SKIP: what measuring has found is left out."""
LOOP_PASSES: tuple[Callable[[Kernel, Machine], Kernel], ...] = (
    share,
    sources,
    order,
    residues,
    tile,
    hoist,
    past,
    back,
    parallel,
    trim,
)
PASSES = (
    *(step.__name__ for step in GRAPH_PASSES),
    "fuse",
    depth_first.__name__,
    *(step.__name__ for step in LOOP_PASSES),
    TUNED,
)
"""What GRAPHC_SKIP can leave out."""


@waiting
def compile(
    outputs: Node | Iterable[Node] | Mapping[str, Node] | Any,
    updates: Mapping[Node, Node] | None = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    target: str | None = None,
    threads: int | None = None,
    freeze: bool = False,
    math: str = "exact",
    debug_nans: bool | str | None = None,
) -> Program:
    """Graph in, callable out. Each stage is kept for inspection.

    `outputs`: a node, several, or a dict of named ones; or a model, traced for inference with
    `inputs` (name -> shape). `updates`: variable -> its value after the call. `target`: avx512,
    avx2, sse2 or neon instead of the host's best; code for more than the host can be looked at, not
    called. `threads`: how many to use at most, all that this process may use for None; no bit
    depends on it. `freeze`: take the variables that a call only reads as they are now, and compute
    at once what depends on them alone; no later change of theirs is seen. It is for inference,
    whose weights then lie as its kernels read them.

    `math="fast"` trades digits for speed: windows of 2 to 5 that slide over an image by 1, such as
    convolutions with 3x3 filters and their gradients, become products in tiles (Winograd), about
    1e-5 of the largest result off in float32, 1e-14 in float64; a NaN or an infinity spreads over
    its tile. With `freeze`, a batch norm goes into the weights of the product before it.

    `debug_nans`: look at the results and the new state of every call, and where they hold a NaN,
    raise a NanError that names the node that made it, the state as before the call; "inf" looks
    for infinities too. None: as GRAPHC_DEBUG_NANS says. When off, it costs nothing.

    By position the program takes its inputs in the order of their declaration (for a model that of
    `inputs`), those that nothing reads left out; by name in any.
    """
    if math not in MATH:
        raise CompileError(f"math={math!r}: there are {' and '.join(map(repr, MATH))}{here()}")
    wanted = debug.nans() if debug_nans is None else debug_nans
    if wanted not in (False, True, "inf"):
        raise CompileError(f"debug_nans={wanted!r}: give True, False or 'inf'{here()}")
    if hasattr(outputs, "trace"):
        outputs = outputs.trace(inputs)
    graph = make_graph(outputs, updates)
    if freeze:
        graph = frozen(graph, targets.target(target), math)
    made = built(graph, target, math, freeze, threads, named=isinstance(outputs, Mapping))
    if wanted:
        made.nans = runtime.nans.Nans(
            wanted == "inf", lambda g: built(g, target, math, freeze, threads)
        )
    return made


def built(
    graph: Graph,
    target: str | None,
    math: str,
    passed: bool,
    threads: int | None,
    *,
    named: bool = False,
) -> Program:
    """The program of a graph, which may have been through the graph passes."""
    image, loaded, stages = build(graph, targets.target(target), math, passed=passed)
    return Program(graph, image, loaded, stages, named=named, threads=threads)


def frozen(source: Graph, target: Target, math: str) -> Graph:
    """The graph after its passes, the values that no call changes in variables of its own."""
    verify(source)
    graph = run_passes(source, Log(), replace(target.model, math=math, frozen=True))[-1].graph
    graph = graph if "pack" in skipped() else pack_ahead(graph, steady(graph), target.model)
    once, host = lasting(graph), None if target.native else targets.host_level()
    values = compile(once, target=host, threads=1, debug_nans=False)() if once else ()
    return settled(graph, dict(zip(once, values, strict=True)))


def build(
    source: Graph, target: Target, math: str = "exact", *, passed: bool = False
) -> tuple[Image, engine.Loaded | None, Callable[[], Stages]]:
    """A program's image, its code, and its stages: where it is kept on disk no stage is made.

    `passed`: the graph has been through the graph passes.
    """
    parts = [exact(source, written), math, repr(passed), *sorted(skipped()), tuned.state()]
    parts += places(source) if debug.lines() else []
    key = engine.digest("\n".join(parts), target, PROGRAM)
    native = target.native and not debug.reference()
    names = (*ENTRIES, EPOCH_NAME) if source.updates else ENTRIES
    if native and not debug.level() and not debug.dumps():
        kept = images.kept(key)
        loaded = engine.fetch(kept.key, names, target) if kept is not None else None
        if kept is not None and loaded is not None:
            return kept, loaded, cache_forever(partial(make, source, target, math, passed))
    shared = engine.once(common(target), target) if native else None  # compiled meanwhile
    if native:  # as is what threads wait in
        runtime.threads.ahead()
    stages = make(source, target, math, passed)
    image = image_of(stages, stages.key)
    loaded = None
    if native:
        with stages.log.timed("codegen"):  # LLVM -> machine code
            loaded = engine.load(stages.key, stages.write, names, target, shared)
        images.write(key, image)
    known.save()
    return image, loaded, lambda: stages


def make(source: Graph, machine: Target, math: str = "exact", passed: bool = False) -> Stages:
    """Every stage in order. Each is verified, timed, and dumped where that is asked for."""
    log = Log()
    model = replace(machine.model, math=math)
    verify(source)
    passes = () if passed else run_passes(source, log, model)  # nodes  -> nodes
    graph = passes[-1].graph if passes else source
    with log.timed("fuse"):
        fused = cut(graph)  # nodes  -> groups
    with log.timed("memory"):
        plan = plan_memory(fused)  # groups -> an order and slots
    verify_groups(fused, plan.groups)
    tags: list[Node] = []
    with log.timed("lower"):  # groups -> loop nests
        lowered = [
            (lower_scan if group.body else lower)(group, fused, f"k{number:02d}", tags)
            for number, group in enumerate(plan.groups)
        ]
    extents = tuple(dict.fromkeys(s for n in graph.nodes for s in n.type.symbols))
    slots = tuple(tuple(plan.place[key] for key in low.nodes) for low in lowered)
    told = far([low.kernel for low in lowered], slots, plan, model)
    kernels = tuned_kernels(told, machine)
    copies = [(a, b, size_of(plan.slots[b].node)) for a, b in plan.copies]
    bound = [(plan.place[n], n.shape) for n in inputs_of(source, plan)]
    made = [(i, s.type.shape) for i, s in enumerate(plan.slots) if s.kind == "output"]
    arrays = [(i, shape) for i, shape in made if shape]
    numbers = tuple(i for i, shape in made if not shape)
    lines = debug.lines()
    # A step with updates is made many times in one call.
    ending = Ending(
        tuple(copies), (*bound, *arrays), len(arrays), numbers, many=bool(source.updates)
    )
    texts = tuple(map(loops.exact, kernels))
    if lines:  # kernels from different lines are no longer alike
        texts = tuple(text + marked(kernel) for text, kernel in zip(texts, kernels, strict=True))
    first: dict[str, int] = {}
    for number, text in enumerate(texts):
        first.setdefault(text, number)

    def call(number: int, kernel: Kernel) -> Call:
        return Call(kernel, slots[number], number in plan.commits, first[texts[number]])

    def finish(done: Done) -> tuple[tuple[Call, ...], Module]:
        writer = Writer(extents, machine, done, lines=lines)
        scheduled: list[Kernel] = []
        for some in batches(len(kernels)):
            with log.timed("schedule"):  # loop nests -> loop nests
                for kernel, text in zip(kernels[some], texts[some], strict=True):
                    like = first[text]
                    scheduled.append(
                        schedule(kernel, model)
                        if like == len(scheduled)
                        else alike(kernel, kernels[like], scheduled[like])
                    )
            with log.timed("emit"):  # loop nests -> LLVM
                writer.kernels([call(n, scheduled[n]) for n in range(len(scheduled))[some]])
        with log.timed("emit"):
            module = writer.close(ending)
        log.dump("loops", 2, lambda: "\n\n".join(map(loops.show, scheduled)))
        log.dump("llvm", 4, lambda: module.text)
        log.dump("asm", 4, lambda: engine.assembly(module.text, machine))
        return tuple(writer.calls), module

    parts = (
        [kernel.choices for kernel in kernels if kernel.choices],
        slots,
        sorted(plan.commits),
        ending,
        extents,
        sorted(skipped()),
    )
    key = engine.digest("\n".join([*texts, repr(parts)]), machine)
    stages = Stages(
        source,
        passes,
        graph,
        fused,
        plan,
        kernels,
        machine,
        extents,
        tuple(tags),
        ending,
        finish,
        key,
        log,
    )
    if debug.level() or debug.dumps():
        stages.finished  # noqa: B018  # made now, to be dumped now
    return stages


def batches(count: int) -> list[slice]:
    """The kernels some at a time, so that the first are compiled while the others are scheduled."""
    size = max(count, 1) if debug.level() or debug.dumps() else BATCH
    return [slice(begin, begin + size) for begin in range(0, count, size)]


def alike(kernel: Kernel, first: Kernel, scheduled: Kernel) -> Kernel:
    """A kernel with the loops of the first that is like it, which has been scheduled."""
    notes = scheduled.notes[len(first.notes) :]
    return replace(kernel, body=scheduled.body, notes=(*kernel.notes, *notes))


def tuned_kernels(kernels: Sequence[Kernel], target: Target) -> tuple[Kernel, ...]:
    """The kernels with the choices that measuring has found for them."""
    kept = tuned.entries() if TUNED not in skipped() else frozenset()
    if not kept:
        return tuple(kernels)
    entries = [tuned.find(loops.exact(kernel), target, kept) for kernel in kernels]
    return tuple(
        replace(kernel, choices=entry.choices) if entry is not None else kernel
        for kernel, entry in zip(kernels, entries, strict=True)
    )


def run_passes(graph: Graph, log: Log, machine: Machine) -> tuple[Pass, ...]:
    """The graph passes in order, then the same on the bodies of scans."""
    passes, made = tuple(p for p in GRAPH_PASSES if p.__name__ not in skipped()), []
    for step in passes:
        with log.timed(step.__name__):
            graph = step(graph, machine)
        verify(graph)
        log.dump(step.__name__, 3, partial(show, graph))
        made.append(Pass(step.__name__, graph))
    with log.timed("bodies"):
        made.append(Pass("bodies", prepare(graph, passes, machine)))
    return tuple(made)


def cut(graph: Graph) -> Fused:
    """The graph in groups: fused, or a kernel for each node where fusion is skipped."""
    if "fuse" in skipped():
        return separate(graph)
    fused = fuse(graph)
    return fused if "depth_first" in skipped() else depth_first(fused)


def schedule(kernel: Kernel, machine: Machine) -> Kernel:
    """The loop passes in order; what one has changed is verified."""
    verify_kernel(kernel)
    left_out = skipped()
    for step in LOOP_PASSES:
        if step.__name__ not in left_out:
            before, kernel = kernel, step(kernel, machine)
            if kernel != before:
                verify_kernel(kernel)
    return kernel


def skipped() -> frozenset[str]:
    """The passes that GRAPHC_SKIP leaves out."""
    return debug.skipped(PASSES)


def places(graph: Graph) -> list[str]:
    """The lines that a graph comes from, node by node, those inside scans among them."""
    found: list[str] = []
    for node in graph.nodes:
        found.append(f"{node.site!r} {node.site.derived}")
        if isinstance(node.op, Scan):
            found += places(node.op.body)
    return found


def size_of(variable: Node) -> int:
    """Bytes of a variable."""
    return layout.elements(variable.type, {}) * SIZE[variable.dtype]


def inputs_of(source: Graph, plan: Plan) -> list[Node]:
    """The inputs that the native code reads, in the order of their declaration."""
    taken = {slot.node for slot in plan.slots if slot.kind == "input"}
    return [node for node in source.inputs if node in taken]
