"""Frame: the memory of a program's calls, which native code finds by a table of pointers."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.errors import CompileError
from graphc.graph import leaf
from graphc.graph.graph import Graph
from graphc.graph.leaf import aligned, reserved
from graphc.graph.node import Node
from graphc.llvm.fastcall import BUSY
from graphc.passes.arena import arena
from graphc.runtime import arrays as arrays_
from graphc.runtime.buffers import logical, named, physical
from graphc.runtime.image import Image, Result, constant, leaves
from graphc.types import TensorType, resolve

Array = np.ndarray[Any, Any]


class Frame:
    """The table, the run-time extents, the context and the arena of one call after another.

    State, constants, numbers among the outputs and the arena stay where they are; inputs and the
    arrays among the outputs are others in each call.
    """

    def __init__(self, source: Graph, image: Image) -> None:
        self.source, self.image = source, image
        self.leaves = leaves(source)
        self.table = (ctypes.c_void_p * max(len(image.slots), 1))()
        self.sizes = (ctypes.c_int64 * max(len(image.extents), 1))()
        self.context = (ctypes.c_int64 * 8)()
        held = self.table, self.sizes, self.context
        self.addresses = tuple(ctypes.addressof(block) for block in held)
        self.arena: Array | None = None
        self.maker: Callable[..., Callable[[], Array]] = arrays_.maker  # of a call's outputs
        self.place: dict[Node, int] = {}
        """The slots of the inputs that are read."""
        self.made: list[tuple[int, TensorType]] = []
        """The slots of the outputs that are computed."""
        self.scalars: dict[int, Array] = {}
        """Where those of them lie that are numbers."""
        self.constants: list[Array] = []
        for number, slot in enumerate(image.slots):
            match slot.kind:
                case "input":
                    self.place[self.leaves[slot.leaf]] = number
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
        updated = {variable for variable, _ in source.updates}
        self.overwritten = [
            r.number
            for r in image.results
            if r.kind == "state" and self.leaves[r.number] in updated
        ]

    @property
    def busy(self) -> bool:
        """Whether some call has these buffers."""
        return bool(self.context[BUSY])

    def cell(self, number: int) -> leaf.Cell:
        """The cell of a variable, by its number among the leaves."""
        op = self.leaves[number].op
        assert isinstance(op, leaf.Variable)
        return op.cell

    def forked(self) -> None:
        """In a child of fork(): no call is under way, and the team is the parent's."""
        self.context[2], self.context[BUSY] = 1, 0

    def lay(self, extents: Mapping[str, int]) -> None:
        """Lay the arena out for run-time extents. Raises CompileError where one is not told."""
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

    def makers(self, extents: dict[str, int]) -> list[Callable[[], Array]]:
        """What makes the arrays among the outputs that are computed."""
        shapes = [type for _, type in self.made if type.shape]
        return [self.maker(physical(type.shape, extents), type.dtype) for type in shapes]

    def point(self, arrays: Sequence[Array], extents: dict[str, int]) -> dict[int, Array]:
        """Fill in the table for one call; the arrays that its outputs go to."""
        for node, array in zip(self.source.inputs, arrays, strict=True):
            if node in self.place:  # else simplified away: checked, and not read
                self.table[self.place[node]] = array.ctypes.data
        made: dict[int, Array] = dict(self.scalars)
        for number, type in self.made:
            if number not in made:
                made[number] = self.maker(physical(type.shape, extents), type.dtype)()
                self.table[number] = made[number].ctypes.data
        self.context[0] = 0
        return made

    def before(self) -> dict[int, Array]:
        """Variables that are outputs and updated, as they are now: the value that is put out."""
        return {number: self.cell(number).value.copy() for number in self.overwritten}

    def output(
        self,
        result: Result,
        made: dict[int, Array],
        before: dict[int, Array],
        arrays: Sequence[Array],
        extents: dict[str, int],
    ) -> Array:
        """An output as an array of its logical shape."""
        number, shape = result.number, resolve(result.type.shape, extents)
        match result.kind:
            case "input":
                given = arrays[self.source.inputs.index(self.leaves[number])]
                return logical(given, result.type.shape, extents).copy()
            case "state":
                value = before.get(number, self.cell(number).value)
                return value.reshape(shape).copy()
            case "constant":
                return constant(self.image, number, result.home).reshape(shape).copy()
            case "extent":
                return np.asarray(extents[self.image.extents[number]], np.int64)
        if number in self.scalars:
            own: Array = made[number].reshape(shape).copy()  # the next call writes there again
            return own if shape else own[()]
        return logical(made[number], result.type.shape, extents)

    def order(self) -> list[int] | None:
        """Where each output lies among what native code makes: the arrays, then the numbers.

        None where some are not made by it, or in another shape.
        """
        for r in self.image.results:
            if r.kind != "slot" or r.type != r.home or any(map(named, r.type.shape[1:])):
                return None
        ready = [n for n, type in self.made if type.shape] + list(self.scalars)
        return [ready.index(r.number) for r in self.image.results]

    def dtypes(self) -> list[str]:
        """Those of the inputs, and of what native code makes, in order."""
        arrays = [type.dtype for _, type in self.made if type.shape]
        numbers = [array.dtype.name for array in self.scalars.values()]
        return [n.dtype for n in self.source.inputs] + arrays + numbers
