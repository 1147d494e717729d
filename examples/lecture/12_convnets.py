"""12. ConvNets: convolution, max pooling and two dense layers, three times over.

    GRAPHC_DATA_DIR=folder python examples/lecture/12_convnets.py --out pictures

A small net learns MNIST within five passes; LeNet is trained by the recipe of the deep learning
tutorials (20 and 50 filters, 500 tanh units, plain gradient descent); a net of the same kind learns
Fashion-MNIST. The test images are looked at after each pass, and decide nothing.

Sources: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document
recognition", 1998; LISA lab, "Deep Learning Tutorials", chapter "Convolutional Neural Networks"
(0.93 %); the Fashion-MNIST benchmark of zalandoresearch (two convolutions with pooling, 91.6 %).
"""

from __future__ import annotations

import time
from functools import partial

from checks import examine, steady
from common import Arguments, Lesson, loaded
from pictures import curves

import graphc
from graphc import data, nn, optim


def two(first: nn.Conv2d, second: nn.Conv2d) -> nn.Sequential:
    """Both convolutions with relu and max pooling; then 128 units, with dropout around them."""
    return nn.Sequential(
        first, nn.ReLU(), nn.MaxPool2d(2),
        second, nn.ReLU(), nn.MaxPool2d(2),
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


def adam(rate: float, epochs: int) -> optim.Optimizer:
    """Adam, its rate rising to this one and falling to nothing."""
    return optim.Adam(optim.OneCycleLR(rate, epochs, per="epoch"))


NETS = (  # name, net, optimiser for a number of passes, data, batch, passes, largest error in %,
    # and that where quick
    ("MNIST", lambda: two(nn.Conv2d(1, 8, 5), nn.Conv2d(8, 24, 5)),
     lambda passes: adam(0.006, passes), data.mnist, 64, 5, 1.0, 15.0),
    ("LeNet", lenet, lambda passes: optim.SGD(0.1), data.mnist, 20, 10, 0.93, 12.0),
    ("Fashion-MNIST", lambda: two(nn.Conv2d(1, 24, 3, padding=1), nn.Conv2d(24, 48, 3)),
     lambda passes: adam(0.003, passes), data.fashion_mnist, 64, 12, 8.4, 30.0),
)  # fmt: skip


def main(arguments: Arguments = None) -> dict[str, object]:
    """Hold the three nets to differences and sums, then train them."""
    lesson = Lesson(__doc__, arguments)
    moved = steady(optim.Adam(0.006), 10) / 0.006
    lesson.claim(
        "ten of Adam's steps at a steady slope, in rates", moved, 10, abs(moved - 10) < 1e-4
    )
    train, test = (4_000, 2_000) if lesson.quick else (60_000, 10_000)
    sets = {source: loaded(source) for source in (data.mnist, data.fashion_mnist)}
    errors = {}
    for name, net, optimizer, source, batch, passes, most, soon in NETS:
        images = sets[source]
        examine(lesson, name, net(), (2, 1, 28, 28))
        if lesson.quick:
            passes, most = 1, soon
        graphc.seed(0)
        trainer = graphc.Trainer(net(), "cross_entropy", optimizer(passes), ["accuracy"], threads=1)
        began = time.process_time()  # of the processor: compilation and tests are included
        history = trainer.fit(
            images.x_train[:train],
            images.y_train[:train],
            batch_size=batch,
            epochs=passes,
            validation_data=(images.x_test[:test], images.y_test[:test]),
        )
        spent = 1e3 * (time.process_time() - began) / (passes * train)
        errors[name] = [100 * (1 - accuracy) for accuracy in history["val_accuracy"]]
        lesson.at_most(f"{name}: test error after {passes} passes, %", errors[name][-1], most)
        print(f"{name}: {spent:.3f} ms an example on one thread")
        if name == "MNIST" and not lesson.quick:
            lesson.at_most("MNIST: ms an example, one thread", spent, 0.25)
    lesson.inside("The shapes of LeNet", lenet().summary((1, 1, 28, 28)))

    lines = {name: (range(1, len(line) + 1), line) for name, line in errors.items()}
    axes = {"yscale": "log", "xlabel": "passes over the images", "ylabel": "test error, %"}
    lesson.draw("12_convnets.png", partial(curves, lines, **axes), (6, 3.6))
    return lesson.finish()


if __name__ == "__main__":
    main()
