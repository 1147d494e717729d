"""Random tensors: counter-based, a function of (seed, step, stream, element) and nothing else.

The seed and the step are two int64 variables held by a Generator. A program compiled with the
updates of `advance`, as training steps are, advances the step once a call, and another one draws
the same numbers at each call; the stream tells the random ops of a program apart; the element is
its row-major position, in a scan that of the stack of all steps' tensors. So the same numbers come
out for any number of threads, fused or not, on any machine.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import sympy

from graphc.errors import DTypeError, ShapeError
from graphc.graph import leaf
from graphc.graph.graph import postorder
from graphc.graph.leaf import Cell, Variable, aligned
from graphc.graph.node import Node
from graphc.graph.site import current_path
from graphc.ops import arithmetic, scalar
from graphc.ops.chain import flat
from graphc.ops.formula import Formula
from graphc.ops.known import kept
from graphc.ops.make import apply, as_node, fail, fill
from graphc.ops.op import op
from graphc.ops.recurrence import Scan
from graphc.ops.scalar import Expr, argument
from graphc.types import Shape, dtype_name, is_float

SEED, STEP, P, OFFSET = (argument(name) for name in ("seed", "step", "p", "offset"))
FUNCTIONS = (scalar.uniform, scalar.normal, scalar.uniform64, scalar.normal64)


def _cell(name: str) -> Cell:
    return Cell(name, aligned(np.zeros((), np.int64)), trainable=False)


@dataclass(frozen=True)
class Generator:
    """The state of a sequence of random numbers: a seed, and how many steps have been made."""

    seed: Cell = field(default_factory=lambda: _cell("random.seed"))
    step: Cell = field(default_factory=lambda: _cell("random.step"))

    def restart(self, seed: int) -> None:
        """Begin again at step 0 with this seed, any int of 64 bits."""
        self.seed.assign(np.uint64(seed % 2**64).astype(np.int64))
        self.step.assign(0)


DEFAULT = Generator()
"""The generator of every random op that is given none."""


def seed(number: int) -> None:
    """Restart the default generator: what is run from here repeats with the same number."""
    DEFAULT.restart(number)


# --- streams --------------------------------------------------------------------------------

_counts: ContextVar[dict[str, int]] = ContextVar("graphc_streams")
_outside: dict[str, int] = {}


@contextmanager
def streams() -> Iterator[None]:
    """Number the random ops made inside from the start, so that two traces of a model agree."""
    token = _counts.set({})
    try:
        yield
    finally:
        _counts.reset(token)


def _next_stream() -> int:
    """The stream of the next random op of the current layer: 32 bits of its path and number."""
    counts = _counts.get(_outside)
    path = current_path()
    number = counts.get(path, 0)
    counts[path] = number + 1
    digest = hashlib.blake2s(f"{path}#{number}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


_turn: ContextVar[tuple[Node, int] | None] = ContextVar("graphc_turn", default=None)


@contextmanager
def turns(turn: Node, count: int) -> Iterator[None]:
    """Have the random ops made inside, which run `count` times, draw anew at each turn.

    `turn` counts from 0, an int64 scalar. Turns inside turns count through.
    """
    outer = _turn.get()
    if outer is not None:
        turn = arithmetic.add(arithmetic.mul(outer[0], count), turn)
        count *= outer[1]
    token = _turn.set((turn, count))
    try:
        yield
    finally:
        _turn.reset(token)


def _offset(shape: Shape) -> Node | None:
    """How many elements of this shape were drawn in the turns before; None outside of turns."""
    turn = _turn.get()
    if turn is None:
        return None
    size = math.prod(e for e in shape if isinstance(e, int))
    offset = arithmetic.mul(turn[0], size)
    for extent in shape:
        if isinstance(extent, str):
            offset = arithmetic.mul(offset, leaf.extent(extent))
    return offset


# --- tensors --------------------------------------------------------------------------------


def _random(
    name: str,
    shape: Shape,
    dtype: str,
    key: Generator | None,
    stream: int | None,
    draw: type[Expr],
    shaped: Any,
    operands: tuple[tuple[Expr, Node], ...] = (),
) -> Node:
    """A tensor of shaped(draw(seed, step, stream, position)), elementwise with operands."""
    key = DEFAULT if key is None else key
    stream = _next_stream() if stream is None else stream
    names = [f"i{axis}" for axis in range(len(shape))]
    where = flat(tuple(zip(names, shape, strict=True)))
    offset = _offset(shape)
    if offset is not None:
        where = where + OFFSET
        operands = (*operands, (OFFSET, offset))
    symbols = (SEED, STEP, *(s for s, _ in operands))
    nodes = [leaf.variable(key.seed), leaf.variable(key.step), *(n for _, n in operands)]
    reads = ["", "", *(" ".join(names[len(names) - len(n.shape) :]) for _, n in operands)]
    return apply(
        name,
        f"{', '.join(reads)} -> {' '.join(names)}",
        symbols,
        shaped(draw(SEED, STEP, stream, where)),
        nodes,
        extents=dict(zip(names, shape, strict=True)),
        dtype=dtype,
    )


def _float(name: str, dtype: object) -> str:
    kind = dtype_name(dtype)
    if not is_float(kind):
        raise fail(DTypeError, name, [], f"gives float32 or float64, not {kind}")
    return kind


def uniform(
    shape: Shape,
    *,
    low: float = 0.0,
    high: float = 1.0,
    dtype: object = "float32",
    key: Generator | None = None,
    stream: int | None = None,
) -> Node:
    """Numbers of [low, high), all equally likely; rounding may give high where low is large."""
    kind = _float("uniform", dtype)
    draw = scalar.uniform if kind == "float32" else scalar.uniform64
    low, width = sympy.sympify(low), sympy.sympify(high - low)
    return _random("uniform", tuple(shape), kind, key, stream, draw, lambda u: low + width * u)


def normal(
    shape: Shape,
    *,
    mean: float = 0.0,
    std: float = 1.0,
    dtype: object = "float32",
    key: Generator | None = None,
    stream: int | None = None,
) -> Node:
    """Numbers of the normal distribution with this mean and standard deviation."""
    kind = _float("normal", dtype)
    draw = scalar.normal if kind == "float32" else scalar.normal64
    return _random(
        "normal",
        tuple(shape),
        kind,
        key,
        stream,
        draw,
        lambda z: sympy.sympify(mean) + sympy.sympify(std) * z,
    )


@kept
def happens(u: Expr, bound: Expr, dtype: str) -> Expr:
    """Whether a number of [0, 1) is below a bound; 1 or 0 where the dtype is no bool."""
    return u < bound if dtype == "bool" else sympy.Piecewise((1, u < bound), (0, True))


def bernoulli(
    p: Any,
    shape: Shape | None = None,
    *,
    dtype: object = "float32",
    key: Generator | None = None,
    stream: int | None = None,
) -> Node:
    """1 with probability p, else 0. p is a number, or a node that fits the shape from the right.

    Nothing flows back to p. Without a shape the result has p's.
    """
    kind = dtype_name(dtype)
    if not isinstance(p, Node):
        _probability("bernoulli", [], p)
    shape = as_node(p).shape if shape is None else tuple(shape)
    operands = ((P, p),) if isinstance(p, Node) else ()
    bound = P if isinstance(p, Node) else sympy.sympify(p)
    if isinstance(p, Node) and p.shape != shape[len(shape) - len(p.shape) :]:
        raise fail(ShapeError, "bernoulli", [p], f"the shape {shape} does not end in p's")

    def shaped(u: Expr) -> Expr:
        return happens(u, bound, kind)

    draw = scalar.uniform64 if isinstance(p, Node) and p.dtype == "float64" else scalar.uniform
    return _random("bernoulli", shape, kind, key, stream, draw, shaped, operands)


def randint(
    shape: Shape,
    low: int,
    high: int,
    *,
    dtype: object = "int64",
    key: Generator | None = None,
    stream: int | None = None,
) -> Node:
    """Whole numbers of [low, high), equally likely to within 2^-53 * (high - low)."""
    if high <= low:
        raise fail(ShapeError, "randint", [], f"[{low}, {high}) holds no whole number")
    name = sympy.Symbol("int64")

    def shaped(u: Expr) -> Expr:
        return low + scalar.cast(scalar.floor(u * (high - low)), name)

    kind = dtype_name(dtype)
    return _random("randint", tuple(shape), kind, key, stream, scalar.uniform64, shaped)


@op(name="dropout")
def _dropout(x: Expr, mask: Expr, *, scale: Expr) -> Expr:
    """x * scale where the mask holds, else 0."""
    return sympy.Piecewise((x * scale, mask), (0, True))


def dropout(
    x: Any, p: float = 0.5, *, key: Generator | None = None, stream: int | None = None
) -> Node:
    """Each element is 0 with probability p, else x / (1 - p) (Srivastava et al. 2014).

    This is what it does in training; in evaluation leave it out. Backward reads the mask, a bool
    an element.
    """
    node = as_node(x)
    _probability("dropout", [node], p)
    if p == 0:
        return node
    if p == 1:
        return fill(0, node.type, "dropout")
    mask = bernoulli(1 - p, node.shape, dtype="bool", key=key, stream=stream)
    return _dropout(node, mask, scale=1 / (1 - p))


def _probability(name: str, operands: list[Node], p: float) -> None:
    if not 0 <= p <= 1:
        raise fail(ShapeError, name, operands, f"{p=} is no probability: it must be in [0, 1]")


# --- advancing ------------------------------------------------------------------------------


def advance(nodes: Iterable[Node]) -> dict[Node, Node]:
    """The updates that a program owes its generators: every step it reads, to step + 1."""
    read = (node for node in _steps_read(nodes) if isinstance(node.op, Variable))
    return {variable: arithmetic.add(variable, 1) for variable in read}


def _steps_read(nodes: Iterable[Node]) -> Iterator[Node]:
    """The nodes from which random ops below these nodes take their step, inside scans too."""
    for node in postorder(nodes):
        if isinstance(node.op, Scan):
            given = dict(zip(node.op.placeholders, node.inputs, strict=True))
            yield from (given.get(step, step) for step in _steps_read(node.op.body.outputs))
        if isinstance(node.op, Formula):
            args = node.op.args
            yield from (node.inputs[args.index(s)] for s in _steps(node.op.expr) if s in args)


@lru_cache(maxsize=4096)
def _steps(expr: Expr) -> tuple[Expr, ...]:
    """The symbols that stand for the step in a formula's random functions."""
    return tuple(dict.fromkeys(part.args[1] for part in expr.atoms(*FUNCTIONS)))
