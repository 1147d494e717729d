"""Where a NaN comes from: every call looked at, and the first node that made one named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from graphc.errors import NanError
from graphc.graph import leaf
from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.ops import reference
from graphc.ops.scan import Scan
from graphc.runtime.profile import State

Array = np.ndarray[Any, Any]
Values = Mapping[Node, Array]
LEAVES = (leaf.Input, leaf.Variable, leaf.Constant, leaf.Extent)


@dataclass(frozen=True)
class Nans:
    """Looks for NaN in the outputs and the new state of every call; for infinities too if asked.

    `build` makes the program of a graph, as the one that is looked at was made.
    """

    infinite: bool
    build: Callable[[Graph], Callable[..., tuple[Array, ...]]]

    def guarded(
        self,
        graph: Graph,
        compute: Callable[[], tuple[Array, ...]],
        inputs: Mapping[str, Array],
        extents: Mapping[str, int],
    ) -> tuple[Array, ...]:
        """What a call computes. Raises NanError, the state as before, where that holds a NaN."""
        saved = State(graph)
        outputs = compute()
        state = [v.op.cell.value for v, _ in graph.updates if isinstance(v.op, leaf.Variable)]
        if not any(map(self.bad, [*outputs, *state])):
            return outputs
        saved.restore()
        self.refuse(graph, inputs, extents)

    def bad(self, value: Array) -> bool:
        """Whether an array holds what is looked for."""
        return bool(self.places(value).any())

    def places(self, value: Array) -> Array:
        """Where an array holds what is looked for."""
        if value.dtype.kind != "f":
            return np.zeros(np.shape(value), bool)
        found: Array = ~np.isfinite(value) if self.infinite else np.isnan(value)
        return found

    def refuse(
        self, graph: Graph, inputs: Mapping[str, Array], extents: Mapping[str, int]
    ) -> NoReturn:
        """Compute the value of every node, and raise the NanError of the first that is to blame.

        Every node is made an output of a program of its own, so that a NaN which a later operation
        masks is not taken for one that reached a result.
        """
        values = self.values(graph, inputs, extents)
        for node in graph.nodes:
            match node.op:
                case leaf.Input(name=name):
                    values[node] = inputs[name]
                case leaf.Variable(cell=cell):
                    values[node] = cell.value
                case leaf.Constant():
                    values[node] = node.op.array
                case leaf.Extent(name=name):
                    values[node] = np.asarray(extents[name])
        first = self.origin(graph.nodes, graph.roots, values)
        if first is None:
            raise NanError(
                f"a result holds {self.what}, but no node makes one when it is computed by itself; "
                "leave out passes with GRAPHC_SKIP, or math='fast', to find the one to blame"
            )
        if isinstance(first.op, LEAVES):
            self.held(first, values[first])
        if isinstance(first.op, Scan):
            self.in_scan(first, values, extents)
        self.made(first, values)

    def values(
        self, graph: Graph, inputs: Mapping[str, Array], extents: Mapping[str, int]
    ) -> dict[Node, Array]:
        """The value of every node that is no leaf."""
        every = Graph(tuple(node for node in graph.nodes if not isinstance(node.op, LEAVES)))
        if not every.nodes:
            return {}
        given = {n.op.name: inputs[n.op.name] for n in every.inputs}
        told = {extent for n in every.inputs for extent in n.type.symbols}
        asked = {extent for n in every.nodes for extent in n.type.symbols} - told
        computed = self.build(every)(**given, **{name: extents[name] for name in asked})
        return dict(zip(every.outputs, computed, strict=True))

    def origin(self, nodes: Sequence[Node], roots: Iterable[Node], values: Values) -> Node | None:
        """The first node that is bad though none of its operands is, below a bad root."""
        bad = {node for node in nodes if self.bad(values[node])}
        reached = bad & set(roots)
        for node in reversed(nodes):
            if node in reached:
                reached |= bad & set(node.inputs)
        return next((n for n in nodes if n in reached and not bad & set(n.inputs)), None)

    def in_scan(self, node: Node, values: Values, extents: Mapping[str, int]) -> None:
        """Raise the NanError of the step, and of the node of the body, where one is to blame."""
        op, known = node.op, dict(extents)
        assert isinstance(op, Scan)
        operands = [values[operand] for operand in node.inputs]
        for step, given in reference.scan_steps(op, operands, known, []):
            body = op.body.nodes
            inside = dict(zip(body, reference.evaluate(body, given, known), strict=True))
            first = self.origin(body, op.body.roots, inside)
            if first is not None and not isinstance(first.op, LEAVES):
                self.made(first, inside, step)

    def held(self, node: Node, value: Array) -> NoReturn:
        """Raise the NanError of an input or a variable that held it before the call."""
        kind = "input" if isinstance(node.op, leaf.Input) else "constant"
        if isinstance(node.op, leaf.Variable):
            kind = "parameter" if node.op.cell.trainable else "state"
        first = position(self.places(value))
        count = int(self.places(value).sum())
        error = NanError(
            f"{kind} {node.op.name!r} holds {self.what} before the call: {count} of {value.size} "
            f"elements{at(first)}"
        )
        error.holder, error.position = node.op.name, first
        raise error

    def made(self, node: Node, values: Values, step: int | None = None) -> NoReturn:
        """Raise the NanError of a node that made it of operands without."""
        site, first = node.site, position(self.places(values[node]))
        lines = [f"{node.op.name} makes {self.what}{at(first)} of {node.type}"]
        lines += [f"operand {described(o, values[o])}" for o in dict.fromkeys(node.inputs)]
        if not self.infinite and any(np.isinf(values[o]).any() for o in node.inputs):
            lines.append("debug_nans='inf' tells what made the infinities")
        lines += [f"in step {step} of a sequence"] if step is not None else []
        lines += ["in what is derived from the line below"] if site.derived else []
        lines += [f"layer: {site.path}"] if site.path else []
        error = NanError("\n  ".join([*lines, f"at {site.file}:{site.line}"]))
        error.op, error.position, error.step = node.op.name, first, step
        error.file, error.line = site.file, site.line
        error.layer, error.derived = site.path, site.derived
        raise error

    @property
    def what(self) -> str:
        """What is looked for, in words."""
        return "NaN or an infinity" if self.infinite else "NaN"


def position(places: Array) -> tuple[int, ...]:
    """The first place that is marked."""
    return tuple(int(i) for i in np.argwhere(places)[0])


def at(place: tuple[int, ...]) -> str:
    """A place in words; nothing for that of a scalar."""
    return f" at position {place}" if place else ""


def described(node: Node, value: Array) -> str:
    """An operand: its name and type, its range, and how much of it is no number."""
    text = f"{node.op.name} : {node.type}"
    if not value.size:
        return f"{text}, empty"
    if value.dtype.kind != "f":
        return f"{text}, from {value.min()} to {value.max()}"
    finite = value[np.isfinite(value)]
    if finite.size:
        text += f", from {finite.min():g} to {finite.max():g}"
    counts = (("NaN", np.isnan(value).sum()), ("infinite", np.isinf(value).sum()))
    return text + "".join(f", {count} {kind}" for kind, count in counts if count)
