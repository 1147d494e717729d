"""Steps: a program run many times in one native call, over data that stays where it is."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc.errors import InputError
from graphc.graph.leaf import Cell
from graphc.llvm import epoch
from graphc.runtime.binding import bind
from graphc.runtime.program import Program

Array = NDArray[Any]
STEPS = ctypes.CFUNCTYPE(
    ctypes.c_int64,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_int64,
    ctypes.c_void_p,
    ctypes.c_int64,
    ctypes.c_void_p,
    ctypes.c_int64,
)


@dataclass(frozen=True)
class Rows:
    """Which rows of the data step k takes: order[k] of (steps, batch), or the next `batch` ones."""

    batch: int
    order: Array | None = None
    start: int = 0

    def part(self, first: int, steps: int) -> Rows:
        """The rows of `steps` steps from step `first` on."""
        if self.order is None:
            return Rows(self.batch, None, self.start + first * self.batch)
        return Rows(self.batch, self.order[first : first + steps])

    def check(self, lengths: Mapping[str, int], steps: int) -> None:
        """Raise InputError where a step would take a row that an array of such lengths has not."""
        if self.order is None:
            low, high = self.start, self.start + steps * self.batch - 1
        elif self.order[:steps].size:
            low, high = int(self.order[:steps].min()), int(self.order[:steps].max())
        else:
            return
        for name, count in lengths.items():
            if steps and (low < 0 or high >= count):
                raise InputError(f"rows {low} to {high} are taken of {name!r}, which has {count}")


def can_run(program: Program) -> bool:
    """Whether a program can be run so: it updates state, and its outputs are numbers.

    Not where every call is looked at for NaN.
    """
    if program.nans is not None:
        return False
    loaded = program.loaded is not None and epoch.EPOCH_NAME in program.loaded.addresses
    scalars = program.frame.scalars
    return loaded and all(r.kind == "slot" and r.number in scalars for r in program.image.results)


def run(
    program: Program,
    data: Mapping[str, Array],
    rows: Rows,
    steps: int,
    writes: Mapping[Cell, Array],
) -> tuple[dict[str, Array], int]:
    """Make up to `steps` steps; each output's values (done,), and how many steps were done.

    `data`: for each input an array (n, ...) whose rows make up the batches. `writes`: what is
    written into a cell before each step, (steps,). Where a step's labels are out of bounds it is
    the first that is not done, and changes nothing.
    """
    if rows.order is not None and (
        rows.order.shape != (max(steps, len(rows.order)), rows.batch)
        or rows.order.dtype != np.int64
        or not rows.order.flags.c_contiguous
    ):
        raise InputError(f"the order must be int64, C-contiguous, (steps, {rows.batch})")
    if rows.batch < 1:
        raise InputError("a batch needs at least one row")
    batches = {n.op.name: _batch(data, n.op.name, n.dtype, rows) for n in program.inputs}
    rows.check({name: len(data[name]) for name in batches}, steps)
    extents: dict[str, int] = {}
    for node in program.inputs:
        bind(node, batches[node.op.name], extents)
    if not can_run(program):
        raise InputError("the program has no native code for many steps in one call")
    held: list[Array] = []
    feeds: list[int] = []
    order = 0
    for node in program.inputs:
        array = data[node.op.name]
        if node not in program.frame.place:
            continue
        row_bytes = array.nbytes // max(len(array), 1)  # not its stride: that of one row may be any
        slot = program.frame.place[node]
        if rows.order is None:
            source = array.ctypes.data + rows.start * row_bytes
            feeds += [epoch.POINT, slot, source, row_bytes, rows.batch, 0, 0]
        else:
            held.append(np.empty_like(batches[node.op.name]))
            place = held[-1].ctypes.data
            order = order or rows.order.ctypes.data
            feeds += [epoch.GATHER, slot, array.ctypes.data, row_bytes, rows.batch, order, place]
    for cell, values in writes.items():
        held.append(np.ascontiguousarray(values, cell.value.dtype))
        size = cell.value.itemsize
        target = cell.value.ctypes.data
        feeds += [epoch.WRITE, 0, held[-1].ctypes.data, size, 1, 0, target]
    results = [np.empty(steps, r.type.dtype) for r in program.image.results]
    with program.turn() as free:
        records = [
            word
            for r, kept in zip(program.image.results, results, strict=True)
            for word in (free.frame.table[r.number] or 0, kept.itemsize, kept.ctypes.data)
        ]
        words = [(ctypes.c_int64 * len(w))(*w) for w in (feeds, records)]
        free.fit(extents)
        assert free.running is not None
        STEPS(free.running.addresses[epoch.EPOCH_NAME])(
            *free.frame.addresses,
            steps,
            words[0],
            len(feeds) // epoch.FEED,
            words[1],
            len(records) // epoch.RECORD,
        )
        done = int(free.frame.context[epoch.DONE])
    return {name: kept[:done] for name, kept in zip(program.names, results, strict=True)}, done


def _batch(data: Mapping[str, Array], name: str, dtype: str, rows: Rows) -> Array:
    """The first batch of an input's data, which must be contiguous. Raises InputError."""
    if name not in data:
        raise InputError(f"missing input {name!r}: the data has {', '.join(data) or 'nothing'}")
    array = data[name]
    if array.dtype != dtype:
        raise InputError(f"the data of {name!r} is of {array.dtype}; the program takes {dtype}")
    if not array.flags.c_contiguous or not array.flags.aligned:
        raise InputError(f"the data of {name!r} must be C-contiguous and aligned")
    return array[: rows.batch]
