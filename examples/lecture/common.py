"""What the lecture's examples share: their arguments, claims beside references, and pictures."""

from __future__ import annotations

import argparse
import importlib
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

import graphc
from graphc import data, nn, ops, optim

Arguments = Sequence[str] | None
PACKAGES = {"sklearn": "scikit-learn", "PIL": "pillow"}  # by module, where the names differ
DATA = "MNIST and Fashion-MNIST are read, where needed, from the folder named by GRAPHC_DATA_DIR."


class Lesson:
    """One example as it runs: what it was asked for, and what it found so far.

    quick asks for the slice that the tests run, out is the folder of the pictures or None.
    """

    def __init__(self, page: str | None, arguments: Arguments, needs: Sequence[str] = ()) -> None:
        """Read the arguments; `page` is the docstring of the example, its first line the title.

        Where a module of those that it needs is absent, or pictures cannot be drawn or saved, it
        ends here, not after an hour's work.
        """
        self.title = (page or "").partition("\n")[0]
        parser = argparse.ArgumentParser(description=self.title, epilog=DATA)
        parser.add_argument("--quick", action="store_true", help="a slice of it, in seconds")
        parser.add_argument("--out", type=Path, help="folder for the pictures; by default none")
        options = parser.parse_args(arguments)
        self.quick: bool = options.quick
        self.out: Path | None = options.out
        for module in needs:
            extra(module)
        if self.out is not None:
            extra("matplotlib")
            try:
                self.out.mkdir(parents=True, exist_ok=True)
                (self.out / ".written").touch()
                (self.out / ".written").unlink()
            except OSError as error:
                parser.error(f"--out {self.out}: cannot write there: {error.strerror}")
        self.rows: list[tuple[str, Any, str, bool]] = []

    def claim(self, claim: str, measured: Any, reference: object, holds: object) -> None:
        """Note a claim, what was measured, what it is to be compared with, and whether it holds."""
        self.rows.append((claim, measured, str(reference), bool(holds)))

    def equal(self, claim: str, measured: Any, known: object) -> None:
        """A claim that holds where what was measured is what is known."""
        self.claim(claim, measured, known, measured == known)

    def at_most(self, claim: str, measured: Any, bound: float) -> None:
        """A claim that holds up to the bound."""
        self.claim(claim, measured, f"at most {bound}", measured <= bound)

    def at_least(self, claim: str, measured: Any, bound: float) -> None:
        """A claim that holds from the bound on."""
        self.claim(claim, measured, f"at least {bound}", measured >= bound)

    def inside(self, what: str, text: str) -> None:
        """Print a text of the compiler's, so that one sees what was made of the declaration."""
        print(f"{what}:\n\n{text}\n")

    def draw(self, name: str, drawing: Callable[[Any], None], size: tuple[float, float]) -> None:
        """Where pictures are wanted, call drawing(figure) and save what it drew as `name`.

        It is a PNG of 100 dots an inch; size is in inches.
        """
        if self.out is None:
            return
        figure = extra("matplotlib.figure").Figure(figsize=size, layout="constrained")
        with extra("matplotlib").rc_context({"font.size": 9}):
            drawing(figure)
            figure.savefig(self.out / name, dpi=100)

    def write(self, name: str, text: str) -> None:
        """Where pictures are wanted, a text beside them."""
        if self.out is not None:
            (self.out / name).write_text(text + "\n", "utf-8")

    def finish(self) -> dict[str, object]:
        """Print the table, and return what was measured by its claim.

        Raises SystemExit(1), after a line for each, where claims do not hold.
        """
        print(f"{self.title}\n\n{self.table()}")
        wrong = [row for row in self.rows if not row[3]]
        for claim, measured, reference, _ in wrong:
            print(f"FAILED: {claim}: {shown(measured)}, but {reference}", file=sys.stderr)
        if wrong:
            raise SystemExit(1)
        return {claim: measured for claim, measured, _, _ in self.rows}

    def table(self) -> str:
        """The claims as a table in Markdown."""
        cells = [("claim", "measured", "reference"), ("---", "---", "---")]
        cells += [(claim, shown(measured), known) for claim, measured, known, _ in self.rows]
        return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def shown(measured: Any) -> str:
    """A value as the table shows it."""
    return f"{measured:.4g}" if isinstance(measured, float) else str(measured)


def extra(module: str) -> Any:
    """A module that the extra `examples` brings, or the end with the line that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = PACKAGES.get(top := module.partition(".")[0], top)
        line = f"python -m pip install '{Path(__file__).resolve().parents[2]}[examples]'"
        raise SystemExit(f"this needs {package}: {line}") from None


def loaded(loader: Callable[..., data.Dataset], **options: Any) -> data.Dataset:
    """A data set that lies on the disk, or the end with the lines that say where to get it."""
    try:
        return loader(**options)
    except data.DataFormatError as error:
        raise SystemExit(str(error)) from None
    except data.MissingDataError as error:
        *said, _ = str(error).splitlines()  # the last line is for who calls the loader
        way = f"then name the folder: GRAPHC_DATA_DIR=folder python {sys.argv[0]}"
        raise SystemExit("\n".join([*said, f"  {way}"])) from None


def first(images: data.Dataset, count: int) -> data.Dataset:
    """A data set with only the first images to learn from."""
    return replace(images, x_train=images.x_train[:count], y_train=images.y_train[:count])


def whole(images: Any) -> Any:
    """Flat images in [0, 1] with their pixels as whole numbers from 0 to 255, in float64."""
    bright = graphc.input("images", ("n", images.shape[1]))
    return graphc.compile(ops.cast(ops.round(255 * bright), "float64"))(images)[0]


def ensemble(nets: int, *sizes: int) -> nn.Sequential:
    """As many nets at once, each with layers of these sizes and tanh between them."""
    model = nn.Sequential()
    for inputs, units in pairwise(sizes):
        model.append(nn.LinearEnsemble(nets, inputs, units)).append(nn.Tanh())
    return model[:-1]


def apart(model: nn.Sequential) -> int:
    """How many nets of an ensemble have weights of their own in the first layer."""
    return len(np.unique(model[0].weight.value, axis=0))


def fitted(
    model: nn.Module, loss: object, optimizer: optim.Optimizer, given: Any, wanted: Any, steps: int
) -> Any:
    """Train a model on all examples at once, as many steps in one native call: the loss of each."""
    inputs, targets = ({"x": (given.shape, "float32")}, {"y": (wanted.shape, str(wanted.dtype))})
    step = graphc.compile_train_step(model, loss, optimizer, inputs=inputs, targets=targets)
    return step.run({"x": given, "y": wanted}, np.tile(np.arange(len(given)), (steps, 1)))["loss"]


def central_differences(
    value: Callable[[graphc.Node], graphc.Node], at: graphc.Node, h: graphc.Node
) -> graphc.Node:
    """(f(p + h) - f(p - h)) / 2h for every element of a vector, by a scan over the directions."""

    def slope(_: None, along: graphc.Node) -> tuple[None, graphc.Node]:
        return None, (value(at + h * along) - value(at - h * along)) / (2 * h)

    return graphc.scan(slope, None, np.eye(at.shape[0]))[1]


def solved(model: nn.Module, given: Any, wanted: Any, middle: float) -> Any:
    """Which nets of an ensemble lie on the right side of the middle at all examples: bool (nets).

    given (examples, ...); wanted (examples, 1, 1) of 0 and 1, for the outputs (examples, nets, 1).
    """
    above = ops.greater(model(graphc.input("x", given.shape)), middle)
    return graphc.compile(ops.all(ops.equal(above, wanted > 0.5), (0, 2)))(given)[0]


def digits(n: int) -> graphc.Node:
    """The numbers from 0 to 2^n - 1 in binary, lowest digit first: whole numbers (2^n, n)."""
    return ops.floor_divide(ops.arange(2**n)[:, None], 2 ** np.arange(n)) % 2


def separable(*, sets: int, points: int) -> tuple[graphc.Node, graphc.Node, graphc.Node]:
    """Normal points (points, sets, 5), in each set moved away from a plane through 0 by 0.3.

    Returns them, their sides of the plane, -1 and 1 (points, sets), and how near they come (sets).
    """
    across = ops.normal((sets, 5), dtype="float64")
    across = across / ops.norm(across, axis=1, keepdims=True)
    x = ops.normal((points, sets, 5), dtype="float64")
    side = ops.sign(ops.sum(x * across, 2))
    x = x + (0.3 * side)[..., None] * across
    return x, side, ops.min(ops.abs(ops.sum(x * across, 2)), 0)


def timed(program: graphc.Program) -> tuple[list[Any], float]:
    """What a program without inputs gives, and the processor's seconds of the quickest of three."""
    times = []
    for _ in range(3):
        began = process_time()
        results = program()
        times.append(process_time() - began)
    return [*results], min(times)


def certificate(points: Any, truth: Any) -> Any | None:
    """Why no threshold unit is true where `truth` is and false elsewhere; None if one is.

    points (m, n), truth bool (m); the certificate is int64 (m), positive only where true, negative
    only where false, with sum c[i]*points[i] = 0 and sum c[i] = 0. Weighted by it, a unit's
    "w.x > t" and "w.x <= t" would add up to 0 > 0. A linear programme finds it (Farkas' lemma).
    """
    side = np.where(truth, 1, -1)
    balance = np.vstack((np.transpose(points) * side, side, side > 0))
    found = extra("scipy.optimize").linprog(
        np.ones(len(side)), A_eq=balance, b_eq=np.eye(len(balance))[-1]
    )
    if not found.success:
        return None
    exact = [Fraction(value).limit_denominator(1000) for value in found.x]
    scale = math.lcm(*(value.denominator for value in exact))
    return side * np.array([int(scale * value) for value in exact])
