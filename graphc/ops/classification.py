"""Losses of classes: a label, or a probability for each class, against scores."""

from __future__ import annotations

from typing import Any

import sympy

from graphc.errors import DTypeError, ShapeError, UnsupportedOpError
from graphc.graph.node import Node
from graphc.ops import known, reduce, scalar
from graphc.ops.arithmetic import cast
from graphc.ops.elementary import log
from graphc.ops.make import apply, as_node, fail
from graphc.ops.normalize import exponentials, log_softmax
from graphc.ops.remedy import becoming, unlike
from graphc.ops.scalar import Expr, argument
from graphc.ops.shape import number
from graphc.types import is_float

X, LABEL, WEIGHT, PICKED = (argument(n) for n in ("x", "label", "weight", "picked"))
INTEGERS = ("int32", "int64", "uint8")
CLASS = scalar.position("k")
AS_LABELS = (
    '\n  what fits: labels of integers, an input declared as (("batch",), "int64") and '
    'y.astype("int64") where arrays are given; or cast(labels, "int64")'
)


@known.kept
def chosen(classes: int) -> Expr:
    """Whether the class at hand is the label, which must be one of so many."""
    return sympy.Eq(scalar.bounded(LABEL, sympy.Integer(classes)), CLASS)


@known.kept
def picked(classes: int) -> Expr:
    """x where the class at hand is the label, else 0."""
    return sympy.Piecewise((X, chosen(classes)), (0, True))


class Labels:
    """Scores (N, K, ...) with labels (N, ...), or (K,) with one: what is read at a label."""

    def __init__(self, name: str, scores: Any, labels: Any, ignore_index: int | None) -> None:
        self.name, self.scores, self.ignore = name, as_node(scores), ignore_index
        node = as_node(labels)
        if node.dtype not in INTEGERS:
            problem = f"labels have dtype {node.dtype}; {', '.join(INTEGERS)} expected{AS_LABELS}"
            raise fail(DTypeError, name, [self.scores, node], problem)
        self.labels = cast(node, "int64") if node.dtype == "uint8" else node
        self.axis = min(self.scores.type.rank - 1, 1)
        shape = self.scores.shape
        rows = (*shape[: self.axis], *shape[self.axis + 1 :]) if shape else ()
        if not shape or node.shape != rows:
            problem = (
                f"scores {shape} need labels of that shape without axis {max(self.axis, 0)}, "
                f"{rows}, not {node.shape}"
            )
            way = ", or ".join(becoming("labels", node.shape, rows) if shape else [])
            problem += f"\n  what fits: {way}" if way else ""
            raise fail(ShapeError, name, [self.scores, node], problem)
        self.classes = number(name, self.scores, self.axis)
        self.rows = "" if len(shape) == 1 else "n ..."
        self.every = "k" if len(shape) == 1 else "n k ..."

    @property
    def ignored(self) -> Expr:
        """Whether a label is the one to ignore."""
        return sympy.false if self.ignore is None else sympy.Eq(LABEL, self.ignore)

    @property
    def chosen(self) -> Expr:
        """Whether the class at hand is the label; a label outside the classes is an IndexError."""
        return chosen(self.classes)

    def pick(self, name: str, values: Node) -> Node:
        """The sum over k of `values` (scores, or one per class) where k is the label.

        Where the label is to be ignored it is class 0's; see `kept`.
        """
        expr = picked(self.classes)
        reads = self.every if values.shape == self.scores.shape else "k"
        signature = f"{reads}, {self.rows} -> {self.rows}"
        extents = {"k": self.classes}
        operands = [values, self.kept(self.labels)]
        name = f"{self.name}.{name}"
        return apply(name, signature, (X, LABEL), expr, operands, extents=extents)

    def kept(self, values: Node) -> Node:
        """`values`, one per label, but 0 where the label is to be ignored."""
        if self.ignore is None:
            return values
        expr = sympy.Piecewise((0, self.ignored), (X, True))
        signature = f"{self.rows}, {self.rows} -> {self.rows}"
        return apply("kept", signature, (X, LABEL), expr, [values, self.labels])

    def reduced(self, loss: Node, weight: Node | None, reduction: str) -> Node:
        """The loss per label summed, or divided by the weight of all that are not ignored."""
        if reduction == "mean" and (weight is not None or self.ignore is not None):
            expr = sympy.Piecewise((0, self.ignored), (1, True))
            if weight is None:
                signature, kind = f"{self.rows} -> {self.rows}", self.scores.dtype
                shares = apply("counted", signature, (LABEL,), expr, [self.labels], dtype=kind)
            else:
                shares = self.kept(self.pick("weight", weight))
            return reduce.sum(loss) / reduce.sum(shares)
        return _reduced(self.name, loss, reduction)


def _reduced(name: str, loss: Node, reduction: str) -> Node:
    if reduction not in ("mean", "sum", "none"):
        raise fail(UnsupportedOpError, name, [loss], f"reduction {reduction!r}; mean, sum or none")
    return loss if reduction == "none" else getattr(reduce, reduction)(loss)


def _weights(name: str, scores: Node, weight: Any, classes: int) -> Node | None:
    """One weight per class, as a node."""
    if weight is None:
        return None
    node = as_node(weight, scores.dtype)
    if node.shape != (classes,):
        problem = f"weight {node.shape} must have one number for each of {classes} classes"
        raise fail(ShapeError, name, [scores, node], problem)
    return node


def cross_entropy(
    logits: Any,
    target: Any,
    *,
    weight: Any = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Node:
    """log(sum_k exp(x_k)) - x_label, the negative log of softmax at the label; classes on axis 1.

    logits (N, K, ...) or (K,) of floats. The target is an integer label in [0, K) for each row,
    (N, ...), or a probability for each class, of the logits' shape and dtype: -sum_k p_k
    log_softmax(x)_k. With label_smoothing s the target becomes (1 - s)*target + s/K; `weight` (K)
    multiplies each class's term. Rows labelled `ignore_index` count for nothing.

    The mean is over all rows that are not ignored, weighted for labels; N may be a run-time extent.
    Finite for any finite logits: the largest is subtracted first. The gradient for labels is
    (softmax(x) - one_hot(label))/N, without a scatter. Running raises IndexError, with the label,
    its position and K, for a label outside [0, K); ShapeError or DTypeError where operands do not
    fit, UnsupportedOpError for a smoothing outside [0, 1], or an ignore_index of probabilities.
    Source: torch.nn.functional.cross_entropy.
    """
    x, given = as_node(logits), as_node(target)
    if not is_float(x.dtype):
        raise fail(DTypeError, "cross_entropy", [x, given], "logits of a float dtype expected")
    if not 0 <= label_smoothing <= 1:
        problem = f"label_smoothing={label_smoothing} is not in [0, 1]"
        raise fail(UnsupportedOpError, "cross_entropy", [x, given], problem)
    if is_float(given.dtype):
        if ignore_index is not None:
            problem = f"ignore_index={ignore_index} needs labels; the target holds probabilities"
            raise fail(UnsupportedOpError, "cross_entropy", [x, given], problem)
        return _soft_cross_entropy(x, given, weight, label_smoothing, reduction)
    labels = Labels("cross_entropy", x, given, ignore_index)
    weights = _weights("cross_entropy", x, weight, labels.classes)
    peak, total = exponentials(x, labels.axis)
    if weights is None and not label_smoothing:
        loss = labels.kept(log(total) - (labels.pick("pick", x) - peak))
        return labels.reduced(loss, None, reduction)
    scores = log_softmax(x, labels.axis)
    loss = _label_loss(labels, scores, weights)
    if label_smoothing:
        term = scores if weights is None else _weighted(scores, weights, labels.axis)
        even = labels.kept(-reduce.sum(term, labels.axis)) * (label_smoothing / labels.classes)
        loss = (1 - label_smoothing) * loss + even
    return labels.reduced(loss, weights, reduction)


def _soft_cross_entropy(
    x: Node, target: Node, weight: Any, smoothing: float, reduction: str
) -> Node:
    """-sum_k weight_k p_k log_softmax(x)_k."""
    if x.shape != target.shape or not x.shape:
        problem = f"logits {x.shape} and probabilities {target.shape} must have one shape"
        if x.shape and target.shape in (x.shape[:1] + x.shape[2:], (*x.shape[:1], 1, *x.shape[2:])):
            problem += f"; a target of floats holds a probability for each class{AS_LABELS}"
        elif x.shape:
            problem += f": {unlike(('logits', 'probabilities'), (x.shape, target.shape))}"
        raise fail(ShapeError, "cross_entropy", [x, target], problem)
    axis = min(x.type.rank - 1, 1)
    classes = number("cross_entropy", x, axis)
    weights = _weights("cross_entropy", x, weight, classes)
    if smoothing:
        target = target * (1 - smoothing) + smoothing / classes
    term = log_softmax(x, axis) * target
    term = term if weights is None else _weighted(term, weights, axis)
    return _reduced("cross_entropy", -reduce.sum(term, axis), reduction)


def _weighted(term: Node, weights: Node, axis: int) -> Node:
    """Each class's term times its weight."""
    every = "n k ..." if axis else "k"
    return apply("weighted", f"{every}, k -> {every}", (X, WEIGHT), X * WEIGHT, [term, weights])


def _label_loss(labels: Labels, scores: Node, weights: Node | None) -> Node:
    """Minus the score at each label, times the label's weight."""
    picked = -labels.pick("pick", scores)
    picked = picked if weights is None else picked * labels.pick("weight", weights)
    return labels.kept(picked)


def nll_loss(
    log_probabilities: Any,
    labels: Any,
    *,
    weight: Any = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Node:
    """-x_label, for log-probabilities x: cross_entropy without its softmax.

    Shapes, weight, ignore_index, reduction and errors as cross_entropy's with labels. Source:
    torch.nn.functional.nll_loss.
    """
    found = Labels("nll_loss", log_probabilities, labels, ignore_index)
    weights = _weights("nll_loss", found.scores, weight, found.classes)
    return found.reduced(_label_loss(found, found.scores, weights), weights, reduction)


def multi_margin_loss(
    scores: Any,
    labels: Any,
    *,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    reduction: str = "mean",
) -> Node:
    """sum over k other than the label of max(0, margin - x_label + x_k)^p / K, p 1 or 2.

    The multi-class hinge. scores (N, K) or (K,) of floats, labels (N) or () in [0, K); weight (K)
    multiplies a row by its label's. The mean is over rows, unweighted. IndexError, ShapeError and
    DTypeError as cross_entropy's. Source: Weston and Watkins 1999;
    torch.nn.functional.multi_margin_loss.
    """
    found = Labels("multi_margin_loss", scores, labels, None)
    if p not in (1, 2):
        raise fail(UnsupportedOpError, "multi_margin_loss", [found.scores], f"p = {p}; 1 or 2")
    weights = _weights("multi_margin_loss", found.scores, weight, found.classes)
    short = margin - PICKED + X
    none = sympy.Or(found.chosen, short <= 0)
    expr = sympy.Piecewise((0, none), (short**p, True)) / found.classes
    operands = [found.scores, found.pick("pick", found.scores), found.labels]
    loss = apply(
        "multi_margin_loss", f"{found.every}, {found.rows}, {found.rows} -> {found.rows}",
        (X, PICKED, LABEL), expr, operands,
    )  # fmt: skip
    if weights is not None:
        loss = loss * found.pick("weight", weights)
    return _reduced("multi_margin_loss", loss, reduction)
