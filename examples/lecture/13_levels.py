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

from functools import partial
from typing import Any

import numpy as np
from common import Arguments, Lesson, first, loaded
from pictures import clouds, grids

import graphc
from graphc import data, metrics, nn, ops, optim

Array = np.ndarray[Any, Any]
LEVELS = ("first pool", "second pool", "dense")
CHANNEL = 5  # of the second convolution, whose strongest patches are shown
FULL = (60_000, 60_000, (5, 3), 100)  # images for the net and for the probes, passes, steps up


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
    """A linear classifier on every level of a net: level by name -> [batch, class]."""

    def __init__(self, net: nn.Sequential) -> None:
        self.net = net
        self.probes = nn.ModuleList([nn.LazyLinear(10) for _ in LEVELS])

    def forward(self, x: Any) -> dict[str, Any]:
        answers = {}
        for name, level, probe in zip(LEVELS, self.net, self.probes, strict=False):
            x = level(x)
            answers[name] = probe(ops.flatten(x, 1))
        return answers


def together(answers: dict[str, Any], y: Any) -> Any:
    """The loss of all probes; each has weights of its own, so that each learns as if alone."""
    return sum(ops.cross_entropy(answer, y) for answer in answers.values())


def right(name: str, answers: dict[str, Any], y: Any) -> Any:
    """The accuracy of one level's probe."""
    return metrics.accuracy(answers[name], y)


def probed(net: nn.Sequential, images: data.Dataset, epochs: int) -> dict[str, float]:
    """The test accuracy of a linear classifier on each level; all learn in the same steps."""
    rate = optim.OneCycleLR(0.002, epochs, per="epoch")
    scores = {name: partial(right, name) for name in LEVELS}
    trainer = graphc.Trainer(Probes(net), together, optim.Adam(rate), scores)
    trainer.fit(images.x_train, {"y": images.y_train}, batch_size=64, epochs=epochs)
    found = trainer.evaluate(images.x_test, {"y": images.y_test})
    return {name: found[name] for name in LEVELS}


class Inside(nn.Module):
    """The dense units before their relu, and where a channel of the second level answers most."""

    def __init__(self, net: nn.Sequential) -> None:
        self.net = net

    def forward(self, x: Any) -> dict[str, Any]:
        channel = ops.flatten(self.net[1][0](self.net[0](x))[:, CHANNEL], 1)
        units = self.net[2][:2](self.net[:2](x))
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
    """Train, probe, climb, and draw; where quick, from 8,000 images, and probes from 1,000."""
    lesson = Lesson(__doc__, arguments)
    clothes = loaded(data.fashion_mnist)
    learned, labelled, epochs, steps = (8_000, 1_000, (4, 8), 30) if lesson.quick else FULL
    net = trained(first(clothes, learned), epochs[0])
    accuracy = probed(net, first(clothes, labelled), epochs[1])
    for k, name in enumerate(LEVELS):
        rises = k == 2 or (k == 1 and not lesson.quick)  # few images are too few for level 2
        known = f"above the {LEVELS[k - 1]}'s" if rises else "above 75 %"
        least = max(accuracy[below] for below in LEVELS[:k]) if rises else 0.75
        claim = f"linear probe of the {name}, test accuracy"
        lesson.claim(claim, f"{accuracy[name]:.2%}", known, accuracy[name] > least)

    seen = graphc.Trainer(Inside(net), "mse", optim.SGD()).predict(clothes.x_test, batch_size=500)
    images, driven = climbed(net, steps)
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
        x = graphc.input("x", (500, 1, 28, 28))
        levels = {name: net[:k](x) for k, name in enumerate(("pixels", *LEVELS))}
        spaces = graphc.compile({name: ops.flatten(y, 1) for name, y in levels.items()})
        drawing = partial(clouds, spaces(clothes.x_test[:500]), clothes.y_test[:500])
        lesson.draw("13_levels_spaces.png", drawing, (6, 1.8))
    return lesson.finish()


def shown(net: nn.Sequential, clothes: data.Dataset, seen: dict[str, Array]) -> dict[str, Any]:
    """Filters and maps of the first layer, and the nine strongest patches of a channel."""
    (maps,) = graphc.compile(net[0][:2], inputs={"x": (1, 1, 28, 28)})(clothes.x_test[:1])
    patches = []
    for image in np.argsort(seen["most"])[::-1][:9]:
        row, column = 2 * np.array(divmod(seen["place"][image], 8))  # it sees 14x14 pixels
        patches.append(clothes.x_test[image, 0, row : row + 14, column : column + 14])
    return {
        "filters of the first layer": (4, net[0][0].weight.value[:, 0]),
        "their maps of an ankle boot": (4, maps[0]),
        f"the strongest patches of channel {CHANNEL}": (3, patches),
    }


if __name__ == "__main__":
    main()
