"""Program: a compiled graph as a callable, with every stage of its making kept for inspection."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from graphc import runtime
from graphc.errors import CompileError, IndexError, InputError, near
from graphc.graph import leaf
from graphc.graph.graph import Graph
from graphc.graph.leaf import aligned, reserved
from graphc.graph.node import Node
from graphc.llvm import engine
from graphc.llvm.engine import ENTRY, Loaded
from graphc.llvm.fastcall import BUSY
from graphc.llvm.module import CALL_NAME, ENTRY_NAME, MAKING_NAME
from graphc.ops import reference
from graphc.passes.memory import arena
from graphc.runtime import arrays as arrays_
from graphc.runtime import room
from graphc.runtime import threads as threads_
from graphc.runtime.binding import bind
from graphc.runtime.buffers import logical, named, physical
from graphc.runtime.cost import Cost, cost
from graphc.runtime.fastcall import FastCall, supported
from graphc.runtime.image import Image, Result, constant, leaves
from graphc.runtime.memory import Memory, memory
from graphc.runtime.stages import Stages as Stages
from graphc.types import TensorType, resolve

if TYPE_CHECKING:
    from graphc.runtime.kernels import Kernels, KernelView
    from graphc.runtime.nans import Nans
    from graphc.runtime.profile import Profile
    from graphc.runtime.roofline import Roofline
    from graphc.runtime.times import Records, Timed
    from graphc.runtime.watch import Watch

Array = np.ndarray[Any, Any]
QUICK = 20_000_000
"""FLOPs of a call below which it keeps Python's lock: releasing it would cost more."""
SHARED = 2_000_000
"""FLOPs of a call from which on threads share it."""
_programs: weakref.WeakSet[Program] = weakref.WeakSet()


class Program:
    """A compiled graph. Call it with its inputs by position or by name.

    Returns a tuple in the order of the outputs, or a dict where they were named. Variables are
    read from, and updates written to, the arrays in their cells. Calls from several Python threads
    take turns; one from within a call of the same thread, such as a signal handler's, runs at once.

    Inputs by position are in the order of their declaration; a run-time extent that none of them
    tells is given by name. Raises InputError for a missing,
    unknown or unfitting input, IndexError for a label or index out of bounds; the state is then as
    before the call. Raises CompileError where the target is none that this machine runs.
    """

    def __init__(
        self,
        source: Graph,
        image: Image,
        loaded: Loaded | None,
        stages: Callable[[], Stages],
        *,
        named: bool,
        threads: int | None = None,
    ) -> None:
        self.source = source
        self.image = image
        self.loaded = loaded
        self.make_stages = stages
        self.named = named
        self.names = source.names
        self.inputs = source.inputs
        self.threads = threads_.resolve(threads)
        self.nans: Nans | None = None  # what looks for NaN in every call, where that is asked for
        self.lock = threading.RLock()
        _programs.add(self)
        self.maker: Callable[..., Callable[[], Array]] = arrays_.maker  # of a call's outputs
        self.prepare()

    @cached_property
    def stages(self) -> Stages:
        """What every stage of the compiler made; where the code was kept, made when asked for."""
        return self.make_stages()

    def forked(self) -> None:
        """In a child of fork(): no call is under way, and the team is the parent's."""
        self.lock = threading.RLock()
        self.forget()
        self.context[2], self.context[BUSY] = 1, 0

    def prepare(self) -> None:
        """Fill the parts of the pointer table that stay."""
        image, known = self.image, leaves(self.source)
        self.table = (ctypes.c_void_p * max(len(image.slots), 1))()
        self.sizes = (ctypes.c_int64 * max(len(image.extents), 1))()
        self.context = (ctypes.c_int64 * 8)()
        self.arena: Array | None = None
        self.cells = [n.op.cell if isinstance(n.op, leaf.Variable) else None for n in known]
        self.constants: list[Array] = []
        self.place: dict[Node, int] = {}
        self.made: list[tuple[int, TensorType]] = []
        self.scalars: dict[int, Array] = {}
        for number, slot in enumerate(image.slots):
            match slot.kind:
                case "input":
                    self.place[known[slot.leaf]] = number
                case "state":
                    self.table[number] = self.cell(slot.leaf).value.ctypes.data
                case "constant":
                    self.constants.append(aligned(constant(image, slot.leaf, slot.type)))
                    self.table[number] = self.constants[-1].ctypes.data
                case "output":
                    self.made.append((number, slot.type))
                    if not slot.type.shape:
                        self.scalars[number] = np.empty((), slot.type.dtype)
                        self.table[number] = self.scalars[number].ctypes.data
        # Outputs are values as they were when the call began, variables among them too.
        updated = {variable for variable, _ in self.source.updates}
        self.overwritten = [
            r.number for r in image.results if r.kind == "state" and known[r.number] in updated
        ]
        self.records: Records | None = None
        self.watches = 0
        self.fasts: dict[int, FastCall] = {}  # they stay: another thread may be about to call one
        self.connect(self.loaded)
        self.given = tuple(n.op.name for n in self.inputs)
        get = itemgetter(*self.given) if len(self.given) > 1 else None
        self.pick: Callable[[dict[str, Any]], Sequence[Any]] = (
            get if get is not None else lambda given: [given[name] for name in self.given]
        )
        # What the native code binds itself: numbers, and arrays in the shape they are made in.
        self.bound = all(
            r.kind == "slot" and r.type == r.home and not any(map(named, r.type.shape[1:]))
            for r in image.results
        )
        ready = [n for n, type in self.made if type.shape] + list(self.scalars)
        places = [ready.index(r.number) for r in image.results] if self.bound else []
        self.order = list(zip(self.names, places, strict=False))
        self.plain = places == list(range(len(ready)))
        told = {extent for node in self.inputs for extent in node.type.symbols}
        self.untold = [name for name in image.extents if name not in told]
        self.blank: list[Callable[[], Array]] = []

    def connect(self, loaded: Loaded | None) -> None:
        """Have calls run this code, the program's own or that with time stamps."""
        self.running = loaded
        self.entry: Callable[..., int] | None = None
        self.fast: FastCall | None = None
        self.forget()
        if loaded is None:
            return
        self.entry = room.within(ENTRY(loaded.addresses[ENTRY_NAME]))
        if supported() and all(n in self.place for n in self.inputs):
            address = loaded.addresses[CALL_NAME]
            if address not in self.fasts:
                self.fasts[address] = FastCall(
                    address,
                    loaded.addresses[MAKING_NAME],
                    self.table,
                    self.sizes,
                    self.context,
                    [n.dtype for n in self.inputs]
                    + [t.dtype for _, t in self.made if t.shape]
                    + [array.dtype.name for array in self.scalars.values()],
                )
            self.fast = self.fasts[address]

    def forget(self) -> None:
        """Have the next call lay out anew what depends on the run-time extents."""
        self.known: dict[str, int] | None = None
        self.quick: Callable[..., int] | None = None
        self.direct: Callable[..., tuple[Any, ...] | None] | None = None

    @property
    def calling(self) -> bool:
        """Whether some call has the program's buffers; `direct` makes no results then."""
        return bool(self.context[BUSY])

    def cell(self, number: int) -> leaf.Cell:
        """The cell of a variable, by its number among the leaves."""
        cell = self.cells[number]
        assert cell is not None
        return cell

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run once."""
        direct = self.direct
        if direct is not None and not kwargs:
            made = direct(*args)
            if made is not None:
                return self.arranged(made)
        if self.untold:
            return self.sized(args, kwargs)
        if not args:
            return self.by_name(kwargs)
        if self.quick is not None and not kwargs and len(args) == len(self.given):
            return self.at_once(self.quick, args)
        return self.slow(self.collect(args, kwargs))

    def by_name(self, given: dict[str, Any]) -> Any:
        """Run once on inputs in a dict: what a call with keywords does, without unpacking it."""
        quick, direct = self.quick, self.direct
        if quick is None or len(given) != len(self.given):
            return self.slow(self.collect((), given))
        try:
            arrays = self.pick(given)
        except KeyError:
            arrays = self.collect((), given)
        if direct is not None:
            made = direct(*arrays)
            if made is not None:
                return self.arranged(made)
        return self.at_once(quick, arrays)

    def at_once(self, quick: Callable[..., int], arrays: Sequence[Any]) -> Any:
        """Run once on inputs that the native code binds, if it can bind them."""
        with self.lock:
            if self.calling:
                return self.slow(list(arrays))
            self.context[BUSY] = 1
            try:
                made = [make() for make in self.blank]
                if quick(*arrays, *made) == 0:
                    return self.arranged((*made, *(s[()] for s in self.scalars.values())))
            finally:
                self.context[BUSY] = 0
        return self.slow(list(arrays))

    def arranged(self, made: tuple[Any, ...]) -> Any:
        """What a call returns, of the arrays and then the numbers that the native code made."""
        if not self.named:
            return made if self.plain else tuple([made[place] for _, place in self.order])
        values = {}
        for name, place in self.order:  # a comprehension would take as long as a step
            values[name] = made[place]
        return values

    def sized(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run once where run-time extents that no input tells are given by name."""
        extents = self.named_extents(kwargs)
        return self.slow(self.collect(args, kwargs), extents)

    def named_extents(self, kwargs: dict[str, Any]) -> dict[str, int]:
        """Take the run-time extents that no input tells out of what is given by name."""
        extents = {name: kwargs.pop(name) for name in self.untold if name in kwargs}
        for name in self.untold:
            size = extents.get(name)
            if not isinstance(size, int | np.integer) or size < 0:
                found = "missing" if name not in extents else f"{size!r}"
                raise InputError(
                    f"no input tells the extent {name!r}: give it by name, {name}=..., a whole "
                    f"number; it is {found}"
                )
        return {name: int(size) for name, size in extents.items()}

    def slow(self, given: list[Any], extents: dict[str, int] | None = None) -> Any:
        """Run once on any inputs that can be bound."""
        extents = dict(extents or {})
        # Before the program's turn: an input's own code may call the program too.
        arrays = self.arrays(given, extents)
        with self.turn() as free:
            outputs = free.run(arrays, extents)
        return dict(zip(self.names, outputs, strict=True)) if self.named else outputs

    @contextmanager
    def turn(self) -> Iterator[Program]:
        """The program that may be run inside: this one, once no other thread runs it.

        Where this very thread is in a call, as a signal handler or a finalizer is, it is one with
        buffers of its own and the same state.
        """
        with self.lock:
            if self.calling:
                yield self.twin()
                return
            self.context[BUSY] = 1
            try:
                yield self
            finally:
                self.context[BUSY] = 0

    def twin(self) -> Program:
        """The same code and state with buffers of its own."""
        twin = Program(
            self.source,
            self.image,
            self.loaded,
            lambda: self.stages,
            named=self.named,
            threads=self.threads,
        )
        twin.nans = self.nans
        return twin

    def arrays(self, given: list[Any], extents: dict[str, int]) -> list[Array]:
        """The inputs as arrays that can be read; `extents` learns those that they tell."""
        return [bind(node, value, extents) for node, value in zip(self.inputs, given, strict=True)]

    def collect(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The inputs in order. Raises InputError naming what is missing or unknown."""
        names = [n.op.name for n in self.inputs]
        if len(args) > len(names):
            raise InputError(
                f"{len(args)} inputs given; the program takes {', '.join(names) or 'none'}"
            )
        given = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name not in names:
                takes = f"the program takes {', '.join(names) or 'none'}"
                raise InputError(f"no input {name!r}; {takes}{near(name, names)}")
            if name in given:
                raise InputError(f"input {name!r} given twice")
            given[name] = value
        missing = [n for n in names if n not in given]
        if missing:
            raise InputError(f"missing input {', '.join(map(repr, missing))}")
        return [given[n] for n in names]

    def run(self, arrays: list[Array], extents: dict[str, int]) -> tuple[Array, ...]:
        """Compute on inputs that are bound; look for NaN where that is asked for."""
        if self.nans is None:
            return self.compute(arrays, extents)
        named = {n.op.name: a for n, a in zip(self.inputs, arrays, strict=True)}
        return self.nans.guarded(self.source, lambda: self.compute(arrays, extents), named, extents)

    def compute(self, arrays: list[Array], extents: dict[str, int]) -> tuple[Array, ...]:
        """Point at the inputs, call the native entry, collect the outputs."""
        if self.entry is None:
            engine.check_runs(self.stages.target)
            return self.oracle(arrays, extents)
        made = self.point(arrays, extents)
        before = {number: self.cell(number).value.copy() for number in self.overwritten}
        code = self.entry(
            ctypes.addressof(self.table),
            ctypes.addressof(self.sizes),
            ctypes.addressof(self.context),
        )
        if code:
            self.refuse(code, arrays, extents)
        return tuple(self.output(r, made, before, arrays, extents) for r in self.image.results)

    def point(self, arrays: list[Array], extents: dict[str, int]) -> dict[int, Array]:
        """Fill in the pointer table for one call; the arrays that its outputs go to."""
        self.fit(extents)
        for node, array in zip(self.inputs, arrays, strict=True):
            if node in self.place:  # else simplified away: checked, and not read
                self.table[self.place[node]] = array.ctypes.data
        made: dict[int, Array] = dict(self.scalars)
        for number, type in self.made:
            if number not in made:
                made[number] = self.maker(physical(type.shape, extents), type.dtype)()
                self.table[number] = made[number].ctypes.data
        self.context[0] = 0
        return made

    def fit(self, extents: dict[str, int]) -> None:
        """Fill in what depends on the run-time extents, where they are others than before."""
        if extents != self.known:
            self.resize(extents)

    def resize(self, extents: dict[str, int]) -> None:
        """Lay the arena out for new run-time extents."""
        for number, name in enumerate(self.image.extents):
            if name not in extents:
                raise CompileError(f"no input tells the extent {name!r}")
            self.sizes[number] = extents[name]
        offsets, size = arena(self.image.slots, extents)
        if self.arena is None or self.arena.nbytes < size:
            self.arena = reserved(size)
        start = self.arena.ctypes.data
        for number, offset in offsets.items():
            self.table[number] = start + offset
        self.forget()
        self.known = dict(extents)
        self.share(extents)
        self.blank = [
            self.maker(physical(type.shape, extents), type.dtype)
            for _, type in self.made
            if type.shape
        ]
        bound = self.bound and self.nans is None
        if self.fast is not None and bound:
            long = self.image.work(extents) >= QUICK
            self.fast.let(long)
            deep = self.image.work(extents) >= room.DEEP
            self.quick = room.within(self.fast.call) if deep else self.fast.call
            if not long and not self.untold and all(map(arrays_.plain, self.blank)):
                self.direct = room.within(self.fast.make) if deep else self.fast.make

    def share(self, extents: dict[str, int]) -> None:
        """Ask a team to share the calls, where they are long enough to gain by it."""
        long = self.image.work(extents) >= SHARED
        several = long and self.threads > 1 and self.entry is not None and threads_.supported()
        if several:
            self.team = threads_.team_of(self.threads)
            self.context[1] = self.team.address
        self.context[2] = self.threads if several else 1

    def output(
        self,
        result: Result,
        made: dict[int, Array],
        before: dict[int, Array],
        arrays: list[Array],
        extents: dict[str, int],
    ) -> Array:
        """An output as an array of its logical shape."""
        number, shape = result.number, resolve(result.type.shape, extents)
        match result.kind:
            case "input":
                given = arrays[self.inputs.index(leaves(self.source)[number])]
                return logical(given, result.type.shape, extents).copy()
            case "state":
                value = before.get(number, self.cell(number).value)
                return value.reshape(shape).copy()
            case "constant":
                return constant(self.image, number, result.home).reshape(shape).copy()
            case "extent":
                return np.asarray(extents[self.image.extents[number]], np.int64)
        if number in self.scalars and not shape:
            scalar: Array = made[number][()]
            return scalar
        return logical(made[number], result.type.shape, extents)

    def oracle(self, arrays: list[Array], extents: dict[str, int]) -> tuple[Array, ...]:
        """The same call by the numpy oracle."""
        graph = self.source
        given = {n.op.name: a for n, a in zip(self.inputs, arrays, strict=True)}
        values = reference.evaluate(graph.roots, given, extents)
        count = len(graph.outputs)
        for (variable, _), new in zip(graph.updates, values[count:], strict=True):
            assert isinstance(variable.op, leaf.Variable)
            variable.op.cell.value[...] = new
        return tuple(values[:count])

    def refuse(self, code: int, arrays: list[Array], extents: dict[str, int]) -> NoReturn:
        """Find the index that a kernel refused, by the oracle, and raise its IndexError."""
        given = {n.op.name: a for n, a in zip(self.inputs, arrays, strict=True)}
        reference.refuse(self.stages.source.nodes, given, extents)
        node = self.stages.tags[code - 1]
        raise IndexError(f"{node.op.name}: an index is out of bounds\n  at {node.site}")

    # --- looking inside ---------------------------------------------------------------------

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


def forked() -> None:
    """In a child of fork(): no program is in a call, and none has a team."""
    for program in list(_programs):
        program.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forked)
