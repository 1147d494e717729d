"""Metrics: scalars of a step's predictions and targets, computed in its graph."""

from graphc.metrics.functions import (
    accuracy,
    binary_accuracy,
    binary_accuracy_with_logits,
    mean_absolute_error,
    mean_squared_error,
    perplexity,
    top_k_accuracy,
)
from graphc.metrics.metric import METRICS, Average, Metric, metrics_of, top_k

__all__ = [
    "METRICS",
    "Average",
    "Metric",
    "accuracy",
    "binary_accuracy",
    "binary_accuracy_with_logits",
    "mean_absolute_error",
    "mean_squared_error",
    "metrics_of",
    "perplexity",
    "top_k",
    "top_k_accuracy",
]
