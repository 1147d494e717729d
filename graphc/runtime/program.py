"""Program: a compiled graph as a callable, with every stage of its making kept for inspection."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.errors import CompileError, IndexError, InputError
from graphc.graph import leaf
from graphc.graph.graph import Graph
from graphc.graph.leaf import aligned
from graphc.graph.node import Node
from graphc.llvm.engine import ENTRY, Loaded, Target
from graphc.llvm.module import Module
from graphc.loops.ir import Kernel
from graphc.ops import reference
from graphc.passes import layout
from graphc.passes.group import Fused
from graphc.passes.memory import Plan
from graphc.runtime.binding import bind
from graphc.types import resolve

Array = np.ndarray[Any, Any]


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


class Program:
    """A compiled graph. Call it with its inputs by position or by name.

    Returns a tuple in the order of the outputs, or a dict where they were named. Variables are
    read from, and updates written to, the arrays in their cells. Calls from several Python threads
    take turns.

    Raises InputError for a missing, unknown or unfitting input, IndexError for a label or index
    out of bounds; the state is then as before the call.
    """

    def __init__(self, stages: Stages, loaded: Loaded | None, named: bool) -> None:
        self.stages = stages
        self.loaded = loaded
        self.named = named
        self.names = stages.source.names
        inputs = [s.node for s in stages.plan.slots if s.kind == "input"]
        order = {n: i for i, n in enumerate(n for n in stages.source.nodes)}
        self.inputs = sorted(inputs, key=lambda n: order.get(n, 0))
        self.lock = threading.Lock()
        self.prepare()

    def prepare(self) -> None:
        """Fill the parts of the pointer table that stay."""
        slots = self.stages.plan.slots
        self.table = (ctypes.c_void_p * max(len(slots), 1))()
        self.sizes = (ctypes.c_int64 * max(len(self.stages.extents), 1))()
        self.context = (ctypes.c_int64 * 8)()
        self.constants: list[Array] = []
        self.known: dict[str, int] | None = None
        self.arena: Array | None = None
        self.place = {s.node: i for i, s in enumerate(slots)}
        for number, slot in enumerate(slots):
            if isinstance(slot.node.op, leaf.Variable):
                self.table[number] = slot.node.op.cell.value.ctypes.data
            elif isinstance(slot.node.op, leaf.Constant):
                self.constants.append(aligned(slot.node.op.array))
                self.table[number] = self.constants[-1].ctypes.data
        self.entry: Callable[..., int] | None = None
        if self.loaded is not None:
            self.entry = ENTRY(self.loaded.addresses[self.stages.module.entry])
        self.made = [
            (number, slot.node) for number, slot in enumerate(slots) if slot.kind == "output"
        ]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run once."""
        given = self.collect(args, kwargs)
        with self.lock:
            outputs = self.run(given)
        return dict(zip(self.names, outputs, strict=True)) if self.named else outputs

    def collect(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The inputs in order. Raises InputError naming what is missing or unknown."""
        names = [n.op.name for n in self.inputs]
        if len(args) > len(names):
            raise InputError(f"{len(args)} inputs given; the program takes {', '.join(names)}")
        given = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name not in names:
                raise InputError(f"no input {name!r}; the program takes {', '.join(names) or 'none'}")
            if name in given:
                raise InputError(f"input {name!r} given twice")
            given[name] = value
        missing = [n for n in names if n not in given]
        if missing:
            raise InputError(f"missing input {', '.join(map(repr, missing))}")
        return [given[n] for n in names]

    def run(self, given: list[Any]) -> tuple[Array, ...]:
        """Bind the inputs, call the native entry, collect the outputs."""
        extents: dict[str, int] = {}
        arrays = [
            bind(node, value, extents) for node, value in zip(self.inputs, given, strict=True)
        ]
        if self.entry is None:
            return self.oracle(arrays, extents)
        if extents != self.known:
            self.resize(extents)
        for node, array in zip(self.inputs, arrays, strict=True):
            self.table[self.place[node]] = array.ctypes.data
        made: dict[Node, Array] = {}
        for number, node in self.made:
            made[node] = np.empty(physical(node, extents), node.dtype)
            self.table[number] = made[node].ctypes.data
        self.context[0] = 0
        code = self.entry(
            ctypes.addressof(self.table), ctypes.addressof(self.sizes),
            ctypes.addressof(self.context),
        )
        if code:
            self.refuse(code, arrays, extents)
        return tuple(self.output(o, made, arrays, extents) for o in self.stages.graph.outputs)

    def resize(self, extents: dict[str, int]) -> None:
        """Lay the arena out for new run-time extents."""
        for number, name in enumerate(self.stages.extents):
            if name not in extents:
                raise CompileError(f"no input tells the extent {name!r}")
            self.sizes[number] = extents[name]
        offsets, size = self.stages.plan.arena(extents)
        if self.arena is None or self.arena.nbytes < size:
            self.arena = aligned(np.empty(size, np.uint8))
        start = self.arena.ctypes.data
        for number, offset in offsets.items():
            self.table[number] = start + offset
        self.known = dict(extents)

    def output(
        self, node: Node, made: dict[Node, Array], arrays: list[Array], extents: dict[str, int]
    ) -> Array:
        """An output as an array of its logical shape."""
        home = self.stages.fused.home(node)
        shape = resolve(node.shape, extents)
        match home.op:
            case leaf.Input():
                return arrays[self.inputs.index(home)].reshape(shape).copy()
            case leaf.Variable(cell=cell):
                return cell.value.reshape(shape).copy()
            case leaf.Constant():
                return home.op.array.reshape(shape).copy()
            case leaf.Extent(name=name):
                return np.asarray(extents[name], np.int64)
        return logical(made[home], node, extents)

    def oracle(self, arrays: list[Array], extents: dict[str, int]) -> tuple[Array, ...]:
        """The same call by the numpy oracle."""
        graph = self.stages.source
        given = {n.op.name: a for n, a in zip(self.inputs, arrays, strict=True)}
        values = reference.evaluate(graph.roots, given, extents)
        count = len(graph.outputs)
        for (variable, _), new in zip(graph.updates, values[count:], strict=True):
            assert isinstance(variable.op, leaf.Variable)
            variable.op.cell.value[...] = new
        return tuple(values[:count])

    def refuse(self, code: int, arrays: list[Array], extents: dict[str, int]) -> None:
        """Find the index that a kernel refused, by the oracle, and raise its IndexError."""
        node = self.stages.tags[code - 1]
        given = {n.op.name: a for n, a in zip(self.inputs, arrays, strict=True)}
        try:
            reference.evaluate([node], given, extents)
        except IndexError as error:
            raise IndexError(f"{error}\n  at {node.site.file}:{node.site.line}") from None
        raise IndexError(f"{node.op.name}: an index is out of bounds, at {node.site}")


def physical(node: Node, extents: dict[str, int]) -> tuple[int, ...]:
    """The shape of a node's buffer: run-time extents first."""
    shape = node.shape
    order = sorted(range(len(shape)), key=lambda a: (not isinstance(shape[a], str), a))
    return resolve(tuple(shape[a] for a in order), extents)


def logical(array: Array, node: Node, extents: dict[str, int]) -> Array:
    """A buffer as an array of the node's shape."""
    shape = resolve(node.shape, extents)
    if any(isinstance(e, str) for e in node.shape[1:]):
        step = array.itemsize
        steps = tuple(s * step for s in layout.strides(node.shape))
        return np.ascontiguousarray(np.lib.stride_tricks.as_strided(array, shape, steps))
    return array.reshape(shape)
