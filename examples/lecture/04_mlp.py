"""4. The multilayer perceptron: a = Wx + b, h = g(a), and once more for every layer.

    python examples/lecture/04_mlp.py --out pictures

MNIST by the recipe of the deep learning tutorials: 500 tanh units, a rate of 0.01 that never
changes, 1e-4 times the sum of the squared weights, minibatches of 20. Fashion-MNIST by three layers
of 256, 128 and 100 units. The test images are looked at after each pass, and decide nothing.

Sources: LISA lab, "Deep Learning Tutorials", chapter "Multilayer Perceptron" (1.65 % after 828
passes over 50,000 images); the Fashion-MNIST benchmark of zalandoresearch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from common import Arguments, Lesson, first, loaded
from pictures import curves

import graphc
from graphc import data, nn, optim


def perceptron(sizes: Sequence[int], g: type[nn.Module]) -> nn.Sequential:
    """Layers of these sizes with g between them, weights uniform by fan-in and fan-out."""
    model = nn.Sequential()
    for inputs, units in pairwise(sizes):
        model.append(nn.Linear(inputs, units)).append(g())  # a = Wx + b, h = g(a)
    for layer in model[::2]:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return model[:-1]  # the last layer's scores go to the softmax of the loss


def learn(
    model: nn.Module, optimizer: optim.Optimizer, images: data.Dataset, batch: int, epochs: int
) -> list[float]:
    """Train, and return the test error in percent after each pass."""
    trainer = graphc.Trainer(model, "cross_entropy", optimizer, ["accuracy"], threads=1)
    history = trainer.fit(
        images.x_train,
        images.y_train,
        batch_size=batch,
        epochs=epochs,
        validation_data=(images.x_test, images.y_test),
        verbose=0,
    )
    return [100 * (1 - accuracy) for accuracy in history["val_accuracy"]]


def main(arguments: Arguments = None) -> dict[str, object]:
    """Train both nets."""
    lesson = Lesson(__doc__, arguments)
    digits, clothes = loaded(data.mnist, flat=True), loaded(data.fashion_mnist, flat=True)
    passes = (1000, 15)
    if lesson.quick:
        passes = (2, 4)
        digits, clothes = first(digits, 12_000), first(clothes, 12_000)
    graphc.seed(0)
    tanh = perceptron((784, 500, 10), nn.Tanh)
    forward = graphc.compile(tanh, inputs={"x": ("batch", 784)})
    lesson.inside("The net as mathematics", forward.as_text("graph"))
    weights = [layer.weight for layer in tanh[::2]]
    decay = {"params": weights, "weight_decay": 2e-4}  # the gradient of 1e-4 * sum(w**2)
    errors = learn(tanh, optim.SGD(0.01, groups=[decay]), digits, 20, passes[0])
    most = 13.0 if lesson.quick else 1.65
    claim = f"MNIST, 500 tanh units, test error after {passes[0]} passes, %"
    lesson.at_most(claim, errors[-1], most)

    graphc.seed(0)
    three = perceptron((784, 256, 128, 100, 10), nn.ReLU)
    adam = optim.Adam(optim.OneCycleLR(0.003, passes[1], per="epoch"))
    clothing = learn(three, adam, clothes, 128, passes[1])
    least = 78.0 if lesson.quick else 88.3
    claim = f"Fashion-MNIST, 256-128-100, test accuracy after {passes[1]} passes, %"
    lesson.at_least(claim, 100 - clothing[-1], least)

    found = {"MNIST, 500 tanh": errors, "Fashion-MNIST, 256-128-100": clothing}
    lines = {name: (range(1, len(line) + 1), line) for name, line in found.items()}
    axes = {"xscale": "log", "yscale": "log", "xlabel": "passes", "ylabel": "test error, %"}
    lesson.draw("04_mlp.png", partial(curves, lines, **axes), (6, 3.6))
    return lesson.finish()


if __name__ == "__main__":
    main()
