"""Values where nobody gives any: numbers drawn at random, indices within all bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.loops.independent import enclosed
from graphc.loops.ir import Access, Buffer, Check, For, Guard, Kernel, Load, Update, walk
from graphc.ops.index import Affine, Bound
from graphc.runtime.memory import assume
from graphc.runtime.stages import Stages
from graphc.types import resolve

Array = np.ndarray[Any, Any]
EXTENT = 32
"""What a run-time extent is taken for where nothing is said: the batch that Trainer.fit takes."""


def inputs(stages: Stages, extents: Mapping[str, int]) -> dict[str, Array]:
    """An array for each input of a program, by name, for run-time extents; the others are 1.

    Raises InputError for an extent that the program does not have.
    """
    known = assume(stages, extents)
    most = below([bound for kernel in stages.lowered for bound in bounds(kernel, known)])
    random = np.random.default_rng(0)
    return {
        node.op.name: values(resolve(node.shape, known), node.dtype, most, random)
        for node in stages.source.inputs
    }


def values(shape: tuple[int, ...], dtype: str, most: int, random: Any) -> Array:
    """Numbers between 0 and 1, so that all roots and logarithms are real; integers below `most`."""
    kind = np.dtype(dtype).kind
    if kind == "f":
        found: Array = (0.01 + 0.99 * random.random(shape)).astype(dtype)
    else:
        found = random.integers(0, 2 if kind == "b" else most, shape).astype(dtype)
    return found


def drawn(
    kernel: Kernel, buffer: Buffer, extents: Mapping[str, int], most: int, random: Any
) -> Array:
    """A buffer's contents, 0 where the kernel that reads it knows that."""
    found = values((max(1, amount(buffer.size, extents)),), buffer.dtype, most, random)
    found[borders(kernel, extents, buffer)] = 0
    return found


def borders(kernel: Kernel, extents: Mapping[str, int], buffer: Buffer) -> Array:
    """The elements of a buffer of which a kernel knows that they are 0."""
    found = [np.empty(0, np.int64)]
    for stmt, around in enclosed((), kernel.body):
        if not isinstance(stmt, Load) or stmt.access.buffer.name != buffer.name:
            continue
        for guard in stmt.inside:
            names = {name for g in (guard, *stmt.guards) for name in g.position.names}
            asking = [f for f in around if f.index in names]
            border = ~holds(guard, asking, extents)
            for other in stmt.guards:  # elsewhere nothing is read
                border &= holds(other, asking, extents)
            places = points(asking, stmt.access.offset, extents)[border]
            for loop in around:
                if loop not in asking and stmt.access.offset.coefficient(loop.index):
                    moved = points(
                        [loop], stmt.access.offset - stmt.access.offset.constant, extents
                    )
                    places = np.unique(places[:, None] + moved)
            found.append(places)
    return np.unique(np.concatenate(found))


def holds(guard: Guard, loops: Sequence[For], extents: Mapping[str, int]) -> Array:
    """At which steps of some loops a condition holds."""
    asked = points(loops, guard.position, extents)
    found: Array = (asked >= 0) & (asked < amount(guard.bound, extents))
    return found


def points(loops: Sequence[For], form: Affine, extents: Mapping[str, int]) -> Array:
    """The values of an index expression at all steps of some loops, the other indices being 0."""
    found = np.array([form.constant])
    for loop in loops:
        start, stop = amount(loop.start, extents), amount(loop.stop, extents)
        steps = form.coefficient(loop.index) * np.arange(start, stop, loop.step)
        found = (found[:, None] + steps).ravel()
    return found


def amount(bound: Bound, extents: Mapping[str, int]) -> int:
    """A size as a number."""
    if isinstance(bound, int):
        return bound
    return extents[bound.name] * bound.scale // bound.multiple * bound.multiple


def indices_below(kernel: Kernel, extents: Mapping[str, int]) -> int:
    """What all whole numbers must be below, so that as indices they stay in bounds."""
    return below(bounds(kernel, extents))


def below(bounds: list[int]) -> int:
    """The least of some bounds, and at least 1; 2 where there is none."""
    return max(1, min(bounds, default=2))


def bounds(kernel: Kernel, extents: Mapping[str, int]) -> list[int]:
    """The bounds of all indices that are data."""
    found = [amount(s.bound, extents) for s in walk(kernel.body) if isinstance(s, Check)]
    for access in accesses(kernel):
        size = amount(access.buffer.size, extents)
        found += [size // abs(stride) for _, stride in access.lookups if stride]
    return found


def accesses(kernel: Kernel) -> list[Access]:
    """Every access of a kernel."""
    found: list[Access] = []
    for stmt in walk(kernel.body):
        if isinstance(stmt, Load):
            found.append(stmt.access)
        elif isinstance(stmt, Update):
            found += [stmt.target, *([stmt.companion] if stmt.companion is not None else [])]
    return found
