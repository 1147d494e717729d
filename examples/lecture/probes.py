"""Linear probes on each level of a net that itself stays as it is; how far units were driven."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

import graphc
from graphc import data, metrics, nn, ops, optim


class Probes(nn.Module):
    """A linear classifier on each of some outputs of a net: name -> [batch, class]."""

    def __init__(self, net: nn.Module, names: Sequence[str]) -> None:
        self.net, self.names = net, names
        self.probes = nn.ModuleList([nn.LazyLinear(10) for _ in names])

    def forward(self, x: Any) -> dict[str, Any]:
        found = self.net(x)
        pairs = zip(self.names, self.probes, strict=True)
        return {name: probe(ops.flatten(found[name], 1)) for name, probe in pairs}


def together(answers: dict[str, Any], y: Any) -> Any:
    """The loss of all probes; each has weights of its own, so that each learns as if alone."""
    return sum(ops.cross_entropy(answer, y) for answer in answers.values())


def right(name: str, answers: dict[str, Any], y: Any) -> Any:
    """The accuracy of one probe."""
    return metrics.accuracy(answers[name], y)


def probed(
    net: nn.Module, names: Sequence[str], images: data.Dataset, epochs: int
) -> dict[str, float]:
    """The test accuracy of a linear classifier on each output; all learn in the same steps."""
    for parameter in net.parameters():
        parameter.trainable = False
    adam = optim.Adam(optim.OneCycleLR(0.002, epochs, per="epoch"))
    scores = {name: partial(right, name) for name in names}
    trainer = graphc.Trainer(Probes(net, names), together, adam, scores)
    trainer.fit(images.x_train, {"y": images.y_train}, batch_size=64, epochs=epochs)
    found = trainer.evaluate(images.x_test, {"y": images.y_test})
    return {name: found[name] for name in names}


def beyond(units: Any, driven: Any) -> Any:
    """How far units were driven over the largest of test images; NaN where 99 in 100 fire not."""
    seen, far = graphc.input("seen", units.shape), graphc.input("far", driven.shape)
    fires = ops.mean(ops.cast(ops.greater(seen, 0), "float32"), 0)
    ratio = ops.where(ops.greater(fires, 0.01), far / ops.max(seen, 0), np.nan)
    return graphc.compile(ratio)(units, driven)[0]
