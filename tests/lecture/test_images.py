"""The lecture's examples on images: a planted fault makes each quick slice fail, and say where."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, ops, optim
from graphc.optim import adaptive
from graphc.train import step as train_step
from tests.test_lecture import Fault, ends_with, example, uphill

RULES = ("sgd", "momentum", "nesterov", "adagrad", "windowgrad", "adadelta", "adam")


def forgetful(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Averages that forget what they should keep."""
    monkeypatch.setattr(adaptive, "mix", lambda old, new, keep: (1 - keep) * old + keep * new)


def looking_ahead(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """A momentum that is Nesterov's."""
    other = lambda: optim.SGD(0.05, momentum=0.9, nesterov=True)  # noqa: E731
    monkeypatch.setitem(module.OPTIMIZERS, "momentum", other)


def lying(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Square filters whose axes are swapped."""
    straight = ops.conv2d

    def turned(image: Any, kernel: Any, *rest: Any, **options: Any) -> Any:
        if kernel.shape[-1] == kernel.shape[-2]:
            node = graphc.constant(kernel) if isinstance(kernel, np.ndarray) else kernel
            kernel = ops.swapaxes(node, 2, 3)
        return straight(image, kernel, *rest, **options)

    monkeypatch.setattr(ops, "conv2d", turned)
    monkeypatch.setattr(nn.Conv2d, "function", staticmethod(turned))


def backwards(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """The gradient by the filters with the wrong sign, which takes no longer."""
    right = graphc.vjp

    def wrong(*given: Any) -> tuple[Any, ...]:
        by_image, by_filters = right(*given)
        return by_image, -by_filters

    monkeypatch.setattr(graphc, "vjp", wrong)


def slow(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """A forward pass of 100 ms, and gradients of 200."""
    timed = module.timed

    def delayed(*given: Any) -> Any:
        results, times = timed(*given)
        return results, {n: t + (100 if n == "forward" else 200) for n, t in times.items()}

    monkeypatch.setattr(module, "timed", delayed)


def step_uphill(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Training steps whose gradient has the wrong sign; the reference's is right."""
    grad = train_step.grad
    wrong: Any = lambda *given: tuple(-flow for flow in grad(*given))  # noqa: E731
    monkeypatch.setattr(train_step, "grad", wrong)


def climbing_down(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Gradients with the wrong sign where an example asks for them; training is right."""
    grad = graphc.grad
    monkeypatch.setattr(graphc, "grad", lambda *given: tuple(-flow for flow in grad(*given)))


def upside_down(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """The levels' accuracies in the order from the top."""
    right = module.probed

    def wrong(*given: Any) -> dict[str, float]:
        found = right(*given)
        return dict(zip(found, reversed(found.values()), strict=True))

    monkeypatch.setattr(module, "probed", wrong)


def silent_floor(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """A convolution that drops what does not fit."""
    monkeypatch.setattr(ops, "conv2d", partial(ops.conv2d, floor=True))


FAULTS: list[tuple[str, Fault, str]] = [
    ("04_mlp", uphill, "MNIST, 500 tanh units|Fashion-MNIST"),
    ("07_sgd", step_uphill, "|".join(f"{rule}: 100 steps" for rule in RULES)),
    ("07_sgd", forgetful, "windowgrad: 100 steps|adadelta: 100 steps"),
    ("07_sgd", looking_ahead, "momentum: 100 steps"),
    ("10_convolution_seen", lying, "one number|beside scipy"),
    ("10_convolution_seen", silent_floor, "stride 3"),
    ("11_convolution_fast", backwards, "gradient . filters"),
    ("11_convolution_fast", slow, "forward, ms|gradient by the image|by the filters"),
    ("12_convnets", uphill, "MNIST|LeNet|Fashion-MNIST"),
    ("13_levels", uphill, "linear probe of the dense"),
    ("13_levels", upside_down, "linear probe of the dense"),
    ("13_levels", climbing_down, "nine units"),
]


@pytest.mark.parametrize(
    ("name", "fault", "claims"), FAULTS, ids=lambda v: getattr(v, "__name__", v)
)
def test_a_planted_fault_is_found(
    name: str,
    fault: Fault,
    claims: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = example(name, request)
    fault(monkeypatch, module)
    ends_with(module, claims, capsys)


def test_the_record_keeps_rows_and_text(request: pytest.FixtureRequest) -> None:
    """run_all writes its table between the marks, in order, and reads it back."""
    module = example("run_all", request)
    page = f"above\n{module.BEGIN}{module.END}\nbelow\n"
    rows = {name: [f"| {name} | claim | 1 | 2 | 0 | today |"] for name in ("12_b", "04_a")}
    full = module.written(page, "a machine.", rows)
    assert full.startswith("above\n") and full.endswith("\nbelow\n")
    assert full.index("04_a") < full.index("12_b")
    assert module.recorded(full) == ("a machine.", rows)
    assert module.written(full, "a machine.", rows) == full
