"""Gradient descent, with momentum."""

from __future__ import annotations

from typing import Any

from graphc import ops
from graphc.errors import InputError
from graphc.graph.node import Node
from graphc.optim.optimizer import Optimizer, Rate, State, like


class SGD(Optimizer):
    """x -= lr * v, with v = momentum * v + (1 - dampening) * gradient; the first v is the gradient.

    nesterov: x -= lr * (gradient + momentum * v). Formulas and defaults of torch.optim.SGD.
    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning",
    2013. Further options: see Optimizer.
    """

    slots = ("momentum_buffer",)

    def __init__(
        self,
        lr: Rate = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        **shared: Any,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise InputError("nesterov needs a momentum above 0 and dampening 0")
        super().__init__(
            lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            **shared,
        )

    def slots_in(self, position: int) -> tuple[str, ...]:
        """None without momentum."""
        return self.slots if self.setting(position, "momentum") else ()

    def rule(
        self,
        x: Node,
        gradient: Node,
        state: State,
        rate: Node,
        time: Node,
        settings: dict[str, Any],
    ) -> tuple[Node, State]:
        """The formulas above."""
        momentum, dampening = settings["momentum"], settings["dampening"]
        if not momentum:
            return x - like(rate, x) * gradient, {}
        velocity = momentum * state["momentum_buffer"]
        if dampening:
            later = velocity + (1 - dampening) * gradient
            velocity = ops.where(time <= 1.0, gradient, later)
        else:
            velocity = velocity + gradient
        step = gradient + momentum * velocity if settings["nesterov"] else velocity
        return x - like(rate, x) * step, {"momentum_buffer": velocity}
