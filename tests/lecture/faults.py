"""What may be planted into the lecture's examples, and the claims that must fail then."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import sympy

import graphc
from graphc import nn, ops, optim
from graphc.graph.rewrite import substitute
from graphc.optim import adaptive
from graphc.train import step as train_step
from tests.lecture import local

Fault = Callable[[pytest.MonkeyPatch, ModuleType], None]
RULES = ("sgd", "momentum", "nesterov", "adagrad", "windowgrad", "adadelta", "adam")
NETS = ("MNIST", "LeNet", "Fashion-MNIST")

# --- gradients ------------------------------------------------------------------------------


def scaled(factor: float, grad: Callable[..., Any]) -> Any:
    """The gradients that a function derives, times a factor."""
    return lambda *given: tuple(factor * flow for flow in grad(*given))


def uphill(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Gradients with the wrong sign."""
    monkeypatch.setattr(train_step, "grad", scaled(-1, train_step.grad))
    monkeypatch.setattr(graphc, "grad", scaled(-1, graphc.grad))


def training_uphill(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Training steps whose gradient has the wrong sign; what an example asks for is right."""
    monkeypatch.setattr(train_step, "grad", scaled(-1, train_step.grad))


def climbing_down(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Gradients with the wrong sign where an example asks for them; training is right."""
    monkeypatch.setattr(graphc, "grad", scaled(-1, graphc.grad))


def giant_steps(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Gradients so long that their sums are no longer exact."""
    monkeypatch.setattr(graphc, "grad", scaled(2.0**40, graphc.grad))


def steep_tanh(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """A derivative with the wrong sign in it: 1 + tanh(x)^2."""

    @graphc.op
    def tanh(x: Any) -> Any:
        return sympy.tanh(x)

    @tanh.derivative
    def _(result: Any) -> Any:
        return 1 + result**2

    monkeypatch.setattr(ops, "tanh", tanh)
    monkeypatch.setattr(nn.Tanh, "function", staticmethod(tanh))


def each_from_the_start(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """The chain rule anew for each variable: no two gradients share the way back, or the way on."""
    costs, grad = module.costs, graphc.grad

    def alone(value: graphc.Node, variables: list[graphc.Node]) -> tuple[graphc.Node, ...]:
        data = [node for node in graphc.Graph((value,)).nodes if node.op.name in ("x", "y")]
        found = []
        for k, variable in enumerate(variables):
            own = {n: graphc.input(f"{n.op.name}{k}", n.shape, n.dtype) for n in data}
            found += grad(substitute(value, own), [own.get(variable, variable)])
        return tuple(found)

    def counted(lesson: Any) -> None:
        monkeypatch.setattr(graphc, "grad", alone)
        costs(lesson)

    monkeypatch.setattr(module, "costs", counted)


def backwards(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """The gradient by the filters with the wrong sign, which takes no longer."""
    right = graphc.vjp

    def wrong(*given: Any) -> tuple[Any, ...]:
        by_image, by_filters = right(*given)
        return by_image, -by_filters

    monkeypatch.setattr(graphc, "vjp", wrong)


# --- units and their inputs -----------------------------------------------------------------


def firing_below(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Threshold units that fire below their threshold."""
    step = ops.step
    monkeypatch.setattr(ops, "step", lambda x: step(-x))


def without_weights(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Units whose weights are all 0."""
    monkeypatch.setattr(module, "LARGEST", dict.fromkeys(module.LARGEST, 0))


def other_side(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """A certificate with its sides exchanged."""
    right = module.certificate
    monkeypatch.setattr(module, "certificate", lambda points, truth: -right(points, truth))


def crossed_inputs(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """The table of inputs read along its other axis."""
    inputs = module.inputs
    monkeypatch.setattr(module, "inputs", lambda n: inputs(n).T.reshape(2**n, n))


def swapped_digits(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """The digits of the inputs, or of the things, read along their other axis."""
    digits = module.digits
    monkeypatch.setattr(module, "digits", lambda n: ops.reshape(digits(n).T, (2**n, n)))


def swapped_literals(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """The literals of the ANDs read along their other axis."""
    swapped_digits(monkeypatch, sys.modules["circuit"])


def made_twice(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Threshold units made twice each."""
    unit = module.Circuit.unit

    def twice(circuit: Any, *given: Any) -> Any:
        unit(circuit, *given)
        return unit(circuit, *given)

    monkeypatch.setattr(module.Circuit, "unit", twice)


# --- images, steps and times ----------------------------------------------------------------


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


def bordered(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """A convolution that pads where nobody asked it to."""
    straight = ops.conv2d
    layer = staticmethod(lambda *given, **options: straight(*given, **options | {"padding": 1}))
    monkeypatch.setattr(nn.Conv2d, "function", layer)
    monkeypatch.setattr(ops, "conv2d", partial(straight, padding=1))


def silent_floor(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """A convolution that drops what does not fit."""
    monkeypatch.setattr(ops, "conv2d", partial(ops.conv2d, floor=True))


def forgetful(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Averages that forget what they should keep."""
    monkeypatch.setattr(adaptive, "mix", lambda old, new, keep: (1 - keep) * old + keep * new)


def looking_ahead(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """A momentum that is Nesterov's."""
    other = lambda: optim.SGD(0.05, momentum=0.9, nesterov=True)  # noqa: E731
    monkeypatch.setitem(module.OPTIMIZERS, "momentum", other)


def untrained(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """A net that is looked into before it has learned."""
    monkeypatch.setattr(module, "trained", lambda net, *rest: net)


def last_alone(fault: Fault) -> Fault:
    """A fault that is planted where an example has the last of its nets alone."""

    def planted(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
        monkeypatch.setattr(module, "NETS", module.NETS[-1:])
        fault(monkeypatch, module)

    planted.__name__ = fault.__name__
    return planted


def both(first: Fault, second: Fault) -> Fault:
    """Two faults at once, by the name of the second."""

    def planted(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
        first(monkeypatch, module)
        second(monkeypatch, module)

    planted.__name__ = second.__name__
    return planted


def hurried(fault: Fault) -> Fault:
    """A fault that is found before an example trains, which it then does on few of the data.

    Doing so fails claims of what is trained, and none of those that such a fault is listed with.
    """

    def planted(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
        fit = graphc.Trainer.fit

        def soon_fitted(trainer: graphc.Trainer, x: Any, y: Any, **settings: Any) -> Any:
            held = settings.pop("validation_data", None)
            few = None if held is None else tuple(data[:256] for data in held)
            return fit(trainer, x[:256], y[:256], validation_data=few, **settings)

        monkeypatch.setattr(graphc.Trainer, "fit", soon_fitted)
        fault(monkeypatch, module)

    planted.__name__ = fault.__name__
    return planted


FAULTS: dict[str, dict[Fault, list[str]]] = {
    "01_threshold_unit": {
        without_weights: [f"n = {n}: {w}" for n in (1, 2, 3) for w in ("functions", "the others")],
        crossed_inputs: ["n = 2: functions", "n = 3: functions"],
        other_side: ["n = 2: the others", "n = 3: the others"],
    },
    "02_perceptron": {
        uphill: [
            *("the derived step", "bit for bit", "weights that differ", "test accuracy"),
            *("with no more mistakes", "as a part of the bound"),
        ],
        giant_steps: ["the largest score"],
    },
    "03_xor": {
        firing_below: ["truth table"],
        other_side: ["certificate"],
        steep_tanh: ["a step beside central differences"],
        local.all_alike: ["different nets"],
        uphill: ["of the first ten that learn it", "of 10 that learn it"],
    },
    "04_mlp": {
        uphill: [
            *("500 tanh: a step", "validation errors", "test error", "256-128-100: a step"),
            "test accuracy",
        ],
        hurried(steep_tanh): ["500 tanh: a step"],
        hurried(local.open_relu): ["256-128-100: a step"],
        hurried(local.without_decay): ["500 tanh: a step"],
        hurried(local.growing): ["500 tanh: a step"],
    },
    "05_universal_approximation": {
        firing_below: [
            f"{net}: largest error over the modulus at 1/H" for net in ("steps", "bumps")
        ],
        local.left_heights: [
            f"nets of {net}: largest error over the modulus at 1/(2H)" for net in ("steps", "bumps")
        ],
        uphill: ["trained nets of 16", "error of 16 units"],
    },
    "06_backpropagation": {
        steep_tanh: ["local derivatives", "central differences"],
        each_from_the_start: ["FLOPs backward over forward"],
        local.free_derivatives: ["FLOPs backward over forward"],
    },
    "07_sgd": {
        training_uphill: [f"{r}: {w}" for r in RULES for w in ("100 steps", "test accuracy")],
        forgetful: ["windowgrad: 100 steps", "adadelta: 100 steps"],
        looking_ahead: ["momentum: 100 steps"],
    },
    "08_parity": {
        firing_below: ["tree of XORs: wrong", "threshold units: wrong"],
        swapped_literals: ["and/or gates: wrong"],
        swapped_digits: ["and/or gates: units"],
        made_twice: ["tree of XORs: units", "threshold units: units"],
        local.late: ["gates: seconds", "XORs: seconds", "threshold units: seconds"],
        local.all_alike: ["different nets"],
        uphill: ["parity of 8 learned"],
    },
    "09_distributed_representations": {
        local.all_alike: ["different nets"],
        uphill: ["distinct codes", "decode all 8"],
        swapped_digits: ["values that 3", "a local code", "that share two"],
    },
    "10_convolution_seen": {
        lying: ["one number", "six maps", "random shapes"],
        local.exchanged: ["random shapes"],
        local.one_too_many: ["beside their means", "six maps"],
        bordered: ["six 5x5x3", "ten 5x5x6", "stride 1", "stride 2"],
        silent_floor: ["stride 3"],
    },
    "11_convolution_fast": {
        backwards: ["gradient . filters"],
        lying: ["maps beside scipy"],
        local.slow: ["forward, ms", "gradient by the image", "by the filters"],
    },
    "12_convnets": {
        uphill: [f"{net}: {w}" for net in NETS for w in ("a step beside", "test error")],
        hurried(lying): [f"{net}: convolutions beside" for net in NETS],
        last_alone(local.open_relu): ["Fashion-MNIST: a step beside"],
        last_alone(local.first_of_window): ["Fashion-MNIST: a step beside"],
        hurried(local.unscaled_dropout): [f"{net}: the mean" for net in NETS if net != "LeNet"],
        last_alone(local.padded_after): ["Fashion-MNIST: convolutions beside"],
        last_alone(local.corrected_by_beta1): ["ten of Adam's steps"],
    },
    "13_levels": {
        uphill: ["of the first pool", "of the second pool", "of the dense"],
        untrained: ["of the second pool", "of the dense"],
        both(untrained, lying): ["the net: convolutions beside"],
        both(untrained, local.open_relu): ["the net: a step beside"],
        climbing_down: ["drives beyond", "the median unit"],
    },
}
"""What is planted into each example, and a part of each claim that must fail then."""
