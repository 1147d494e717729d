"""Sequences: a body graph run over a leading axis with carried state, to any derivative."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

from graphc.errors import DTypeError, ShapeError
from graphc.graph import leaf
from graphc.graph.graph import Graph, postorder
from graphc.graph.node import Node, make, operators
from graphc.graph.rewrite import rebuild
from graphc.ops.formula import Formula, as_node, fail, fill
from graphc.ops.index import Affine
from graphc.ops.pointwise import cast
from graphc.ops.pullback import pull_back
from graphc.ops.shape import axis_of, moveaxis
from graphc.ops.slicing import part
from graphc.types import TensorType, is_float

_depth: ContextVar[int] = ContextVar("graphc_scan_depth", default=0)


@dataclass(frozen=True)
class Scan:
    """One result of running `body` once a step; nodes that differ only in `output` are one run.

    Operands: the first value of every carry, then the sequences, then what all steps share. The
    body reads them through its placeholders `carries`, `slices` (one step's part of a sequence)
    and `shared`; its outputs are the carries' next values, then what the step gives out.

    Result j < len(carries) is the stack of all values of carry j, (length + 1, ...): step t goes
    from position t to t + 1, or from t + 1 to t in reverse. The others are (length, ...).
    """

    body: Graph
    carries: tuple[Node, ...]
    slices: tuple[Node, ...]
    shared: tuple[Node, ...]
    length: int
    reverse: bool
    output: int = 0

    @property
    def name(self) -> str:
        """As shown in the printed graph."""
        return "scan"

    @property
    def placeholders(self) -> tuple[Node, ...]:
        """The body's inputs, in the order of the operands."""
        return (*self.carries, *self.slices, *self.shared)

    @property
    def steps(self) -> range:
        """The steps in the order in which they run."""
        return range(self.length)[:: -1 if self.reverse else 1]

    def before(self, step: int) -> int:
        """The position of the carries that a step reads; it writes `after`."""
        return step + self.reverse

    def after(self, step: int) -> int:
        """The position of the carries that a step writes."""
        return step + (not self.reverse)

    @property
    def first(self) -> int:
        """The position that holds the carries' first values; `last` holds the final ones."""
        return self.length if self.reverse else 0

    @property
    def last(self) -> int:
        """The position that holds the carries' final values."""
        return 0 if self.reverse else self.length

    def result_type(self, output: int) -> TensorType:
        """The type of a result: one more position where it is a carry."""
        step = self.body.outputs[output].type
        return TensorType(step.dtype, (self.length + (output < len(self.carries)), *step.shape))

    def result(self, output: int, operands: tuple[Node, ...]) -> Node:
        """The node of one of the results of the run on these operands."""
        return make(replace(self, output=output), operands, self.result_type(output))

    def describe(self) -> str:
        """E.g. `[carry 0 of 1] = 5 steps of matmul, add, tanh`."""
        count = len(self.carries)
        kind, of = ("carry", count) if self.output < count else ("output", None)
        number = self.output if of else self.output - count
        ops = dict.fromkeys(n.op.name for n in self.body.nodes if n.inputs)
        way = " backwards" if self.reverse else ""
        return f"[{kind} {number}] = {self.length} steps{way} of {', '.join(ops) or 'nothing'}"

    # --- the chain rule --------------------------------------------------------------------

    def family(self, node: Node) -> Hashable:
        """The run that a node is a result of."""
        return replace(self, output=0), node.inputs

    def vjp(self, position: int, cotangent: Node, node: Node) -> Node | None:
        """Cotangent of one operand from that of one result."""
        return self.joint_vjp([position], {node: cotangent}, node).get(position)

    def joint_vjp(
        self, positions: Sequence[int], cotangents: Mapping[Node, Node], node: Node
    ) -> dict[int, Node]:
        """Cotangents of operands by one scan the other way, whose body is this body's pullback.

        Its carries are the cotangents of this one's, and the sums for what the steps share. What a
        step's derivative does not read is not among its operands.
        """
        given = {n.op.output: g for n, g in cotangents.items() if isinstance(n.op, Scan)}
        count, sequences = len(self.carries), len(self.carries) + len(self.slices)
        operands = dict(zip(self.placeholders, node.inputs, strict=True))
        floats = [j for j in range(count) if is_float(self.carries[j].dtype)]
        wanted = [p for p in positions if p >= count and is_float(self.placeholders[p].dtype)]
        taken = {n.op.name for n in self.body.nodes if isinstance(n.op, leaf.Input)}
        taken |= {p.op.name for p in self.placeholders}

        def new(kind: str, number: int, type: TensorType) -> Node:
            name = f"{kind}{number}"
            while name in taken:
                name += "'"
            taken.add(name)
            return make(leaf.Input(name), (), type)

        flowing = {j: new("grad.carry", j, self.carries[j].type) for j in floats}
        arriving = {
            j: new("grad.output", j, self.body.outputs[j].type)
            for j, g in given.items()
            if j >= count or not _only_at(g, self.last)
        }
        joined = {**arriving, **flowing}  # a carry's cotangent at a step is the one that flows
        pulled = pull_back(
            [self.body.outputs[j] for j in joined],
            [self.carries[j] for j in floats] + [self.placeholders[p] for p in wanted],
            list(joined.values()),
        )
        back = dict(zip([*floats, *wanted], pulled, strict=True))

        here = slice(self.before(0), self.before(0) + self.length)
        starts, carries, following = [], [], []
        for j in floats:
            type = self.carries[j].type
            starts.append(part(given[j], 0, self.last) if j in given else fill(0, type))
            carries.append(flowing[j])
            local = [arriving[j]] if j in arriving else []
            local += [flow for flow in [back[j]] if flow is not None]
            following.append(_sum(local) if local else fill(0, type))
        sums = [p for p in wanted if p >= sequences and back[p] is not None]
        for p in sums:
            total = new("grad.shared", p, self.placeholders[p].type)
            starts.append(fill(0, total.type))
            carries.append(total)
            following.append(_sum([total, *(b for b in [back[p]] if b is not None)]))
        slices = {c: part(self.result(j, node.inputs), 0, here) for j, c in enumerate(self.carries)}
        slices |= {x: operands[x] for x in self.slices}
        slices |= {
            g: part(given[j], 0, here) if j < count else given[j] for j, g in arriving.items()
        }
        steps = {p: b for p, b in back.items() if count <= p < sequences and b is not None}
        results = _run(
            [*following, *steps.values()],
            dict(zip(carries, starts, strict=True)),
            slices,
            {s: operands[s] for s in self.shared},
            self.length,
            not self.reverse,
        )
        finals = [part(r, 0, self.first) for r in results[: len(carries)]]
        flows = dict(zip([*floats, *sums], finals, strict=True))
        flows |= dict(zip(steps, results[len(carries) :], strict=True))
        return {p: flow for p, flow in flows.items() if p in positions}


def _only_at(cotangent: Node, position: int) -> bool:
    """Whether a stack is seen to be 0 but at one position, as that of a carry's final value is."""
    op = cotangent.op
    return isinstance(op, Formula) and op.writes[:1] == (Affine((), position),)


def _sum(parts: Sequence[Node]) -> Node:
    total = parts[0]
    for node in parts[1:]:
        total = operators["__add__"](total, node)
    return total


def _run(
    outputs: Sequence[Node],
    carries: Mapping[Node, Node],
    slices: Mapping[Node, Node],
    shared: Mapping[Node, Node],
    length: int,
    reverse: bool,
) -> tuple[Node, ...]:
    """All results of a scan, placeholders given with their operands; those not read left out."""
    body = Graph(tuple(outputs), tuple(f"out{j}" for j in range(len(outputs))))
    read = set(body.nodes)
    slices = {p: x for p, x in slices.items() if p in read}
    shared = {p: x for p, x in shared.items() if p in read}
    op = Scan(body, tuple(carries), tuple(slices), tuple(shared), length, reverse)
    operands = (*carries.values(), *slices.values(), *shared.values())
    return tuple(op.result(j, operands) for j in range(len(outputs)))


# --- tracing --------------------------------------------------------------------------------


def scan(
    function: Callable[[Any, Any], tuple[Any, Any]],
    initial: Any,
    xs: Any = None,
    *,
    length: int | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """carry, y[t] = function(carry, x[t]) for every step t; returns the last carry and all y.

    `initial` and `xs` are nodes or arrays, or nested tuples, lists and dicts of them; `xs` may be
    None with `length` given. Every x has the steps as its leading axis: (T, ...), T a number, 0
    included. `function` is traced once, with nodes for one step's parts (...), and returns the
    next carry, of initial's structure and types, and y, any structure of nodes or None; each y
    comes back stacked, (T, ...). With `reverse` the steps run from T - 1 down to 0; y[t] stays at
    position t. What `function` reads from outside (parameters, inputs, any node) is shared by all
    steps and differentiated as well. One native loop, no Python per step.

    Raises ShapeError where the leading extents differ or the carry changes its shape or structure,
    DTypeError where it changes its dtype. Source: jax.lax.scan.
    """
    starts = [as_node(value) for value in leaves(initial)]
    sequences = [as_node(value) for value in leaves(xs)]
    length = _length(sequences, length)
    depth = _depth.get()

    def placeholder(kind: str, number: int, type: TensorType) -> Node:
        return make(leaf.Input(f"scan{depth}.{kind}{number}"), (), type)

    carries = {placeholder("carry", j, node.type): node for j, node in enumerate(starts)}
    slices = {
        placeholder("x", k, TensorType(node.dtype, node.shape[1:])): node
        for k, node in enumerate(sequences)
    }
    token = _depth.set(depth + 1)
    try:
        after, given = function(rebuilt(initial, iter(carries)), rebuilt(xs, iter(slices)))
    finally:
        _depth.reset(token)
    following = _next(initial, starts, after)
    outputs = [*following, *(as_node(value) for value in leaves(given))]
    outputs, outer = _closed(outputs, [*carries, *slices], placeholder)
    results = _run(outputs, carries, slices, outer, length, reverse)
    finals = [part(stack, 0, 0 if reverse else length) for stack in results[: len(starts)]]
    return rebuilt(initial, iter(finals)), rebuilt(given, iter(results[len(starts) :]))


def _length(sequences: list[Node], length: int | None) -> int:
    """The number of steps, on which all sequences agree."""
    for node in sequences:
        extent = node.shape[0] if node.shape else None
        if not isinstance(extent, int):
            problem = f"a sequence of type {node.type} needs a number as its leading extent"
            raise fail(ShapeError, "scan", sequences, problem)
        if length is not None and extent != length:
            raise fail(ShapeError, "scan", sequences, f"{length} steps, but a leading {extent}")
        length = extent
    if length is None:
        raise fail(ShapeError, "scan", [], "without sequences the length must be given")
    return length


def _next(initial: Any, starts: list[Node], after: Any) -> list[Node]:
    """The carry that the function returned, which must be of the structure and types it got."""
    if rebuilt(after, repeat("*")) != rebuilt(initial, repeat("*")):
        raise fail(ShapeError, "scan", starts, "the step returns a carry of another structure")
    nodes = [as_node(v, s.dtype) for v, s in zip(leaves(after), starts, strict=True)]
    for j, (node, start) in enumerate(zip(nodes, starts, strict=True)):
        if node.type != start.type:
            kind = ShapeError if node.dtype == start.dtype else DTypeError
            problem = f"carry {j} starts as {start.type}, but the step returns {node.type}"
            raise fail(kind, "scan", starts, problem)
    return nodes


def _closed(
    outputs: list[Node],
    placeholders: list[Node],
    placeholder: Callable[[str, int, TensorType], Node],
) -> tuple[list[Node], dict[Node, Node]]:
    """The body with a placeholder for each outer node that it reads, and these with their nodes.

    What neither depends on a placeholder nor on an input or variable stays in the body.
    """
    order = list(postorder(outputs))
    inside, varying = set(placeholders), set(placeholders)
    for node in order:
        if any(operand in inside for operand in node.inputs):
            inside.add(node)
        outer = isinstance(node.op, leaf.Input | leaf.Variable)
        if outer or any(operand in varying for operand in node.inputs):
            varying.add(node)
    read = [operand for node in order if node in inside for operand in node.inputs]
    lifted = dict.fromkeys(n for n in [*read, *outputs] if n in varying and n not in inside)
    shared = {placeholder("shared", i, node.type): node for i, node in enumerate(lifted)}
    done = {node: p for p, node in shared.items()}
    for node in order:
        if node in inside and node not in done:
            done[node] = rebuild(node, tuple(done.get(i, i) for i in node.inputs))
    return [done.get(node, node) for node in outputs], shared


# --- nested tuples, lists and dicts ---------------------------------------------------------


def leaves(tree: Any) -> list[Any]:
    """The values in a structure, in order; dicts by sorted key."""
    match tree:
        case None:
            return []
        case dict():
            return [value for key in sorted(tree) for value in leaves(tree[key])]
        case tuple() | list():
            return [value for branch in tree for value in leaves(branch)]
    return [tree]


def rebuilt(tree: Any, values: Iterator[Any]) -> Any:
    """The same structure with other values."""
    match tree:
        case None:
            return None
        case dict():
            return {key: rebuilt(tree[key], values) for key in sorted(tree)}
        case tuple() | list():
            return type(tree)([rebuilt(branch, values) for branch in tree])
    return next(values)


# --- running sums and products --------------------------------------------------------------


def cumsum(x: Node, axis: int = 0) -> Node:
    """result[i] = x[0] + ... + x[i] along an axis.

    Any shape; bools and integers give int64, floats their own dtype. Raises ShapeError for a
    run-time extent along the axis. Source: numpy.cumsum.
    """
    return _cumulate("cumsum", x, axis, "__add__", 0)


def cumprod(x: Node, axis: int = 0) -> Node:
    """result[i] = x[0] * ... * x[i] along an axis; its gradient is right where factors are 0.

    Shapes, dtypes and errors as cumsum's. Source: numpy.cumprod.
    """
    return _cumulate("cumprod", x, axis, "__mul__", 1)


def _cumulate(name: str, x: Node, axis: int, operator: str, start: int) -> Node:
    axis = axis_of(name, x, axis)
    if not is_float(x.dtype):
        x = cast(x, "int64")
    sequence = moveaxis(x, axis, 0)

    def step(total: Node, value: Node) -> tuple[Node, Node]:
        total = operators[operator](total, value)
        return total, total

    initial = fill(start, TensorType(x.dtype, sequence.shape[1:]))
    return moveaxis(scan(step, initial, sequence)[1], 0, axis)
