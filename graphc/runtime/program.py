"""Program: a compiled graph as a callable, with every stage of its making kept for inspection."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphc import runtime
from graphc.graph.node import Node
from graphc.lazy import cached_property
from graphc.runtime.caller import Caller
from graphc.runtime.cost import Cost, cost
from graphc.runtime.memory import Memory, memory

if TYPE_CHECKING:
    from graphc.runtime.kernels import Kernels, KernelView
    from graphc.runtime.profile import Profile
    from graphc.runtime.roofline import Roofline
    from graphc.runtime.times import Timed
    from graphc.runtime.watch import Watch


class Program(Caller):
    """A compiled graph. Call it with its inputs by position or by name.

    Returns a tuple in the order of the outputs, or a dict where they were named. Variables are
    read from, and updates written to, the arrays in their cells. Calls from several Python threads
    take turns; one from within a call of the same thread, such as a signal handler's, runs at once.

    Inputs by position are in the order of their declaration; a run-time extent that none of them
    tells is given by name. Raises InputError for a missing,
    unknown or unfitting input, IndexError for a label or index out of bounds; the state is then as
    before the call. Raises CompileError where the target is none that this machine runs.
    """

    def as_text(self, stage: str = "graph", **extents: int) -> str:
        """A stage as text: graph, backward, simplified, fused, memory, lowered, loops, llvm, asm.

        "memory" states sizes for the run-time extents given by name; the others are 1.
        """
        return runtime.text.as_text(self.stages, stage, extents)

    @property
    def kernels(self) -> Kernels:
        """The kernels by name, each with nodes, sites, notes, flops, bytes and as_text(stage)."""
        return runtime.kernels.Kernels(self.stages)

    def cost(self, **extents: int) -> Cost:
        """FLOPs and bytes of every kernel for run-time extents given by name; others are 1."""
        return cost(self.stages, extents)

    def memory(self, **extents: int) -> Memory:
        """Bytes of the arena, of what it must hold, and of all else, for run-time extents by name.

        Those not given are 1.
        """
        return memory(self.stages, extents)

    def explain(self, subject: str | Node | KernelView) -> str:
        """Which kernel computes a node or layer ("relu_1", "%7", "encoder.0"), with what, and why.

        A kernel ("k03") is explained by its nodes, its schedule and its buffers.
        """
        return runtime.explain.explain(self.stages, subject)

    @cached_property
    def timed(self) -> Timed:
        """The entry with time stamps.

        Raises CompileError where there is no native code, or its schedules are others by now.
        """
        return runtime.measure.with_times(self)

    def profile(self, inputs: Mapping[str, Any] | Sequence[Any], *, repeats: int = 50) -> Profile:
        """The time that each kernel takes inside the step on these inputs, of so many steps.

        Where no input tells a run-time extent it is given by name, as in a call. The state is
        afterwards as it was. Raises as a call does, and CompileError where there is no native code.
        """
        return runtime.measure.profile(self, inputs, repeats)

    def roofline(
        self,
        inputs: Mapping[str, Any] | Sequence[Any],
        *,
        repeats: int = 50,
        measure: bool = False,
    ) -> Roofline:
        """Every kernel's speed on these inputs beside what this machine can do at most.

        That is measured, and kept for a day in the cache; `measure` measures it anew. The state is
        afterwards as it was. Raises as `profile` does.
        """
        return runtime.measure.roofline(self, inputs, repeats, measure)

    def watch(self) -> Watch:
        """Take the time of every kernel in all calls from now on, until the watch is stopped.

        It can be read at any moment, from any thread, also while a call is under way. Raises
        CompileError where there is no native code.
        """
        return runtime.measure.watch(self)

    def draw(
        self, path: str | os.PathLike[str], stage: str = "graph", *, detail: str | None = None
    ) -> None:
        """Draw a stage into a .svg, .png, .pdf or .dot file, as Graph.draw does.

        The stages are "graph", as it was declared; "simplified", after the passes; and "fused", the
        same with a cluster for each kernel instead of each layer. Raises InputError for another.
        """
        runtime.picture.draw(self.stages, path, stage, detail)

    def _repr_html_(self) -> str:
        """What repr() says, and the kernels with their work as a table, for notebooks."""
        return runtime.picture.as_html(repr(self), self.cost())

    def __repr__(self) -> str:
        """Inputs, outputs and size: `<Program (x: f32[n,3]) -> (y: f32[]), 7 kernels, sse2>`."""
        given = ", ".join(f"{n.op.name}: {n.type}" for n in self.inputs)
        source = self.source
        results = zip(self.names, source.outputs, strict=True)
        shown = ", ".join(f"{name}: {node.type}" for name, node in results)
        counts = [f"{len(source.updates)} updates"] if source.updates else []
        counts += [f"{len(self.stages.lowered)} kernels", self.stages.target.name]
        return f"<Program ({given}) -> ({shown}), {', '.join(counts)}>"
