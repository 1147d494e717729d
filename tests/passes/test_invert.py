"""Invert: scatters become gathers, and the part of one that is read a scatter of its own."""

from __future__ import annotations

import math

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.graph.graph import make_graph
from graphc.graph.node import Node
from graphc.loops.ir import Update, walk
from graphc.machine import Machine
from graphc.ops.formula import Formula
from graphc.ops.reference import evaluate
from graphc.passes.invert import invert
from graphc.passes.simplify import simplify

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


@pytest.mark.parametrize("dilation", [2, 4])
def test_taps_that_lie_apart_are_summed_over_as_they_are(dilation: int) -> None:
    """Three taps along an axis, 2 or 4 apart: the gradient by the image has three terms as well."""
    image, taps = graphc.input("image", (2, 3, 16, 16)), graphc.input("taps", (4, 3, 3, 3))
    moved = ops.conv2d(image, taps, padding=dilation, dilation=dilation)
    (by_image,) = graphc.vjp(moved, [image], graphc.input("dy", moved.shape))
    graph = invert(make_graph([by_image]), MACHINE)
    (sums,) = [n for n in graph.nodes if n.op.name == "conv2d.dimage"]
    assert isinstance(sums.op, Formula)
    assert math.prod(sums.op.extents[name] for name in sums.op.summed) == 4 * 3 * 3
    draw = np.random.default_rng(0)
    given = {
        name: draw.standard_normal(s) for name, s in (("taps", taps.shape), ("dy", moved.shape))
    }
    given = {name: array.astype(np.float32) for name, array in given.items()}
    (found,), (wanted,) = graphc.compile(by_image)(**given), evaluate([by_image], given)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("stride", "dilation", "padding"),
    [(2, 2, 0), (2, 2, 1), (3, 3, 1), (4, 2, 1), (4, 6, 2), (6, 4, 0)],
)
def test_where_stride_and_dilation_have_a_factor_in_common(
    stride: int, dilation: int, padding: int
) -> None:
    """Only every so many elements are reached: a sum over the taps for these, and 0 elsewhere."""
    x, kernel = graphc.input("x", (2, 3, 29, 31)), graphc.input("kernel", (4, 3, 3, 3))
    options = {"stride": stride, "dilation": dilation, "padding": padding, "floor": True}
    y = ops.conv2d(x, kernel, **options)
    (slope,) = graphc.grad(ops.sum(ops.square(y)), [x])
    graph = invert(make_graph([slope]), MACHINE)
    for node in graph.nodes:
        if node.op.name == "conv2d.dimage" and isinstance(node.op, Formula):
            summed = math.prod(int(node.op.extents[name]) for name in node.op.summed)
            assert math.gcd(stride, dilation) not in (stride, dilation) or summed <= 4 * 3 * 3
    given = {
        "x": RANDOM.standard_normal(x.shape).astype(np.float32),
        "kernel": RANDOM.standard_normal(kernel.shape).astype(np.float32),
    }
    (found,), (expected,) = graphc.compile(slope)(**given), evaluate([slope], given)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("taps", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("stride, padding", [(2, 0), (2, 1), (2, 2), (3, 1), (4, 1)])
def test_what_is_cropped_is_not_computed(taps: int, stride: int, padding: int) -> None:
    """Of a transposed convolution whose windows overlap; with stride 2 no term is a border's."""
    x, kernel = graphc.input("x", (2, 3, 9, 8)), graphc.input("kernel", (3, 4, taps, taps))
    y = ops.conv_transpose2d(x, kernel, stride=stride, padding=padding) * 2 + 1
    graph = invert(simplify(make_graph([y]), MACHINE), MACHINE)
    (sums,) = [n for n in graph.nodes if n.op.name == "conv_transpose2d"]
    assert sums.shape == y.shape or taps == stride
    if stride == 2 and taps != 2:
        assert isinstance(sums.op, Formula)
        terms = math.prod(int(sums.op.extents[name]) for name in sums.op.summed)
        assert terms == 3 * math.ceil(taps / 2) ** 2
    given = {
        "x": RANDOM.standard_normal(x.shape).astype(np.float32),
        "kernel": RANDOM.standard_normal(kernel.shape).astype(np.float32),
    }
    (found,), (expected,) = graphc.compile(y)(**given), evaluate([y], given)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_what_two_readers_leave_out() -> None:
    whole = ops.conv_transpose2d(X, ops.transpose(K, (1, 0, 2, 3)), stride=2)  # 19 by 19
    outputs = [ops.exp(whole[:, :, 2:9, 4:7]), whole[:, :, 5:12, 3:6] + 1]
    graph = invert(simplify(make_graph(outputs), MACHINE), MACHINE)
    (sums,) = [n for n in graph.nodes if n.op.name == "conv_transpose2d"]
    assert sums.shape == (2, 4, 10, 4)
    for a, b in zip(evaluate(outputs, GIVEN), evaluate(list(graph.outputs), GIVEN), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_nothing_of_it_is_read() -> None:
    y = ops.conv_transpose2d(X, ops.transpose(K, (1, 0, 2, 3)), stride=2)[:, :, 3:3] + 1
    assert graphc.compile(y)(**GIVEN)[0].shape == (2, 4, 0, 19)


@pytest.mark.parametrize("rows", [[0, 3], [0, 1], [0, 0]])
def test_where_an_index_is_data_nothing_is_left_out(rows: list[int]) -> None:
    """Rows that nobody reads may be added to; the columns beside them are left out."""
    table, dy = graphc.input("table", (4, 3)), graphc.input("dy", (2, 3))
    (slope,) = graphc.vjp(ops.gather(table, graphc.constant(np.array(rows))), [table], dy)
    given = {"dy": RANDOM.standard_normal((2, 3)).astype(np.float32)}
    for part in (slope[1:] * 2, slope[:2] * 2, slope[1:3, 1:] * 2):
        (found,), (expected,) = graphc.compile(part)(**given), evaluate([part], given)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("stride, dilation, size", [(3, 2, 3), (2, 3, 3), (3, 2, 2), (5, 3, 4)])
def test_steps_without_a_common_factor(stride: int, dilation: int, size: int) -> None:
    """Places where holes and strides meet are none of an index: one operand is spread out."""
    x, k = graphc.input("x", (2, 3, 17, 16)), graphc.input("k", (4, 3, size, size))
    y = ops.conv2d(x, k, stride=stride, dilation=dilation, padding=1, floor=True)
    nodes = graphc.vjp(y, [x], graphc.input("dy", y.shape))
    assert "spread" in inverted_names(nodes)
    given = {
        n: RANDOM.standard_normal(s).astype(np.float32)
        for n, s in (("k", k.shape), ("dy", y.shape))
    }
    program = graphc.compile(nodes, threads=1)
    assert all(
        s.how == "=" or s.target.buffer.space == "register"
        for kernel in program.stages.kernels
        for s in walk(kernel.body)
        if isinstance(s, Update)
    )
    (wanted,) = evaluate(nodes, given)
    np.testing.assert_allclose(program(**given)[0], wanted, rtol=1e-4, atol=1e-4)


def inverted_names(outputs: list[Node]) -> list[str]:
    """The ops that are left."""
    return [n.op.name for n in invert(simplify(make_graph(outputs), MACHINE), MACHINE).nodes]
