"""Random small graphs: compiled code equals the oracle, and fused equals unfused bit for bit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graphc
from graphc import ops
from graphc.autodiff import vjp
from graphc.graph.graph import postorder
from graphc.graph.leaf import Input, constant
from graphc.graph.node import Node
from graphc.ops.reference import evaluate

Array = np.ndarray[Any, Any]

SIZES = (1, 2, 3, 5, 17, 33)
LARGEST = 4000
PLAIN = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

MAPS = [
    ops.tanh, ops.sigmoid, ops.relu, ops.gelu, ops.square, ops.neg, ops.abs, ops.softplus,
    lambda x: x * 0.5 + 1, lambda x: ops.clip(x, -1, 1), lambda x: ops.where(x > 0, x, x * 0.1),
    lambda x: 1 / (1 + ops.square(x)),
]  # fmt: skip
PAIRS = [ops.add, ops.sub, ops.mul, ops.maximum, ops.minimum, lambda a, b: ops.where(a > b, a, b)]
REDUCTIONS = [ops.sum, ops.mean, ops.max, ops.min]
FILLS = [ops.zeros, ops.ones, lambda shape: ops.full(shape, 2), lambda shape: ops.full(shape, -0.3)]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Node], dict[str, Array]]:
    """Outputs and values of the inputs; a step applies one op to what was made before."""
    pool: list[Node] = []
    values: dict[str, Array] = {}
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))

    def fresh(shape: tuple[Any, ...]) -> Node:
        name = f"x{len(values)}"
        values[name] = generator.uniform(-2, 2, shape).astype(np.float32)
        return graphc.input(name, shape)

    for number in range(draw(st.integers(1, 4))):
        rank = draw(st.integers(0, 3))
        shape = tuple(draw(st.sampled_from(SIZES[: 6 - rank])) for _ in range(rank))
        pool.append(draw(st.sampled_from([fresh, *FILLS] if number else [fresh]))(shape))
    for _ in range(draw(st.integers(2, 7))):
        made = step(draw, pool, fresh)
        if np.prod([1, *made.shape]) <= LARGEST:
            pool.append(made)
    outputs = [pool[-1], draw(st.sampled_from(pool))]
    reals = [n for n in pool if isinstance(n.op, Input)]
    match draw(st.sampled_from(["none", "dense", "sums"])):
        case "dense":
            outputs += vjp([pool[-1]], reals, [constant(np.ones(pool[-1].shape, np.float32))])
        case "sums":
            both = ops.sum(pool[-1]) * 2 + ops.sum(draw(st.sampled_from(pool)))
            outputs += graphc.grad(both, reals)
    return outputs, values


def step(draw: st.DrawFn, pool: list[Node], fresh: Any) -> Node:
    """One op on operands from the pool, or on a new input that fits."""
    x = draw(st.sampled_from(pool[-3:]))
    rank = len(x.shape)
    kinds = ["map", "pair", "constant", "fill"]
    kinds += ["reduce", "transpose", "slice", "concat", "pad", "softmax", "reshape"] * (rank > 0)
    kinds += ["matmul"] * (rank > 1)
    match draw(st.sampled_from(kinds)):
        case "map":
            return draw(st.sampled_from(MAPS))(x)
        case "constant":
            return x + np.linspace(-1, 1, int(np.prod([1, *x.shape])), dtype=np.float32).reshape(
                x.shape
            )
        case "pair":
            fitting = [n for n in pool if broadcasts(n.shape, x.shape)]
            other = draw(st.sampled_from(fitting))
            if draw(st.booleans()):
                other = fresh(tuple(draw(st.sampled_from([1, int(e)])) for e in x.shape))
            return draw(st.sampled_from(PAIRS))(x, other)
        case "fill":
            shape = tuple(draw(st.sampled_from([1, int(e)])) for e in x.shape)
            return draw(st.sampled_from(PAIRS))(x, draw(st.sampled_from(FILLS))(shape))
        case "reduce":
            axes = draw(st.sets(st.integers(0, rank - 1), min_size=1))
            how = draw(st.sampled_from(REDUCTIONS))
            return how(x, tuple(sorted(axes)), keepdims=draw(st.booleans()))
        case "transpose":
            return ops.permute(x, *draw(st.permutations(range(rank))))
        case "slice":
            parts = [
                slice(
                    *sorted(draw(st.tuples(*[st.integers(0, int(e))] * 2))), draw(st.integers(1, 2))
                )
                for e in x.shape
            ]
            made = x[tuple(parts)]
            return made if 0 not in made.shape else x
        case "concat":
            axis = draw(st.integers(0, rank - 1))
            like = [n for n in pool if same_but(n.shape, x.shape, axis)]
            size = draw(st.integers(1, 3))
            made = draw(st.sampled_from(FILLS))((*x.shape[:axis], size, *x.shape[axis + 1 :]))
            parts = [x, draw(st.sampled_from([*like, made]))]
            return ops.concat(draw(st.permutations(parts)), axis)
        case "pad":
            widths = [draw(st.tuples(st.integers(0, 2), st.integers(0, 2))) for _ in x.shape]
            if draw(st.booleans()):
                return ops.pad(x, widths, "edge")
            return ops.pad(x, widths, value=draw(st.sampled_from([0, 1.5])))
        case "softmax":
            return ops.softmax(x, draw(st.integers(0, rank - 1)))
        case "reshape":
            return ops.reshape(x, (-1,))
    width = draw(st.sampled_from(SIZES))
    return ops.matmul(x, fresh((x.shape[-1], width)))


def broadcasts(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Whether two shapes broadcast."""
    pairs = zip(reversed(a), reversed(b), strict=False)
    return all(m == n or 1 in (m, n) for m, n in pairs)


def same_but(a: tuple[Any, ...], b: tuple[Any, ...], axis: int) -> bool:
    """Whether two shapes agree on all axes but one."""
    return len(a) == len(b) and all(
        m == n or i == axis for i, (m, n) in enumerate(zip(a, b, strict=True))
    )


@contextmanager
def skipping(passes: str) -> Iterator[None]:
    """GRAPHC_SKIP inside."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "GRAPHC_SKIP", passes)
        yield


@PLAIN
@given(graphs())
def test_compiled_graphs_equal_the_oracle(made: tuple[list[Node], dict[str, Array]]) -> None:
    """To the rounding of the largest number on the way: what is left of a difference is noise."""
    outputs, values = made
    program = graphc.compile(outputs)
    found = program(**{n.op.name: values[n.op.name] for n in program.inputs})
    nodes = list(postorder(outputs))
    known = dict(zip(nodes, evaluate(nodes, values), strict=True))
    size = max(float(np.abs(v).max(initial=1)) for v in known.values() if v.dtype == np.float32)
    for value, wanted in zip(found, [known[n] for n in outputs], strict=True):
        assert value.shape == wanted.shape and value.dtype == wanted.dtype
        np.testing.assert_allclose(value, wanted, rtol=2e-4, atol=2e-5 * size)


@PLAIN
@given(graphs())
def test_fused_graphs_equal_unfused_ones(made: tuple[list[Node], dict[str, Array]]) -> None:
    outputs, values = made
    fused = graphc.compile(outputs)
    with skipping("fuse"):
        apart = graphc.compile(outputs)
    given_ = {n.op.name: values[n.op.name] for n in fused.inputs}
    for value, wanted in zip(fused(**given_), apart(**given_), strict=True):
        np.testing.assert_array_equal(value, wanted)
