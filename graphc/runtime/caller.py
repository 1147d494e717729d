"""Caller: compiled code as a callable, by the shortest way that a call's inputs allow."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from graphc.errors import IndexError
from graphc.graph import leaf
from graphc.graph.graph import Graph
from graphc.lazy import cached_property
from graphc.llvm import engine
from graphc.llvm.engine import ENTRY, Loaded
from graphc.llvm.fastcall import BUSY
from graphc.llvm.module import CALL_NAME, ENTRY_NAME, MAKING_NAME
from graphc.ops import reference
from graphc.runtime import arrays as arrays_
from graphc.runtime import room
from graphc.runtime import threads as threads_
from graphc.runtime.fastcall import FastCall, supported
from graphc.runtime.frame import Frame
from graphc.runtime.image import Image
from graphc.runtime.signature import Signature
from graphc.runtime.stages import Stages as Stages

if TYPE_CHECKING:
    from graphc.runtime.nans import Nans
    from graphc.runtime.times import Records

Array = np.ndarray[Any, Any]
QUICK = 20_000_000
"""FLOPs of a call below which it keeps Python's lock: releasing it would cost more."""
SHARED = 2_000_000
"""FLOPs of a call from which on threads share it; or half as many, and so many bytes of variables,
which take as long to read."""
_callers: weakref.WeakSet[Caller] = weakref.WeakSet()


class Caller:
    """Runs a compiled graph, once a call. Three ways lead to its code, each where the next fits.

    `direct` binds the inputs and makes the results natively, where those are small and the call is
    short; `quick` binds natively what Python made; the slow one binds whatever can be bound. All
    give the same results. Calls of several Python threads take turns, but for `direct`'s, which
    keep Python's lock.
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
        self.source, self.image, self.loaded = source, image, loaded
        self.make_stages = stages
        self.named = named
        self.names = source.names
        self.inputs = source.inputs
        self.threads = threads_.resolve(threads)
        self.signature = Signature(self.inputs, image.extents)
        self.frame = Frame(source, image)
        self.lock = threading.RLock()
        self.nans: Nans | None = None  # what looks for NaN in every call, where that is asked for
        self.records: Records | None = None
        self.watches = 0
        self.fasts: dict[int, FastCall] = {}  # they stay: another thread may be about to call one
        order = self.frame.order()
        self.bound = order is not None
        self.order = list(zip(self.names, order or (), strict=False))
        self.plain = order == list(range(len(self.frame.dtypes()) - len(self.inputs)))
        self.blank: list[Callable[[], Array]] = []
        self.connect(loaded)
        _callers.add(self)

    @cached_property
    def stages(self) -> Stages:
        """What every stage of the compiler made; where the code was kept, made when asked for."""
        return self.make_stages()

    # --- which ways there are ---------------------------------------------------------------

    def connect(self, loaded: Loaded | None) -> None:
        """Have calls run this code, the program's own or that with time stamps."""
        self.running = loaded
        self.entry: Callable[..., int] | None = None
        self.fast: FastCall | None = None
        self.forget()
        if loaded is None:
            return
        self.entry = room.within(ENTRY(loaded.addresses[ENTRY_NAME]))
        frame = self.frame
        if supported() and all(n in frame.place for n in self.inputs):
            address = loaded.addresses[CALL_NAME]
            if address not in self.fasts:
                making = loaded.addresses[MAKING_NAME]
                held = frame.table, frame.sizes, frame.context
                self.fasts[address] = FastCall(address, making, *held, frame.dtypes())
            self.fast = self.fasts[address]

    def forget(self) -> None:
        """Have the next call lay out anew what depends on the run-time extents."""
        self.known: dict[str, int] | None = None
        self.quick: Callable[..., int] | None = None
        self.direct: Callable[..., tuple[Any, ...] | None] | None = None

    def fit(self, extents: dict[str, int]) -> None:
        """Fill in what depends on the run-time extents, where they are others than before."""
        if extents != self.known:
            self.resize(extents)

    def resize(self, extents: dict[str, int]) -> None:
        """Lay the arena out for new run-time extents, and see which ways there are."""
        self.frame.lay(extents)
        self.forget()
        self.share(extents)
        self.blank = self.frame.makers(extents)
        self.known = dict(extents)  # last, as Ctrl-C may come while a team is made
        if self.fast is None or not self.bound or self.nans is not None:
            return
        work = self.image.work(extents)
        long, deep = work >= QUICK, work >= room.DEEP
        self.fast.let(long)
        self.quick = room.within(self.fast.call) if deep else self.fast.call
        if not long and not self.signature.untold and all(map(arrays_.plain, self.blank)):
            self.direct = room.within(self.fast.make) if deep else self.fast.make

    def share(self, extents: dict[str, int]) -> None:
        """Ask a team to share the calls, where they are long enough to gain by it."""
        work = self.image.work(extents)
        long = work >= SHARED or 2 * work >= SHARED <= self.image.held()
        several = long and self.threads > 1 and self.entry is not None and threads_.supported()
        if several:
            self.team = threads_.team_of(self.threads)
            self.frame.context[1] = self.team.address
        self.frame.context[2] = self.threads if several else 1

    # --- the ways ---------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run once."""
        direct = self.direct
        if direct is not None and not kwargs:
            made = direct(*args)
            if made is not None:
                return self.arranged(made)
        signature = self.signature
        if signature.untold:
            extents = signature.extents(kwargs)
            return self.slow(signature.collect(args, kwargs), extents)
        if not args:
            return self.by_name(kwargs)
        if self.quick is not None and not kwargs and len(args) == len(self.inputs):
            return self.at_once(self.quick, args)
        return self.slow(signature.collect(args, kwargs))

    def by_name(self, given: dict[str, Any]) -> Any:
        """Run once on inputs in a dict: what a call with keywords does, without unpacking it."""
        quick, direct = self.quick, self.direct
        if quick is None or len(given) != len(self.inputs):
            return self.slow(self.signature.collect((), given))
        try:
            arrays = self.signature.pick(given)
        except KeyError:
            arrays = self.signature.collect((), given)
        if direct is not None:
            made = direct(*arrays)
            if made is not None:
                return self.arranged(made)
        return self.at_once(quick, arrays)

    def at_once(self, quick: Callable[..., int], arrays: Sequence[Any]) -> Any:
        """Run once on inputs that the native code binds, if it can bind them."""
        context = self.frame.context
        with self.lock:
            if self.frame.busy:
                return self.slow(list(arrays))
            context[BUSY] = 1
            try:
                made = [make() for make in self.blank]
                if quick(*arrays, *made) == 0:
                    return self.arranged((*made, *(s[()] for s in self.frame.scalars.values())))
            finally:
                context[BUSY] = 0
        return self.slow(list(arrays))

    def arranged(self, made: tuple[Any, ...]) -> Any:
        """What a call returns, of the arrays and then the numbers that the native code made."""
        if not self.named:
            return made if self.plain else tuple([made[place] for _, place in self.order])
        values = {}
        for name, place in self.order:  # a comprehension would take as long as a step
            values[name] = made[place]
        return values

    def slow(self, given: list[Any], extents: dict[str, int] | None = None) -> Any:
        """Run once on any inputs that can be bound."""
        extents = dict(extents or {})
        # Before the program's turn: an input's own code may call the program too.
        arrays = self.signature.arrays(given, extents)
        with self.turn() as free:
            outputs = free.run(arrays, extents)
        return dict(zip(self.names, outputs, strict=True)) if self.named else outputs

    @contextmanager
    def turn(self) -> Iterator[Self]:
        """The program that may be run inside: this one, once no other thread runs it.

        Where this very thread is in a call, as a signal handler or a finalizer is, it is one with
        buffers of its own and the same state.
        """
        with self.lock:
            if self.frame.busy:
                yield self.twin()
                return
            self.frame.context[BUSY] = 1
            try:
                yield self
            finally:
                self.frame.context[BUSY] = 0

    def twin(self) -> Self:
        """The same code and state with buffers of its own."""
        twin = type(self)(
            self.source,
            self.image,
            self.loaded,
            lambda: self.stages,
            named=self.named,
            threads=self.threads,
        )
        twin.nans = self.nans
        return twin

    def run(self, arrays: list[Array], extents: dict[str, int]) -> tuple[Array, ...]:
        """Compute on inputs that are bound; look for NaN where that is asked for."""
        if self.nans is None:
            return self.compute(arrays, extents)
        named = self.signature.by_name(arrays)
        return self.nans.guarded(self.source, lambda: self.compute(arrays, extents), named, extents)

    def compute(self, arrays: list[Array], extents: dict[str, int]) -> tuple[Array, ...]:
        """Point at the inputs, call the native entry, collect the outputs."""
        if self.entry is None:
            engine.check_runs(self.stages.target)
            return self.oracle(arrays, extents)
        frame = self.frame
        self.fit(extents)
        made = frame.point(arrays, extents)
        before = frame.before()
        code = self.entry(*frame.addresses)
        if code:
            self.refuse(code, arrays, extents)
        results = self.image.results
        return tuple(frame.output(r, made, before, arrays, extents) for r in results)

    def oracle(self, arrays: list[Array], extents: dict[str, int]) -> tuple[Array, ...]:
        """The same call by the numpy oracle."""
        graph = self.source
        given = self.signature.by_name(arrays)
        values = reference.evaluate(graph.roots, given, extents)
        count = len(graph.outputs)
        for (variable, _), new in zip(graph.updates, values[count:], strict=True):
            assert isinstance(variable.op, leaf.Variable)
            variable.op.cell.value[...] = new
        return tuple(values[:count])

    def refuse(self, code: int, arrays: list[Array], extents: dict[str, int]) -> NoReturn:
        """Find the index that a kernel refused, by the oracle, and raise its IndexError."""
        given = self.signature.by_name(arrays)
        reference.refuse(self.stages.source.nodes, given, extents)
        node = self.stages.tags[code - 1]
        raise IndexError(f"{node.op.name}: an index is out of bounds\n  at {node.site}")


def forked() -> None:
    """In a child of fork(): no program is in a call, and none has a team."""
    for caller in list(_callers):
        caller.lock = threading.RLock()
        caller.forget()
        caller.frame.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forked)
