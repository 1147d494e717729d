"""Every optimiser against torch.optim over many steps; groups, clipping, rates and state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, ops, optim
from graphc.errors import InputError
from graphc.optim.optimizer import Optimizer

STEPS = 25
Array = np.ndarray[Any, Any]

CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "dampening": 0.3}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.01, "initial_accumulator_value": 0.2}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "weight_decay": 0.01}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.9, "centered": True, "momentum": 0.7, "weight_decay": 0.01}),
    ("Adam", {}),
    ("Adam", {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.1, "amsgrad": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.02, "weight_decay": 0.3}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.01, "weight_decay": 0.05}),
]


class Weights(nn.Module):
    """A matrix and a vector to be moved; the loss has large and small gradients."""

    def __init__(self, dtype: str) -> None:
        random = np.random.default_rng(3)
        self.w = nn.Parameter(random.standard_normal((3, 4)).astype(dtype))
        self.b = nn.Parameter(random.standard_normal(3).astype(dtype))

    def forward(self, x: Any) -> Any:
        """tanh(w x) + b."""
        return ops.tanh(ops.matmul(self.w, x)) + self.b


def inputs(dtype: str, steps: int = STEPS) -> list[Array]:
    """One vector a step."""
    return list(np.random.default_rng(4).standard_normal((steps, 4)).astype(dtype))


def ours(
    optimizer: Optimizer, dtype: str, xs: list[Array], model: Weights | None = None
) -> Weights:
    """The weights after a step for each x."""
    model = model or Weights(dtype)
    x = graphc.input("x", (4,), dtype)
    loss = ops.sum(ops.square(model(x) * np.array([3.0, 1.0, 0.01]).astype(dtype)))
    parameters = list(model.parameters())
    optimizer.attach(model.named_parameters())
    flows = graphc.grad(loss, [p.node for p in parameters])
    updates = optimizer.updates(dict(zip(parameters, flows, strict=True)))
    program = graphc.compile([loss], updates)
    for step, value in enumerate(xs, start=optimizer.step):
        optimizer.set_rates(step, 10)
        program(x=value)
    return model


def theirs(
    torch: Any, make: Any, dtype: str, xs: list[Array], clip: Any = None, rate: Any = None
) -> list[Array]:
    """The same by torch."""
    start = Weights(dtype)
    w, b = (torch.tensor(p.value, requires_grad=True) for p in start.parameters())
    optimizer = make([w, b])
    for step, x in enumerate(xs):
        for group in optimizer.param_groups if rate else ():
            group["lr"] = rate(step, 10)
        optimizer.zero_grad()
        scale = torch.tensor(np.array([3.0, 1.0, 0.01]).astype(dtype))
        (((torch.tanh(w @ torch.tensor(x)) + b) * scale) ** 2).sum().backward()
        if clip is not None:
            clip([w, b])
        optimizer.step()
    return [w.detach().numpy(), b.detach().numpy()]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_optimizer_equals_torch(torch: Any, name: str, options: dict[str, Any]) -> None:
    """In float64 to 1e-12."""
    model = ours(getattr(optim, name)(**options), "float64", inputs("float64"))
    wanted = theirs(
        torch, lambda p: getattr(torch.optim, name)(p, **options), "float64", inputs("float64")
    )
    for parameter, value in zip(model.parameters(), wanted, strict=True):
        np.testing.assert_allclose(parameter.value, value, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_optimizer_equals_torch_in_float32(torch: Any, name: str) -> None:
    """To a few roundings: bias corrections are computed in float64, as torch does."""
    model = ours(getattr(optim, name)(lr=1e-2), "float32", inputs("float32"))
    wanted = theirs(
        torch, lambda p: getattr(torch.optim, name)(p, lr=1e-2), "float32", inputs("float32")
    )
    for parameter, value in zip(model.parameters(), wanted, strict=True):
        assert parameter.dtype == "float32"
        np.testing.assert_allclose(parameter.value, value, rtol=2e-6, atol=2e-6)


def test_windowgrad() -> None:
    """ConvNetJS's formula, step by step."""
    x, g, total = np.array([1.0, -2.0]), np.array([0.5, 3.0]), np.zeros(2)
    parameter = nn.Parameter(x)
    optimizer = optim.WindowGrad(lr=0.1, ro=0.9)
    optimizer.attach([("x", parameter)])
    program = graphc.compile([], optimizer.updates({parameter: graphc.constant(g)}))
    for _ in range(5):
        program()
        total = 0.9 * total + (1 - 0.9) * g * g
        x = x - 0.1 * g / np.sqrt(total + 1e-8)
    np.testing.assert_allclose(parameter.value, x, rtol=1e-14)


def test_clip_norm_equals_torch(torch: Any) -> None:
    """All gradients are scaled together."""
    model = ours(optim.SGD(0.1, clip_norm=0.3), "float64", inputs("float64"))
    wanted = theirs(
        torch,
        lambda p: torch.optim.SGD(p, 0.1),
        "float64",
        inputs("float64"),
        clip=lambda p: torch.nn.utils.clip_grad_norm_(p, 0.3),
    )
    for parameter, value in zip(model.parameters(), wanted, strict=True):
        np.testing.assert_allclose(parameter.value, value, rtol=1e-12)


def test_clip_value_equals_torch(torch: Any) -> None:
    """Every element is limited."""
    model = ours(optim.SGD(0.1, clip_value=0.2), "float64", inputs("float64"))
    wanted = theirs(
        torch,
        lambda p: torch.optim.SGD(p, 0.1),
        "float64",
        inputs("float64"),
        clip=lambda p: torch.nn.utils.clip_grad_value_(p, 0.2),
    )
    for parameter, value in zip(model.parameters(), wanted, strict=True):
        np.testing.assert_allclose(parameter.value, value, rtol=1e-12)


def test_groups_equal_torch(torch: Any) -> None:
    """Rates and options by group; a group's own state where its options ask for it."""
    model = Weights("float64")
    w, b = model.parameters()
    groups = [{"params": [b], "lr": 0.02, "momentum": 0.5, "weight_decay": 0.1}]
    ours(optim.SGD(0.05, groups=groups), "float64", inputs("float64"), model)

    def make(parameters: list[Any]) -> Any:
        group = {"params": [parameters[1]], "lr": 0.02, "momentum": 0.5, "weight_decay": 0.1}
        return torch.optim.SGD([{"params": [parameters[0]]}, group], 0.05)

    wanted = theirs(torch, make, "float64", inputs("float64"))
    for parameter, value in zip((w, b), wanted, strict=True):
        np.testing.assert_allclose(parameter.value, value, rtol=1e-12)


def test_schedule_needs_no_compilation(torch: Any) -> None:
    """The rate is written between steps."""
    schedule = optim.StepLR(0.1, 7, per="step")
    model = ours(optim.SGD(schedule), "float64", inputs("float64"))
    wanted = theirs(
        torch, lambda p: torch.optim.SGD(p, 0.1), "float64", inputs("float64"), rate=schedule
    )
    for parameter, value in zip(model.parameters(), wanted, strict=True):
        np.testing.assert_allclose(parameter.value, value, rtol=1e-12)


def test_l1_decay() -> None:
    """x -= lr * l1_decay * sign(x) where the gradient is 0."""
    parameter = nn.Parameter(np.array([1.0, -2.0, 0.0]))
    optimizer = optim.SGD(0.5, l1_decay=0.1)
    optimizer.attach([("x", parameter)])
    program = graphc.compile([], optimizer.updates({parameter: graphc.constant(np.zeros(3))}))
    program()
    np.testing.assert_allclose(parameter.value, [0.95, -1.95, 0.0])


def test_state_goes_on_exactly() -> None:
    """Steps of a fresh optimiser with the state loaded equal those without a break."""
    xs = inputs("float32", 12)
    whole = ours(optim.Adam(0.01), "float32", xs)
    first, half = optim.Adam(0.01), Weights("float32")
    ours(first, "float32", xs[:6], half)
    second, rest = optim.Adam(0.5), Weights("float32")
    rest.load_state_dict(half.state_dict())
    second.attach(rest.named_parameters())
    second.load_state_dict(first.state_dict())
    assert second.lr == 0.01 and second.step == 6
    ours(second, "float32", xs[6:], rest)
    for parameter, wanted in zip(rest.parameters(), whole.parameters(), strict=True):
        np.testing.assert_array_equal(parameter.value, wanted.value)


def test_rates_can_be_read_and_set() -> None:
    """Setting lr keeps the ratio of the groups."""
    b = nn.Parameter(np.zeros(2))
    c = nn.Parameter(np.zeros(2))
    groups = [{"params": b, "lr_factor": 0.1}, {"params": c, "lr": 0.5}]
    optimizer = optim.SGD(1.0, groups=groups)
    rates = [optimizer.state_dict()[name].item() for name in ("lr", "lr.1", "lr.2")]
    assert rates == [1.0, 0.1, 0.5]
    optimizer.lr = 0.1
    rates = [optimizer.state_dict()[name].item() for name in ("lr", "lr.1", "lr.2")]
    np.testing.assert_allclose(rates, [0.1, 0.01, 0.05])
    assert optimizer.lr == 0.1 and not optimizer.scheduled
    assert repr(optim.SGD(0.5, momentum=0.9)) == "SGD(lr=0.5, momentum=0.9)"


def test_errors_say_what_is_wrong() -> None:
    """Options, groups and states that do not fit."""
    parameter = nn.Parameter(np.zeros(2))
    with pytest.raises(InputError, match="clip_norm must be positive, got 0"):
        optim.SGD(0.1, clip_norm=0)
    with pytest.raises(InputError, match="nesterov needs a momentum"):
        optim.SGD(0.1, nesterov=True)
    with pytest.raises(InputError, match="betas"):
        optim.Adam(betas=(0.9, 1.0))
    with pytest.raises(InputError, match=r"group 1 has params, beta; .* may have .*momentum"):
        optim.SGD(0.1, groups=[{"params": [parameter], "beta": 1}])
    with pytest.raises(InputError, match="stands in two groups"):
        optim.SGD(0.1, groups=[{"params": [parameter]}, {"params": [parameter]}])
    with pytest.raises(InputError, match="are not in the model"):
        optim.SGD(0.1, groups=[{"params": [parameter]}]).attach([])
    optimizer = optim.SGD(0.1, momentum=0.9)
    with pytest.raises(InputError, match=r"unexpected: w.momentum_buffer\n.*no model"):
        optimizer.load_state_dict({"step": 1, "lr": 0.1, "w.momentum_buffer": np.zeros(2)})
    optimizer.attach([("w", parameter)])
    with pytest.raises(InputError, match="another model"):
        optimizer.attach([("w", nn.Parameter(np.zeros(2)))])


def test_arguments_that_are_none_of_the_options_are_refused() -> None:
    model = nn.Linear(3, 2)
    with pytest.raises(InputError, match="Adam has no option 'learning_rate'; it has lr, betas"):
        optim.Adam(learning_rate=0.1)
    with pytest.raises(InputError, match=r"first argument of SGD is the rate.*not generator"):
        optim.SGD((p for p in model.parameters()), lr=0.1)  # type: ignore[misc, arg-type]  # torch's
    with pytest.raises(InputError, match="group 1 must be a dict with params"):
        optim.SGD(0.1, groups=[("bias", 0.01)])  # type: ignore[list-item]  # what is tested
    assert optim.SGD(0.1, weight_decay=0.1, clip_norm=1.0).lr == pytest.approx(0.1)
