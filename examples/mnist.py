"""Train a small convolutional net on MNIST to 99 % on one thread, and time it.

    GRAPHC_DATA_DIR=folder python examples/mnist.py

The folder holds MNIST's four IDX files, itself or in its sub-folder `mnist`; where one is missing,
the error says what its name is and where it comes from. Importing this file trains nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import graphc
from graphc import data, nn, optim

EPOCHS = 5
BATCH = 64

graphc.seed(0)  # the same initial weights in every run
inputs = {"x": ("batch", 1, 28, 28)}
model = nn.Sequential(
    nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(8, 24, 5), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Dropout(0.3), nn.LazyLinear(128), nn.ReLU(),
    nn.Dropout(0.3), nn.Linear(128, 10),
)  # fmt: skip
trainer = graphc.Trainer(
    model,
    loss="cross_entropy",
    optimizer=optim.Adam(optim.OneCycleLR(0.006, EPOCHS, per="epoch")),
    metrics=["accuracy"],
    threads=1,
)


def main(arguments: Sequence[str] | None = None) -> float:
    """Train, print accuracy and speed, save the weights. Returns the test accuracy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the IDX files; by default $GRAPHC_DATA_DIR")
    parser.add_argument("--out", default="mnist.safetensors", help="where the weights go")
    options = parser.parse_args(arguments)
    try:
        graphc.train.check_place(options.out)
    except graphc.GraphcError as error:
        parser.exit(2, f"{error}\n")
    try:
        mnist = data.mnist(options.data)
    except data.MissingDataError as error:
        raise SystemExit(str(error)) from None
    print(model.summary(inputs["x"]))

    began = time.perf_counter()
    trainer.fit(
        mnist.x_train,
        mnist.y_train,
        batch_size=BATCH,
        epochs=EPOCHS,
        validation_data=(mnist.x_test, mnist.y_test),
    )
    spent = 1e3 * (time.perf_counter() - began) / (EPOCHS * len(mnist.y_train))
    accuracy = trainer.evaluate(mnist.x_test, mnist.y_test)["accuracy"]
    trainer.save(options.out)
    print(f"{accuracy:.2%} of the test images are right; weights in {options.out}")
    print(f"{spent:.3f} ms an example on one thread, compiling and validation included")
    return accuracy


if __name__ == "__main__":
    main()
