"""Learning rates against hand values, closed forms, and torch where it is installed."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from graphc.errors import InputError
from graphc.optim.schedules import (
    Constant,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LinearWarmup,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    Schedule,
    StepLR,
    plateau_of,
)

Make = Callable[[Any, Any], Any]
WRONG: Any = "wrong"


def halved(t: int) -> float:
    return 1 / (1 + t)


def rates(schedule: Schedule, steps: range | list[int], steps_per_epoch: int = 1) -> list[float]:
    return [schedule(step, steps_per_epoch) for step in steps]


ALL: dict[str, Schedule] = {
    "constant": Constant(0.1),
    "step": StepLR(0.1, 3, 0.5),
    "multistep": MultiStepLR(0.1, (2, 5), 0.5),
    "exponential": ExponentialLR(0.1, 0.9),
    "lambda": LambdaLR(0.1, halved),
    "linear": LinearLR(0.1),
    "polynomial": PolynomialLR(0.1, 4, 2.0),
    "cosine": CosineAnnealingLR(0.1, 10, 0.01),
    "onecycle": OneCycleLR(0.1, 20),
    "warmup": LinearWarmup(CosineAnnealingLR(0.1, 10), 4),
    "plateau": ReduceLROnPlateau(0.1),
}

HAND = [
    (Constant(0.1), [0, 1, 1000], [0.1, 0.1, 0.1]),
    (StepLR(1.0, 2, 0.5), [0, 1, 2, 3, 4], [1, 1, 0.5, 0.5, 0.25]),
    (MultiStepLR(1.0, (1, 3), 0.1), [0, 1, 2, 3, 9], [1, 0.1, 0.1, 0.01, 0.01]),
    (ExponentialLR(2.0, 0.5), [0, 1, 3], [2, 1, 0.25]),
    (LambdaLR(2.0, halved), [0, 1, 3], [2, 1, 0.5]),
    (LinearLR(1.0, 0.5, 1.0, 4), [0, 1, 2, 4, 9], [0.5, 0.625, 0.75, 1, 1]),
    (LinearLR(3.0, 1.0, 0.0, 3), [0, 1, 3, 4], [3, 2, 0, 0]),
    (PolynomialLR(1.0, 4, 2.0), [0, 1, 2, 4, 5], [1, 0.5625, 0.25, 0, 0]),
    (CosineAnnealingLR(1.0, 4), [0, 2, 4, 8], [1, 0.5, 0, 1]),
    (CosineAnnealingLR(1.0, 3, 0.4), [0, 1, 2, 3], [1, 0.85, 0.55, 0.4]),
    (LinearWarmup(Constant(1.0), 4), [0, 1, 2, 4, 5], [0, 0.25, 0.5, 1, 1]),
    (LinearWarmup(Constant(1.0), 4, 0.5), [0, 2, 4], [0.5, 0.75, 1]),
    (LinearWarmup(Constant(1.0), 0), [0, 1], [1, 1]),
    (LinearWarmup(StepLR(1.0, 2, 0.5), 2), [0, 1, 2, 3, 4], [0, 0.5, 1, 1, 0.5]),
    (
        OneCycleLR(1.0, 11, 4 / 11, "linear", 10.0, 10.0),
        [0, 1, 2, 3, 10, 99],
        [0.1, 0.4, 0.7, 1, 0.01, 0.01],
    ),
    (
        OneCycleLR(1.0, 9, 4 / 9, "linear", 10.0, 10.0, three_phase=True),
        [0, 3, 6, 7, 8, 9],
        [0.1, 1, 0.1, 0.055, 0.01, 0.01],
    ),
]


@pytest.mark.parametrize(("schedule", "steps", "expected"), HAND, ids=lambda p: type(p).__name__)
def test_hand_values(schedule: Schedule, steps: list[int], expected: list[float]) -> None:
    assert rates(schedule, steps) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_a_plain_float_that_survives_pickling(name: str) -> None:
    schedule = ALL[name]
    again = pickle.loads(pickle.dumps(schedule))
    assert again == schedule and repr(again) == repr(schedule)
    values = rates(schedule, range(50), 5)
    assert rates(again, range(50), 5) == values
    assert all(type(value) is float and value >= 0 for value in values)


@pytest.mark.parametrize(
    ("by_epoch", "by_step"),
    [
        (StepLR(1.0, 1), StepLR(1.0, 1, per="step")),
        (MultiStepLR(1.0, (1, 2)), MultiStepLR(1.0, (1, 2), per="step")),
        (ExponentialLR(1.0, 0.1), ExponentialLR(1.0, 0.1, per="step")),
    ],
)
def test_per_epoch_and_per_step(by_epoch: Schedule, by_step: Schedule) -> None:
    assert rates(by_epoch, [0, 9, 10, 19, 20], 10) == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert rates(by_step, [0, 1, 2], 10) == pytest.approx([1, 0.1, 0.01])


def test_a_length_in_epochs_still_moves_by_the_step() -> None:
    for per_epoch, per_step in (
        (LinearWarmup(Constant(1.0), 2, per="epoch"), LinearWarmup(Constant(1.0), 20)),
        (OneCycleLR(1.0, 3, per="epoch"), OneCycleLR(1.0, 30)),
    ):
        assert rates(per_epoch, range(40), 10) == rates(per_step, range(40), 10)


def test_one_cycle_ends_and_top() -> None:
    cycle = OneCycleLR(0.4, 100)
    values = rates(cycle, range(100))
    assert values[0] == pytest.approx(0.4 / 25)
    assert max(values) == values[29] == pytest.approx(0.4)
    assert values[-1] == pytest.approx(0.4 / 25 / 1e4)
    assert values[:30] == sorted(values[:30]) and values[29:] == sorted(values[29:], reverse=True)


@pytest.mark.parametrize("total", [1, 2, 3, 10])
@pytest.mark.parametrize("pct_start", [0.0, 0.1, 0.5, 1.0])
def test_short_cycles_are_defined(total: int, pct_start: float) -> None:
    for value in rates(OneCycleLR(1.0, total, pct_start), range(total + 2)):
        assert 0 < value <= 1 + 1e-12


def torch_rates(torch: Any, make: Make, n: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    values = []
    for _ in range(n):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


AS_TORCH: list[tuple[Schedule, Make]] = [
    (StepLR(0.3, 3, 0.5), lambda m, o: m.StepLR(o, 3, 0.5)),
    (MultiStepLR(0.3, (2, 2, 7)), lambda m, o: m.MultiStepLR(o, [2, 2, 7])),
    (ExponentialLR(0.3, 0.9), lambda m, o: m.ExponentialLR(o, 0.9)),
    (LambdaLR(0.3, halved), lambda m, o: m.LambdaLR(o, halved)),
    (LinearLR(0.3), lambda m, o: m.LinearLR(o)),
    (LinearLR(0.3, 0.9, 0.2, 8), lambda m, o: m.LinearLR(o, 0.9, 0.2, 8)),
    (PolynomialLR(0.3), lambda m, o: m.PolynomialLR(o)),
    (PolynomialLR(0.3, 15, 0.5), lambda m, o: m.PolynomialLR(o, 15, 0.5)),
    (CosineAnnealingLR(0.3, 7, 0.01), lambda m, o: m.CosineAnnealingLR(o, 7, 0.01)),
    (OneCycleLR(0.3, 20), lambda m, o: m.OneCycleLR(o, 0.3, 20)),
    (
        OneCycleLR(0.3, 20, 0.4, "linear", 10.0, 100.0, three_phase=True),
        lambda m, o: m.OneCycleLR(
            o,
            0.3,
            20,
            pct_start=0.4,
            anneal_strategy="linear",
            div_factor=10,
            final_div_factor=100,
            three_phase=True,
        ),
    ),
]


@pytest.mark.parametrize(("schedule", "make"), AS_TORCH, ids=lambda p: type(p).__name__)
def test_as_torch(schedule: Schedule, make: Make, torch: Any) -> None:
    expected = torch_rates(torch, make, 20)
    assert rates(schedule, range(20)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_plateau_by_hand() -> None:
    schedule = ReduceLROnPlateau(1.0, factor=0.5, patience=1, cooldown=1, min_lr=0.2)
    seen = []
    for value in (5.0, 4.0, 4.0, 4.0, 4.0, math.nan, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0):
        schedule.on_epoch_end(value)
        seen.append(schedule(0, 1))
    #              best best bad  cut  cool bad  cut   cool  bad   cut   cool  bad
    assert seen == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2, 0.2]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize("cooldown", [0, 2])
def test_plateau_as_torch(mode: str, threshold_mode: str, cooldown: int, torch: Any) -> None:
    options: dict[str, Any] = {
        "mode": mode,
        "threshold_mode": threshold_mode,
        "cooldown": cooldown,
        "factor": 0.5,
        "patience": 2,
        "threshold": 0.1,
        "min_lr": 0.05,
    }
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    schedule = ReduceLROnPlateau(1.0, **options)
    for epoch in range(60):
        value = 2 + math.sin(epoch * 0.7) / (1 + epoch / 10)
        reference.step(value)
        schedule.on_epoch_end(value)
        assert schedule(0, 1) == pytest.approx(optimizer.param_groups[0]["lr"])
    assert schedule(0, 1) < 1


def test_plateau_state_resumes() -> None:
    values = [3.0, 2.0, 2.5, 2.5, 2.5, 2.5, 2.5]
    whole, first, second = (ReduceLROnPlateau(1.0, patience=1, cooldown=1) for _ in range(3))
    for value in values:
        whole.on_epoch_end(value)
    for value in values[:3]:
        first.on_epoch_end(value)
    second.load_state_dict(first.state_dict())
    for value in values[3:]:
        second.on_epoch_end(value)
    assert second == whole and whole(0, 1) < 1
    with pytest.raises(InputError, match="lacks best"):
        second.load_state_dict({"rate": 1.0, "bad_epochs": 0, "cooling": 0})


def test_plateau_is_found_inside_a_warmup() -> None:
    schedule = ReduceLROnPlateau(1.0)
    assert plateau_of(LinearWarmup(LinearWarmup(schedule, 2), 2)) is schedule
    assert plateau_of(schedule) is schedule
    assert plateau_of(LinearWarmup(Constant(1.0), 2)) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1.0), "lr must not be negative, got -1.0"),
        (lambda: Constant(math.nan), "lr must not be negative, got nan"),
        (lambda: StepLR(1.0, 0), "step_size"),
        (lambda: StepLR(1.0, 1, per=WRONG), "per must be 'step' or 'epoch', got 'wrong'"),
        (lambda: MultiStepLR(1.0, (3, 2)), r"milestones must increase, got \(3, 2\)"),
        (lambda: LinearLR(1.0, total_iters=0), "total_iters"),
        (lambda: PolynomialLR(1.0, power=0.0), "power"),
        (lambda: CosineAnnealingLR(1.0, 0), "T_max"),
        (lambda: LinearWarmup(Constant(1.0), -1), "length"),
        (lambda: LinearWarmup(Constant(1.0), 1, -0.1), "start_factor"),
        (lambda: OneCycleLR(1.0, 0), "total"),
        (lambda: OneCycleLR(1.0, 10, 0.6, three_phase=True), "pct_start must be from 0 to 0.5"),
        (lambda: OneCycleLR(1.0, 10, anneal_strategy=WRONG), "anneal_strategy"),
        (lambda: OneCycleLR(1.0, 10, div_factor=0.0), "divisors"),
        (lambda: ReduceLROnPlateau(1.0, factor=1.0), "factor"),
        (lambda: ReduceLROnPlateau(1.0, mode=WRONG), "mode"),
        (lambda: ReduceLROnPlateau(1.0, threshold=1.0), "threshold"),
        (lambda: ReduceLROnPlateau(1.0, threshold_mode=WRONG), "threshold_mode"),
    ],
)
def test_arguments_out_of_range(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_an_epoch_has_steps() -> None:
    with pytest.raises(InputError, match="no epoch has 0 steps"):
        CosineAnnealingLR(0.1, 10, per="epoch")(3, 0)
    assert CosineAnnealingLR(0.1, 10, per="step")(0, 0) == pytest.approx(0.1)
