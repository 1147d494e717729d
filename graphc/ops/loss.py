"""Losses: how far predictions are from targets, as one number or one per element."""

from __future__ import annotations

from typing import Any

import sympy

from graphc.errors import ShapeError, UnsupportedOpError
from graphc.graph.node import Node
from graphc.ops import reduce, scalar
from graphc.ops.arithmetic import cast
from graphc.ops.make import as_node, fail
from graphc.ops.op import op
from graphc.ops.remedy import unlike
from graphc.ops.scalar import Expr, maximum


def _pair(name: str, x: Any, target: Any) -> tuple[Node, Node]:
    """Prediction and target as nodes of one shape: a broadcast here is mostly a mistake."""
    x = as_node(x)
    target = as_node(target, x.dtype)
    if x.shape != target.shape:
        problem = (
            f"prediction {x.shape} and target {target.shape} must have one shape: "
            f"{unlike(('prediction', 'target'), (x.shape, target.shape))}"
        )
        raise fail(ShapeError, name, [x, target], problem)
    return x, target


def _reduced(name: str, loss: Node, reduction: str) -> Node:
    if reduction == "none":
        return loss
    if reduction == "sum":
        return reduce.sum(loss)
    if reduction == "mean":
        return reduce.mean(loss)
    raise fail(UnsupportedOpError, name, [loss], f"reduction {reduction!r}; mean, sum or none")


# --- regression -----------------------------------------------------------------------------


@op
def _squared_error(x: Expr, target: Expr) -> Expr:
    return (x - target) ** 2


@op
def _absolute_error(x: Expr, target: Expr) -> Expr:
    return scalar.absolute(x - target)


@op
def _huber(x: Expr, target: Expr, *, delta: Expr) -> Expr:
    distance = scalar.absolute(x - target)
    near = ((x - target) ** 2 / 2, distance <= delta)
    return sympy.Piecewise(near, (delta * (distance - delta / 2), True))


def mse_loss(x: Any, target: Any, *, reduction: str = "mean") -> Node:
    """(x - target)^2, and its mean over all elements, or sum, or none.

    x and target of one shape and a float dtype. The mean and the sum are scalars; an axis may be a
    run-time extent. Raises ShapeError where the shapes differ, UnsupportedOpError for another
    reduction. Source: torch.nn.functional.mse_loss.
    """
    return _reduced("mse_loss", _squared_error(*_pair("mse_loss", x, target)), reduction)


def l1_loss(x: Any, target: Any, *, reduction: str = "mean") -> Node:
    """|x - target|, with derivative 0 at 0. Shapes, reduction and errors as mse_loss's."""
    return _reduced("l1_loss", _absolute_error(*_pair("l1_loss", x, target)), reduction)


def huber_loss(x: Any, target: Any, *, delta: float = 1.0, reduction: str = "mean") -> Node:
    """d^2/2 where d = |x - target| <= delta, else delta*(d - delta/2).

    Shapes, reduction and errors as mse_loss's. Source: Huber 1964; torch.nn.functional.huber_loss.
    """
    loss = _huber(*_pair("huber_loss", x, target), delta=delta)
    return _reduced("huber_loss", loss, reduction)


def smooth_l1_loss(x: Any, target: Any, *, beta: float = 1.0, reduction: str = "mean") -> Node:
    """huber_loss/beta with delta = beta: d^2/(2 beta) where d <= beta, else d - beta/2; d if 0.

    Shapes, reduction and errors as mse_loss's. Source: Girshick 2015, eq. 3;
    torch.nn.functional.smooth_l1_loss.
    """
    if beta == 0:
        return l1_loss(x, target, reduction=reduction)
    loss = _huber(*_pair("smooth_l1_loss", x, target), delta=beta) * (1 / beta)
    return _reduced("smooth_l1_loss", loss, reduction)


@op
def _poisson(x: Expr, target: Expr) -> Expr:
    return sympy.exp(x) - target * x


def poisson_nll_loss(x: Any, target: Any, *, reduction: str = "mean") -> Node:
    """exp(x) - target*x: minus the log-likelihood of counts whose log-mean is x, but for log(n!).

    Shapes, reduction and errors as mse_loss's. Source: torch.nn.functional.poisson_nll_loss with
    log_input.
    """
    return _reduced("poisson_nll_loss", _poisson(*_pair("poisson_nll_loss", x, target)), reduction)


@op
def _gaussian(x: Expr, target: Expr, variance: Expr, *, eps: Expr) -> Expr:
    kept = maximum(variance, eps)
    return (sympy.log(kept) + (x - target) ** 2 / kept) / 2


def gaussian_nll_loss(
    x: Any, target: Any, variance: Any, *, eps: float = 1e-6, reduction: str = "mean"
) -> Node:
    """(log v + (x - target)^2/v)/2 with v = max(variance, eps), all of one shape.

    Minus the log-likelihood of a normal distribution but for a constant; the variance has no
    gradient below eps. Reduction and errors as mse_loss's. Source:
    torch.nn.functional.gaussian_nll_loss.
    """
    x, target = _pair("gaussian_nll_loss", x, target)
    _, variance = _pair("gaussian_nll_loss", x, variance)
    return _reduced("gaussian_nll_loss", _gaussian(x, target, variance, eps=eps), reduction)


# --- two classes ----------------------------------------------------------------------------


@op
def _bce(x: Expr, target: Expr) -> Expr:
    yes, no = maximum(sympy.log(x), -100), maximum(scalar.log1p(-x), -100)
    return -target * yes - (1 - target) * no


@_bce.derivative
def _(x: Expr, target: Expr) -> Expr:
    return (x - target) / maximum(x * (1 - x), sympy.Float(1e-12))


def _softplus(x: Expr) -> Expr:
    """log(1 + e^x) without overflow."""
    return maximum(x, 0) + scalar.log1p(sympy.exp(-scalar.absolute(x)))


@op
def _bce_logits(x: Expr, target: Expr) -> Expr:
    return _softplus(x) - x * target


@_bce_logits.derivative
def _(x: Expr, target: Expr) -> Expr:
    return scalar.logistic(x) - target


@op
def _bce_logits_weighted(x: Expr, target: Expr, weight: Expr) -> Expr:
    return (1 - target) * x + (1 + (weight - 1) * target) * _softplus(-x)


@_bce_logits_weighted.derivative
def _(x: Expr, target: Expr, weight: Expr) -> Expr:
    return 1 - target - (1 + (weight - 1) * target) * scalar.logistic(-x)


def bce_loss(x: Any, target: Any, *, reduction: str = "mean") -> Node:
    """-target*log(x) - (1 - target)*log(1 - x), for probabilities x; logarithms at least -100.

    The derivative by x is (x - target)/max(x*(1 - x), 1e-12). bce_with_logits is the better
    conditioned. Shapes, reduction and errors as mse_loss's. Source:
    torch.nn.functional.binary_cross_entropy.
    """
    return _reduced("bce_loss", _bce(*_pair("bce_loss", x, target)), reduction)


def bce_with_logits(
    x: Any, target: Any, *, pos_weight: Any = None, reduction: str = "mean"
) -> Node:
    """log(1 + e^x) - x*target: bce_loss of sigmoid(x), with derivative sigmoid(x) - target.

    With pos_weight w, which broadcasts against x: (1 - target)*x + (1 + (w - 1)*target)*log(1 +
    e^-x). Does not overflow. Shapes, reduction and errors as mse_loss's. Source:
    torch.nn.functional.binary_cross_entropy_with_logits.
    """
    x, target = _pair("bce_with_logits", x, target)
    if pos_weight is None:
        return _reduced("bce_with_logits", _bce_logits(x, target), reduction)
    loss = _bce_logits_weighted(x, target, as_node(pos_weight, x.dtype))
    return _reduced("bce_with_logits", loss, reduction)


@op
def _hinge(x: Expr, target: Expr) -> Expr:
    return sympy.Piecewise((0, 1 - target * x <= 0), (1 - target * x, True))


def hinge_loss(x: Any, target: Any, *, reduction: str = "mean") -> Node:
    """max(0, 1 - target*x), the targets -1 or 1; the derivative at the kink is 0.

    Shapes, reduction and errors as mse_loss's; targets of an integer dtype are cast. Source: Cortes
    and Vapnik 1995; keras.losses.Hinge.
    """
    x, target = _pair("hinge_loss", x, target)
    return _reduced("hinge_loss", _hinge(x, cast(target, x.dtype)), reduction)


@op
def _perceptron(x: Expr, target: Expr) -> Expr:
    return sympy.Piecewise((0, target * x > 0), (-target * x, True))


def perceptron_loss(x: Any, target: Any, *, reduction: str = "mean") -> Node:
    """max(0, -target*x), the targets -1 or 1; the derivative at the kink is -target.

    So a step down the loss of one example is Rosenblatt's rule, also where the score is still 0.
    Shapes, reduction and errors as mse_loss's; targets of an integer dtype are cast. Source:
    Rosenblatt, "The perceptron", Psychological Review 65(6), 1958; sklearn.linear_model.Perceptron.
    """
    x, target = _pair("perceptron_loss", x, target)
    return _reduced("perceptron_loss", _perceptron(x, cast(target, x.dtype)), reduction)


# --- distributions --------------------------------------------------------------------------


@op
def _divergence(x: Expr, target: Expr) -> Expr:
    return sympy.Piecewise((0, sympy.Eq(target, 0)), (target * (sympy.log(target) - x), True))


@op
def _log_divergence(x: Expr, target: Expr) -> Expr:
    return sympy.exp(target) * (target - x)


def kl_div(x: Any, target: Any, *, log_target: bool = False, reduction: str = "mean") -> Node:
    """target*(log(target) - x), 0 where target is 0: x log-probabilities, target probabilities.

    With log_target the target is a logarithm too: exp(target)*(target - x). The divergence proper
    is the sum over classes: reduction "batchmean" divides the sum by the leading extent; the
    others, shapes and errors are as mse_loss's. Source: torch.nn.functional.kl_div.
    """
    function = _log_divergence if log_target else _divergence
    loss = function(*_pair("kl_div", x, target))
    if reduction != "batchmean":
        return _reduced("kl_div", loss, reduction)
    if not loss.shape:
        raise fail(ShapeError, "kl_div", [loss], "batchmean needs a leading axis")
    return reduce.mean(reduce.sum(loss, range(1, loss.type.rank)))
