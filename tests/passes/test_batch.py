"""Blocks of the batch as the last axis: the same values, wherever they are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, ops
from graphc.graph.node import Node
from graphc.passes.arrange import Arranger

Array = np.ndarray[Any, Any]


def kernel(filters: int, channels: int, size: int, seed: int) -> Node:
    values = np.random.default_rng(seed).standard_normal((filters, channels, size, size)) / 4
    return graphc.parameter(f"kernel{seed}", value=values.astype(np.float32))


K1, K2, K3 = kernel(3, 3, 3, 1), kernel(5, 3, 2, 2), kernel(3, 3, 1, 3)
LINE = graphc.parameter("line", value=np.linspace(-1, 1, 7 * 5, dtype=np.float32).reshape(5, 7))


def conv(x: Node, weight: Node = K1) -> Node:
    return ops.conv2d(x, weight, padding=1 if weight is K1 else 0)


NETS: dict[str, Callable[[Node], Node]] = {
    "one": conv,
    "two": lambda x: conv(ops.relu(conv(x)), K2),
    "strided": lambda x: ops.conv2d(ops.tanh(conv(x)), K1, stride=2, floor=True),
    "residual": lambda x: x + ops.tanh(conv(x)),
    "pooled": lambda x: ops.max_pool2d(conv(x), 2, floor=True),
    "averaged": lambda x: ops.mean(conv(x), (2, 3)),
    "normalised": lambda x: conv(x) * ops.mean(conv(x, K3), (0, 2, 3), keepdims=True),
    "by image": lambda x: conv(x) - ops.mean(conv(x), (1, 2, 3), keepdims=True),
    "branches": lambda x: ops.concat([conv(x), conv(x, K3), x], 1),
    "flattened": lambda x: ops.tanh(ops.reshape(conv(x), (x.shape[0], -1))) * 2.0,
    "a product follows": lambda x: ops.matmul(conv(x), LINE.T),
    "another order of images": lambda x: ops.flip(conv(x), 0) * conv(x),
    "some images": lambda x: conv(x)[3:9],
    "images by number": lambda x: ops.gather(conv(x), graphc.constant([3, 0, 5, 5])),
    "neighbours": lambda x: conv(x)[1:] - conv(x)[:-1],
    "numbered": lambda x: conv(x) * ops.iota(conv(x).shape, 0, "float32"),
    "a running sum": lambda x: ops.cumsum(conv(x), 0),
    "pairs": lambda x: ops.einsum("n c h w, m c h w -> n m", conv(x), conv(x)),
    "a scan of images": lambda x: ops.scan(lambda c, a: (ops.tanh(c + a), c * a), x[0], conv(x))[1],
    "largest channel": lambda x: ops.cast(ops.argmax(conv(x), 1), "float32") + conv(x)[:, 0],
}


@pytest.mark.parametrize("name", NETS)
def test_values_and_gradients_are_those_of_the_graph_as_it_is_declared(name: str) -> None:
    x = graphc.input("x", (32, 3, 5, 5 if name != "a product follows" else 7))
    y = NETS[name](x)
    outputs = [y, *graphc.grad(ops.sum(ops.sin(y)), [x, K1])]
    given = {"x": np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)}
    program = graphc.compile(outputs, target="avx2")
    assert ".lane" in program.as_text("simplified"), "the batch lies in blocks"
    if not program.loaded:
        pytest.skip("this machine does not run avx2")
    for found, expected in zip(program(**given), graphc.evaluate(outputs, given), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


def test_a_batch_that_is_no_first_axis_stays_as_it_is() -> None:
    y = ops.transpose(conv(graphc.input("x", (32, 3, 5, 5))), (1, 0, 3, 2)) * 2.0
    assert ".lane" not in graphc.compile(y, target="avx2").as_text("simplified")


@pytest.mark.parametrize("batch", [8, 20, "batch"])
def test_a_batch_of_no_whole_blocks_stays_as_it_is(batch: int | str) -> None:
    program = graphc.compile(conv(graphc.input("x", (batch, 3, 5, 5))), target="avx2")
    assert ".lane" not in program.as_text("simplified")


def test_channels_that_fill_their_lanes_are_preferred() -> None:
    x = graphc.input("x", (32, 16, 5, 5))
    program = graphc.compile(conv(x, kernel(16, 16, 3, 4)), target="avx2")
    assert ".lane" not in program.as_text("simplified")


def test_a_value_in_an_order_of_its_own_is_read_from_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = graphc.input("x", (32, 3, 12, 12))
    monkeypatch.setenv("GRAPHC_SKIP", "arrange")
    net = ops.relu(conv(conv(x), kernel(8, 3, 1, 4)))
    graph = graphc.compile(net, target="avx2").stages.graph
    first, second = (node for node in graph.nodes if node.op.name == "conv2d")
    arranger = Arranger(graph, {second: (0, 2, 3, 1)}, {first: 16})
    given = {"x": np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)}
    found, expected = graphc.evaluate([arranger.logical(second), second], given)
    assert arranger.done[second].shape == (32, 12, 12, 8)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_two_branches_of_points_and_windows_on_few_channels() -> None:
    """Gradients of the windows had channels last where the points before them read blocks."""
    windows = [nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    body = nn.Sequential(*windows, nn.Conv2d(8, 20, 1))
    branches = nn.Residual(body, nn.Sequential(nn.Conv2d(3, 20, 1)))
    model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, bias=False), branches)
    x, dy = graphc.input("x", (32, 1, 12, 12)), graphc.input("dy", (32, 20, 12, 12))
    y = model(x)
    weights = [parameter.node for parameter in model.parameters()]
    outputs = [y, *graphc.vjp(y, [x, *weights], dy)]
    draw = np.random.default_rng(0).standard_normal
    given = {"x": draw(x.shape).astype(np.float32), "dy": draw(dy.shape).astype(np.float32)}
    found, expected = graphc.compile(outputs)(**given), graphc.evaluate(outputs, given)
    for one, other in zip(found, expected, strict=True):
        scale = np.abs(other).max()
        np.testing.assert_allclose(one / scale, other / scale, atol=1e-5)
