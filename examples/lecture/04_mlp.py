"""4. The multilayer perceptron: a = Wx + b, h = g(a), and once more for every layer.

    GRAPHC_DATA_DIR=folder python examples/lecture/04_mlp.py --out pictures

MNIST by the recipe of the deep learning tutorials: 500 tanh units, a rate of 0.01 that never
changes, 1e-4 times the sum of the squared weights, minibatches of 20 in the files' order, the last
10,000 images kept from training to say which pass was the best. With the first weights that its
code draws, the numbers are those that it prints. Fashion-MNIST by three layers of 256, 128 and 100
units; its test images are looked at after each pass, and decide nothing.

Sources: LISA lab, "Deep Learning Tutorials", chapter "Multilayer Perceptron" (best validation error
1.69 % after 828 passes, test error then 1.65 %; its mlp.py prints 9.62, 8.61 and 8.00 % after the
first three); the Fashion-MNIST benchmark of zalandoresearch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from checks import examine
from common import Arguments, Lesson, first, loaded
from pictures import curves

import graphc
from graphc import data, nn, ops, optim, train

TWO, THREE = (784, 500, 10), (784, 256, 128, 100, 10)
PUBLISHED = [9.62, 8.61, 8.00]  # validation error after each of the first passes, in percent


def perceptron(sizes: Sequence[int], g: type[nn.Module]) -> nn.Sequential:
    """Layers of these sizes with g between them, weights uniform by fan-in and fan-out."""
    model = nn.Sequential()
    for inputs, units in pairwise(sizes):
        model.append(nn.Linear(inputs, units)).append(g())  # a = Wx + b, h = g(a)
    for layer in model[::2]:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return model[:-1]  # the last layer's scores go to the softmax of the loss


def as_published(model: nn.Sequential) -> nn.Sequential:
    """The net with the weights that the tutorials' code begins with."""
    reach = np.sqrt(6 / (784 + 500))
    drawn = np.random.RandomState(1234).uniform(-reach, reach, (784, 500))
    model[0].weight.assign(drawn.T.astype("float32"))
    nn.init.zeros_(model[2].weight)
    return model


def recipe(model: nn.Sequential) -> optim.Optimizer:
    """A rate of 0.01, and the gradient of 1e-4 * sum(w**2): of the weights alone, no bias."""
    weights = [layer.weight for layer in model[::2]]
    return optim.SGD(0.01, groups=[{"params": weights, "weight_decay": 2e-4}])


def before_learning(lesson: Lesson) -> None:
    """A step of either net against central differences, the first's of its loss with the decay."""
    net = perceptron(TWO, nn.Tanh)

    def cost(scores: graphc.Node, labels: graphc.Node) -> graphc.Node:
        squares = sum(ops.sum(ops.square(layer.weight.node)) for layer in net[::2])
        return ops.cross_entropy(scores, labels) + 1e-4 * squares

    examine(lesson, "MNIST, 500 tanh", net, (4, 784), optimizer=recipe(net), rate=0.01, cost=cost)
    examine(lesson, "Fashion-MNIST, 256-128-100", perceptron(THREE, nn.ReLU), (4, 784))


def learn(
    trainer: graphc.Trainer, x: Any, y: Any, held: tuple[Any, Any], **settings: Any
) -> list[float]:
    """Train, and return the error on the images held out after each pass, in percent."""
    history = trainer.fit(x, y, validation_data=held, verbose=0, **settings)
    return [100 * (1 - accuracy) for accuracy in history["val_accuracy"]]


def main(arguments: Arguments = None) -> dict[str, object]:
    """Train both nets."""
    lesson = Lesson(__doc__, arguments)
    before_learning(lesson)
    digits, clothes = loaded(data.mnist, flat=True), loaded(data.fashion_mnist, flat=True)
    passes, clothes = ((3, 4), first(clothes, 12_000)) if lesson.quick else ((1000, 15), clothes)
    tanh = as_published(perceptron(TWO, nn.Tanh))
    forward = graphc.compile(tanh, inputs={"x": ("batch", 784)})
    lesson.inside("The net as mathematics", forward.as_text("graph"))
    trainer = graphc.Trainer(tanh, "cross_entropy", recipe(tanh), ["accuracy"], threads=1)
    x, y = digits.x_train * np.float32(255 / 256), digits.y_train  # the tutorials' scale
    held = (x[50_000:], y[50_000:])
    best = train.EarlyStopping("val_accuracy", patience=passes[0], restore_best_weights=True)
    settings = {"batch_size": 20, "epochs": passes[0], "shuffle": False, "callbacks": [best]}
    errors = learn(trainer, x[:50_000], y[:50_000], held, **settings)
    apart = max(abs(ours - theirs) for ours, theirs in zip(errors, PUBLISHED, strict=False))
    claim = "MNIST, 500 tanh units, validation errors of three passes beside the published, % apart"
    lesson.at_most(claim, apart, 0.03)
    test = trainer.evaluate(digits.x_test * np.float32(255 / 256), digits.y_test)["accuracy"]
    claim = f"MNIST, 500 tanh units, test error after the best of {passes[0]} passes, %"
    lesson.at_most(claim, round(100 * (1 - test), 2), 8.2 if lesson.quick else 1.65)

    graphc.seed(0)
    three = perceptron(THREE, nn.ReLU)
    adam = optim.Adam(optim.OneCycleLR(0.003, passes[1], per="epoch"))
    trainer = graphc.Trainer(three, "cross_entropy", adam, ["accuracy"], threads=1)
    held, settings = (clothes.x_test, clothes.y_test), {"batch_size": 128, "epochs": passes[1]}
    clothing = learn(trainer, clothes.x_train, clothes.y_train, held, **settings)
    claim = f"Fashion-MNIST, 256-128-100, test accuracy after {passes[1]} passes, %"
    lesson.at_least(claim, 100 - clothing[-1], 83.0 if lesson.quick else 88.3)

    found = {"MNIST, 500 tanh, held out": errors, "Fashion-MNIST, 256-128-100": clothing}
    lines = {name: (range(1, len(line) + 1), line) for name, line in found.items()}
    axes = {"xscale": "log", "yscale": "log", "xlabel": "passes", "ylabel": "error, %"}
    lesson.draw("04_mlp.png", partial(curves, lines, **axes), (6, 3.6))
    return lesson.finish()


if __name__ == "__main__":
    main()
