"""12. ConvNets: convolution, max pooling and two dense layers, three times over.

    python examples/lecture/12_convnets.py --out pictures

A small net learns MNIST within five passes; LeNet is trained by the recipe of the deep learning
tutorials (20 and 50 filters, 500 tanh units, plain gradient descent); a net of the same kind learns
Fashion-MNIST. The test images are looked at after each pass, and decide nothing.

Sources: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document
recognition", 1998; LISA lab, "Deep Learning Tutorials", chapter "Convolutional Neural Networks"
(0.93 %); the Fashion-MNIST benchmark of zalandoresearch (two convolutions with pooling, 91.6 %).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from common import Arguments, Lesson, loaded

import graphc
from graphc import data, nn, optim


def two_convolutions(first: int, second: int) -> nn.Sequential:
    """Filters of 5x5, relu and max pooling, twice; then 128 units, with dropout around them."""
    return nn.Sequential(
        nn.Conv2d(1, first, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(first, second, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.3), nn.LazyLinear(128), nn.ReLU(),
        nn.Dropout(0.3), nn.Linear(128, 10),
    )  # fmt: skip


def lenet() -> nn.Sequential:
    """LeNet as in the tutorials: tanh after the pools, weights uniform by fan-in and fan-out."""
    model = nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Tanh(),
        nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.Tanh(),
        nn.Flatten(), nn.Linear(800, 500), nn.Tanh(), nn.Linear(500, 10),
    )  # fmt: skip
    for layer in (model[0], model[3], model[7], model[9]):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return model


def learn(
    lesson: Lesson,
    build: Callable[[], nn.Module],
    optimizer: optim.Optimizer,
    images: data.Dataset,
    batch: int,
    epochs: int,
) -> tuple[list[float], float]:
    """The test error in percent after each pass, and the milliseconds that an example took.

    The time is the processor's on one thread, compilation and tests included.
    """
    graphc.seed(0)
    trainer = graphc.Trainer(build(), "cross_entropy", optimizer, ["accuracy"], threads=1)
    count, tests = (4_000, 2_000) if lesson.quick else (60_000, 10_000)
    began = time.process_time()
    history = trainer.fit(
        images.x_train[:count],
        images.y_train[:count],
        batch_size=batch,
        epochs=epochs,
        validation_data=(images.x_test[:tests], images.y_test[:tests]),
    )
    spent = 1e3 * (time.process_time() - began) / (epochs * count)
    return [100 * (1 - accuracy) for accuracy in history["val_accuracy"]], spent


def main(arguments: Arguments = None) -> dict[str, object]:
    """Train the three nets."""
    lesson = Lesson(__doc__, arguments)
    digits, clothes = loaded(data.mnist), loaded(data.fashion_mnist)
    passes = (1, 1, 1) if lesson.quick else (5, 10, 15)
    most = (20.0, 20.0, 45.0) if lesson.quick else (1.0, 0.93, 8.4)
    fast, slow = (
        optim.Adam(optim.OneCycleLR(rate, epochs, per="epoch"))
        for rate, epochs in ((0.006, passes[0]), (0.004, passes[2]))
    )
    curves = {}
    for (name, build, optimizer, images, batch), epochs, limit in zip(
        (
            ("MNIST", lambda: two_convolutions(8, 24), fast, digits, 64),
            ("LeNet", lenet, optim.SGD(0.1), digits, 20),
            ("Fashion-MNIST", lambda: two_convolutions(16, 48), slow, clothes, 64),
        ),
        passes,
        most,
        strict=True,
    ):
        errors, spent = learn(lesson, build, optimizer, images, batch, epochs)
        curves[name] = errors
        claim = f"{name}: test error after {epochs} passes, %"
        lesson.claim(claim, errors[-1], f"at most {limit}", errors[-1] <= limit)
        if name == "MNIST" and not lesson.quick:
            lesson.claim("MNIST: ms an example, one thread", spent, "at most 0.25", spent <= 0.25)
    lesson.inside("The shapes of LeNet", lenet().summary((1, 1, 28, 28)))

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for name, errors in curves.items():
            axes.plot(range(1, len(errors) + 1), errors, marker=".", label=name)
        axes.set(xlabel="passes over the training images", ylabel="test error, %", yscale="log")
        axes.legend()

    lesson.draw("12_convnets.svg", draw, (6, 3.6))
    return lesson.finish()


if __name__ == "__main__":
    main()
