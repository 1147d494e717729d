"""Packing: filters whose terms lie in pieces far apart are gathered, and walked forwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.graph.node import Node


def gradient(filters: int, channels: int) -> tuple[Node, dict[str, Any]]:
    """The gradient by the image of a convolution that stands alone, and values for it."""
    x, kernel = graphc.input("x", (2, channels, 8, 8)), (filters, channels, 3, 3)
    dy, weight = graphc.input("dy", (2, filters, 8, 8)), graphc.input("weight", kernel)
    (slope,) = graphc.grad(ops.sum(ops.conv2d(x, weight, padding=1) * dy), [x])
    random = np.random.default_rng(0)
    given = {"dy": dy.shape, "weight": kernel}
    return slope, {n: random.standard_normal(s).astype(np.float32) for n, s in given.items()}


@pytest.mark.parametrize(("filters", "channels", "gathered"), [(40, 32, True), (24, 16, False)])
def test_the_filters_of_an_images_gradient_are_gathered_where_they_are_large(
    filters: int, channels: int, gathered: bool
) -> None:
    slope, given = gradient(filters, channels)
    text = graphc.compile(slope, target="avx2").as_text("simplified")
    turned = "grad[n, f, r + x0, s + x1], kernel[c, f, r, s]" in text
    backwards = "grad[n, f, -r + x0 + 2, -s + x1 + 2], kernel[f, c, r, s]" in text
    assert (turned, backwards) == (gathered, not gathered)
    (found,), (expected,) = graphc.compile(slope)(**given), graphc.evaluate([slope], given)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_frozen_filters_are_gathered_once() -> None:
    slope, given = gradient(40, 32)
    weight = graphc.parameter("weight", value=given["weight"])
    x, dy = graphc.input("x", (2, 32, 8, 8)), graphc.input("dy", (2, 40, 8, 8))
    (own,) = graphc.grad(ops.sum(ops.conv2d(x, weight, padding=1) * dy), [x])
    program = graphc.compile(own, freeze=True, target="avx2")
    assert "packed(" not in program.as_text("simplified")
    (found,) = graphc.compile(own, freeze=True)(dy=given["dy"])
    np.testing.assert_array_equal(found, graphc.compile(slope)(**given)[0])


@pytest.mark.parametrize("padding", [0, 1, (2, 0)])
def test_what_asks_where_it_is_is_walked_forwards_too(padding: Any) -> None:
    """A gradient read through a reshape has its border in the formula: before a dense layer."""
    x, weight = graphc.input("x", (2, 32, 8, 8)), graphc.input("weight", (40, 32, 3, 3))
    y = ops.conv2d(x, weight, padding=padding)
    flat = ops.reshape(y, (2, -1))
    dy = graphc.input("dy", flat.shape)
    (slope,) = graphc.grad(ops.sum(flat * dy), [x])
    lines = graphc.compile(slope, target="avx2").as_text("simplified").split("\n")
    assert any("packed(" in line and "-" in line for line in lines)
    random = np.random.default_rng(0)
    given = {n.op.name: random.standard_normal(n.shape).astype(np.float32) for n in (dy, weight)}
    (expected,) = graphc.evaluate([slope], given)
    np.testing.assert_allclose(graphc.compile(slope)(**given)[0], expected, rtol=1e-4, atol=1e-4)


def test_a_run_time_extent_stays_outermost_in_what_is_packed() -> None:
    """What is summed over the batch cannot lie side by side: a 1x1 layer before a dense one."""
    x, weight = graphc.input("x", ("batch", 48, 8, 8)), graphc.input("weight", (40, 48, 1, 1))
    flat = ops.reshape(ops.conv2d(x, weight), ("batch", -1))
    dy = graphc.input("dy", flat.shape)
    (slope,) = graphc.grad(ops.sum(flat * dy), [weight])
    shapes = {"x": (5, 48, 8, 8), "dy": (5, 2560)}
    random = np.random.default_rng(0)
    given = {n: random.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    (expected,) = graphc.evaluate([slope], given)
    np.testing.assert_allclose(graphc.compile(slope)(**given)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("rows", "columns", "packed"), [(1, 3, False), (2, 2, True), (4, 4, True)])
def test_filters_that_would_be_gathered_are_copied_for_few_places(
    rows: int, columns: int, packed: bool
) -> None:
    """Four places read each element: a vector of it costs more than its copy."""
    image = graphc.input("image", (1, 64, 2 * rows, 2 * columns))
    weight = graphc.parameter("weight", (64, 64, 3, 3))
    moved = ops.conv2d(ops.relu(image), weight, stride=2, padding=1, floor=True)
    text = graphc.compile(ops.relu(moved), target="avx2").as_text("simplified")
    assert "[n, h, w, f] +=" in text
    assert ("packed(weight)" in text) == packed


@pytest.mark.parametrize("channels", [64, 120, 128, 200])
@pytest.mark.parametrize("freeze", [False, True])
def test_filters_of_long_rows_lie_in_panels(channels: int, freeze: bool) -> None:
    """Some columns of each row are read at a time, and lie side by side; the bits are the same."""
    image = graphc.input("image", (2, 24, 6, 6))
    random = np.random.default_rng(0)
    weights = random.standard_normal((channels, 24, 3, 3)).astype(np.float32)
    weight = graphc.parameter("weight", value=weights)
    y = ops.conv2d(ops.relu(image), weight, padding=1)
    program = graphc.compile(y, target="avx2", freeze=freeze)
    (made,) = [n for n in program.stages.graph.nodes if n.op.name == "conv2d"]
    filters = made.inputs[1]
    assert ("f.panel" in program.as_text("simplified")) is (channels in (128, 200))
    if channels in (128, 200):
        width = {128: 16, 200: 8}[channels]
        assert filters.shape == (channels // width, 24, 3, 3, width)
    given = {"image": random.standard_normal((2, 24, 6, 6)).astype(np.float32)}
    (live,), (frozen,) = (graphc.compile(y, freeze=once)(**given) for once in (False, True))
    np.testing.assert_allclose(live, graphc.evaluate([y], given)[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(frozen, live)


@pytest.mark.parametrize("groups", [1, 2, 256])
def test_filters_of_groups_lie_in_panels_but_for_those_of_one_channel(groups: int) -> None:
    image = graphc.input("image", (2, 256, 6, 6))
    weight = graphc.parameter("weight", (256, 256 // groups, 3, 3))
    y = ops.conv2d(ops.relu(image), weight, padding=1, groups=groups)
    text = graphc.compile(y, target="avx2", freeze=True).as_text("simplified")
    assert ("f.panel" in text or "g.panel" in text) is (groups < 256)


def test_images_are_not_gathered_for_the_gradient_of_filters_of_one_point() -> None:
    """Their places are the terms, an image side by side: loops turn one of two operands over."""
    x, weight = graphc.input("x", (4, 32, 16, 16)), graphc.input("weight", (64, 32, 1, 1))
    dy = graphc.input("dy", (4, 64, 16, 16))
    (slope,) = graphc.grad(ops.sum(ops.conv2d(x, weight) * dy), [weight])
    program = graphc.compile(slope, target="avx2")
    assert not any(n.op.name == "packed" for n in program.stages.graph.nodes)
    assert "packed: turned over" in program.explain("k00")
    random = np.random.default_rng(0)
    given = {n.op.name: random.standard_normal(n.shape).astype(np.float32) for n in (x, dy)}
    (expected,) = graphc.evaluate([slope], given)
    np.testing.assert_allclose(graphc.compile(slope)(**given)[0], expected, rtol=1e-4, atol=1e-3)


def test_what_holds_nothing_is_left_as_it_is() -> None:
    """An axis of no elements between others: each stride beyond it is 0."""
    x, dy = graphc.input("x", ("n", 0, 5, 2)), graphc.input("dy", (0, 5, 2))
    (slope,) = graphc.vjp(ops.sum(ops.softmax(x, -1), 0), [x], dy)
    given = {"x": np.zeros((3, 0, 5, 2), np.float32), "dy": np.zeros((0, 5, 2), np.float32)}
    assert graphc.compile(slope)(**given)[0].shape == (3, 0, 5, 2)
