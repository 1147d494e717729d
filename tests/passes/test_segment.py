"""Segments: long sums are made in parts, of one order on any machine, and are near the true sum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc
from graphc import ops
from graphc.graph.graph import make_graph
from graphc.graph.node import Node
from graphc.llvm.targets import WIDTHS, target
from graphc.machine import Machine
from graphc.ops import scalar
from graphc.ops.formula import Formula
from graphc.ops.index import index
from graphc.passes.segment import CHAIN, segment
from graphc.types import TensorType

MACHINE = Machine(32, 16, False)
TARGETS = [name for name in WIDTHS if target(name).native]


def formulas(*outputs: Node) -> list[str]:
    """What a graph's ops do after the pass."""
    graph = segment(make_graph(list(outputs)), MACHINE)
    return [node.op.describe() for node in graph.nodes if isinstance(node.op, Formula)]


def test_images_are_parts_of_their_own() -> None:
    x = graphc.input("x", (64, 3, 32, 48))
    assert formulas(ops.sum(x, (0, 2, 3))) == [
        "[i0, i1] += x  where x[i0, i1, i2, i3]",
        "[i1] += part  where part[i0, i1]",
    ]


def test_what_is_done_is_said() -> None:
    x = graphc.input("x", (64, 3, 32, 48))
    text = graphc.compile([ops.sum(x, (0, 2, 3))]).as_text("simplified")
    assert "is made of parts, f32[64,3]: no more than 1024 additions are one after the" in text


def test_rows_are_cut_in_equal_parts_of_whole_lanes() -> None:
    x = graphc.input("x", (3, 1 << 20))
    assert formulas(ops.sum(x, 1)) == [
        "[i0, i1] += x  where x[i0, 32768*i1 + i1.step]",
        "[i0] += part  where part[i0, i1]",
    ]


def test_short_rows_are_gathered() -> None:
    x = graphc.input("x", (64, 50, 1024))
    assert formulas(ops.sum(x, (0, 1)))[0] == "[i0, i2] += x  where x[16*i0 + i0.step, i1, i2]"


def test_a_part_may_be_shorter() -> None:
    x = graphc.input("x", (1_000_003,))
    assert formulas(ops.sum(x))[0] == "[i0] += x  where x[32288*i0 + i0.step]"


def test_what_lies_behind_the_last_step_is_not_added() -> None:
    """An op may sum the first elements of an operand that goes on."""
    value = scalar.argument("value")
    op = Formula("leading", (value,), value, ((index("i"),),), (), (("i", 65521),))
    x = graphc.input("x", (100_000,))
    given = np.random.default_rng(0).random(100_000, dtype=np.float32)
    (found,) = graphc.compile([op((x,), TensorType("float32", ()))])(given)
    wanted = given[:65521].astype(np.float64).sum()
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_the_gradient_of_a_part_of_what_is_joined() -> None:
    """Where the sum goes over the first rows of a gradient, which has others behind them."""
    shapes = {"x": (2053, 3), "bias": (3,), "y": (1000, 3), "slope": (3053, 3)}
    x, bias, y, slope = (graphc.input(name, shape) for name, shape in shapes.items())
    gradients = graphc.vjp(ops.concat([x + bias, y], 0), [bias], [slope])
    given = np.ones((3053, 3), np.float32)
    given[:2053] = 0
    program = graphc.compile(gradients)
    np.testing.assert_array_equal(program(slope=given)[0], np.zeros(3, np.float32))


@pytest.mark.parametrize("part", [slice(None, None, 2), slice(None, None, -1), slice(5, None, 3)])
def test_what_is_taken_in_strides_is_summed_in_parts(part: slice) -> None:
    x = graphc.input("x", (1_000_003,))
    (found,) = graphc.compile([ops.mean(x[part])])(np.full(1_000_003, 0.1, np.float32))
    assert abs(float(found) / float(np.float32(0.1)) - 1) < 1e-4


def test_parts_of_parts() -> None:
    x = graphc.input("x", (CHAIN**2 * 2, 5))
    assert len(formulas(ops.sum(x, 0))) == 3


@pytest.mark.parametrize(
    "node",
    [
        ops.sum(graphc.input("x", (CHAIN, 5)), 0),
        ops.sum(graphc.input("x", (2, CHAIN * 32)), 1),
        ops.sum(graphc.input("x", (CHAIN * 4, 5), "int32"), 0),
        ops.max(graphc.input("x", (CHAIN * 4, 5)), 0),
        graphc.input("x", (8, CHAIN * 99)) @ graphc.input("y", (CHAIN * 99, 8)),
        ops.sum(graphc.input("x", ("n", 5)), 0),
    ],
    ids=["short", "lanes", "whole numbers", "max", "product", "not known"],
)
def test_what_stays(node: Node) -> None:
    assert len(formulas(node)) == 1


def test_a_batch_that_is_not_known_is_summed_image_by_image() -> None:
    x = graphc.input("x", ("n", 5, 20, 20))
    assert formulas(ops.sum(x, (0, 2, 3)))[0] == "[i0, i1] += x  where x[i0, i1, i2, i3]"
    program = graphc.compile([ops.sum(x, (0, 2, 3))])
    for size in (0, 1, 7):
        (found,) = program(np.full((size, 5, 20, 20), 0.5, np.float32))
        np.testing.assert_array_equal(found, np.full(5, size * 200, np.float32))


@pytest.mark.parametrize("name", ["i", "j"])
@pytest.mark.parametrize("shape", [(5000, 3), (50, 300), (3, 5000)])
def test_a_formula_that_knows_where_it_is_adds_the_same_numbers(
    shape: tuple[int, int], name: str
) -> None:
    value, read = scalar.argument("value"), (index("i"), index("j"))
    expr = value * scalar.position(name)
    op = Formula("weighted", (value,), expr, (read,), (), tuple(zip("ij", shape, strict=True)))
    node = op((graphc.input("x", shape),), TensorType("float32", ()))
    places = np.arange(shape["ij".index(name)], dtype=np.float64)
    wanted = (places[:, None] if name == "i" else places) * np.ones(shape)
    (found,) = graphc.compile([node])(np.ones(shape, np.float32))
    rounded = 1e-4 if shape[0] == 5000 else 1e-5  # an axis whose places are asked for stays whole
    np.testing.assert_allclose(found, wanted.sum(), rtol=rounded)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_equal_numbers(kind: type) -> None:
    """The case in which each rounding errs to the same side."""
    x = graphc.input("x", (1 << 20,), np.dtype(kind).name)
    (found,) = graphc.compile([ops.mean(x)])(np.full(1 << 20, 0.1, kind))
    bound = 2 * CHAIN * np.finfo(kind).eps / 8
    assert abs(float(found) / float(kind(0.1)) - 1) < bound


def test_the_loss_over_many_images() -> None:
    shape = (16, 3, 160, 160)
    x, y = graphc.input("x", shape), graphc.input("y", shape)
    draw = np.random.default_rng(0)
    a, b = (draw.random(shape, dtype=np.float32) for _ in range(2))
    loss = ops.mean(ops.square(x - y))
    found = [graphc.compile([loss], threads=threads)(a, b)[0] for threads in (1, 2)]
    wanted = np.mean((a.astype(np.float64) - b) ** 2)
    assert found[0] == found[1]
    assert abs(float(found[0]) / wanted - 1) < 1e-6


def test_parts_are_shared_by_threads_and_sums_share_a_pass() -> None:
    x, y = graphc.input("x", (512, 32, 64)), graphc.input("y", (512, 32, 64))
    program = graphc.compile([ops.sum(x, (0, 1)), ops.sum(x * y, (0, 1))], threads=2)
    assert len(program.kernels) == 2
    assert "parallel" in program.kernels["k00"].as_text("loops")


SHAPES = st.lists(st.integers(1, 60), min_size=1, max_size=4).filter(
    lambda shape: 2000 < np.prod(shape) < 400_000
)


@given(SHAPES, st.data(), st.sampled_from(TARGETS))
@settings(max_examples=25, deadline=None)
def test_any_sum(shape: list[int], data: st.DataObject, name: str) -> None:
    axes = tuple(sorted(data.draw(st.sets(st.sampled_from(range(len(shape))), min_size=1))))
    check(tuple(shape), axes, name)


@pytest.mark.parametrize("size", [32769, 65521, 100_000, 131_101])
def test_any_row(size: int) -> None:
    for name in TARGETS:
        check((2, size), (1,), name)
        check((size, 3), (0,), name)


def check(shape: tuple[int, ...], axes: tuple[int, ...], name: str) -> None:
    """Near the sum in float64; fused with what it reads as by itself; by any number of threads."""
    x = graphc.input("x", shape)
    given = np.random.default_rng(0).random(shape, dtype=np.float32)
    node = ops.sum(ops.square(x), axes)
    found = [graphc.compile([node], target=name, threads=threads)(given)[0] for threads in (1, 3)]
    apart = graphc.compile([ops.square(x), node], target=name)(given)[1]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], apart)
    np.testing.assert_allclose(found[0], np.square(given.astype(np.float64)).sum(axes), rtol=2e-6)
