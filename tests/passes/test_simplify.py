"""Simplification: what is zero at all places but one is read at that one."""

from __future__ import annotations

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.graph.node import Node
from graphc.ops import cases, scalar

K = scalar.position("k")


def losses(shape: tuple[int, ...], **options: object) -> list[Node]:
    """A cross-entropy with its gradient."""
    scores = graphc.input("scores", shape)
    labels = graphc.input("labels", (shape[0], *shape[2:]), "int64")
    if "weight" in options:
        options = {"weight": np.linspace(0.5, 2, shape[1], dtype=np.float32)}
    loss = ops.cross_entropy(scores, labels, **options)
    return [loss, *graphc.grad(ops.sum(loss), [scores])]


@pytest.mark.parametrize("shape", [(6, 10), (6, 300), (2, 5, 3, 9)])
@pytest.mark.parametrize(
    "options",
    [{}, {"reduction": "none"}, {"ignore_index": 2}, {"weight": ...}, {"label_smoothing": 0.1}],
    ids=lambda options: next(iter(options), "plain"),
)
def test_a_label_is_looked_up(shape: tuple[int, ...], options: dict[str, object]) -> None:
    outputs = losses(shape, **options)
    program = graphc.compile(outputs)
    assert "cross_entropy.pick(" in program.as_text("fused")
    assert "+= Piecewise((x, Eq(k, bounded(label" not in program.as_text("fused")
    random = np.random.default_rng(0)
    given = {
        "scores": random.standard_normal(shape).astype(np.float32),
        "labels": random.integers(0, shape[1], (shape[0], *shape[2:])),
    }
    for found, wanted in zip(program(**given), graphc.evaluate(outputs, given), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("label", [-1, 10, 1 << 32, (1 << 32) + 3])
def test_a_label_outside_the_classes_is_still_refused(label: int) -> None:
    """Of 64 bits none is dropped before the check, though 32 are compared after it."""
    program = graphc.compile(losses((3, 10)))
    assert "Eq(cast(k, int32), cast(bounded(label, 10), int32))" in program.as_text("loops")
    with pytest.raises(graphc.IndexError, match=rf"{label} .* \[0, 10\)"):
        program(scores=np.zeros((3, 10), np.float32), labels=np.array([1, label, 3]))


def test_other_classes_are_not_read() -> None:
    scores = np.full((2, 10), np.nan, np.float32)
    scores[0, 3], scores[1, 0] = 5, -7
    picked = ops.nll_loss(
        graphc.input("scores", (2, 10)), graphc.input("labels", (2,), "int64"), reduction="none"
    )
    np.testing.assert_array_equal(graphc.compile(picked)(scores, [3, 0])[0], [-5, 7])


def test_what_may_not_fit_32_bits_is_compared_in_64() -> None:
    label = scalar.argument("label")
    wide = scalar.equals(scalar.bounded(label, scalar.whole(1 << 40)), K)
    short = scalar.equals(scalar.bounded(label, scalar.whole(1 << 31)), K)
    assert cases.compared_in("int32", wide, 1 << 31, {"k"}) == wide
    assert cases.compared_in("int32", short, 1 << 31, set()) == short
    assert cases.compared_in("int32", short, 1 << 31, {"k"}) != short
