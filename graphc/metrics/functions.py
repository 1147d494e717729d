"""Metrics as nodes of the step's own graph: each from (prediction, target) to a scalar.

Each is an average over the examples of a batch, so that the average of the batches' values,
weighted by their numbers of examples, is that over all examples: the last, smaller batch counts
for what it holds.
"""

from __future__ import annotations

from graphc import ops
from graphc.errors import DTypeError, ShapeError
from graphc.graph.node import Node
from graphc.types import is_float


def accuracy(prediction: Node, target: Node) -> Node:
    """The part of examples whose largest score is at the label: float32 scalar.

    prediction [n, k, ...] scores of k >= 2 classes, on the axis where cross_entropy has them, or
    [k]; target int [n, ...] labels, or float [n, k, ...] probabilities, of which the largest
    counts. Raises ShapeError for other shapes.
    """
    axis = _class_axis(prediction)
    if not prediction.shape or prediction.shape[axis] == 1:
        raise ShapeError(
            f"accuracy needs scores of two classes or more on axis {axis}, not {prediction.type};"
            " for one score an example use binary_accuracy"
        )
    right = ops.equal(ops.argmax(prediction, axis=axis), _labels(prediction, target))
    return _mean(right)


def top_k_accuracy(prediction: Node, target: Node, k: int = 5) -> Node:
    """The part of examples with fewer than k classes scored above the label's: float32 scalar.

    Shapes as for accuracy. Raises ShapeError unless 1 <= k <= number of classes.
    """
    axis = _class_axis(prediction)
    classes = prediction.shape[axis] if prediction.shape else 0
    if not isinstance(classes, int) or not 1 <= k <= classes:
        raise ShapeError(f"top_k_accuracy: k={k} of {prediction.type}")
    labels = _labels(prediction, target)
    own = ops.take_along_axis(prediction, ops.expand_dims(labels, axis), axis=axis)
    above = ops.sum(ops.cast(ops.greater(prediction, own), "int64"), axis=axis)
    return _mean(ops.less(above, k))


def binary_accuracy(prediction: Node, target: Node, threshold: float = 0.5) -> Node:
    """The part of elements on the right side of the threshold: float32 scalar.

    prediction float [...]: probabilities, or logits with threshold 0; target of the same shape,
    0 or 1 of any dtype. Raises ShapeError where the shapes differ.
    """
    _same("binary_accuracy", prediction, target)
    actual = target
    if target.dtype != "bool":
        actual = ops.greater(target, 0.5 if is_float(target.dtype) else 0)
    return _mean(ops.equal(ops.greater(prediction, threshold), actual))


def binary_accuracy_with_logits(prediction: Node, target: Node) -> Node:
    """binary_accuracy of logits: threshold 0."""
    return binary_accuracy(prediction, target, threshold=0.0)


def mean_absolute_error(prediction: Node, target: Node) -> Node:
    """The mean of |prediction - target|, of the same shape: a scalar."""
    _same("mean_absolute_error", prediction, target)
    return ops.mean(ops.abs(prediction - target))


def mean_squared_error(prediction: Node, target: Node) -> Node:
    """The mean of (prediction - target)**2, of the same shape: a scalar."""
    _same("mean_squared_error", prediction, target)
    return ops.mean(ops.square(prediction - target))


def perplexity(prediction: Node, target: Node) -> Node:
    """e to the mean cross-entropy of logits [n, k] and labels int [n]: a scalar.

    Over an epoch it is averaged in the exponent, as it should be.
    """
    return ops.exp(ops.cross_entropy(prediction, target))


def _class_axis(prediction: Node) -> int:
    """The axis of the classes: 1, or 0 of one example's scores."""
    return min(max(prediction.type.rank - 1, 0), 1)


def _labels(prediction: Node, target: Node) -> Node:
    """Labels of [n, ...], from labels or from probabilities [n, k, ...]."""
    axis = _class_axis(prediction)
    if is_float(target.dtype):
        _same("accuracy", prediction, target)
        return ops.argmax(target, axis=axis)
    if target.dtype == "bool":
        raise DTypeError(f"accuracy takes integer labels or probabilities, not {target.type}")
    wanted = (*prediction.shape[:axis], *prediction.shape[axis + 1 :])
    if target.shape != wanted:
        raise ShapeError(
            f"accuracy: labels {target.type} for scores {prediction.type} should have the shape "
            f"{wanted}"
        )
    return ops.cast(target, "int64")


def _same(name: str, prediction: Node, target: Node) -> None:
    if prediction.shape != target.shape:
        raise ShapeError(
            f"{name}: prediction {prediction.type} and target {target.type} differ in shape"
        )


def _mean(right: Node) -> Node:
    return ops.mean(ops.cast(right, "float32"))
