"""Arranging: values lie in another order in memory, and are the same values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.graph.node import Node

Array = np.ndarray[Any, Any]


def kernel(filters: int, channels: int, size: int, seed: int) -> Node:
    values = np.random.default_rng(seed).standard_normal((filters, channels, size, size)) / 4
    return graphc.parameter(f"kernel{seed}", value=values)


K1, K2 = kernel(16, 16, 3, 1), kernel(16, 16, 1, 2)
WIDE = kernel(64, 64, 3, 3)


def conv(x: Node, weight: Node = K1) -> Node:
    return ops.conv2d(x, weight, padding=1 if weight is K1 else 0)


NETS: dict[str, Callable[[Node], Node]] = {
    "two": lambda x: conv(ops.relu(conv(x))),
    "residual": lambda x: x + ops.tanh(conv(x)),
    "pooled": lambda x: ops.max_pool2d(conv(x), 2, floor=True),
    "branches": lambda x: ops.concat([conv(x), conv(x, K2), x], 1),
    "normalised": lambda x: conv(x) * ops.mean(conv(x, K2), (0, 2, 3), keepdims=True),
    "flattened": lambda x: ops.reshape(conv(x), (2, -1)),
    "a running sum beside": lambda x: conv(x) + ops.cumsum(x, 0),
    "a running sum inside": lambda x: conv(ops.cumsum(ops.tanh(conv(x, K2)), 1)),
    "a scan of images": lambda x: (
        ops.scan(lambda c, a: (ops.tanh(c + a), c * a), x[0], x)[1] + conv(x)
    ),
    "channels chosen": lambda x: ops.gather(conv(x), graphc.constant([3, 0, 5]), axis=1),
    "transposed": lambda x: ops.transpose(conv(x), (0, 2, 1, 3)) * 2.0,
    "largest channel": lambda x: ops.cast(ops.argmax(conv(x), 1), "float64") + conv(x)[:, 0],
}


@pytest.mark.parametrize("name", NETS)
def test_values_and_gradients_are_those_of_the_graph_as_it_is_declared(name: str) -> None:
    x = graphc.input("x", (2, 16, 5, 5), "float64")
    y = NETS[name](x)
    outputs = [y, *graphc.grad(ops.sum(ops.sin(y)), [x, K1])]
    given = {"x": np.random.default_rng(0).standard_normal((2, 16, 5, 5))}
    program = graphc.compile(outputs)
    for found, expected in zip(program(**given), graphc.evaluate(outputs, given), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
    assert "[n, h, w, f]" in program.as_text("simplified"), "the channels lie last"


def test_wide_images_of_few_channels_stay_as_they_are() -> None:
    x, weight = graphc.input("x", (4, 3, 32, 32)), graphc.parameter("k", (6, 3, 5, 5))
    program = graphc.compile(ops.conv2d(x, weight), target="avx512")
    assert "[n, f, h, w] += image*kernel" in program.as_text("simplified")


def test_copies_come_from_the_users_line() -> None:
    x = graphc.input("x", (2, 16, 5, 5), "float64")
    text = graphc.compile(conv(x)).as_text("simplified")
    copies = [line for line in text.splitlines() if "arranged(" in line]
    assert copies and all("test_arrange.py:" in line for line in copies)


def test_a_contraction_of_single_points_follows_those_that_slide() -> None:
    """One whose result is a batch of images from points could have its batch last; others not."""
    z = graphc.input("x", (4, 8, 1, 1), "float64")
    first, second = kernel(8, 16, 4, 4), kernel(16, 24, 4, 5)
    image = ops.relu(ops.conv_transpose2d(z, first))
    y = ops.conv_transpose2d(image, second, stride=2, padding=1)
    outputs = [y, *graphc.grad(ops.sum(ops.sin(y)), [z, first, second])]
    given = {"x": np.random.default_rng(0).standard_normal((4, 8, 1, 1))}
    program = graphc.compile(outputs)
    for found, expected in zip(program(**given), graphc.evaluate(outputs, given), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
    assert "[n, h, w, c] += grad*kernel" in program.as_text("simplified")


def test_the_gradient_of_a_strided_convolution_has_its_channels_last() -> None:
    x = graphc.input("x", (2, 16, 9, 9), "float64")
    y = ops.conv2d(x, K1, padding=1, stride=2)
    outputs = graphc.grad(ops.sum(ops.sin(y)), [x])
    given = {"x": np.random.default_rng(0).standard_normal((2, 16, 9, 9))}
    program = graphc.compile(outputs)
    for found, expected in zip(program(**given), graphc.evaluate(outputs, given), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
    assert "[n, v0 + 2*x0, v1 + 2*x1, c]" in program.as_text("simplified")


def test_a_sum_over_channels_that_lie_last_goes_along_them() -> None:
    x = graphc.input("x", (2, 16, 12, 12))
    program = graphc.compile(conv(ops.relu(conv(x))), target="avx2")
    text = program.as_text("simplified")
    assert "image[n, h + r, s + w, c], kernel[r, s, c, f]" in text
    loops = program.kernels["k04"].as_text("loops")
    assert "for s4.o in 0..16 by 4" in loops, "some channels at a time"


@pytest.mark.parametrize("part", ["forward", "gradient"])
def test_a_convolution_alone_stays_as_it_is_where_its_width_fills_the_lanes(part: str) -> None:
    x, weight = graphc.input("x", (4, 64, 16, 16)), graphc.parameter("k", (64, 64, 3, 3))
    y = ops.relu(ops.conv2d(x, weight, padding=1))
    outputs = [y] if part == "forward" else graphc.grad(ops.sum(y * y), [x])
    text = graphc.compile(outputs, target="avx2").as_text("simplified")
    assert ("arranged(" in text) is (part == "gradient"), "the gradient reads what forward makes"


@pytest.mark.parametrize(
    "net",
    [
        lambda x: ops.conv2d(ops.relu(ops.conv2d(x, WIDE, padding=1)), WIDE, padding=1),
        lambda x: ops.max_pool2d(ops.conv2d(x, WIDE, padding=1), 2),
        lambda x: ops.conv2d(x, WIDE, padding=1, stride=2, floor=True),
        lambda x: ops.conv2d(x[:, :, :, :10], WIDE, padding=1),
    ],
    ids=["two", "pooled", "strided", "narrow"],
)
def test_others_have_their_channels_last(net: Callable[[Node], Node]) -> None:
    program = graphc.compile(net(graphc.input("x", (4, 64, 16, 16))), target="avx2")
    made = [n for n in program.stages.graph.nodes if n.op.name == "conv2d"]
    assert made and all(n.shape[-1] == 64 for n in made)


@pytest.mark.parametrize("stride", [1, 2])
def test_what_both_operands_carry_is_no_channel(stride: int) -> None:
    """A filter for each channel: an image has its rows side by side, before and after."""
    x, k = graphc.input("x", (8, 24, 16, 16)), graphc.input("k", (24, 1, 3, 3))
    y = ops.conv2d(x, k, stride=stride, groups=24, floor=True)
    outputs = [ops.relu(y), *graphc.vjp(y, [x, k], graphc.input("dy", y.shape))]
    program = graphc.compile(outputs, target="avx2")
    (made,) = [n for n in program.stages.graph.nodes if n.op.name == "conv2d"]
    assert made.shape[-2:] == y.shape[-2:]
    given = {n.op.name: np.random.default_rng(0).standard_normal(n.shape) for n in program.inputs}
    given = {name: value.astype(np.float32) for name, value in given.items()}
    found, wanted = graphc.compile(outputs)(**given), graphc.evaluate(outputs, given)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [2, 4])
def test_the_channels_of_groups_lie_last(groups: int, stride: int) -> None:
    """Lanes go along those of a group, of filters too, whose copy has them last."""
    x = graphc.input("x", (2, 32, 10, 10))
    kernels = kernel(64, 32 // groups, 3, 11), kernel(64, 64 // groups, 3, 12)
    y = ops.relu(ops.conv2d(x, kernels[0], padding=1, groups=groups))
    y = ops.conv2d(y, kernels[1], stride=stride, padding=1, groups=groups, floor=True)
    outputs = [y, *graphc.grad(ops.sum(ops.square(y)), [x, *kernels])]
    program = graphc.compile(outputs, target="avx2")
    convolutions = [n for n in program.stages.graph.nodes if n.op.name.startswith("conv2d")]
    images = [n for n in convolutions if n.op.name != "conv2d.dkernel"]
    assert len(images) == 4
    assert all(n.shape[-1] in (32, 64) for n in images)
    texts = [text for text in map(program.explain, program.kernels) if "= conv2d" in text]
    lanes = {name for text in texts for name in re.findall(r"lanes along kept (\w+)", text)}
    assert {"i3f", "i3c"} <= lanes and not {"i3g", "i2"} & lanes, lanes
    given = {"x": np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)}
    found, wanted = graphc.compile(outputs)(**given), graphc.evaluate(outputs, given)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())


@pytest.mark.parametrize(("first", "second"), [(20, 50), (6, 64), (64, 4), (4, 4)])
def test_contractions_that_read_each_other_lie_alike(first: int, second: int) -> None:
    """One that read channels last, and had lanes along its own width, would gather each vector."""
    x, labels = graphc.input("x", (10, 3, 28, 28)), graphc.input("labels", (10,), "int64")
    kernels = kernel(first, 3, 5, 4), kernel(second, first, 5, 5)
    hidden = ops.max_pool2d(ops.relu(ops.conv2d(x, kernels[0])), 2)
    score = ops.mean(ops.relu(ops.conv2d(hidden, kernels[1])), (2, 3))
    loss = ops.mean(ops.cross_entropy(score, labels))
    program = graphc.compile([loss, *graphc.grad(loss, kernels)], target="avx2")
    made = [n for n in program.stages.graph.nodes if n.op.name in ("conv2d", "conv2d.dimage")]
    assert len(made) == 3
    assert len({n.shape[-1] in (first, second) for n in made}) == 1
    given = {
        "x": np.random.default_rng(0).standard_normal((10, 3, 28, 28)).astype(np.float32),
        "labels": np.arange(10) % second,
    }
    outputs = program.source.outputs
    for found, expected in zip(
        graphc.compile(list(outputs))(**given), graphc.evaluate(outputs, given), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("channels", "stride", "copied"), [(32, 1, True), (8, 1, False), (32, 2, False)]
)
def test_an_image_of_many_channels_is_copied_to_have_them_last(
    channels: int, stride: int, copied: bool
) -> None:
    """What one tap reads the next one reads elsewhere: those values stay in no registers then."""
    x = graphc.input("x", (1, channels, 12, 12))
    first, second = kernel(32, channels, 3, 14), kernel(32, 32, 3, 15)
    y = ops.relu(ops.conv2d(x, first, padding=1, stride=stride, floor=True))
    y = ops.conv2d(y, second, padding=1)
    program = graphc.compile(y, target="avx2")
    read = next(n for n in program.stages.graph.nodes if n.op.name == "conv2d").inputs[0]
    assert (read.shape[-1] == channels) is copied
    given = {"x": np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)}
    found, wanted = program(**given)[0], graphc.evaluate([y], given)[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("size", [5, 3])
def test_windows_of_one_place_go_along_the_filters(size: int) -> None:
    """As a net's last convolution may: both lie channels first, so that rows of them are summed."""
    x = graphc.input("x", (1, 16, 5, 5))
    last = kernel(24, 16, size, 13)
    y = ops.conv2d(ops.relu(conv(x)), last)
    program = graphc.compile(y)
    made = [n for n in program.stages.graph.nodes if n.op.name == "conv2d"]
    assert [n.shape[-1] for n in made] == ([16, 1] if size == 5 else [16, 24])
    text = program.as_text("simplified")
    assert ("[n, c, h + r, s + w], kernel[f, c, r, s]" in text) is (size == 5)
    given = {"x": np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)}
    frozen = graphc.compile(y, freeze=True)
    np.testing.assert_array_equal(program(**given)[0], frozen(**given)[0])
    wanted = graphc.evaluate([y], given)[0]
    np.testing.assert_allclose(program(**given)[0], wanted, rtol=1e-4, atol=1e-5)


def bottleneck(x: Node, groups: int) -> Node:
    """Windows of one channel each or of all, between two products of points."""
    middle = kernel(32, 32 // groups, 3, 6)
    hidden = ops.relu(ops.conv2d(x, kernel(32, 64, 1, 5)))
    hidden = ops.relu(ops.conv2d(hidden, middle, padding=1, groups=groups))
    return ops.relu(x + ops.conv2d(hidden, kernel(64, 32, 1, 7)))


@pytest.mark.parametrize("groups", [1, 32])
def test_products_of_points_follow_windows_but_those_of_one_channel(groups: int) -> None:
    x = graphc.input("x", (2, 64, 12, 12))
    y = bottleneck(bottleneck(x, groups), groups)
    outputs = [y, *graphc.grad(ops.sum(ops.square(y)), [x])]
    program = graphc.compile(outputs, target="avx2")
    points = [n for n in program.stages.graph.nodes if n.op.name == "conv2d" and n.shape[1] != 32]
    assert {n.shape[-1] in (32, 64) for n in points} == {groups == 1}
    given = {"x": np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)}
    found, wanted = graphc.compile(outputs)(**given), graphc.evaluate(outputs, given)
    for one, other in zip(found, wanted, strict=True):
        scale = np.abs(other).max()
        np.testing.assert_allclose(one / scale, other / scale, atol=1e-5)


@pytest.mark.parametrize("images", [1, 3, 32])
@pytest.mark.parametrize("freeze", [False, True])
def test_windows_of_one_channel_follow_where_nothing_sums_the_batch(
    images: int, freeze: bool
) -> None:
    """As where a net infers: all of it lies channels last, and nothing is turned over between."""
    x = graphc.input("x", (images, 3, 24, 24))
    y = ops.relu(ops.conv2d(x, kernel(32, 3, 3, 5), stride=2, padding=1, floor=True))
    for number, stride in enumerate((1, 2)):
        deep = kernel(32, 1, 3, 6 + number)
        y = ops.relu(ops.conv2d(y, deep, stride=stride, padding=1, groups=32, floor=True))
        y = ops.relu(ops.conv2d(y, kernel(32, 32, 1, 8 + number)))
    y = ops.mean(y, axis=(2, 3))
    program = graphc.compile(y, target="avx2", freeze=freeze)
    made = [n for n in program.stages.graph.nodes if n.op.name == "conv2d"]
    assert len(made) == 5 and all(n.shape[-1] == 32 for n in made)
    given = {"x": np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)}
    (found,), (wanted,) = program(**given), graphc.evaluate([y], given)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("stride", [1, 2])
def test_windows_of_one_channel_read_rows_of_what_others_made(stride: int) -> None:
    """A stem before depthwise windows: its own result lies channels last, what follows does not."""
    x, depth = graphc.input("x", (2, 3, 24, 24)), kernel(16, 1, 3, 6)
    hidden = ops.relu(ops.conv2d(x, kernel(16, 3, 3, 5), stride=2, padding=1, floor=True))
    y = ops.conv2d(hidden, depth, stride=stride, padding=1, groups=16, floor=True)
    outputs = [y, *graphc.grad(ops.sum(ops.square(y)), [depth])]
    program = graphc.compile(outputs, target="avx2")
    nodes = program.stages.graph.nodes
    stem = next(n for n in nodes if n.op.name == "conv2d")
    assert stem.shape == (2, 12, 12, 16)
    assert all(n.shape[1] == 16 for n in nodes if n.op.name == "relu")
    given = {"x": np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)}
    found, wanted = graphc.compile(outputs)(**given), graphc.evaluate(outputs, given)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())


@pytest.mark.parametrize("pool", [ops.max_pool2d, ops.avg_pool2d])
def test_pools_that_overlap_are_no_windows_of_one_channel(pool: Callable[..., Node]) -> None:
    """What they make lies channels last, as what the convolutions around them do."""
    x, weight = graphc.input("x", (2, 16, 17, 17)), kernel(16, 16, 3, 6)
    y = pool(ops.conv2d(x, weight, padding=1), 3, stride=2)
    y = ops.conv2d(y, kernel(16, 16, 3, 7))
    program = graphc.compile([y, *graphc.grad(ops.sum(y * y), [weight])], target="avx2")
    (made,) = [n for n in program.stages.graph.nodes if n.op.name == pool.__name__]
    assert made.shape == (2, 8, 8, 16)


def test_products_of_points_alone_stay_as_they_are() -> None:
    x = graphc.input("x", (2, 64, 12, 12))
    y = ops.conv2d(ops.relu(ops.conv2d(x, kernel(32, 64, 1, 5))), kernel(64, 32, 1, 7))
    program = graphc.compile([y, *graphc.grad(ops.sum(y), [x])], target="avx2")
    assert all(n.shape[-1] == 12 for n in program.stages.graph.nodes if n.op.name == "conv2d")
