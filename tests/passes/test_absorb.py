"""Scales and shifts of what lasts go into weights that last, under fast math alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, ops
from graphc.graph.node import Node
from graphc.runtime.program import Program

SHAPE = (3, 8, 9, 7)


def normed(layer: nn.Module, norm: nn.Module) -> nn.Sequential:
    """A layer and a batch norm of drawn statistics, after it."""
    draw = np.random.default_rng(3)
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    count = norm.running_mean.shape
    norm.running_mean[...] = draw.standard_normal(count)
    norm.running_var[...] = draw.random(count) + 0.5
    norm.weight.value[...] = draw.standard_normal(count)
    norm.bias.value[...] = draw.standard_normal(count)
    return nn.Sequential(layer, norm, nn.ReLU()).eval()


LAYERS: dict[str, Callable[[], nn.Sequential]] = {
    "conv": lambda: normed(nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12)),
    "no bias": lambda: normed(nn.Conv2d(8, 12, 1, bias=False), nn.BatchNorm2d(12)),
    "depthwise": lambda: normed(nn.Conv2d(8, 8, 3, stride=2, groups=8), nn.BatchNorm2d(8)),
    "grouped": lambda: normed(nn.Conv2d(8, 12, 3, groups=4), nn.BatchNorm2d(12)),
    "transposed": lambda: normed(nn.ConvTranspose2d(8, 6, 4, stride=2), nn.BatchNorm2d(6)),
    "linear": lambda: nn.Sequential(
        nn.Flatten(), normed(nn.Linear(504, 20), nn.BatchNorm1d(20))
    ).eval(),
}


def given(shape: tuple[int, ...] = SHAPE) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def names(program: Program) -> list[str]:
    return [n.op.name for g in program.stages.fused.groups for n in g.nodes]


def fast(outputs: Any, freeze: bool = True, **inputs: Any) -> Program:
    given = {"inputs": inputs} if inputs else {}
    return graphc.compile(outputs, **given, freeze=freeze, math="fast")


@pytest.mark.parametrize("layer", LAYERS)
def test_a_norm_after_a_product_is_one_addition(layer: str) -> None:
    net = LAYERS[layer]()
    live = graphc.compile(net, inputs={"x": SHAPE})
    program = fast(net, x=SHAPE)
    found = names(program)
    assert found.count("shift") == 1 and not {"sub", "mul", "add", "bias"} & set(found)
    wanted = live(given())[0]
    np.testing.assert_allclose(program(given())[0], wanted, rtol=1e-4, atol=1e-5)


def test_the_reason_is_told() -> None:
    program = fast(LAYERS["conv"](), x=SHAPE)
    assert "is taken into the weights of conv2d, which last" in program.as_text("simplified")


@pytest.mark.parametrize(("freeze", "math"), [(False, "fast"), (True, "exact"), (False, "exact")])
def test_it_is_for_fast_math_and_weights_that_last(freeze: bool, math: str) -> None:
    net = LAYERS["depthwise"]()
    program = graphc.compile(net, inputs={"x": SHAPE}, freeze=freeze, math=math)
    assert "shift" not in names(program) and "sub" in names(program)


def test_weights_that_a_call_changes_are_left_alone() -> None:
    weight = graphc.parameter("weight", value=np.ones((7, 5), np.float32))
    scale = graphc.parameter("scale", value=np.full(5, 2.0, np.float32))
    result = (graphc.input("x", (4, 7)) @ weight) * scale
    program = graphc.compile([result], {weight: weight * 2.0}, freeze=True, math="fast")
    first, second = program(given((4, 7)))[0].copy(), program(given((4, 7)))[0]
    np.testing.assert_allclose(second, 2 * first, rtol=1e-6)


def affine(read: Callable[[Node, Node], list[Node]], scale: tuple[int, ...]) -> Program:
    """A product of x and a weight that lasts, with something made of it and of a scale."""
    x = graphc.input("x", (6, 16))
    weight = graphc.parameter("weight", value=given((16, 5)))
    by = graphc.parameter("by", value=given(scale))
    return fast(read(x @ weight, by))


def test_what_others_read_is_not_scaled() -> None:
    program = affine(lambda y, by: [y * by, ops.tanh(y)], (5,))
    y = given((6, 16)).astype(np.float64) @ given((16, 5))
    scaled, other = program(given((6, 16)))
    np.testing.assert_allclose(scaled, y * given((5,)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(other, np.tanh(y), rtol=1e-4, atol=1e-5)


def test_an_output_is_not_scaled() -> None:
    program = affine(lambda y, by: [y, y * by], (5,))
    y = given((6, 16)).astype(np.float64) @ given((16, 5))
    found = program(given((6, 16)))
    np.testing.assert_allclose(found[0], y, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], y * given((5,)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [(6, 1), (6, 5), (5,), (1, 5), ()])
def test_scales_along_any_axes(scale: tuple[int, ...]) -> None:
    """Those along the rows have no place in a weight: they stay where they are."""
    program = affine(lambda y, by: [(y - 1.5) * by + by], scale)
    y = given((6, 16)).astype(np.float64) @ given((16, 5))
    wanted = (y - 1.5) * given(scale) + given(scale)
    np.testing.assert_allclose(program(given((6, 16)))[0], wanted, rtol=1e-4, atol=1e-5)


def test_what_is_no_scale_ends_it() -> None:
    program = affine(lambda y, by: [ops.relu(y + by) * by, ops.square(y) * by], (5,))
    y = given((6, 16)).astype(np.float64) @ given((16, 5))
    by = given((5,))
    found = program(given((6, 16)))
    np.testing.assert_allclose(found[0], np.maximum(y + by, 0) * by, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], y**2 * by, rtol=1e-4, atol=1e-5)


def test_a_product_with_itself_ends_it() -> None:
    program = affine(lambda y, by: [y * y + by], (5,))
    y = given((6, 16)).astype(np.float64) @ given((16, 5))
    wanted = y * y + given((5,))
    np.testing.assert_allclose(program(given((6, 16)))[0], wanted, rtol=1e-4, atol=1e-5)
