"""Optimisers with a rate for each element, from the history of its squared gradient."""

from __future__ import annotations

from typing import Any

from graphc import ops
from graphc.graph.node import Node
from graphc.optim.optimizer import Optimizer, Rate, State, like


class Adagrad(Optimizer):
    """sum += g**2; x -= lr / (1 + (t - 1)*lr_decay) * g / (sqrt(sum) + eps).

    Source: Duchi, Hazan, Singer, JMLR 12, 2011; formulas and defaults of torch.optim.Adagrad.
    """

    slots = ("sum",)

    def __init__(
        self,
        lr: Rate = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        **shared: Any,
    ) -> None:
        self.initial_accumulator_value = initial_accumulator_value
        super().__init__(lr, lr_decay=lr_decay, weight_decay=weight_decay, eps=eps, **shared)

    def start(self, slot: str) -> float:
        """The initial sum."""
        return self.initial_accumulator_value

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
        if settings["lr_decay"]:
            rate = rate / ((time - 1.0) * settings["lr_decay"] + 1.0)
        total = state["sum"] + gradient * gradient
        step = gradient / (ops.sqrt(total) + settings["eps"])
        return x - like(rate, x) * step, {"sum": total}


class WindowGrad(Optimizer):
    """sum = ro*sum + (1 - ro)*g**2; x -= lr * g / sqrt(sum + eps).

    Adagrad over a window that forgets: "windowgrad" of ConvNetJS (Karpathy, 2014), its defaults.
    """

    slots = ("sum",)

    def __init__(
        self,
        lr: Rate = 1e-2,
        ro: float = 0.95,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        **shared: Any,
    ) -> None:
        super().__init__(lr, ro=ro, eps=eps, weight_decay=weight_decay, **shared)

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
        total = mix(state["sum"], gradient * gradient, settings["ro"])
        step = gradient / ops.sqrt(total + settings["eps"])
        return x - like(rate, x) * step, {"sum": total}


class Adadelta(Optimizer):
    """x -= lr * d, d = g * sqrt(acc + eps) / sqrt(square + eps): averages of d**2 and g**2.

    Source: Zeiler, arXiv:1212.5701, algorithm 1; formulas and defaults of torch.optim.Adadelta.
    """

    slots = ("square_avg", "acc_delta")

    def __init__(
        self,
        lr: Rate = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        **shared: Any,
    ) -> None:
        super().__init__(lr, rho=rho, eps=eps, weight_decay=weight_decay, **shared)

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
        rho, eps = settings["rho"], settings["eps"]
        square = mix(state["square_avg"], gradient * gradient, rho)
        delta = ops.sqrt(state["acc_delta"] + eps) / ops.sqrt(square + eps) * gradient
        after = {"square_avg": square, "acc_delta": mix(state["acc_delta"], delta * delta, rho)}
        return x - like(rate, x) * delta, after


class RMSprop(Optimizer):
    """square = alpha*square + (1 - alpha)*g**2; x -= lr * g / (sqrt(square) + eps).

    centered subtracts the square of the average gradient below the root; with momentum, x -= lr*b,
    b = momentum*b + g / (...). Source: Hinton's lecture 6e of "Neural Networks for Machine
    Learning", 2012, and Graves, arXiv:1308.0850; formulas and defaults of torch.optim.RMSprop.
    """

    slots = ("square_avg", "grad_avg", "momentum_buffer")

    def __init__(
        self,
        lr: Rate = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        **shared: Any,
    ) -> None:
        super().__init__(
            lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
            **shared,
        )

    def slots_in(self, position: int) -> tuple[str, ...]:
        """The averages that the settings need."""
        needed = (True, self.setting(position, "centered"), self.setting(position, "momentum"))
        return tuple(slot for slot, need in zip(self.slots, needed, strict=True) if need)

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
        square = mix(state["square_avg"], gradient * gradient, settings["alpha"])
        after, spread = {"square_avg": square}, square
        if settings["centered"]:
            average = mix(state["grad_avg"], gradient, settings["alpha"])
            after["grad_avg"], spread = average, square - average * average
        step = gradient / (ops.sqrt(spread) + settings["eps"])
        if settings["momentum"]:
            step = settings["momentum"] * state["momentum_buffer"] + step
            after["momentum_buffer"] = step
        return x - like(rate, x) * step, after


def mix(old: Node, new: Node, keep: float) -> Node:
    """The exponentially weighted average: keep*old + (1 - keep)*new."""
    return keep * old + (1 - keep) * new
