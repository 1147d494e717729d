"""Composition: softmax, its logarithm and the labels give p - y by rules that know none of them."""

from __future__ import annotations

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.graph.graph import postorder
from graphc.ops.activation import leaky_relu


def test_the_logarithm_of_a_softmax_has_no_exponential_of_its_own() -> None:
    """log(exp(x - peak)/total) is made as x - peak - log(total)."""
    made = ops.log(ops.softmax(graphc.input("x", (4, 3))))
    assert "exp" not in made.op.describe()
    assert "log(total)" in made.op.describe()


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_softmax_followed_by_cross_entropy_is_p_minus_y(size: float) -> None:
    """Written out by the user, -sum(y*log(softmax(z))): finite for any logits, gradient p - y."""
    z, y = graphc.input("z", ("batch", 5)), graphc.input("y", ("batch",), "int64")
    loss = -ops.sum(ops.one_hot(y, 5) * ops.log(ops.softmax(z)))
    program = graphc.compile([loss, *graphc.grad(loss, [z])])
    logits = (np.random.default_rng(0).standard_normal((7, 5)) * size).astype(np.float32)
    labels = np.arange(7) % 5
    value, slope = program(z=logits, y=labels)
    p = np.exp(logits - logits.max(1, keepdims=True), dtype=np.float64)
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose(slope, p - np.eye(5)[labels], atol=2e-6)
    assert np.isfinite(value)


def test_a_logarithm_that_would_keep_its_exponential_is_left_alone() -> None:
    """log(1 + exp(x)) is no shorter when joined."""
    x = graphc.input("x", (3,))
    assert len(ops.log(ops.exp(x) + 1.0).inputs) == 1
    assert ops.log(ops.exp(x) + 1.0).op.describe().count("exp") == 0


def test_an_op_applied_again_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its node is found by its operands, which it keeps: no other comes in their place."""
    x = graphc.input("x", (4, 3))
    gentle, steep = (leaky_relu(x, negative_slope=slope) for slope in (0.1, 0.5))
    for number in range(300):
        other = graphc.input(f"other{number}", (4, 3))
        assert ops.tanh(other).inputs == (other,)
        assert other in set(postorder([ops.log(ops.softmax(other))]))
    monkeypatch.setattr("graphc.ops.op.apply", None)
    assert leaky_relu(x, negative_slope=0.1) is gentle is not steep
    assert leaky_relu(x, negative_slope=0.5) is steep
