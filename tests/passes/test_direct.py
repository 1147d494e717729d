"""Direct: a product writes what a copy of it would hold, and nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import graphc
from graphc import nn, ops
from graphc.graph.graph import make_graph
from graphc.graph.node import Node
from graphc.machine import Machine
from graphc.ops.reference import evaluate
from graphc.passes.direct import direct
from graphc.passes.simplify import simplify

MACHINE = Machine(32, 16, False)
X = graphc.input("x", (6, 8))
W = graphc.input("w", (8, 12))
RANDOM = np.random.default_rng(0)
GIVEN = {n.op.name: RANDOM.standard_normal(n.shape).astype(np.float32) for n in (X, W)}


def left(outputs: Sequence[Node]) -> list[str]:
    """The ops that are left, whose values are those of before."""
    graph = direct(simplify(make_graph(outputs), MACHINE), MACHINE)
    wanted, found = evaluate(list(outputs), GIVEN), evaluate(list(graph.outputs), GIVEN)
    for a, b in zip(wanted, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    for threads in (1, 2):
        program = graphc.compile(outputs, threads=threads)
        done = program(**{n.op.name: GIVEN[n.op.name] for n in program.inputs})
        for a, b in zip(wanted, done, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    return [node.op.name for node in graph.nodes if node.inputs]


def test_turned_over() -> None:
    assert left([ops.transpose(X @ W)]) == ["matmul"]


def test_heads_become_a_width() -> None:
    heads = ops.reshape(X, (2, 3, 8)) @ ops.reshape(W, (2, 8, 6))
    assert left([ops.reshape(ops.transpose(heads, (1, 0, 2)), (3, 12))])[-1] == "matmul"


def test_a_map_between_them_follows() -> None:
    assert left([ops.transpose(ops.tanh(X @ W))]) == ["matmul", "tanh"]


def test_a_conversion_between_them_is_of_the_product() -> None:
    assert left([ops.transpose(ops.cast(X @ W, "int32"))]) == ["matmul", "cast"]


def test_a_comparison_between_them_is_of_the_product() -> None:
    assert left([ops.transpose(X @ W > 0)]) == ["matmul", "greater"]


def test_a_map_that_knows_its_position_stays() -> None:
    assert left([ops.transpose(ops.tril(X @ W))]) == ["matmul", "tril", "transpose"]


@pytest.mark.parametrize("also", [lambda y: y, ops.tanh])
def test_another_reader_needs_it_as_it_was(also: object) -> None:
    y = X @ W
    assert "transpose" in left([ops.transpose(y), also(y)])  # type: ignore[operator]


def test_part_of_a_product_is_no_copy_of_it() -> None:
    assert "slice" in left([ops.transpose(X @ W)[2:4]])


def test_what_is_no_product_stays() -> None:
    assert left([ops.transpose(ops.tanh(X) + ops.max(W))]) == ["tanh", "max", "add", "transpose"]


def test_attention_has_no_copies_of_its_own() -> None:
    x = graphc.input("x", (2, 16, 32))
    layer = nn.MultiheadAttention(32, 4)
    loss = ops.sum(ops.square(layer(x)[0]))
    program = graphc.compile([loss, *graphc.grad(loss, [p.node for p in layer.parameters()])])
    names = [group.nodes[0].op.name for group in program.stages.fused.groups]
    assert not [name for name in names if name.startswith(("reshape", "transpose"))]
