"""Losses: from (prediction, target) nodes to a scalar node, by name and as modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from graphc import ops
from graphc.errors import InputError
from graphc.graph.node import Node
from graphc.nn.module import Module

LossFunction = Callable[[Node, Node], Node]


class Loss(Module):
    """What the losses share: an op of (prediction, target), and the options it is called with.

    reduction is "mean", "sum" or "none"; further options are those of the op.
    """

    function: ClassVar[Callable[..., Node]]
    integer_target: ClassVar[bool] = False

    def __init__(self, *, reduction: str = "mean", **options: Any) -> None:
        self.options = {"reduction": reduction, **options}

    def forward(self, prediction: Node, target: Node) -> Node:
        """A scalar; of the element's shape with reduction="none"."""
        return type(self).function(prediction, target, **self.options)

    def extra_repr(self) -> str:
        """The options."""
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())


class MSELoss(Loss):
    """The mean of (prediction - target)**2."""

    function = staticmethod(ops.mse_loss)


class L1Loss(Loss):
    """The mean of |prediction - target|."""

    function = staticmethod(ops.l1_loss)


class HuberLoss(Loss):
    """Quadratic within delta (an option, 1.0 by default), linear beyond."""

    function = staticmethod(ops.huber_loss)


class SmoothL1Loss(Loss):
    """HuberLoss / beta with delta = beta, an option, 1.0 by default."""

    function = staticmethod(ops.smooth_l1_loss)


class BCELoss(Loss):
    """Binary cross-entropy of probabilities; BCEWithLogitsLoss is the better conditioned."""

    function = staticmethod(ops.bce_loss)


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of logits and probabilities (0 and 1), without overflow."""

    function = staticmethod(ops.bce_with_logits)


class CrossEntropyLoss(Loss):
    """Cross-entropy of logits [n, k] and labels int [n], or probabilities [n, k].

    Options: weight, one for each class; ignore_index, a label that does not count (none unless
    given: torch's -100 must be asked for); label_smoothing; reduction.
    """

    function = staticmethod(ops.cross_entropy)
    integer_target = True


class NLLLoss(Loss):
    """The mean of -log-probability of the label: [n, k] and int [n]."""

    function = staticmethod(ops.nll_loss)
    integer_target = True


class HingeLoss(Loss):
    """The mean of max(0, 1 - target * prediction), target -1 or 1."""

    function = staticmethod(ops.hinge_loss)


class PerceptronLoss(Loss):
    """The mean of max(0, -target * prediction), target -1 or 1."""

    function = staticmethod(ops.perceptron_loss)


class MultiMarginLoss(Loss):
    """Multi-class hinge of scores [n, k] and labels int [n]."""

    function = staticmethod(ops.multi_margin_loss)
    integer_target = True


class KLDivLoss(Loss):
    """target * (log target - prediction), prediction as log-probabilities."""

    function = staticmethod(ops.kl_div)


LOSSES: dict[str, type[Loss]] = {
    "mse": MSELoss,
    "l1": L1Loss,
    "huber": HuberLoss,
    "smooth_l1": SmoothL1Loss,
    "bce": BCELoss,
    "bce_with_logits": BCEWithLogitsLoss,
    "cross_entropy": CrossEntropyLoss,
    "nll": NLLLoss,
    "hinge": HingeLoss,
    "perceptron": PerceptronLoss,
    "multi_margin": MultiMarginLoss,
    "kl_div": KLDivLoss,
}


def loss_of(loss: str | LossFunction) -> LossFunction:
    """The loss of a name, or the function as it is. Raises InputError with the names there are."""
    if isinstance(loss, type):
        raise InputError(f"loss={loss.__name__} is a class; give a loss, {loss.__name__}()")
    if callable(loss):
        return loss
    if loss not in LOSSES:
        raise InputError(f"unknown loss {loss!r}; known: {', '.join(LOSSES)}, or give a function")
    return LOSSES[loss]()


def target_dtype(loss: LossFunction, dtype: str) -> str | None:
    """What a loss wants its targets to be: "int64" where it takes labels, else `dtype`.

    None for a function that is none of graphc's: its targets are of the dtype they have.
    """
    if isinstance(loss, Loss):
        return "int64" if loss.integer_target else dtype
    kinds = {kind.function: kind for kind in LOSSES.values()}
    known = kinds.get(loss) if callable(loss) and getattr(loss, "__hash__", None) else None
    if known is None:
        return None
    return "int64" if known.integer_target else dtype
