"""Losses against PyTorch: values and derivatives in float64, reductions, extremes, bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphc.autodiff import grad
from graphc.errors import DTypeError, IndexError, ShapeError, UnsupportedOpError
from graphc.graph.graph import postorder
from graphc.graph.leaf import input
from graphc.ops import classification, loss
from graphc.ops.reference import evaluate
from tests.support import random, run, same

X, T = 2 * random(4, 3), 2 * random(4, 3, seed=1)
CHANCE, TARGET = 1 / (1 + np.exp(-X)), 1 / (1 + np.exp(-T))
SIGNS = np.where(T > 0, 1.0, -1.0)
LABELS = np.array([2, 0, 1, 2])
MAPS = random(2, 3, 2, 2)
MAP_LABELS = np.array([[[0, 2], [1, 1]], [[2, 2], [0, 1]]])
WEIGHT = np.array([0.5, 2.0, 1.5])
REDUCTIONS = ("mean", "sum", "none")

PAIRS: list[tuple[str, Any, Any, Callable[[Any], Any]]] = [
    ("mse_loss", X, T, lambda f: f.mse_loss),
    ("l1_loss", X, T, lambda f: f.l1_loss),
    ("huber_loss", X, T, lambda f: f.huber_loss),
    ("smooth_l1_loss", X, T, lambda f: f.smooth_l1_loss),
    ("poisson_nll_loss", X, T, lambda f: f.poisson_nll_loss),
    ("bce_loss", CHANCE, TARGET, lambda f: f.binary_cross_entropy),
    ("bce_with_logits", X, TARGET, lambda f: f.binary_cross_entropy_with_logits),
    ("kl_div", np.log(CHANCE), TARGET, lambda f: f.kl_div),
]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("name", "x", "target", "other"), PAIRS, ids=[p[0] for p in PAIRS])
@pytest.mark.filterwarnings("ignore:reduction")
def test_of_pairs(torch: Any, name: str, x: Any, target: Any, other: Any, reduction: str) -> None:
    ours, theirs = getattr(loss, name), other(torch.nn.functional)
    order = 1 if name in ("bce_loss", "l1_loss") else 2  # as far as PyTorch goes

    def mine(x: Any) -> Any:
        return ours(x, target, reduction=reduction)

    same(
        torch, mine, lambda x: theirs(x, torch.tensor(target), reduction=reduction), x, order=order
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.filterwarnings("ignore:reduction")
def test_options(torch: Any, reduction: str) -> None:
    f, target, kept = torch.nn.functional, torch.tensor(T), {"reduction": reduction}
    same(
        torch,
        lambda x: loss.huber_loss(x, T, delta=0.3, **kept),
        lambda x: f.huber_loss(x, target, delta=0.3, **kept),
        X,
    )
    for beta in (0.0, 0.3):
        same(
            torch,
            lambda x, beta=beta: loss.smooth_l1_loss(x, T, beta=beta, **kept),
            lambda x, beta=beta: f.smooth_l1_loss(x, target, beta=beta, **kept),
            X,
            order=1,
        )
    same(
        torch,
        lambda x, v: loss.gaussian_nll_loss(x, T, v, **kept),
        lambda x, v: f.gaussian_nll_loss(x, target, v, **kept),
        *(X, TARGET),
    )
    same(
        torch,
        lambda x: loss.bce_with_logits(x, TARGET, pos_weight=WEIGHT, **kept),
        lambda x: f.binary_cross_entropy_with_logits(
            x, torch.tensor(TARGET), pos_weight=torch.tensor(WEIGHT), **kept
        ),
        X,
    )
    same(
        torch,
        lambda x: loss.kl_div(x, T, log_target=True, **kept),
        lambda x: f.kl_div(x, target, log_target=True, **kept),
        X,
    )


def test_hinge(torch: Any) -> None:
    def theirs(x: Any) -> Any:
        return (1 - torch.tensor(SIGNS) * x).clamp(min=0).mean()

    same(torch, lambda x: loss.hinge_loss(x, SIGNS), theirs, X)
    whole = SIGNS.astype(np.int32)
    np.testing.assert_allclose(
        run(lambda x, t: loss.hinge_loss(x, t), X, whole), theirs(torch.tensor(X)).item()
    )


def test_perceptron(torch: Any) -> None:
    """The derivative at a score of 0 is that of Rosenblatt's rule, which moves off it."""

    def theirs(x: Any) -> Any:
        return (-torch.tensor(SIGNS) * x).clamp(min=0).mean()

    same(torch, lambda x: loss.perceptron_loss(x, SIGNS), theirs, X)
    whole = SIGNS.astype(np.int32)
    np.testing.assert_allclose(
        run(lambda x, t: loss.perceptron_loss(x, t), X, whole), theirs(torch.tensor(X)).item()
    )
    slopes = run(
        lambda x, t: grad(loss.perceptron_loss(x, t, reduction="sum"), [x])[0],
        np.array([-1.0, 0.0, 1.0, -1.0, 0.0, 1.0]),
        np.array([1.0, 1.0, 1.0, -1.0, -1.0, -1.0]),
    )
    np.testing.assert_array_equal(slopes, [-1, -1, 0, 0, 1, 1])


def test_batchmean_and_zero_targets(torch: Any) -> None:
    target = np.array([[0.0, 1.0], [0.5, 0.5]])
    x = np.log(np.array([[0.5, 0.5], [0.1, 0.9]]))
    found = run(lambda x, t: loss.kl_div(x, t, reduction="batchmean"), x, target)
    wanted = torch.nn.functional.kl_div(*map(torch.tensor, (x, target)), reduction="batchmean")
    np.testing.assert_allclose(found, wanted.item())


def test_binary_extremes(torch: Any) -> None:
    """Logits of 1e4 stay finite; probabilities of 0 and 1 have the clamped logarithm -100."""
    x, y = np.array([1e4, -1e4, 0.0]), np.array([0.0, 1.0, 1.0])
    found = run(lambda x, y: loss.bce_with_logits(x, y, reduction="none"), x, y)
    np.testing.assert_allclose(found, [1e4, 1e4, np.log(2)])
    f = torch.nn.functional.binary_cross_entropy
    same(torch, loss.bce_loss, f, np.array([0.0, 1.0]), np.array([0.0, 0.25]), order=0)


# --- classes --------------------------------------------------------------------------------

CASES = [
    {},
    {"weight": WEIGHT},
    {"label_smoothing": 0.2},
    {"ignore_index": 2},
    {"ignore_index": -100},
    {"weight": WEIGHT, "label_smoothing": 0.2, "ignore_index": 0},
]


def options(torch: Any, case: dict[str, Any]) -> dict[str, Any]:
    """The same options for PyTorch."""
    return {k: torch.tensor(v) if k == "weight" else v for k, v in case.items()}


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("x", "labels"), [(X, LABELS), (MAPS, MAP_LABELS), (X[0], LABELS[1])])
def test_cross_entropy(
    torch: Any, case: dict[str, Any], reduction: str, x: Any, labels: Any
) -> None:
    given = options(torch, case)
    target = np.asarray(labels)
    if case.get("ignore_index") == -100:
        target = np.where(target == 1, -100, target)

    def theirs(x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(x, y, reduction=reduction, **given)

    def ours(x: Any, y: Any) -> Any:
        return classification.cross_entropy(x, y, reduction=reduction, **case)

    same(torch, ours, theirs, x, target)


@pytest.mark.parametrize("case", CASES[:3], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("x", [X, MAPS, X[0]], ids=["rows", "maps", "one"])
def test_cross_entropy_of_probabilities(
    torch: Any, case: dict[str, Any], reduction: str, x: Any
) -> None:
    given = options(torch, case)

    def theirs(x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(x, y, reduction=reduction, **given)

    def ours(x: Any, y: Any) -> Any:
        return classification.cross_entropy(x, y, reduction=reduction, **case)

    same(torch, ours, theirs, x, np.abs(random(*x.shape, seed=3)))


@pytest.mark.parametrize("case", [CASES[i] for i in (0, 1, 3)], ids=str)
@pytest.mark.parametrize(("x", "labels"), [(X, LABELS), (MAPS, MAP_LABELS), (X[0], LABELS[1])])
def test_nll(torch: Any, case: dict[str, Any], x: Any, labels: Any) -> None:
    given = options(torch, case)

    def theirs(x: Any, y: Any) -> Any:
        return torch.nn.functional.nll_loss(x, y, **given)

    same(torch, lambda x, y: classification.nll_loss(x, y, **case), theirs, x, np.asarray(labels))


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["even", "weighted"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_multi_margin(torch: Any, p: int, weight: Any, reduction: str) -> None:
    def theirs(x: Any, y: Any) -> Any:
        given = None if weight is None else torch.tensor(weight)
        call = torch.nn.functional.multi_margin_loss
        return call(x, y, p=p, margin=0.8, weight=given, reduction=reduction)

    def ours(x: Any, y: Any) -> Any:
        call = classification.multi_margin_loss
        return call(x, y, p=p, margin=0.8, weight=weight, reduction=reduction)

    same(torch, ours, theirs, X, LABELS, order=1)


def test_gradient_is_probability_minus_label() -> None:
    """Derived, not coded: two maps over (batch, classes) and their sum, without a scatter."""
    x, y = input("x", ("batch", 3), "float64"), input("y", ("batch",), "int64")
    (slope,) = grad(classification.cross_entropy(x, y), [x])
    wide = [n.op.describe() for n in postorder([slope]) if n.shape == ("batch", 3) and n.inputs]
    assert wide == [
        "[n, k] = Piecewise((grad, Eq(k, bounded(label, 3))), (0, True))  where grad[n], label[n]",
        "[i0, i1] = grad*exp(-peak + x)  where grad[i0], x[i0, i1], peak[i0]",
        "[b0, b1] = a + b  where a[b0, b1], b[b0, b1]",
    ]
    found = evaluate([slope], {"x": X, "y": LABELS})[0]
    chances = np.exp(X) / np.exp(X).sum(1, keepdims=True)
    np.testing.assert_allclose(found, (chances - np.eye(3)[LABELS]) / 4, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_logits(dtype: str) -> None:
    x, y = input("x", (2, 3), dtype), input("y", (2,), "int64")
    value = classification.cross_entropy(x, y, reduction="none")
    (slope,) = grad(classification.cross_entropy(x, y), [x])
    logits = np.array([[1e4, -1e4, 0], [1e4, 9999, -1e4]])
    found, back = evaluate([value, slope], {"x": logits, "y": [1, 0]})
    np.testing.assert_allclose(found, [2e4, np.log1p(np.exp(-1))], rtol=1e-6)
    assert np.isfinite(back).all()
    np.testing.assert_allclose(back[0], [0.5, -0.5, 0])


def test_small_labels_and_no_rows() -> None:
    """uint8 labels; a batch without rows has mean NaN and sum 0."""
    found = run(classification.cross_entropy, X, LABELS.astype(np.uint8))
    np.testing.assert_allclose(found, run(classification.cross_entropy, X, LABELS))
    none = X[:0], LABELS[:0]
    assert np.isnan(run(classification.cross_entropy, *none))
    assert run(lambda x, y: classification.cross_entropy(x, y, reduction="sum"), *none) == 0


@pytest.mark.parametrize("wrong", [-1, 3, -100])
def test_label_bounds(wrong: int) -> None:
    labels = LABELS.copy()
    labels[2] = wrong
    text = rf"index {wrong} at position \(2,\) is not in \[0, 3\)"
    for function in (
        classification.cross_entropy,
        classification.nll_loss,
        classification.multi_margin_loss,
    ):
        with pytest.raises(IndexError, match=text):
            run(function, X, labels)
    if wrong == -100:
        run(lambda x, y: classification.cross_entropy(x, y, ignore_index=-100), X, labels)


def test_errors() -> None:
    x, y = input("x", (4, 3)), input("y", (4,), "int64")
    with pytest.raises(ShapeError, match="must have one shape"):
        loss.mse_loss(x, input("t", (4, 1)))
    with pytest.raises(UnsupportedOpError, match="reduction 'average'; mean, sum or none"):
        loss.mse_loss(x, x, reduction="average")
    with pytest.raises(UnsupportedOpError, match="reduction 'average'"):
        classification.cross_entropy(x, y, reduction="average")
    with pytest.raises(ShapeError, match="need labels of that shape without axis 1"):
        classification.cross_entropy(x, input("z", (3,), "int64"))
    with pytest.raises(ShapeError, match=r"logits \(4, 3\) and probabilities \(4,\)"):
        classification.cross_entropy(x, input("p", (4,)))
    with pytest.raises(DTypeError, match="labels have dtype bool"):
        classification.nll_loss(x, input("b", (4,), "bool"))
    with pytest.raises(ShapeError, match="each of 3 classes"):
        classification.cross_entropy(x, y, weight=np.ones(4))


def test_cross_entropy_refuses_what_means_nothing() -> None:
    """A smoothing that is no part, and a label to ignore where there are no labels."""
    x, p = input("x", (4, 3)), input("p", (4, 3))
    labels = input("labels", (4,), "int64")
    with pytest.raises(UnsupportedOpError, match=r"label_smoothing=1\.5 is not in \[0, 1\]"):
        classification.cross_entropy(x, labels, label_smoothing=1.5)
    with pytest.raises(UnsupportedOpError, match="ignore_index=1 needs labels"):
        classification.cross_entropy(x, p, ignore_index=1)
