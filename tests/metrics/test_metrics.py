"""Metrics against numpy, and their averages over batches of different sizes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import metrics
from graphc.errors import DTypeError, InputError, ShapeError

RANDOM = np.random.default_rng(0)
SCORES = RANDOM.standard_normal((20, 6)).astype(np.float32)
LABELS = RANDOM.integers(0, 6, 20)


def value(metric: Any, prediction: Any, target: Any) -> float:
    """The metric of two arrays."""
    node = metric(graphc.constant(prediction), graphc.constant(target))
    assert node.shape == () and node.dtype == "float32"
    return float(graphc.evaluate([node])[0])


def test_accuracy() -> None:
    """Of labels and of probabilities."""
    wanted = (SCORES.argmax(1) == LABELS).mean()
    assert value(metrics.accuracy, SCORES, LABELS) == pytest.approx(wanted)
    one_hot = np.eye(6, dtype=np.float32)[LABELS]
    assert value(metrics.accuracy, SCORES, one_hot) == pytest.approx(wanted)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_top_k_accuracy(k: int) -> None:
    """The label is among the k largest scores."""
    best = np.argsort(-SCORES, axis=1)[:, :k]
    wanted = (best == LABELS[:, None]).any(1).mean()
    assert value(metrics.top_k(k).function, SCORES, LABELS) == pytest.approx(wanted)


def test_binary_accuracy() -> None:
    """Of probabilities, and of logits."""
    target = (RANDOM.random((20, 6)) > 0.5).astype(np.float32)
    wanted = ((SCORES > 0) == (target > 0)).mean()
    assert value(metrics.binary_accuracy_with_logits, SCORES, target) == pytest.approx(wanted)
    probabilities = 1 / (1 + np.exp(-SCORES))
    assert value(metrics.binary_accuracy, probabilities, target) == pytest.approx(wanted)
    assert value(metrics.binary_accuracy, probabilities, target > 0) == pytest.approx(wanted)


def test_errors_of_regression() -> None:
    """Absolute and squared."""
    other = SCORES[::-1].copy()
    assert value(metrics.mean_absolute_error, SCORES, other) == pytest.approx(
        np.abs(SCORES - other).mean(), rel=1e-6
    )
    assert value(metrics.mean_squared_error, SCORES, other) == pytest.approx(
        ((SCORES - other) ** 2).mean(), rel=1e-6
    )


def test_averages_weigh_examples() -> None:
    """Batches of 8, 8 and 4 give what all 20 give, also for perplexity."""
    known = metrics.metrics_of(["accuracy", "perplexity"])
    average = metrics.Average(known)
    for start in (0, 8, 16):
        part = slice(start, start + 8)
        values = {n: value(m.function, SCORES[part], LABELS[part]) for n, m in known.items()}
        average.add(values, len(SCORES[part]))
    found = average.values()
    assert found["accuracy"] == pytest.approx(value(metrics.accuracy, SCORES, LABELS), rel=1e-6)
    assert found["perplexity"] == pytest.approx(value(metrics.perplexity, SCORES, LABELS), rel=1e-5)
    assert metrics.Average({}).values() == {}
    average.add({"perplexity": math.inf}, 1)
    assert average.values()["perplexity"] == math.inf


def test_metrics_by_name_and_function() -> None:
    """Names, functions, dicts; an unknown name lists those there are."""

    def largest(prediction: Any, target: Any) -> Any:
        return graphc.max(prediction)

    found = metrics.metrics_of(["mae", largest, metrics.top_k(3), metrics.perplexity])
    assert list(found) == ["mae", "largest", "top_3_accuracy", "perplexity"]
    assert found["perplexity"].from_mean is not float
    assert list(metrics.metrics_of({"peak": largest})) == ["peak"]
    with pytest.raises(InputError, match="unknown metric 'acc'; known: accuracy"):
        metrics.metrics_of(["acc"])
    with pytest.raises(InputError, match="two values would be called 'mae'"):
        metrics.metrics_of(["mae", "mae"])


def test_refusals() -> None:
    """Shapes and dtypes that would give a wrong number."""
    scores = graphc.constant(SCORES)
    with pytest.raises(ShapeError, match="use binary_accuracy"):
        metrics.accuracy(graphc.constant(SCORES[:, :1]), graphc.constant(LABELS))
    with pytest.raises(ShapeError, match="should have the shape"):
        metrics.accuracy(scores, graphc.constant(LABELS[:, None]))
    with pytest.raises(DTypeError, match="integer labels"):
        metrics.accuracy(scores, graphc.constant(LABELS > 2))
    with pytest.raises(ShapeError, match="k=7"):
        metrics.top_k_accuracy(scores, graphc.constant(LABELS), k=7)
    with pytest.raises(ShapeError, match="differ in shape"):
        metrics.mean_squared_error(scores, graphc.constant(SCORES[0]))


def test_classes_are_where_the_loss_has_them() -> None:
    """On axis 1 of scores of images, one label a pixel."""
    scores = RANDOM.standard_normal((2, 3, 4, 5)).astype(np.float32)
    labels = RANDOM.integers(0, 3, (2, 4, 5))
    wanted = (scores.argmax(1) == labels).mean()
    assert value(metrics.accuracy, scores, labels) == pytest.approx(wanted)
    assert value(metrics.top_k(1).function, scores, labels) == pytest.approx(wanted)
    one_hot = np.moveaxis(np.eye(3, dtype=np.float32)[labels], -1, 1)
    assert value(metrics.accuracy, scores, one_hot) == pytest.approx(wanted)
