"""A metric: a function of (prediction, target) with a name, and how its values are averaged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from graphc.errors import InputError, near
from graphc.graph.node import Node
from graphc.metrics import functions

MetricFunction = Callable[..., Node]


@dataclass(frozen=True)
class Metric:
    """A named scalar of a step. to_mean and from_mean say in which scale batches are averaged."""

    name: str
    function: MetricFunction
    to_mean: Callable[[float], float] = float
    from_mean: Callable[[float], float] = float


@dataclass
class Average:
    """The running averages of a step's values over an epoch, weighted by examples."""

    metrics: Mapping[str, Metric]
    sums: dict[str, float] = field(default_factory=dict)
    weight: float = 0.0

    def add(self, values: Mapping[str, Any], examples: int) -> None:
        """Take in the values of one batch."""
        for name, value in values.items():
            number = float(value)
            if name in self.metrics:
                number = self.metrics[name].to_mean(number)
            self.sums[name] = self.sums.get(name, 0.0) + examples * number
        self.weight += examples

    def add_all(self, values: Mapping[str, Any], examples: int) -> None:
        """Take in the values of many batches of as many examples, (steps,) each, one by one."""
        steps = len(next(iter(values.values()), ()))
        for name, found in values.items():
            numbers = np.asarray(found, np.float64)
            if name in self.metrics:
                numbers = np.array([self.metrics[name].to_mean(n) for n in numbers.tolist()])
            terms = np.concatenate([[self.sums.get(name, 0.0)], examples * numbers])
            self.sums[name] = float(np.add.accumulate(terms)[-1])
        self.weight += steps * examples

    def values(self) -> dict[str, float]:
        """The averages so far; empty before the first batch."""
        found = {}
        for name, total in self.sums.items():
            mean = total / self.weight
            found[name] = self.metrics[name].from_mean(mean) if name in self.metrics else mean
        return found


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _exp(value: float) -> float:
    return math.exp(value) if value < 709 else math.inf


METRICS = {
    "accuracy": Metric("accuracy", functions.accuracy),
    "top_k_accuracy": Metric("top_k_accuracy", functions.top_k_accuracy),
    "binary_accuracy": Metric("binary_accuracy", functions.binary_accuracy),
    "binary_accuracy_with_logits": Metric(
        "binary_accuracy_with_logits", functions.binary_accuracy_with_logits
    ),
    "mae": Metric("mae", functions.mean_absolute_error),
    "mse": Metric("mse", functions.mean_squared_error),
    "mean_absolute_error": Metric("mean_absolute_error", functions.mean_absolute_error),
    "mean_squared_error": Metric("mean_squared_error", functions.mean_squared_error),
    "perplexity": Metric("perplexity", functions.perplexity, _log, _exp),
}


def top_k(k: int) -> Metric:
    """The metric "top_<k>_accuracy"."""
    return Metric(f"top_{k}_accuracy", partial(functions.top_k_accuracy, k=k))


Metrics = Sequence[str | Metric | MetricFunction] | Mapping[str, MetricFunction]


def metrics_of(metrics: Metrics) -> dict[str, Metric]:
    """Metrics by name, from names, functions, Metrics, or functions by name.

    Raises InputError for a name that is unknown, taken twice, or "loss".
    """
    items: Iterable[Any]
    if isinstance(metrics, str):
        items = [metrics]
    elif isinstance(metrics, Mapping):
        items = [Metric(name, function) for name, function in metrics.items()]
    else:
        items = metrics
    found: dict[str, Metric] = {}
    for item in items:
        metric = _metric(item)
        if metric.name in found or metric.name == "loss":
            raise InputError(f"two values would be called {metric.name!r}; name one otherwise")
        found[metric.name] = metric
    return found


def _metric(item: Any) -> Metric:
    if isinstance(item, Metric):
        return item
    if isinstance(item, str):
        if item not in METRICS:
            raise InputError(
                f"unknown metric {item!r}; known: {', '.join(METRICS)}, or give a function"
                f"{near(item, METRICS)}"
            )
        return METRICS[item]
    if callable(item):
        known = {id(metric.function): metric for metric in METRICS.values()}
        name = getattr(item, "__name__", type(item).__name__)
        return known.get(id(item), Metric(name, item))
    raise InputError(f"a metric is a name, a function or a Metric, not {item!r}")
