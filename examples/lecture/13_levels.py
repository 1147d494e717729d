"""13. Levels of representation: what each layer of a trained net has learned, measured and drawn.

    GRAPHC_DATA_DIR=folder python examples/lecture/13_levels.py --out pictures

A linear probe reads the class from each level of a net that has learned Fashion-MNIST, inputs found
by gradient ascent drive its units further than any image does, and what its levels hold is drawn.

Sources: Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2016;
Erhan, Bengio, Courville and Vincent, "Visualizing higher-layer features of a deep network", 2009;
Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from checks import examine
from common import Arguments, Lesson, first, loaded
from pictures import clouds, grids, patches
from probes import beyond, probed

import graphc
from graphc import data, nn, ops, optim

LEVELS = ("first pool", "second pool", "dense")
CHANNEL = 5  # of the second convolution, whose strongest patches are shown
FULL = (60_000, 60_000, (5, 3), 100)  # images for the net and for the probes, passes, steps up


def three() -> nn.Sequential:
    """Three levels, and a classifier on top, from initial values of their own seed."""
    graphc.seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Flatten(), nn.Linear(512, 128), nn.ReLU()),
        nn.Linear(128, 10),
    )


def trained(net: nn.Sequential, images: data.Dataset, epochs: int) -> nn.Sequential:
    """The net, after as many passes over the images."""
    adam = optim.Adam(optim.OneCycleLR(0.004, epochs, per="epoch"))
    trainer = graphc.Trainer(net, "cross_entropy", adam, ["accuracy"])
    trainer.fit(images.x_train, images.y_train, batch_size=64, epochs=epochs)
    return net


class Inside(nn.Module):
    """What each level of a net makes of images, and what is looked at of it.

    units: the dense ones before their relu; most, place: a channel's strongest answer, and where.
    """

    def __init__(self, net: nn.Sequential) -> None:
        self.net = net

    def forward(self, x: Any) -> dict[str, Any]:
        found = {name: self.net[:k](x) for k, name in enumerate(LEVELS, 1)}
        maps = ops.flatten(self.net[1][0](found["first pool"])[:, CHANNEL], 1)
        units = self.net[2][:2](found["second pool"])
        return found | {"units": units, "most": ops.max(maps, 1), "place": ops.argmax(maps, 1)}


def climbed(lesson: Lesson, net: nn.Sequential, steps: int) -> Any:
    """Gradient ascent for all dense units as one scan: the images, how far each drives its own."""
    inside, units = Inside(net), np.eye(128, dtype=np.float32)

    def up(image: Any, _: None) -> tuple[Any, None]:
        (slope,) = graphc.grad(ops.sum(inside(image)["units"] * units), [image])
        size = ops.sqrt(ops.mean(ops.square(slope), (1, 2, 3), keepdims=True)) + 1e-12
        return ops.clip(image + 0.02 * slope / size, 0, 1), None

    image, _ = graphc.scan(up, np.full((128, 1, 28, 28), 0.5, np.float32), length=steps)
    program = graphc.compile((image, ops.sum(inside(image)["units"] * units, 1)))
    lesson.inside("The ascent of all units, one scan", program.as_text("graph"))
    return program()


def main(arguments: Arguments = None) -> dict[str, object]:
    """Train, probe, climb, and draw; where quick, from 20,000 images, and probes from 1,000."""
    lesson = Lesson(__doc__, arguments)
    clothes = loaded(data.fashion_mnist)
    examine(lesson, "the net", three(), (2, 1, 28, 28))
    learned, labelled, epochs, steps = (20_000, 1_000, (4, 8), 30) if lesson.quick else FULL
    net = trained(three(), first(clothes, learned), epochs[0])
    accuracy = probed(Inside(net), LEVELS, first(clothes, labelled), epochs[1])
    below = {"75 %": 0.75}
    for name in LEVELS:
        claim = f"linear probe of the {name}, test accuracy"
        rises = accuracy[name] > max(below.values())
        lesson.claim(claim, f"{accuracy[name]:.2%}", f"above {' and '.join(below)}", rises)
        below[f"the {name}'s"] = accuracy[name]

    seen = graphc.Trainer(Inside(net), "mse", optim.SGD()).predict(clothes.x_test, batch_size=500)
    images, driven = climbed(lesson, net, steps)
    ratios = beyond(seen["units"], driven)
    furthest, least = np.argsort(np.nan_to_num(ratios))[::-1][:9], 1.5 if lesson.quick else 3.0
    alive = np.isfinite(ratios).sum()
    claim = f"units of {alive} that ascent in [0, 1] drives beyond {least} times any test image"
    lesson.at_least(claim, int((ratios > least).sum()), 9)
    lesson.at_least("how far the median unit is driven", float(np.nanmedian(ratios)), least)
    if lesson.out:
        (maps,) = graphc.compile(net[0][:2], inputs={"x": (1, 1, 28, 28)})(clothes.x_test[:1])
        parts = {
            "filters of the first layer": (4, net[0][0].weight.value[:, 0]),
            "their maps of an ankle boot": (4, maps[0]),
            f"the strongest patches of channel {CHANNEL}": (3, patches(clothes.x_test, seen)),
            "found by gradient ascent": (3, images[furthest, 0]),
        }
        lesson.draw("13_levels_units.png", partial(grids, parts), (7, 5.6))
        spaces = {"pixels": clothes.x_test[:500]} | {name: seen[name][:500] for name in LEVELS}
        lesson.draw("13_levels_spaces.png", partial(clouds, spaces, clothes), (8, 2.8))
    return lesson.finish()


if __name__ == "__main__":
    main()
