"""Scans among their readers: a stack of states is stored once, and read where it lies."""

from __future__ import annotations

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.graph.node import Node
from graphc.ops.recurrence import Scan

STEPS, WIDTH = 5, 4
X = graphc.input("x", (STEPS, WIDTH))
W = graphc.input("w", (WIDTH, WIDTH))
RANDOM = np.random.default_rng(0)
GIVEN = {n.op.name: RANDOM.standard_normal(n.shape).astype(np.float32) for n in (X, W)}


def run(reverse: bool = False) -> tuple[Node, Node]:
    """The last state of a recurrent layer, and all that it gives out."""

    def step(h: Node, x: Node) -> tuple[Node, Node]:
        h = ops.tanh(ops.sum(W * h, axis=1) + x)
        return h, h

    last, hs = ops.scan(step, ops.zeros(WIDTH), X, reverse=reverse)
    return last, hs


def expected(reverse: bool) -> tuple[list[np.ndarray], np.ndarray]:
    """The states in the order of the steps' places, and the loss's slope by x in float64."""
    x, w = (GIVEN[name].astype(np.float64) for name in "xw")
    h, hs = np.zeros(WIDTH), {}
    order = list(range(STEPS))[:: -1 if reverse else 1]
    for t in order:
        hs[t] = h = np.tanh(w @ h + x[t])
    slope, flow = np.zeros_like(x), np.zeros(WIDTH)
    for t in reversed(order):
        inner = (flow + 2 * hs[t]) * (1 - hs[t] ** 2)
        slope[t], flow = inner, w.T @ inner
    return [hs[t] for t in range(STEPS)], slope


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_state_that_is_given_out_is_stored_once(reverse: bool, threads: int) -> None:
    _, hs = run(reverse)
    loss = ops.sum(ops.square(hs))
    program = graphc.compile([loss, *graphc.grad(loss, [X, W])], threads=threads)
    scans = [n.op for n in program.stages.fused.graph.nodes if isinstance(n.op, Scan)]
    forward = [s for s in scans if s.reverse is reverse]
    assert {s.output for s in forward if s.body.outputs[s.output] is s.body.outputs[0]} == {0}
    states, slope = expected(reverse)
    value, by_x, _ = program(**GIVEN)
    np.testing.assert_allclose(value, np.sum(np.square(states)), rtol=1e-5)
    np.testing.assert_allclose(by_x, slope, rtol=1e-4, atol=1e-5)


def test_what_alone_is_read_stays_a_result_of_its_own() -> None:
    """No stack of all states is made for it, which would hold one more."""
    _, hs = run()
    program = graphc.compile([hs])
    (scan,) = (n.op for n in program.stages.fused.graph.nodes if isinstance(n.op, Scan))
    assert scan.output == 1
    np.testing.assert_allclose(program(**GIVEN)[0], expected(False)[0], rtol=1e-5, atol=1e-6)


def test_the_front_of_a_stack_is_read_where_it_lies() -> None:
    _, hs = run()
    loss = ops.sum(ops.square(hs))
    slope = graphc.grad(loss, [X])
    program = graphc.compile([loss, *slope])
    names = [group.nodes[0].op.name for group in program.stages.fused.groups]
    assert "slice" not in names
    np.testing.assert_allclose(program(**GIVEN)[1], expected(False)[1], rtol=1e-4, atol=1e-5)


def test_a_front_that_is_a_result_is_a_copy() -> None:
    """A caller gets an array of his own size, and may write to it."""
    x = graphc.input("x", (6, 3))
    program = graphc.compile([x[:4], ops.scan(lambda c, v: (c + v, c), ops.zeros(3), x[:4])[1]])
    given = RANDOM.standard_normal((6, 3)).astype(np.float32)
    front, sums = program(given)
    assert front.shape == (4, 3) and not np.shares_memory(front, given)
    np.testing.assert_array_equal(front, given[:4])
    np.testing.assert_allclose(sums[1:], given[:3].cumsum(0), rtol=1e-5, atol=1e-6)


def test_a_result_that_rereads_a_front_is_of_its_own_size() -> None:
    x = graphc.input("x", (6, 3))
    front = x[:4]
    sums = ops.scan(lambda c, v: (c + v, c), ops.zeros(3), front)[1]
    program = graphc.compile([ops.reshape(front, (3, 4)), sums])
    given = RANDOM.standard_normal((6, 3)).astype(np.float32)
    found, _ = program(given)
    np.testing.assert_array_equal(found, given[:4].reshape(3, 4))
    assert not np.shares_memory(found, given)


def test_a_front_of_a_step_s_part_lies_where_the_step_s_does() -> None:
    """The states of a scan in a scan: a step of the outer has one more than the inner's has."""

    def inner(c: Node, v: Node) -> tuple[Node, Node]:
        h = ops.tanh(c * 0.5 + v)
        return h, h

    def outer(c: Node, v: Node) -> tuple[Node, Node]:
        last, states = ops.scan(inner, c, ops.stack([v, v * 2, c], 0))
        return last, states[:2]

    last, states = ops.scan(outer, ops.zeros(WIDTH), X)
    slope = graphc.grad(ops.sum(last) + ops.sum(ops.square(states)), [X])
    (wanted,) = graphc.evaluate(slope, GIVEN)
    np.testing.assert_allclose(graphc.compile(slope)(GIVEN["x"])[0], wanted, rtol=1e-4, atol=1e-6)


def test_of_two_carries_alike_the_one_whose_stack_is_read_is_taken() -> None:
    def step(c: tuple[Node, Node], x: Node) -> tuple[tuple[Node, Node], Node]:
        h = c[0] * 0.5 + ops.square(c[1]) * 0.1 + x
        return (h, h), h

    _, hs = ops.scan(step, (ops.zeros(WIDTH), ops.ones(WIDTH)), X)
    outputs = [hs, *graphc.grad(ops.sum(ops.square(hs)), [X])]
    program = graphc.compile(outputs)
    scans = [n.op for n in program.stages.fused.graph.nodes if isinstance(n.op, Scan)]
    assert 0 not in {s.output for s in scans if not s.reverse}
    for found, wanted in zip(program(GIVEN["x"]), graphc.evaluate(outputs, GIVEN), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_a_front_of_what_is_updated_is_of_the_old_value() -> None:
    """A scan over part of a variable which the same call overwrites."""
    v = graphc.parameter("v", value=np.arange(12, dtype=np.float32).reshape(6, 2))
    last, _ = ops.scan(lambda c, x: (c + x, None), ops.zeros(2), v[:4])
    program = graphc.compile([last], updates={v: v * 0.0})
    np.testing.assert_array_equal(program()[0], [12, 16])
    np.testing.assert_array_equal(program()[0], [0, 0])


@pytest.mark.parametrize(
    ("steps", "rows", "width", "packed"),
    [(30, 1, 32, True), (12, 2, 32, True), (11, 2, 32, False), (30, 3, 20, True)],
)
def test_a_matrix_is_laid_out_once_for_all_steps(
    steps: int, rows: int, width: int, packed: bool
) -> None:
    """Where they read it often enough together, in panels; frozen or not with the same bits."""
    x = graphc.input("x", (steps, rows, width))
    values = RANDOM.standard_normal((width, width)).astype(np.float32) / 8
    w = graphc.parameter("w", value=values)

    def step(h: Node, x: Node) -> tuple[Node, Node]:
        h = ops.tanh(ops.linear(h, w) + x)
        return h, h

    _, hs = ops.scan(step, ops.zeros((rows, width)), x)
    given = {"x": RANDOM.standard_normal((steps, rows, width)).astype(np.float32)}
    (copied,) = graphc.compile(hs, target="avx2").stages.graph.outputs
    assert isinstance(copied.op, Scan)
    shape = (width // 16, width, 16) if width % 16 == 0 else (width, width)
    found = [n for n in copied.inputs if n.op.name == "packed" and n.shape == shape]
    assert len(found) == packed
    (live,), (frozen,) = (graphc.compile(hs, freeze=freeze)(**given) for freeze in (False, True))
    np.testing.assert_allclose(live, graphc.evaluate([hs], given)[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(frozen, live)


def test_a_matrix_whose_rows_are_read_along_stays_as_it_lies() -> None:
    x, w = graphc.input("x", (40, 2, 32)), graphc.parameter("w", (32, 32))

    def step(h: Node, x: Node) -> tuple[Node, Node]:
        h = ops.tanh(h @ w + x)
        return h, h

    _, hs = ops.scan(step, ops.zeros((2, 32)), x)
    assert "packed" not in graphc.compile(hs).as_text("simplified")
