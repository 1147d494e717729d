"""The image of a compiled program: all that running it needs, without a node or a kernel.

It is kept on disk beside the machine code, under a key of the graph as it was declared: a program
that was compiled before starts without passing through the compiler.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import cache
from graphc.graph import leaf
from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.passes.layout import elements
from graphc.runtime.cost import cost
from graphc.runtime.stages import Stages
from graphc.types import SIZE, TensorType


@dataclass(frozen=True)
class Slot:
    """One entry of the pointer table. `leaf`: the number of its leaf, -1 where it has none."""

    kind: str  # input, state, constant, output, arena
    type: TensorType
    first: int
    last: int
    leaf: int = -1


@dataclass(frozen=True)
class Result:
    """Where an output's value is: in slot `number`, or in leaf `number` (`kind` says of which).

    `type` is the output's own, `home` that of the buffer, which may have another shape.
    """

    kind: str  # slot, input, state, constant, extent
    number: int
    type: TensorType
    home: TensorType


@dataclass(frozen=True)
class Image:
    """A program's slots, results and constants; what it costs; the key of its machine code.

    `flops` are the operations of a call: those of any call, and more for each unit of an extent.
    """

    slots: tuple[Slot, ...]
    results: tuple[Result, ...]
    constants: tuple[bytes, ...]
    extents: tuple[str, ...]
    flops: tuple[int, ...]
    key: str

    def work(self, extents: Mapping[str, int]) -> int:
        """Operations of a call for given extents."""
        first, *rest = self.flops
        pairs = zip(self.extents, rest, strict=True)
        return first + sum(extents.get(name, 1) * each for name, each in pairs)

    def held(self) -> int:
        """Bytes of the variables, which a call reads."""
        return sum(
            elements(s.type, {}) * SIZE[s.type.dtype] for s in self.slots if s.kind == "state"
        )


def leaves(graph: Graph) -> tuple[Node, ...]:
    """The inputs and variables of a graph, in order of appearance."""
    found = [n for n in graph.nodes if isinstance(n.op, leaf.Input | leaf.Variable)]
    return tuple(dict.fromkeys([*found, *graph.variables()]))


def image_of(stages: Stages, key: str) -> Image:
    """The image of a program whose stages have been made."""
    known = {node: number for number, node in enumerate(leaves(stages.source))}
    constants: list[bytes] = []

    def place(node: Node) -> int:
        if isinstance(node.op, leaf.Constant):
            constants.append(node.op.data)
            return len(constants) - 1
        return known.get(node, -1)

    slots = [Slot(s.kind, s.type, s.first, s.last, place(s.node)) for s in stages.plan.slots]
    results = []
    for output in stages.graph.outputs:
        home = stages.fused.home(output)
        held = home.type
        match home.op:
            case leaf.Input():
                found = "input", known[home]
            case leaf.Variable():
                found = "state", known[home]
            case leaf.Constant():
                found = "constant", place(home)
            case leaf.Extent(name=name):
                found = "extent", stages.extents.index(name)
            case _:
                found = "slot", stages.plan.place[home]
                held = slots[found[1]].type
        results.append(Result(*found, output.type, held))
    base = dict.fromkeys(stages.extents, 1)
    one = cost(stages, base).flops
    each = [cost(stages, {**base, name: 2}).flops - one for name in stages.extents]
    flops = (one - sum(each), *each)
    extents = stages.extents
    return Image(tuple(slots), tuple(results), tuple(constants), extents, flops, key)


def pack(image: Image) -> bytes:
    """The image as JSON."""
    found = {
        "slots": [[s.kind, *written(s.type), s.first, s.last, s.leaf] for s in image.slots],
        "results": [[r.kind, r.number, *written(r.type), *written(r.home)] for r in image.results],
        "constants": [base64.b85encode(data).decode("ascii") for data in image.constants],
        "extents": image.extents,
        "flops": image.flops,
        "key": image.key,
    }
    return json.dumps(found).encode()


def unpack(data: bytes) -> Image:
    """The image in some JSON. Raises ValueError or KeyError where it holds none."""
    found = json.loads(data)
    return Image(
        tuple(Slot(k, read(d, s), a, b, n) for k, d, s, a, b, n in found["slots"]),
        tuple(Result(k, n, read(d, s), read(e, t)) for k, n, d, s, e, t in found["results"]),
        tuple(base64.b85decode(text) for text in found["constants"]),
        tuple(found["extents"]),
        tuple(found["flops"]),
        found["key"],
    )


def written(type: TensorType) -> tuple[str, tuple[int | str, ...]]:
    """A type as JSON can hold it."""
    return type.dtype, type.shape


def read(dtype: str, shape: list[int | str]) -> TensorType:
    """The type that `written` wrote."""
    return TensorType(dtype, tuple(shape))


def constant(image: Image, number: int, type: TensorType) -> np.ndarray[Any, Any]:
    """A constant's array, read-only."""
    shape = tuple(int(extent) for extent in type.shape)
    return np.frombuffer(image.constants[number], np.dtype(type.dtype)).reshape(shape)


def write(key: str, image: Image) -> None:
    """Keep an image on disk under a program's key."""
    cache.write(key, pack(image))


def kept(key: str) -> Image | None:
    """The image kept under a key; None where there is none."""
    data = cache.read(key)
    if data is None:
        return None
    try:
        return unpack(data)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
