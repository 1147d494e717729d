"""Shape errors say which axes do not fit and what would; every offer is tried here."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

import graphc
from graphc import ops
from graphc.errors import ShapeError, UnsupportedOpError
from graphc.graph.node import Node


def node(*shape: Any) -> Node:
    """An input of a shape."""
    return graphc.input("x", shape)


CASES: list[tuple[Callable[..., Any], list[tuple[Any, ...]], str, str]] = [
    (ops.matmul, [(2, 3), (4, 3)], "3 (axis 1 of a) cannot meet columns of 4 (axis 0 of b)", "b.T"),
    (ops.matmul, [(2, 3), (2, 5)], "rows of 3", "a.T"),
    (ops.matmul, [(2, 3), (4, 5)], "rows of 3", "a of shape (2, 4), or b of shape (3, 5)"),
    (ops.matmul, [(5, 2, 3), (4, 3, 6)], "axis 0 of a against axis 0 of b", "a of shape (4, 2, 3)"),
    (ops.add, [(2, 3), (2,)], "extents 3 and 2 do not broadcast", "expand_dims(b, 1), or a.T"),
    (ops.add, [(2, 3), (2, 4)], "axis 1 of a against axis 1 of b", "a of shape (2, 4)"),
    (ops.linear, [(2, 3), (3, 5)], "weight expects 5 features (its axis 1)", "weight.T"),
    (lambda a, b: ops.einsum("ij,jk->ik", a, b), [(2, 3), (2, 4)],
     "index j has extents 3 (axis 1 of a) and 2 (axis 0 of b)", "a.T"),
    (lambda a, b: ops.concat([a, b], 1), [(2, 3), (4, 3)],
     "operand 0 has the extent 2 on axis 0, operand 1 has 4", "concat along axis=0"),
    (lambda a, b: ops.concat([a, b], 1), [(2, 3), (4, 5)], "on axis 0",
     "operand 1 of shape (2, 5)"),
    (lambda a, b: ops.concat([a, b], 0), [(2, 3), (3,)], "operand 1 has 1 axes", "to 2 axes"),
    (lambda a, b: ops.stack([a, b]), [(2, 3), (2, 5)], "axis 1 has the extents 3 and 5", "axis=1"),
    (lambda a: ops.reshape(a, (5, 2)), [(2, 6)], "12 elements against 10", "(6, 2)"),
    (lambda a: ops.reshape(a, (5, -1)), [(2, 6)], "12 elements against 5*?", "(4, -1)"),
    (lambda a: ops.reshape(a, (4, 3)), [("batch", 3)], "must stay an axis", "('batch', 3)"),
    (lambda a: ops.broadcast_to(a, (2, 4)), [(2, 3)], "axis 1 has 3", "1 or 4 there"),
    (ops.conv2d, [(1, 8, 8, 3), (4, 3, 3, 3)], "expect 3 channels", "moveaxis(x, -1, 1), if"),
    (ops.conv2d, [(1, 6, 8, 8), (4, 3, 3, 3)], "the input has 6 (its axis 1)", "groups=2, or a"),
    (lambda x, w: ops.conv2d(x, w, groups=4), [(1, 6, 8, 8), (4, 3, 3, 3)],
     "groups=4 does not divide the input's channels, which are 6", "groups=1 or 2"),
    (ops.conv_transpose2d, [(1, 6, 8, 8), (4, 2, 3, 3)], "expect 4 channels",
     "a weight of shape (6, 2, 3, 3)"),
    (ops.conv2d, [("batch", 8, 8), (4, 1, 3, 3)], "4 axes expected, not the 3",
     "expand_dims(x, 1)"),
    *((loss, [("batch", 1), ("batch",)], "prediction has 2 axes, target has 1",
       "squeeze(prediction, 1), or expand_dims(target, 1), which is target[:, None]")
      for loss in (ops.mse_loss, ops.l1_loss, ops.bce_loss, ops.bce_with_logits, ops.kl_div)),
    (ops.mse_loss, [("batch", 2, 3), ("batch", 6)], "3 axes, target has 2",
     "reshape(prediction, ('batch', 6)), or reshape(target, ('batch', 2, 3))"),
    (ops.mse_loss, [("batch", 2, 3), ("batch", 3, 2)],
     "axis 1 of prediction has the extent 2, that of target 3", "swapaxes(prediction, 1, 2)"),
    (lambda x: ops.layer_norm(x, 4), [("batch", 8)], "axis 1 has the extent 8", "the shape (8,)"),
    (lambda x: ops.layer_norm(x, 4), [("batch", 4, 8)], "axis 2 has the", "swapaxes(x, 1, 2)"),
    (ops.cross_entropy, [("batch", 3), ("batch",)], "a probability for each class",
     'labels of integers, an input declared as (("batch",), "int64")'),
    (ops.cross_entropy, [("batch", 3), ("batch", 1)], "a probability for each class",
     "labels of integers"),
    (lambda x, y: ops.cross_entropy(x, ops.cast(y, "int64")), [("batch", 3), ("batch", 1)],
     "without axis 1, ('batch',), not ('batch', 1)", "squeeze(labels, 1)"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "shapes", "problem", "offer"), CASES)
def test_errors_name_the_axes_and_what_fits(
    function: Callable[..., Any], shapes: list[tuple[Any, ...]], problem: str, offer: str
) -> None:
    with pytest.raises(ShapeError, match=re.escape(problem)) as caught:
        function(*(node(*shape) for shape in shapes))
    text = str(caught.value)
    assert offer in text.partition("what fits: ")[2].split("\n")[0], text
    assert "test_remedy.py" in text


@pytest.mark.parametrize(
    ("function", "a", "b"),
    [
        (ops.matmul, (2, 3), (4, 3)),
        (ops.matmul, (2, 3), (4, 5)),
        (ops.matmul, (5, 2, 3), (4, 3, 5)),
        (ops.add, (2, 3), (2,)),
        (ops.add, (2, 3, 4), (4, 3)),
        (ops.add, (2, 3), (2, 4)),
    ],
)
def test_every_offer_fits(function: Callable[..., Any], a: Any, b: Any) -> None:
    with pytest.raises(ShapeError) as caught:
        function(node(*a), node(*b))
    offers = re.search(r"what fits: (.*)", str(caught.value))
    assert offers is not None
    for offer in offers[1].split(", or "):
        operands = {"a": node(*a), "b": node(*b)}
        if found := re.fullmatch(r"(\w) of shape \((.*)\)", offer):
            operands[found[1]] = node(*map(int, found[2].split(", ")))
        else:
            names = {"expand_dims": ops.expand_dims, "swapaxes": ops.swapaxes, **operands}
            changed = "a" if re.search(r"\ba\b", offer) else "b"
            operands[changed] = eval(offer, names)
        function(operands["a"], operands["b"])


def test_a_transposed_matrix() -> None:
    assert node(2, 3).T.shape == (3, 2)
    assert node("batch", 3).T.shape == (3, "batch")
    with pytest.raises(ShapeError, match=r"two axes, not the 3 of .*swapaxes\(x, -1, -2\)"):
        _ = node(2, 3, 4).T


@pytest.mark.parametrize("name", ["conv1d", "conv2d", "conv3d", "max_pool2d", "avg_pool1d"])
def test_an_unknown_keyword_is_refused_by_the_public_name(name: str) -> None:
    image, kernel = node(1, 1, 4, 4), node(1, 1, 2, 2)
    with pytest.raises(UnsupportedOpError, match=f"{name}: no keyword 'strides'; it has: stride,"):
        getattr(ops, name)(image, kernel if "conv" in name else 2, strides=2)


def test_a_running_sum_over_the_batch_names_itself() -> None:
    with pytest.raises(ShapeError, match="cumsum: axis 0 has the run-time extent 'batch'"):
        ops.cumsum(node("batch", 3), 0)
