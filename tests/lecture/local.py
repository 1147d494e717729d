"""Faults of one layer, rule or count, such as a net may learn with in spite of them."""

from __future__ import annotations

import sys
from pathlib import Path
from time import process_time
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import graphc
from graphc import nn, ops, optim
from graphc.optim.optimizer import Optimizer
from graphc.runtime import cost


def passed_by(value: graphc.Node, way: graphc.Node) -> graphc.Node:
    """The value, with the gradient of another of the same shape."""
    return way + ops.stop_gradient(value - way)


# --- derivatives that are wrong where values are right ---------------------------------------


def open_relu(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """A relu whose derivative is 1 everywhere."""
    relu = ops.relu
    monkeypatch.setattr(nn.ReLU, "function", staticmethod(lambda x: passed_by(relu(x), x)))


def first_of_window(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Max pools of 2x2 whose gradient goes to the first element, largest or not."""
    pool = nn.MaxPool2d.function

    def wrong(x: graphc.Node, *given: Any, **options: Any) -> graphc.Node:
        return passed_by(pool(x, *given, **options), x[:, :, ::2, ::2])

    monkeypatch.setattr(nn.MaxPool2d, "function", staticmethod(wrong))


# --- values that are wrong where their gradients agree ---------------------------------------


def unscaled_dropout(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Dropout without its 1/(1 - p)."""
    dropout = ops.dropout
    monkeypatch.setattr(ops, "dropout", lambda x, p, **rest: (1 - p) * dropout(x, p, **rest))


def padded_after(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Convolutions with all of their padding after the image."""
    straight = nn.Conv2d.function

    def wrong(*given: Any, **options: Any) -> graphc.Node:
        after = [(0, 2 * size) for size in options["padding"]]
        return straight(*given, **options | {"padding": after})

    monkeypatch.setattr(nn.Conv2d, "function", staticmethod(wrong))


def exchanged(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Convolutions with the stride and the padding of the height for the width."""
    straight = ops.conv2d

    def wrong(*given: Any, **options: Any) -> graphc.Node:
        turned = {k: v[::-1] if isinstance(v, tuple | list) else v for k, v in options.items()}
        return straight(*given, **turned)

    monkeypatch.setattr(ops, "conv2d", wrong)


def one_too_many(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Average pools that divide by one more than they have added up."""
    pool = ops.avg_pool2d
    monkeypatch.setattr(ops, "avg_pool2d", lambda x, n: pool(x, n) * (n * n / (n * n + 1)))


def left_heights(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Pieces as high as the target is at their left ends."""
    source = Path(str(module.__file__)).read_text("utf-8")
    middle = "targets((unit + 0.5) / pieces)"
    assert middle in source
    exec(source.replace(middle, "targets(unit / pieces)"), module.__dict__)


def all_alike(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Ensembles whose nets all start as the first."""
    draw = nn.LinearEnsemble.reset_parameters

    def wrong(layer: Any) -> None:
        draw(layer)
        layer.weight.value[:], layer.bias.value[:] = layer.weight.value[0], layer.bias.value[0]

    monkeypatch.setattr(nn.LinearEnsemble, "reset_parameters", wrong)


# --- rules of optimisers ---------------------------------------------------------------------


def corrected_by_beta1(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """An Adam that corrects its second average by the first beta."""
    rule = optim.Adam.rule

    def wrong(
        adam: Any, x: Any, gradient: Any, state: Any, rate: Any, time: Any, settings: Any
    ) -> Any:
        after, kept = rule(adam, x, gradient, state, rate, time, settings)
        first, second = (1 - ops.pow(beta, time) for beta in settings["betas"])
        return x + ops.cast(ops.sqrt(first / second), x.dtype) * (after - x), kept

    monkeypatch.setattr(optim.Adam, "rule", wrong)


def decayed_by(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optimisers whose weight decay is a multiple of what was asked for."""
    decayed = Optimizer.decayed

    def wrong(self: Any, x: Any, gradient: Any, rate: Any, settings: Any) -> Any:
        other = {**settings, "weight_decay": factor * settings["weight_decay"]}
        return decayed(self, x, gradient, rate, other)

    monkeypatch.setattr(Optimizer, "decayed", wrong)


def without_decay(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Optimisers that leave the weight decay out."""
    decayed_by(0.0, monkeypatch)


def growing(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Optimisers whose weight decay has the wrong sign."""
    decayed_by(-1.0, monkeypatch)


# --- counts and clocks -----------------------------------------------------------------------


def free_derivatives(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """A count that takes derivatives for nothing."""
    together = cost.together

    def wrong(nodes: Any, extents: Any) -> int:
        return together([node for node in nodes if ".d" not in node.op.name], extents)

    monkeypatch.setattr(cost, "together", wrong)


def late(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """A processor of which each second takes a thousand."""
    monkeypatch.setattr(sys.modules["common"], "process_time", lambda: 1000 * process_time())


def slow(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """A processor ten times as slow, and gradients that are computed three times over."""
    clock = SimpleNamespace(process_time=lambda: 10 * process_time())
    monkeypatch.setattr(module, "time", clock)
    call = graphc.Program.__call__

    def wrong(program: Any, *given: Any, **named: Any) -> Any:
        for _ in range(2 * ("cotangent" in [node.op.name for node in program.inputs])):
            call(program, *given, **named)
        return call(program, *given, **named)

    monkeypatch.setattr(graphc.Program, "__call__", wrong)
