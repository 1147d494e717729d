"""13. Levels of representation: what each layer of a trained net has learned, measured and drawn.

    python examples/lecture/13_levels.py --out pictures

A linear probe reads the class from each level of a net that has learned Fashion-MNIST; inputs found
by gradient ascent drive units further than any image does; and the net is looked into: its filters
and maps, the patches that a unit answers to most, two directions of each level's space.

Sources: Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2016;
Erhan, Bengio, Courville and Vincent, "Visualizing higher-layer features of a deep network", 2009;
Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from common import Arguments, Lesson, loaded
from pictures import clouds, grids

import graphc
from graphc import data, metrics, nn, ops, optim

Array = np.ndarray[Any, Any]
LEVELS = ("first pool", "second pool", "dense")
CHANNEL = 5
"""The channel of the second convolution whose strongest patches are shown."""


def trained(images: data.Dataset, epochs: int) -> nn.Sequential:
    """Three levels, and a classifier on top."""
    graphc.seed(0)
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Flatten(), nn.Linear(512, 128), nn.ReLU()),
        nn.Linear(128, 10),
    )
    rate = optim.OneCycleLR(0.004, epochs, per="epoch")
    trainer = graphc.Trainer(net, "cross_entropy", optim.Adam(rate), ["accuracy"])
    trainer.fit(images.x_train, images.y_train, batch_size=64, epochs=epochs)
    for parameter in net.parameters():
        parameter.trainable = False
    return net


class Probes(nn.Module):
    """A linear classifier on every level of a net."""

    def __init__(self, net: nn.Sequential) -> None:
        self.net = net
        self.probes = nn.ModuleList([nn.LazyLinear(10) for _ in LEVELS])

    def forward(self, x: Any) -> dict[str, Any]:
        """Level by name -> [batch, class]."""
        answers = {}
        for name, level, probe in zip(LEVELS, self.net, self.probes, strict=False):
            x = level(x)
            answers[name] = probe(ops.flatten(x, 1))
        return answers


def probed(net: nn.Sequential, images: data.Dataset, epochs: int) -> dict[str, float]:
    """The test accuracy of a linear classifier on each level; all learn in the same steps."""

    def loss(answers: dict[str, Any], y: Any) -> Any:
        first, second, third = (ops.cross_entropy(answers[name], y) for name in LEVELS)
        return first + second + third

    def right(name: str, answers: dict[str, Any], y: Any) -> Any:
        return metrics.accuracy(answers[name], y)

    rate = optim.OneCycleLR(0.002, epochs, per="epoch")
    scores = {name: partial(right, name) for name in LEVELS}
    trainer = graphc.Trainer(Probes(net), loss, optim.Adam(rate), scores)
    trainer.fit(images.x_train, {"y": images.y_train}, batch_size=64, epochs=epochs)
    found = trainer.evaluate(images.x_test, {"y": images.y_test})
    return {name: found[name] for name in LEVELS}


class Inside(nn.Module):
    """What units say of an image."""

    def __init__(self, net: nn.Sequential) -> None:
        self.net = net

    def forward(self, x: Any) -> dict[str, Any]:
        """The dense units before their relu, and where one channel of the second answers most."""
        first, second, dense, _ = self.net
        low = first(x)
        channel = ops.flatten(second[0](low)[:, CHANNEL], 1)
        units = dense[1](dense[0](second(low)))
        return {"units": units, "most": ops.max(channel, 1), "place": ops.argmax(channel, 1)}


def climbed(net: nn.Sequential, steps: int) -> tuple[Array, Array]:
    """For each dense unit an image in [0, 1], and how far it drives the unit.

    Gradient ascent for all units at once, as one scan: each step is a node of the same graph.
    """
    inside, units = Inside(net), np.eye(128, dtype=np.float32)

    def up(image: Any, _: None) -> tuple[Any, None]:
        (slope,) = graphc.grad(ops.sum(inside(image)["units"] * units), [image])
        size = ops.sqrt(ops.mean(ops.square(slope), (1, 2, 3), keepdims=True)) + 1e-12
        return ops.clip(image + 0.02 * slope / size, 0, 1), None

    image, _ = graphc.scan(up, np.full((128, 1, 28, 28), 0.5, np.float32), length=steps)
    driven = ops.sum(inside(image)["units"] * units, 1)
    images, answers = graphc.compile([image, driven])()
    return images, answers


def main(arguments: Arguments = None) -> dict[str, object]:
    """Train, probe, climb, and draw."""
    lesson = Lesson(__doc__, arguments)
    clothes = loaded(data.fashion_mnist)
    if lesson.quick:
        x, y, count = clothes.x_train, clothes.y_train, 8_000
        clothes = replace(clothes, x_train=x[:count], y_train=y[:count])
    net = trained(clothes, 2 if lesson.quick else 5)
    accuracy = probed(net, clothes, 2 if lesson.quick else 3)
    for below, name in zip((None, *LEVELS), LEVELS, strict=False):
        rises = below is not None and not lesson.quick
        known = f"above the {below}'s" if rises else "above 75 %"
        least = accuracy[below] if rises else 0.75
        found = f"{accuracy[name]:.2%}"
        lesson.claim(
            f"linear probe of the {name}, test accuracy", found, known, accuracy[name] > least
        )

    look = graphc.Trainer(Inside(net), "mse", optim.SGD())
    seen = look.predict(clothes.x_test, batch_size=500)
    images, driven = climbed(net, 30 if lesson.quick else 100)
    largest = seen["units"].max(0)
    alive = np.flatnonzero(largest > 0)  # what relu lets through for some image
    furthest = alive[np.argsort(driven[alive] / largest[alive])[::-1][:9]]
    ratios = driven[furthest] / largest[furthest]
    least = 1.5 if lesson.quick else 3.0
    claim = "nine units by gradient ascent in [0, 1] / largest over the test images"
    found = f"{ratios.min():.2f} to {ratios.max():.2f}"
    lesson.claim(claim, found, f"beyond {least}", ratios.min() > least)

    if lesson.out:
        parts = shown(net, clothes, seen) | {"found by gradient ascent": (3, images[furthest, 0])}
        lesson.draw("13_levels_units.png", partial(grids, parts), (7, 5.6))
        spaces = partial(clouds, levels(net, clothes.x_test[:500]), clothes.y_test[:500])
        lesson.draw("13_levels_spaces.png", spaces, (6, 1.8))
    return lesson.finish()


def shown(net: nn.Sequential, clothes: data.Dataset, seen: dict[str, Array]) -> dict[str, Any]:
    """Filters and maps of the first layer, and the nine strongest patches of a channel."""
    x = clothes.x_test[:1]
    (maps,) = graphc.compile(net[0][:2], inputs={"x": x.shape})(x)
    patches = []
    for image in np.argsort(seen["most"])[::-1][:9]:
        row, column = 2 * np.array(divmod(seen["place"][image], 8))  # it sees 14x14 pixels
        patches.append(clothes.x_test[image, 0, row : row + 14, column : column + 14])
    return {
        "filters of the first layer": (4, net[0][0].weight.value[:, 0]),
        "their maps of an ankle boot": (4, maps[0]),
        f"the strongest patches of channel {CHANNEL}": (3, patches),
    }


def levels(net: nn.Sequential, images: Array) -> dict[str, Array]:
    """What each level makes of the images, flat."""
    x = graphc.input("x", images.shape)
    found = {"pixels": x}
    for name, level in zip(LEVELS, net, strict=False):
        x = found[name] = level(x)
    return graphc.compile({name: ops.flatten(y, 1) for name, y in found.items()})(images)


if __name__ == "__main__":
    main()
