"""Adam and its variants: averages of the gradient and of its square, both corrected for bias."""

from __future__ import annotations

from typing import Any

from graphc import ops
from graphc.errors import InputError
from graphc.graph.node import Node
from graphc.optim.adaptive import mix
from graphc.optim.optimizer import Optimizer, Rate, State, like

Betas = tuple[float, float]


class Adam(Optimizer):
    """m = b1*m + (1 - b1)*g, v = b2*v + (1 - b2)*g**2; x -= lr * m' / (sqrt(v') + eps).

    m' = m / (1 - b1**t) and v' = v / (1 - b2**t), computed in float64. amsgrad takes the largest
    v so far. Source: Kingma, Ba, arXiv:1412.6980, algorithm 1; Reddi et al., arXiv:1904.09237;
    formulas and defaults of torch.optim.Adam.
    """

    slots = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def __init__(
        self,
        lr: Rate = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        **shared: Any,
    ) -> None:
        if not all(0 <= beta < 1 for beta in betas):
            raise InputError(f"betas must be at least 0 and below 1, got {betas}")
        super().__init__(
            lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, **shared
        )

    def slots_in(self, position: int) -> tuple[str, ...]:
        """The largest v is kept with amsgrad alone."""
        return self.slots if self.setting(position, "amsgrad") else self.slots[:2]

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
        first, second = settings["betas"]
        m = mix(state["exp_avg"], gradient, first)
        v = mix(state["exp_avg_sq"], gradient * gradient, second)
        after = {"exp_avg": m, "exp_avg_sq": v}
        if settings["amsgrad"]:
            v = after["max_exp_avg_sq"] = ops.maximum(state["max_exp_avg_sq"], v)
        size = rate / (1.0 - ops.pow(first, time))
        correction = 1.0 / ops.sqrt(1.0 - ops.pow(second, time))
        spread = ops.sqrt(v) * like(correction, x) + settings["eps"]
        return x - like(size, x) * (m / spread), after


class AdamW(Adam):
    """Adam whose weight decay acts on the parameter itself: x -= lr * weight_decay * x first.

    Source: Loshchilov, Hutter, arXiv:1711.05101, algorithm 2; defaults of torch.optim.AdamW.
    """

    def __init__(
        self,
        lr: Rate = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        **shared: Any,
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay, amsgrad, **shared)

    def decayed(self, x: Node, gradient: Node, rate: Node, settings: dict[str, Any]) -> Node:
        """Only L1 decay goes through the gradient."""
        return super().decayed(x, gradient, rate, {**settings, "weight_decay": 0.0})

    def rule(
        self,
        x: Node,
        gradient: Node,
        state: State,
        rate: Node,
        time: Node,
        settings: dict[str, Any],
    ) -> tuple[Node, State]:
        """Decay, then Adam's step."""
        if settings["weight_decay"]:
            x = x * like(1.0 - rate * settings["weight_decay"], x)
        return super().rule(x, gradient, state, rate, time, settings)


class Adamax(Optimizer):
    """Adam by the largest gradient: u = max(b2*u, |g| + eps); x -= lr / (1 - b1**t) * m / u.

    Source: Kingma, Ba, arXiv:1412.6980, algorithm 2; formulas and defaults of torch.optim.Adamax.
    """

    slots = ("exp_avg", "exp_inf")

    def __init__(
        self,
        lr: Rate = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        **shared: Any,
    ) -> None:
        super().__init__(lr, betas=betas, eps=eps, weight_decay=weight_decay, **shared)

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
        first, second = settings["betas"]
        m = mix(state["exp_avg"], gradient, first)
        largest = ops.maximum(second * state["exp_inf"], ops.abs(gradient) + settings["eps"])
        size = rate / (1.0 - ops.pow(first, time))
        return x - like(size, x) * (m / largest), {"exp_avg": m, "exp_inf": largest}
