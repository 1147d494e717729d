"""Train a small convolutional net on the digits in seconds, then look inside what just ran.

    python examples/digits.py

The images are scikit-learn's: 1,797 digits of 8x8 pixels, a fifth of which is held out. Importing
this file trains nothing, so that `graphc inspect examples/digits.py:model --stage loops` works.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import graphc
from graphc import data, nn, ops, optim

EPOCHS = 20

graphc.seed(0)  # the same initial weights in every run
inputs = {"x": ("batch", 1, 8, 8)}  # "batch" is known when the program runs
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.LazyLinear(10),
)  # fmt: skip
trainer = graphc.Trainer(
    model,
    loss="cross_entropy",
    optimizer=optim.Adam(optim.OneCycleLR(0.01, EPOCHS, per="epoch")),
    metrics=["accuracy"],
)


def main(arguments: Sequence[str] | None = None) -> float:
    """Train, save the weights, print one gradient at three levels. Returns the test accuracy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="digits.safetensors", help="where the weights go")
    out = parser.parse_args(arguments).out
    try:
        graphc.train.check_place(out)
    except graphc.GraphcError as error:
        parser.exit(2, f"{error}\n")
    digits = data.digits()

    # Forward, backward and Adam are one native function: each step of this loop is one call of it.
    trainer.fit(digits.x_train, digits.y_train, batch_size=32, epochs=EPOCHS)
    accuracy = trainer.evaluate(digits.x_test, digits.y_test)["accuracy"]
    trainer.save(out)
    print(f"\n{accuracy:.2%} of {len(digits.y_test)} held-out digits are right; weights in {out}")
    look_inside()
    return accuracy


def look_inside() -> None:
    """The gradient of the loss by the first layer's kernels: mathematics, loops, machine code."""
    x, y = graphc.input("x", inputs["x"]), graphc.input("y", ("batch",), "int64")
    loss = ops.cross_entropy(model(x), y)
    (gradient,) = graphc.grad(loss, [model[0].weight.node])  # a node of the same graph
    program = graphc.compile(gradient)
    kernel = [k for k in program.kernels.values() if k.flops][-1]  # the last that computes anything
    print("\n=== the derived backward graph\n" + program.as_text("backward"))
    print("\n=== the loop nest that sums it up\n" + kernel.as_text("loops"))
    print("\n=== and its assembly\n" + "\n".join(kernel.as_text("asm").splitlines()[:24]))


if __name__ == "__main__":
    main()
