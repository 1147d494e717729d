"""Invert: scatters become gathers, and the part of one that is read a scatter of its own."""

from __future__ import annotations

import numpy as np

import graphc
from graphc import ops
from graphc.graph.graph import make_graph
from graphc.graph.node import Node
from graphc.machine import Machine
from graphc.ops.reference import evaluate
from graphc.passes.invert import invert

MACHINE = Machine(32, 16, False)
RANDOM = np.random.default_rng(0)
GIVEN = {
    "x": RANDOM.standard_normal((2, 3, 9, 9)).astype(np.float32),
    "k": RANDOM.standard_normal((4, 3, 3, 3)).astype(np.float32),
}
X, K = (graphc.input(name, array.shape) for name, array in GIVEN.items())


def inverted(outputs: list[Node]) -> list[str]:
    """The ops that are left, whose values are those of before."""
    graph = invert(make_graph(outputs), MACHINE)
    wanted, found = evaluate(outputs, GIVEN), evaluate(list(graph.outputs), GIVEN)
    for a, b in zip(wanted, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    return [node.op.name for node in graph.nodes if node.inputs]


def test_a_part_of_a_scatter_is_a_scatter() -> None:
    y = ops.conv2d(ops.pad(X, ((0, 0), (0, 0), (1, 1), (1, 1))), K, stride=2)
    loss = ops.sum(ops.square(y))
    names = inverted([graphc.grad(loss, [X])[0]])
    assert "conv2d.dimage" in names and "pad.dx" not in names


def test_not_where_all_of_it_is_read_too() -> None:
    whole = ops.conv_transpose2d(X, ops.transpose(K, (1, 0, 2, 3)), stride=2)
    assert "slice" in inverted([whole, whole[:, :, 1:-1, 2:] + 1])
