"""Softmax, norms and attention against PyTorch: values and two derivatives in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.errors import DTypeError, ShapeError
from graphc.graph.leaf import input
from graphc.ops import normalize
from graphc.ops.reference import evaluate
from tests.support import random, run, same

IMAGE = random(2, 6, 3, 2)
SCALE, SHIFT = random(6, seed=1), random(6, seed=2)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(3, 4), (2, 1, 3), (3, 0, 2)])
def test_softmax(torch: Any, axis: int, shape: tuple[int, ...]) -> None:
    x = random(*shape) * 3
    same(torch, lambda x: normalize.softmax(x, axis), lambda x: x.softmax(axis), x)
    same(torch, lambda x: normalize.log_softmax(x, axis), lambda x: x.log_softmax(axis), x)


def test_softmax_of_a_vector(torch: Any) -> None:
    same(torch, normalize.softmax, lambda x: x.softmax(0), random(4), order=3)


@pytest.mark.parametrize("function", [normalize.softmax, normalize.log_softmax])
def test_softmax_extremes(torch: Any, function: Any) -> None:
    """No overflow at 1e4; a masked entry is 0; a row of -inf, or with +inf or NaN, is NaN."""
    bad = [[-np.inf] * 3, [np.inf, 0, 1], [np.nan, 0, 1]]
    x = np.array([[1e4, -1e4, 0], [-np.inf, 0, 1], *bad])
    other = torch.softmax if function is normalize.softmax else torch.log_softmax
    np.testing.assert_allclose(run(function, x), other(torch.tensor(x), -1).numpy(), rtol=1e-12)
    assert np.isnan(run(function, x)[2:]).all()


def test_layer_norm(torch: Any) -> None:
    def theirs(x: Any, w: Any, b: Any) -> Any:
        return torch.nn.functional.layer_norm(x, (3, 2), w, b, 1e-3)

    arrays = IMAGE, random(3, 2), random(3, 2, seed=1)
    same(torch, lambda x, w, b: normalize.layer_norm(x, (3, 2), w, b, eps=1e-3), theirs, *arrays)
    same(
        torch,
        lambda x: normalize.layer_norm(x, 4),
        lambda x: torch.nn.functional.layer_norm(x, (4,)),
        random(3, 4),
    )


def test_rms_norm(torch: Any) -> None:
    def theirs(x: Any, w: Any) -> Any:
        return torch.nn.functional.rms_norm(x, (4,), w)

    same(torch, lambda x, w: normalize.rms_norm(x, 4, w), theirs, random(3, 4), random(4))


@pytest.mark.parametrize("shape", [(4, 6), (2, 6, 3), (2, 6, 3, 2), (2, 6, 1, 1)])
def test_batch_norm(torch: Any, shape: tuple[int, ...]) -> None:
    x = random(*shape)

    def ours(x: Any, w: Any, b: Any) -> Any:
        return normalize.batch_norm(x, w, b)

    def theirs(x: Any, w: Any, b: Any) -> Any:
        axes = [a for a in range(x.ndim) if a != 1]
        result = torch.nn.functional.batch_norm(x, None, None, w, b, training=True)
        return result, x.mean(axes), x.var(axes, unbiased=False)

    same(torch, ours, theirs, x, SCALE, SHIFT, tolerance=1e-7)
    same(
        torch, lambda x: normalize.batch_norm(x)[0], lambda x: theirs(x, None, None)[0], x, order=1
    )


def test_batch_norm_inference(torch: Any) -> None:
    def theirs(x: Any, m: Any, v: Any, w: Any, b: Any) -> Any:
        return torch.nn.functional.batch_norm(x, m, v, w, b)

    same(
        torch,
        lambda x, m, v, w, b: normalize.batch_norm_inference(x, m, v, w, b),
        lambda x, m, v, w, b: (
            (x - m[:, None, None]) / (v + 1e-5).sqrt()[:, None, None] * w[:, None, None]
            + b[:, None, None]
        ),
        *(IMAGE, SHIFT, SCALE**2, SCALE, SHIFT),
    )
    arrays = IMAGE, SHIFT, SCALE**2, SCALE, SHIFT
    found = run(normalize.batch_norm_inference, *arrays)
    wanted = theirs(*map(torch.tensor, arrays))
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-12)


def test_batch_norm_over_a_run_time_batch() -> None:
    x = input("x", ("batch", 3), "float64")
    result, mean, _ = normalize.batch_norm(x)
    assert result.shape == ("batch", 3) and mean.shape == (3,)
    array = random(5, 3)
    wanted = (array - array.mean(0)) / np.sqrt(array.var(0) + 1e-5)
    np.testing.assert_allclose(evaluate([result], {"x": array})[0], wanted)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(torch: Any, groups: int) -> None:
    def theirs(x: Any, w: Any, b: Any) -> Any:
        return torch.nn.functional.group_norm(x, groups, w, b)

    same(torch, lambda x, w, b: normalize.group_norm(x, groups, w, b), theirs, IMAGE, SCALE, SHIFT)


def test_instance_norm(torch: Any) -> None:
    def theirs(x: Any, w: Any, b: Any) -> Any:
        return torch.nn.functional.instance_norm(x, weight=w, bias=b)

    same(torch, normalize.instance_norm, theirs, IMAGE, SCALE, SHIFT)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_local_response_norm(torch: Any, size: int) -> None:
    def ours(x: Any) -> Any:
        return normalize.local_response_norm(x, size, alpha=0.5, beta=0.7, k=2.0)

    def theirs(x: Any) -> Any:
        return torch.nn.functional.local_response_norm(x, size, 0.5, 0.7, 2.0)

    same(torch, ours, theirs, IMAGE)


@pytest.mark.parametrize("kind", ["none", "causal", "bool", "float"])
def test_attention(torch: Any, kind: str) -> None:
    arrays = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1), random(2, 3, 4, 2)
    mask = {"bool": np.eye(4, k=1) + np.eye(4) > 0, "float": random(4, 4)}.get(kind)
    causal = kind == "causal"

    def ours(q: Any, k: Any, v: Any, *mask: Any) -> Any:
        return normalize.scaled_dot_product_attention(q, k, v, *mask, is_causal=causal)

    def theirs(q: Any, k: Any, v: Any, *mask: Any) -> Any:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            function = torch.nn.functional.scaled_dot_product_attention
            return function(q, k, v, *mask, is_causal=causal)

    same(torch, ours, theirs, *arrays, *([] if mask is None else [mask]))


def test_cosine_similarity(torch: Any) -> None:
    arrays = random(3, 4), random(3, 4, seed=1)
    same(torch, normalize.cosine_similarity, torch.nn.functional.cosine_similarity, *arrays)


def test_errors() -> None:
    x = input("x", (2, 6, 3))
    with pytest.raises(DTypeError, match="a float expected"):
        normalize.softmax(input("i", (2,), "int32"))
    with pytest.raises(ShapeError, match=r"does not end with the shape \(6,\)"):
        normalize.layer_norm(x, 6)
    with pytest.raises(ShapeError, match=r"shape comes before the weight: layer_norm\(x, \(3,\), "):
        normalize.layer_norm(x, input("w", (3,)))
    with pytest.raises(ShapeError, match="6 channels do not divide into 4 groups"):
        normalize.group_norm(x, 4)
    with pytest.raises(ShapeError, match=r"\(N, C, ...\) expected"):
        normalize.batch_norm(input("v", (2,)))


def test_weights_of_another_shape_are_named() -> None:
    x, weight = graphc.input("x", ("batch", 6, 3)), graphc.parameter("w", (4,))
    for name, work in (
        ("group_norm", lambda: ops.group_norm(x, 2, weight)),
        ("batch_norm", lambda: ops.batch_norm(x, None, weight)),
        ("instance_norm", lambda: ops.instance_norm(x, weight)),
        ("layer_norm", lambda: ops.layer_norm(x, 3, weight)),
    ):
        with pytest.raises(ShapeError, match=rf"{name}: the (weight|bias) has shape \(4,\)"):
            work()
