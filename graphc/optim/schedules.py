"""Learning rates as functions of time: schedule(step, steps_per_epoch) -> rate.

The step is the global one, counted from 0 and going on across epochs; epoch number
step // steps_per_epoch, again from 0, is derived from it. Names and formulas are those of
torch.optim.lr_scheduler in closed form, so that any step can be asked for, in any order. `per` says
whether an extent of time (step_size, milestones, T_max, ...) counts steps or epochs.

Every schedule is a dataclass that can be pickled and compared, and frozen but for
ReduceLROnPlateau, which must see each epoch's value. Each raises InputError for arguments out of
range, when made.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from graphc.errors import InputError

Per = Literal["step", "epoch"]
Mode = Literal["min", "max"]


class Schedule(Protocol):
    """A learning rate for every step."""

    def __call__(self, step: int, steps_per_epoch: int, /) -> float:
        """The rate to use in global step `step`, counted from 0."""


@dataclass(frozen=True)
class Constant:
    """The rate lr, always."""

    lr: float

    def __post_init__(self) -> None:
        _check(self.lr)

    def __call__(self, step: int, steps_per_epoch: int) -> float:
        return self.lr


@dataclass(frozen=True)
class StepLR:
    """lr * gamma**(t // step_size)."""

    lr: float
    step_size: int
    gamma: float = 0.1
    per: Per = field(default="epoch", kw_only=True)

    def __post_init__(self) -> None:
        _check(self.lr, self.per)
        _need(self.step_size >= 1, f"step_size must be at least 1, got {self.step_size}")

    def __call__(self, step: int, steps_per_epoch: int) -> float:
        t = _time(self.per, step, steps_per_epoch)
        return float(self.lr * self.gamma ** (t // self.step_size))


@dataclass(frozen=True)
class MultiStepLR:
    """lr * gamma**(number of milestones up to and including t); milestones increase."""

    lr: float
    milestones: tuple[int, ...]
    gamma: float = 0.1
    per: Per = field(default="epoch", kw_only=True)

    def __post_init__(self) -> None:
        _check(self.lr, self.per)
        object.__setattr__(self, "milestones", tuple(self.milestones))  # a list may be given
        increase = list(self.milestones) == sorted(self.milestones)
        _need(increase, f"milestones must increase, got {self.milestones}")

    def __call__(self, step: int, steps_per_epoch: int) -> float:
        t = _time(self.per, step, steps_per_epoch)
        return float(self.lr * self.gamma ** bisect_right(self.milestones, t))


@dataclass(frozen=True)
class ExponentialLR:
    """lr * gamma**t."""

    lr: float
    gamma: float
    per: Per = field(default="epoch", kw_only=True)

    def __post_init__(self) -> None:
        _check(self.lr, self.per)

    def __call__(self, step: int, steps_per_epoch: int) -> float:
        return float(self.lr * self.gamma ** _time(self.per, step, steps_per_epoch))


@dataclass(frozen=True)
class LambdaLR:
    """lr * function(t). It can be pickled where the function can: a named one of a module."""

    lr: float
    function: Callable[[int], float]
    per: Per = field(default="epoch", kw_only=True)

    def __post_init__(self) -> None:
        _check(self.lr, self.per)

    def __call__(self, step: int, steps_per_epoch: int) -> float:
        return self.lr * self.function(_time(self.per, step, steps_per_epoch))


@dataclass(frozen=True)
class LinearLR:
    """lr times a factor that runs from start_factor to end_factor over total_iters, then stays."""

    lr: float
    start_factor: float = 1 / 3
    end_factor: float = 1.0
    total_iters: int = 5
    per: Per = field(default="epoch", kw_only=True)

    def __post_init__(self) -> None:
        _check(self.lr, self.per)
        _need(self.total_iters >= 1, f"total_iters must be at least 1, got {self.total_iters}")

    def __call__(self, step: int, steps_per_epoch: int) -> float:
        t = min(_time(self.per, step, steps_per_epoch), self.total_iters)
        rise = (self.end_factor - self.start_factor) * t / self.total_iters
        return self.lr * (self.start_factor + rise)


@dataclass(frozen=True)
class PolynomialLR:
    """lr * (1 - t/total_iters)**power, and 0 from total_iters on."""

    lr: float
    total_iters: int = 5
    power: float = 1.0
    per: Per = field(default="epoch", kw_only=True)

    def __post_init__(self) -> None:
        _check(self.lr, self.per)
        _need(self.total_iters >= 1, f"total_iters must be at least 1, got {self.total_iters}")
        _need(self.power > 0, f"power must be positive, got {self.power}")

    def __call__(self, step: int, steps_per_epoch: int) -> float:
        t = min(_time(self.per, step, steps_per_epoch), self.total_iters)
        return float(self.lr * (1 - t / self.total_iters) ** self.power)


@dataclass(frozen=True)
class CosineAnnealingLR:
    """eta_min + (lr - eta_min) * (1 + cos(pi * t/T_max)) / 2; it rises again after T_max.

    Source: Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts",
    arXiv:1608.03983, equation 5, without the restarts.
    """

    lr: float
    T_max: int
    eta_min: float = 0.0
    per: Per = field(default="epoch", kw_only=True)

    def __post_init__(self) -> None:
        _check(self.lr, self.per)
        _need(self.T_max >= 1, f"T_max must be at least 1, got {self.T_max}")

    def __call__(self, step: int, steps_per_epoch: int) -> float:
        t = _time(self.per, step, steps_per_epoch)
        return _cosine(self.lr, self.eta_min, t / self.T_max)


@dataclass(frozen=True)
class LinearWarmup:
    """Rise from start_factor times the first rate of `after` to that rate, then follow `after`.

    The rise takes `length` steps or epochs, and is by the step in both cases; the first step of
    `after` is the one after it, so that a schedule of n steps ends at step length + n.
    """

    after: Schedule
    length: int
    start_factor: float = 0.0
    per: Per = field(default="step", kw_only=True)

    def __post_init__(self) -> None:
        _need(self.length >= 0, f"length must not be negative, got {self.length}")
        _check(self.start_factor, self.per, name="start_factor")

    def __call__(self, step: int, steps_per_epoch: int) -> float:
        steps = self.length * (1 if self.per == "step" else steps_per_epoch)
        if step >= steps:
            return self.after(step - steps, steps_per_epoch)
        factor = self.start_factor + (1 - self.start_factor) * step / steps
        return self.after(0, steps_per_epoch) * factor


@dataclass(frozen=True)
class OneCycleLR:
    """Rise from max_lr/div_factor to max_lr, then fall to max_lr/(div_factor*final_div_factor).

    The cycle is `total` steps or epochs long, changes by the step in both cases, and stays at its
    end after it; the rise takes the part pct_start of it. With three_phase the fall goes back to
    the first rate as long as it rose, and then on to the last one. anneal_strategy "cos" or
    "linear" is the shape of each phase.

    Source: Smith, Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large
    Learning Rates", arXiv:1708.07120; phases as in torch.
    """

    max_lr: float
    total: int
    pct_start: float = 0.3
    anneal_strategy: Literal["cos", "linear"] = "cos"
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    three_phase: bool = False
    per: Per = field(default="step", kw_only=True)

    def __post_init__(self) -> None:
        _check(self.max_lr, self.per, name="max_lr")
        _need(self.total >= 1, f"total must be at least 1, got {self.total}")
        most = 0.5 if self.three_phase else 1
        _need(
            0 <= self.pct_start <= most,
            f"pct_start must be from 0 to {most}, got {self.pct_start}",
        )
        _need(
            self.anneal_strategy in ("cos", "linear"),
            f"anneal_strategy must be 'cos' or 'linear', got {self.anneal_strategy!r}",
        )
        _need(
            self.div_factor > 0 and self.final_div_factor > 0,
            f"the divisors must be positive, got {self.div_factor} and {self.final_div_factor}",
        )

    def __call__(self, step: int, steps_per_epoch: int) -> float:
        total = self.total * (1 if self.per == "step" else steps_per_epoch)
        first = self.max_lr / self.div_factor
        last = first / self.final_div_factor
        top = self.pct_start * total - 1
        phases = [(top, first, self.max_lr), (total - 1.0, self.max_lr, last)]
        if self.three_phase:
            down = 2 * self.pct_start * total - 2
            phases[1:] = [(down, self.max_lr, first), (total - 1.0, first, last)]
        anneal = _cosine if self.anneal_strategy == "cos" else _line
        begin = 0.0
        for end, low, high in phases:
            if step <= end and begin < end:
                return anneal(low, high, (step - begin) / (end - begin))
            begin = end
        return last


@dataclass
class ReduceLROnPlateau:
    """lr, times `factor` whenever the monitored value has been bad for more than patience epochs.

    The trainer hands the value called `monitor` to on_epoch_end after every epoch. It is good where
    it beats the best one by threshold: relative to the best ("rel") or as a difference ("abs"), and
    bad otherwise, NaN included. After a cut, bad epochs do not count for `cooldown` epochs. The
    rate never falls below min_lr, and a cut of less than eps is not made. The rate does not depend
    on the step. `state_dict` holds best, bad_epochs, cooling and rate.
    """

    lr: float
    monitor: str = "val_loss"
    mode: Mode = "min"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: int = 0
    min_lr: float = 0.0
    eps: float = 1e-8
    rate: float = field(init=False)
    best: float = field(init=False)
    bad_epochs: int = field(init=False, default=0)
    cooling: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        _check(self.lr)
        _need(self.mode in ("min", "max"), f"mode must be 'min' or 'max', got {self.mode!r}")
        _need(0 < self.factor < 1, f"factor must lie between 0 and 1, got {self.factor}")
        _need(
            self.threshold_mode in ("rel", "abs"),
            f"threshold_mode must be 'rel' or 'abs', got {self.threshold_mode!r}",
        )
        most = 1 if self.threshold_mode == "rel" else math.inf
        _need(
            0 <= self.threshold < most,
            f"threshold must be at least 0 and below {most}, got {self.threshold}",
        )
        self.rate = self.lr
        self.best = math.inf if self.mode == "min" else -math.inf

    def __call__(self, step: int, steps_per_epoch: int) -> float:
        return self.rate

    def on_epoch_end(self, value: float) -> None:
        """Take note of an epoch's value; the rate of the next epoch may be lower."""
        if self._is_better(value):
            self.best, self.bad_epochs = value, 0
        else:
            self.bad_epochs += 1
        if self.cooling > 0:
            self.cooling -= 1
            self.bad_epochs = 0
        if self.bad_epochs <= self.patience:
            return
        self.cooling, self.bad_epochs = self.cooldown, 0
        lower = max(self.rate * self.factor, self.min_lr)
        if self.rate - lower > self.eps:
            self.rate = lower

    def state_dict(self) -> dict[str, float]:
        """What has been learned from the epochs so far."""
        return {
            "rate": self.rate,
            "best": self.best,
            "bad_epochs": self.bad_epochs,
            "cooling": self.cooling,
        }

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on where state_dict was taken. Raises InputError where a value is missing."""
        missing = [name for name in self.state_dict() if name not in state]
        _need(not missing, f"the state of ReduceLROnPlateau lacks {', '.join(missing)}")
        self.rate, self.best = float(state["rate"]), float(state["best"])
        self.bad_epochs, self.cooling = int(state["bad_epochs"]), int(state["cooling"])

    def _is_better(self, value: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "rel":
            bound = self.best * (1 + sign * self.threshold)
        else:
            bound = self.best + sign * self.threshold
        return value < bound if self.mode == "min" else value > bound


def plateau_of(schedule: Schedule) -> ReduceLROnPlateau | None:
    """The part of a schedule that must be told each epoch's value, inside a warm-up or not."""
    while isinstance(schedule, LinearWarmup):
        schedule = schedule.after
    return schedule if isinstance(schedule, ReduceLROnPlateau) else None


def _time(per: Per, step: int, steps_per_epoch: int) -> int:
    """t of the formulas: whole steps or whole epochs."""
    _need(per == "step" or steps_per_epoch > 0, f"no epoch has {steps_per_epoch} steps")
    return step if per == "step" else step // steps_per_epoch


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


def _line(start: float, end: float, part: float) -> float:
    return start + (end - start) * part


def _check(lr: float, per: Per = "step", *, name: str = "lr") -> None:
    _need(lr >= 0, f"{name} must not be negative, got {lr}")
    _need(per in ("step", "epoch"), f"per must be 'step' or 'epoch', got {per!r}")


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise InputError(message)
