"""What a net is held to before it learns: differences of its cost, scipy's sums, means, rates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from common import Lesson, extra

import graphc
from graphc import nn, ops, optim

Shape = tuple[int, ...]
Cost = Callable[[graphc.Node, graphc.Node], graphc.Node]


def examine(lesson: Lesson, name: str, model: nn.Module, shape: Shape, **step: Any) -> None:
    """Claims of a net of ten classes and a batch of this shape; `step` is as for step_error.

    The model is in float64 after it, and not what is to be trained.
    """
    random = np.random.default_rng(0)
    error = step_error(model, random.random(shape), random.integers(0, 10, shape[0]), **step)
    lesson.at_most(f"{name}: a step beside central differences, relative", error, 1e-6)
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    if convolutions:
        far = float(np.max([convolution_error(layer) for layer in convolutions]))
        lesson.at_most(f"{name}: convolutions beside scipy's, largest difference", far, 1e-12)
    dropouts = [layer for layer in model.modules() if isinstance(layer, nn.Dropout)]
    if dropouts:
        kept, _ = nn.trace(dropouts[0], {"x": (100_000,)}, training=True)
        left = float(graphc.compile(ops.mean(kept))(np.ones(100_000))[0])
        lesson.claim(f"{name}: the mean of ones after dropout", left, "1", abs(left - 1) < 0.01)


def step_error(
    model: nn.Module,
    given: Any,
    wanted: Any,
    loss: Cost = ops.cross_entropy,
    *,
    optimizer: optim.Optimizer | None = None,
    rate: float = 1.0,
    cost: Cost | None = None,
) -> float:
    """How far one training step is from the slopes of the cost, relative to the largest.

    The step over -rate, times a random direction of each parameter, is held to the central
    difference of the cost along it, in float64 and with the same dropout. The cost is the loss
    unless it is given, with what the optimizer adds. The model stays as it was, but in float64.
    """
    kind = str(wanted.dtype if wanted.dtype.kind == "i" else "float64")
    inputs, targets = {"x": (given.shape, "float64")}, {"y": (wanted.shape, kind)}
    scores, _ = nn.trace(model.double(), inputs, training=True)
    value = graphc.compile((cost or loss)(scores, graphc.input("y", wanted.shape, kind)))
    step = graphc.compile_train_step(model, loss, optimizer or optim.SGD(rate), inputs, targets)
    parameters, batch = [*model.parameters()], {"x": given, "y": wanted}
    before = [parameter.value.copy() for parameter in parameters]
    graphc.seed(0)
    step(**batch)
    slopes = [(old - new.value) / rate for old, new in zip(before, parameters, strict=True)]
    graphc.seed(0)  # the same draws again
    for parameter, old in zip(parameters, before, strict=True):
        parameter.assign(old)
    random, h, errors, sizes = np.random.default_rng(0), 1e-6, [], []
    for parameter, old, slope in zip(parameters, before, slopes, strict=True):
        along, ends = random.standard_normal(old.shape), []
        for reach in (h, -h):
            parameter.assign(old + reach * along)
            ends.append(float(value(**batch)[0]))
        parameter.assign(old)
        sizes.append(abs(ends[0] - ends[1]) / (2 * h))
        errors.append(abs((ends[0] - ends[1]) / (2 * h) - np.vdot(slope, along)))
    return float(np.max(errors) / np.max(sizes))  # unlike max, np.max does not pass over a NaN


def convolution_error(layer: nn.Conv2d) -> float:
    """The largest difference of a layer's maps to scipy's, of two images that are not square."""
    images = np.random.default_rng(0).random((2, layer.in_channels, 9, 12))
    (found,) = graphc.compile(layer.double(), inputs={"x": (images.shape, "float64")})(images)
    known = correlated(images, layer.weight.value, layer.stride, layer.padding)
    return distance(found, known + layer.bias.value[:, None, None])


def distance(found: Any, known: Any) -> float:
    """The largest difference of two arrays; infinite where their shapes are not the same."""
    return float(np.abs(found - known).max()) if found.shape == known.shape else np.inf


def correlated(images: Any, filters: Any, stride: Any = (1, 1), padding: Any = (0, 0)) -> Any:
    """A convolution (n, f, h, w) by scipy.signal.correlate, one image and one filter at a time."""
    correlate, (down, across) = extra("scipy.signal").correlate, stride
    around = [(0, 0), *((p, p) for p in padding)]
    return np.array([
        [correlate(np.pad(image, around), one, "valid")[0, ::down, ::across] for one in filters]
        for image in images
    ])  # fmt: skip


def steady(optimizer: optim.Optimizer, steps: int) -> float:
    """How far a weight goes against a gradient of 1 in as many steps."""
    layer = nn.Linear(1, 1, bias=False, dtype="float64")
    began, one = float(layer.weight.value[0, 0]), {"x": np.ones((1, 1)), "y": np.ones((1, 1))}
    shapes = {"x": (1, 1)}, {"y": (1, 1)}
    step = graphc.compile_train_step(layer, lambda y, t: ops.sum(y * t), optimizer, *shapes)
    for _ in range(steps):
        step(**one)
    return began - float(layer.weight.value[0, 0])
