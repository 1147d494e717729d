"""What the lecture's examples share: their arguments, claims beside references, and pictures."""

from __future__ import annotations

import argparse
import importlib
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import graphc
from graphc import data, nn, optim

Arguments = Sequence[str] | None


class Lesson:
    """One example as it runs: what it was asked for, and what it found so far.

    quick asks for the slice that the tests run, out is the folder of the pictures or None.
    """

    def __init__(self, page: str | None, arguments: Arguments) -> None:
        """Read the arguments; `page` is the docstring of the example, its first line the title.

        Where pictures cannot be drawn or saved, it ends here, not after an hour's work.
        """
        self.title = (page or "").partition("\n")[0]
        parser = argparse.ArgumentParser(description=self.title)
        parser.add_argument("--quick", action="store_true", help="a slice of it, in seconds")
        parser.add_argument("--out", type=Path, help="folder for the pictures; by default none")
        options = parser.parse_args(arguments)
        self.quick: bool = options.quick
        self.out: Path | None = options.out
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

    def inside(self, what: str, text: str) -> None:
        """Print a text of the compiler's, so that one sees what was made of the declaration."""
        print(f"{what}:\n\n{text}\n")

    def draw(self, name: str, drawing: Callable[[Any], None], size: tuple[float, float]) -> None:
        """Where pictures are wanted, call drawing(figure) and save what it drew as `name`.

        It is a PNG of few colours, as small as line art can be; size is in inches.
        """
        if self.out is None:
            return
        figure = extra("matplotlib.figure").Figure(figsize=size, layout="constrained")
        with extra("matplotlib").rc_context({"font.size": 9}), BytesIO() as whole:
            drawing(figure)
            figure.savefig(whole, format="png", dpi=100)
            picture = extra("PIL.Image").open(whole)  # it comes with matplotlib
            picture.convert("RGB").quantize(64).save(self.out / name, optimize=True)

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
        package = module.partition(".")[0]
        raise SystemExit(f"this needs {package}: pip install 'graphc[examples]'") from None


def loaded(loader: Callable[..., data.Dataset], **options: Any) -> data.Dataset:
    """A data set that lies on the disk, or the end with the line that says where to get it."""
    try:
        return loader(**options)
    except (data.MissingDataError, data.MissingPackageError) as error:
        raise SystemExit(str(error)) from None


def first(images: data.Dataset, count: int) -> data.Dataset:
    """A data set with only the first images to learn from."""
    return replace(images, x_train=images.x_train[:count], y_train=images.y_train[:count])


def fitted(
    model: nn.Module, loss: object, optimizer: optim.Optimizer, given: Any, wanted: Any, steps: int
) -> Any:
    """Train a model on all examples at once, as many steps in one native call: the loss of each."""
    inputs, targets = ({"x": (given.shape, "float32")}, {"y": (wanted.shape, str(wanted.dtype))})
    step = graphc.compile_train_step(model, loss, optimizer, inputs=inputs, targets=targets)
    return step.run({"x": given, "y": wanted}, np.tile(np.arange(len(given)), (steps, 1)))["loss"]


def timed(program: graphc.Program) -> tuple[list[Any], float]:
    """What a program without inputs gives, and the seconds of the quickest of three calls."""
    times = []
    for _ in range(3):
        began = perf_counter()
        results = program()
        times.append(perf_counter() - began)
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
