"""Convolutions and their transposes against PyTorch, and the texts of their errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.autodiff import vjp
from graphc.errors import ShapeError, UnsupportedOpError
from graphc.graph.leaf import input
from graphc.graph.site import layer
from graphc.ops.make import fill
from tests.support import central_differences, random, run, same, single

IMAGE = (2, 4, 7, 6)
CONVOLUTIONS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    (IMAGE, (3, 4, 3, 2), {}),
    (IMAGE, (3, 4, 3, 2), {"stride": 2}),
    (IMAGE, (3, 4, 3, 3), {"stride": (2, 3), "padding": (1, 0)}),
    (IMAGE, (3, 4, 3, 3), {"stride": 2, "padding": 1, "floor": True}),
    (IMAGE, (3, 4, 3, 2), {"dilation": 2, "padding": 2}),
    (IMAGE, (3, 4, 2, 3), {"padding": "same"}),
    (IMAGE, (3, 4, 3, 2), {"padding": "same", "dilation": (2, 3)}),
    (IMAGE, (3, 4, 3, 2), {"padding": "valid"}),
    (IMAGE, (6, 2, 3, 3), {"groups": 2}),
    (IMAGE, (4, 1, 3, 3), {"groups": 4, "padding": 1}),
    (IMAGE, (8, 1, 1, 2), {"groups": 4, "stride": (3, 4)}),
    (IMAGE, (3, 4, 7, 6), {}),
    ((4, 7, 6), (3, 4, 3, 3), {}),
    ((4, 7, 6), (2, 2, 3, 3), {"groups": 2}),
    ((0, 4, 7, 6), (3, 4, 3, 3), {"padding": 1}),
    ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    ((2, 3, 8), (4, 3, 3), {"padding": 2, "dilation": 3}),
    ((2, 4, 8), (4, 2, 2), {"stride": 2, "groups": 2}),
    ((1, 2, 4, 3, 5), (2, 2, 2, 1, 3), {"stride": (2, 1, 2)}),
    ((1, 2, 3, 3, 3), (2, 1, 2, 2, 2), {"groups": 2, "padding": 1}),
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize(("image", "kernel", "options"), CONVOLUTIONS)
def test_convolutions_equal_pytorch(
    torch: Any, image: tuple[int, ...], kernel: tuple[int, ...], options: dict[str, Any]
) -> None:
    name = f"conv{len(kernel) - 2}d"
    given = {k: v for k, v in options.items() if k != "floor"}
    arrays = random(*image), random(*kernel, seed=1), random(kernel[0], seed=2)

    def ours(*x: Any) -> Any:
        return getattr(ops, name)(*x, **options)

    def theirs(*x: Any) -> Any:
        return getattr(torch.nn.functional, name)(*x, **given)

    same(torch, ours, theirs, *arrays, order=2 if len(image) == 4 and image[0] else 1)
    same(torch, ours, theirs, *arrays[:2], order=0)
    single(torch, ours, theirs, *arrays, tolerance=1e-4)


TRANSPOSED: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 4, 3, 2), (4, 3, 3, 2), {}),
    ((2, 4, 3, 2), (4, 3, 3, 3), {"stride": (2, 3)}),
    ((2, 4, 3, 2), (4, 3, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ((2, 4, 3, 3), (4, 3, 3, 2), {"dilation": 2, "padding": (2, 1)}),
    ((2, 4, 3, 3), (4, 3, 3, 2), {"groups": 2, "stride": 2, "padding": 1}),
    ((2, 4, 2, 2), (4, 2, 1, 1), {"stride": 3, "output_padding": 2}),
    ((4, 3, 3), (4, 1, 2, 2), {"groups": 4}),
    ((2, 3, 4), (3, 2, 3), {"stride": 2, "output_padding": 1}),
    ((1, 2, 2, 2, 2), (2, 2, 2, 2, 2), {"stride": 2, "padding": (1, 0, 1)}),
]


@pytest.mark.parametrize(("image", "kernel", "options"), TRANSPOSED)
def test_transposed_convolutions_equal_pytorch(
    torch: Any, image: tuple[int, ...], kernel: tuple[int, ...], options: dict[str, Any]
) -> None:
    name = f"conv_transpose{len(kernel) - 2}d"
    filters = kernel[1] * options.get("groups", 1)
    same(
        torch,
        lambda *x: getattr(ops, name)(*x, **options),
        lambda *x: getattr(torch.nn.functional, name)(*x, **options),
        random(*image),
        random(*kernel, seed=1),
        random(filters, seed=2),
        order=1,
    )


def test_convolution_derivatives_are_the_central_differences() -> None:
    central_differences(
        lambda x, w: ops.conv2d(x, w, stride=2, padding=1, groups=2),
        random(1, 2, 5, 5),
        random(2, 1, 3, 3),
    )


def test_same_with_a_stride_pads_as_tensorflow_does() -> None:
    ones = np.ones((1, 1, 6, 5)), np.ones((1, 1, 3, 3))
    result = run(lambda x, w: ops.conv2d(x, w, stride=2, padding="same"), *ones)
    # Rows: 6 with stride 2 pad (0, 1); columns: 5 with stride 2 pad (1, 1).
    assert result[0, 0].tolist() == [[6, 9, 6], [6, 9, 6], [4, 6, 4]]
    pairs = run(lambda x, w: ops.conv2d(x, w, stride=2, padding=((0, 1), (1, 1))), *ones)
    assert np.array_equal(result, pairs)


def test_a_convolution_reads_as_one() -> None:
    x, w = input("x", ("batch", 3, 7, 7)), input("w", (4, 3, 3, 3))
    node = ops.conv2d(x, w, stride=2)
    assert node.shape == ("batch", 4, 3, 3)
    assert node.op.describe() == (
        "[n, f, h, w] += image*kernel  where image[n, c, 2*h + r, s + 2*w], kernel[f, c, r, s]"
    )
    (dw,) = vjp([node], [w], [fill(1, node.type)])
    assert dw.op.describe() == (
        "[f, c, r, s] += grad*image  where grad[n, f, h, w], image[n, c, 2*h + r, s + 2*w]"
    )


def test_a_filter_that_does_not_fit_is_refused_with_the_arithmetic() -> None:
    x, w = input("x", (1, 1, 7, 7)), input("w", (1, 1, 3, 3))
    with pytest.raises(ShapeError) as caught, layer("body.conv"):
        ops.conv2d(x, w, stride=3)
    text = str(caught.value)
    first = (
        "cannot apply a 3x3 filter to a 7x7 input with stride 3: (7 - 3)/3 is not a whole number"
    )
    assert text.splitlines()[0] == f"conv2d: {first}"
    assert "what fits: padding=1, or stride=1, 2 or 4; floor=True drops the rest" in text
    assert "f32[1,1,7,7], f32[1,1,3,3]" in text
    assert "layer: body.conv" in text
    assert "test_convolution.py:" in text


@pytest.mark.parametrize(
    ("image", "kernel", "options", "problem"),
    [
        ((1, 1, 7, 7), (1, 1, 9, 3), {}, "9x3 filter to a 7x7 input: it spans 9, the input 7"),
        ((1, 1, 6, 6), (1, 1, 3, 3), {"padding": 1, "stride": 2}, "(6 + 2*1 - 3)/2 is not a"),
        ((1, 1, 6, 6), (1, 1, 3, 3), {"dilation": 2, "stride": 2}, "dilation 2 and stride 2"),
        (
            (1, 3, 7, 7),
            (1, 4, 3, 3),
            {},
            "the filters expect 4 channels (axis 1 of the weight), the input has 3",
        ),
        ((1, 4, 7, 7), (2, 4, 3, 3), {"groups": 2}, "4 channels in each of 2 groups"),
        ((1, 4, 7, 7), (2, 4, 3, 3), {"groups": 3}, "groups=3 does not divide the input's chan"),
        ((1, 4, 7, 7), (3, 2, 3, 3), {"groups": 2}, "groups=2 does not divide the filters"),
        ((7, 7), (2, 4, 3, 3), {}, "takes (n c h w) or (c h w), 4 or 3 axes, not the 2 axes"),
        ((1, 4, 7, 7), (4, 3, 3), {}, "takes filters of 4 axes, not the 3"),
        ((1, 1, 7, 7), (1, 1, 3, 3), {"padding": "full"}, "neither a number, nor 'same'"),
        ((1, 1, 7, 7), (1, 1, 3, 3), {"stride": 0}, "stride=0 must be a number of at least 1"),
        ((1, 1, 7, 7), (1, 1, 3, 3), {"padding": ((1, 2), 3)}, "must be 2 pairs"),
        ((1, 1, 7, 7), (1, 1, 0, 3), {}, "the filter 0x3 is empty"),
    ],
)
def test_convolutions_name_what_does_not_fit(
    image: Any, kernel: Any, options: Any, problem: str
) -> None:
    with pytest.raises(ShapeError, match=re.escape(problem)):
        ops.conv2d(input("x", image), input("w", kernel), **options)


def test_every_remedy_that_is_offered_fits() -> None:
    for extent in range(4, 12):
        for stride in range(2, 5):
            x, w = input("x", (1, 1, extent, extent)), input("w", (1, 1, 3, 3))
            try:
                ops.conv2d(x, w, stride=stride)
            except ShapeError as error:
                for what, numbers in re.findall(r"(padding|stride)=([\d, or]+)", str(error)):
                    for number in re.findall(r"\d+", numbers):
                        ops.conv2d(x, w, **{"stride": stride, what: int(number)})


def test_transposed_convolutions_name_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match="output_padding=2 must be less than the stride"):
        ops.conv_transpose2d(input("x", (1, 1, 3, 3)), input("w", (1, 1, 2, 2)), output_padding=2)
    with pytest.raises(ShapeError, match=r"filters expect 2 channels .* the input has 1"):
        ops.conv_transpose2d(input("x", (1, 1, 3, 3)), input("w", (2, 1, 2, 2)))


def test_a_convolution_has_no_ceil_mode() -> None:
    x, w = np.zeros((1, 1, 6, 6), np.float32), np.zeros((1, 1, 3, 3), np.float32)
    with pytest.raises(UnsupportedOpError, match=r"no keyword 'ceil_mode'.*floor=True drops what"):
        ops.conv2d(x, w, stride=2, ceil_mode=True)
    with pytest.raises(ShapeError, match="axis 1 has the run-time extent 'batch'"):
        ops.conv2d(ops.transpose(graphc.input("x", ("batch", 3, 6, 6)), (1, 0, 2, 3)), w)


@pytest.mark.parametrize("groups", [2, 4, 8])
@pytest.mark.parametrize("transposed", [False, True])
def test_what_follows_groups_is_done_in_their_registers(groups: int, transposed: bool) -> None:
    """A filter of a group is a channel of the result as it stands: no reshape lies between."""
    x, weight = input("x", (2, 8, 9, 9)), input("weight", (8, 8 // groups, 3, 3))
    bias = input("bias", (8,))
    convolution = ops.conv_transpose2d if transposed else ops.conv2d
    program = graphc.compile(ops.relu(convolution(x, weight, bias, groups=groups)))
    assert not any("reshape" in node.op.name for node in program.stages.graph.nodes)
    assert f"relu follows {convolution.__name__} element by element" in program.as_text("fused")
    assert len(program.kernels) == 1 + transposed  # the border that a transposed one slides over


@pytest.mark.parametrize(("groups", "filters"), [(2, 8), (8, 8), (4, 4)])
def test_a_gradient_of_groups_makes_no_border_to_crop(groups: int, filters: int) -> None:
    """The image is read where it lies, so that what its border would get is not computed."""
    x, weight = input("x", (2, 8, 9, 9)), input("weight", (filters, 8 // groups, 3, 3))
    loss = ops.sum(ops.square(ops.conv2d(x, weight, padding=1, groups=groups)))
    program = graphc.compile(graphc.grad(loss, [x]))
    names = [node.op.name for node in program.stages.graph.nodes]
    assert "pad.dx" not in names and not any("reshape" in name for name in names)


@pytest.mark.parametrize("convolution", [ops.conv2d, ops.conv_transpose2d])
@pytest.mark.parametrize(("groups", "filters"), [(6, 1), (3, 2), (2, 3), (1, 6)])
@pytest.mark.parametrize("skip", ["", "simplify"])
def test_groups_of_whole_numbers(
    convolution: Callable[..., Any],
    groups: int,
    filters: int,
    skip: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With one filter a group, two indices of a channel have the same step, and stay two."""
    monkeypatch.setenv("GRAPHC_SKIP", skip)
    draw = np.random.default_rng(0)
    given = {"x": draw.integers(-9, 9, (2, 6, 4, 4)).astype(np.int32)}
    inner = filters if convolution is ops.conv_transpose2d else 6 // groups
    weights = draw.integers(-9, 9, (6, inner, 3, 3)).astype(np.int32)
    y = (
        convolution(input("x", (2, 6, 4, 4), "int32"), graphc.constant(weights), groups=groups) * 2
        + 1
    )
    (found,) = graphc.compile(y)(**given)
    np.testing.assert_array_equal(found, graphc.evaluate([y], given)[0])
