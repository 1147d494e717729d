"""Sequences: a function run over a leading axis with carried state, traced into one Scan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from itertools import repeat
from typing import Any

from graphc.errors import DTypeError, ShapeError, UnsupportedOpError
from graphc.graph import leaf
from graphc.graph.graph import postorder
from graphc.graph.node import Node, make, operators
from graphc.graph.rewrite import rebuild
from graphc.ops.arithmetic import cast
from graphc.ops.create import iota
from graphc.ops.make import as_node, fail, fill
from graphc.ops.random import turns
from graphc.ops.recurrence import Scan as Scan
from graphc.ops.recurrence import run_steps
from graphc.ops.shape import axis_of, moveaxis, number
from graphc.ops.slicing import part
from graphc.types import TensorType, is_float

_depth: ContextVar[int] = ContextVar("graphc_scan_depth", default=0)


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
    steps and differentiated as well. Random ops draw anew at each step. One native loop, no Python
    per step.

    Raises ShapeError where the leading extents differ or the carry changes its shape or structure,
    DTypeError where it changes its dtype, UnsupportedOpError where no pair is returned.

    Source: jax.lax.scan.
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
    turn = placeholder("turn", 0, TensorType("int64", ()))
    token = _depth.set(depth + 1)
    try:
        with turns(turn, length):
            pair: Any = function(rebuilt(initial, iter(carries)), rebuilt(xs, iter(slices)))
    finally:
        _depth.reset(token)
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        problem = f"the step must return a pair (next carry, output or None), not {pair!r}"
        raise fail(UnsupportedOpError, "scan", [*starts, *sequences], problem)
    after, given = pair
    following = _next(initial, starts, after)
    outputs = [*following, *(as_node(value) for value in leaves(given))]
    if turn in postorder(outputs):
        slices[turn] = iota(length)
    outputs, outer = _closed(outputs, [*carries, *slices], placeholder)
    results = run_steps(outputs, carries, slices, outer, length, reverse)
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
    number(name, x, axis)
    if not is_float(x.dtype):
        x = cast(x, "int64")
    sequence = moveaxis(x, axis, 0)

    def step(total: Node, value: Node) -> tuple[Node, Node]:
        total = operators[operator](total, value)
        return total, total

    initial = fill(start, TensorType(x.dtype, sequence.shape[1:]))
    return moveaxis(scan(step, initial, sequence)[1], 0, axis)
