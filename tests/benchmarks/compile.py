"""`python -m tests.benchmarks.compile`: from declaring a model to the first step done.

Each figure is a fresh process: with an empty cache, then with the full one. What is timed begins
after the imports, with the model's first layer, and ends when the first training step is done;
the batch is at hand.
The processor's clock adds up what two threads do: it is for a machine that others use too.

    python -m tests.benchmarks.compile --markdown docs/compile_time.md
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import graphc
from graphc import nn, optim
from tests.benchmarks import machine, page
from tests.benchmarks.clock import CLOCKS, Clock
from tests.benchmarks.report import grid

Built = tuple[Any, tuple[int, ...]]
STEPS = 5
HEAD = (
    *("net", "kernels", "distinct", "import", "first step, compiled", "ms a distinct kernel"),
    *("first step, from cache", "before it", "a step"),
)
LEGEND = """\
*ms a distinct kernel* is the time until the first call begins, compiled, over the distinct kernels;
*before it* is the same time from the cache. Each figure is the least of {runs} processes, by the
{clock}'s clock."""


def trained(model: nn.Module, optimizer: optim.Optimizer, shape: tuple[int, ...]) -> Built:
    """The compiled step of a classifier of ten classes, and the shape of its images."""
    step = graphc.compile_train_step(
        model, "cross_entropy", optimizer, inputs={"x": shape}, targets={"y": shape[:1]}
    )
    return step, shape


def batch_of(shape: tuple[int, ...]) -> dict[str, Any]:
    """A batch of images and their classes: the caller has it, its making is in no figure."""
    random = np.random.default_rng(0)
    return {"x": random.standard_normal(shape, np.float32), "y": random.integers(0, 10, shape[0])}


def mlp() -> Built:
    """784-512-256-10, batch 128, Adam."""
    layers = [nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)]
    return trained(nn.Sequential(*layers), optim.Adam(1e-3), (128, 784))


def convnet() -> Built:
    """Two convolutions of 32, pool, two of 64, pool, dense 128; 3x32x32, batch 64, Adam."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 32), (32, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Flatten(), nn.Linear(4096, 128), nn.ReLU(), nn.Linear(128, 10)]
    return trained(nn.Sequential(*layers), optim.Adam(1e-3), (64, 3, 32, 32))


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    """A convolution that keeps the sides, or halves them, and batch norm."""
    padding = size // 2
    made = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False, floor=True)
    return [made, nn.BatchNorm2d(outputs)]


def bottleneck(inputs: int, width: int, stride: int) -> list[nn.Module]:
    """Three convolutions beside a shortcut (He et al. 2015, figure 5)."""
    outputs = 4 * width
    body = [
        *(*convolution(inputs, width, 1), nn.ReLU()),
        *(*convolution(width, width, 3, stride), nn.ReLU()),
        *convolution(width, outputs, 1),
    ]
    plain = stride == 1 and inputs == outputs
    shortcut = [] if plain else [nn.Sequential(*convolution(inputs, outputs, 1, stride))]
    return [nn.Residual(nn.Sequential(*body), *shortcut), nn.ReLU()]


def residual(blocks: Sequence[int]) -> Built:
    """Bottlenecks in four stages of 64, 128, 256 and 512; 3x32x32, batch 8, SGD with momentum."""
    layers = [*convolution(3, 64, 3), nn.ReLU()]
    inputs = 64
    for stage, count in enumerate(blocks):
        width = 64 << stage
        for number in range(count):
            layers += bottleneck(inputs, width, 2 if stage and not number else 1)
            inputs = 4 * width
    layers += [nn.GlobalAvgPool(), nn.Linear(inputs, 10)]
    return trained(nn.Sequential(*layers), optim.SGD(0.1, momentum=0.9), (8, 3, 32, 32))


NETS: dict[str, Callable[[], Built]] = {
    "mlp": mlp,
    "convnet": convnet,
    "resnet14": lambda: residual((1, 1, 1, 1)),
    "resnet26": lambda: residual((2, 2, 2, 2)),
    "resnet50": lambda: residual((3, 4, 6, 3)),
}


# --- one process ----------------------------------------------------------------------------


def child(net: str, clock: Clock, imported: float) -> dict[str, Any]:
    """What one process measures: seconds until the first step is done, and of later steps."""
    now = CLOCKS[clock]
    start = now()
    step, shape = NETS[net]()
    ready = now() - start
    batch = batch_of(shape)
    begin = now()
    step(**batch)
    first = ready + now() - begin
    times = []
    for _ in range(STEPS):
        begin = now()
        step(**batch)
        times.append(now() - begin)
    found = {
        "import": imported,
        "ready": ready,
        "first": first,
        "step": min(times),
        "from_cache": step.program.loaded.from_cache,
    }
    calls = step.program.stages.calls
    distinct = len({number if c.like is None else c.like for number, c in enumerate(calls)})
    return {**found, "kernels": len(calls), "distinct": distinct}


CHILD = """
import time
start = time.process_time()
import graphc
from graphc import nn, optim
graphc.compile_train_step, nn.Linear, optim.Adam
imported = time.process_time() - start
import json, sys
from tests.benchmarks import compile
print(json.dumps(compile.child(*sys.argv[1:], imported)))
"""


def fresh(net: str, clock: Clock, folder: Path) -> dict[str, Any]:
    """The same in a new process with its cache in a folder, and bytecode kept as users have it."""
    environment = {**os.environ, "GRAPHC_CACHE_DIR": str(folder)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", CHILD, net, clock]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# --- the table ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A net's figures: numbers of kernels, and seconds."""

    net: str
    kernels: int
    distinct: int
    imported: float
    compiled: float
    compiled_ready: float
    cached: float
    cached_ready: float
    step: float

    def cells(self) -> list[str]:
        """As the columns of HEAD."""
        return [
            self.net,
            str(self.kernels),
            str(self.distinct),
            f"{self.imported:.2f} s",
            f"{self.compiled:.2f} s",
            f"{self.compiled_ready / self.distinct * 1e3:.1f}",
            f"{self.cached * 1e3:.0f} ms",
            f"{self.cached_ready * 1e3:.0f} ms",
            f"{self.step * 1e3:.1f} ms",
        ]


def measure(net: str, clock: Clock, runs: int) -> Row:
    """A row: the least over so many pairs of processes, as other work only adds."""
    empty, full = [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            empty.append(fresh(net, clock, Path(folder) / "cache"))
            full.append(fresh(net, clock, Path(folder) / "cache"))
    if any(run["from_cache"] for run in empty) or not all(run["from_cache"] for run in full):
        raise RuntimeError(f"{net}: the cache was not empty, or not used")

    def least(found: list[dict[str, Any]], name: str) -> float:
        return float(min(run[name] for run in found))

    return Row(
        net,
        empty[0]["kernels"],
        empty[0]["distinct"],
        least(full, "import"),
        least(empty, "first"),
        least(empty, "ready"),
        least(full, "first"),
        least(full, "ready"),
        least(full, "step"),
    )


def line(rows: Sequence[Row]) -> str:
    """The straight line through the times of the nets, and how far they are from it."""
    counts = np.array([row.distinct for row in rows], float)
    seconds = np.array([row.compiled_ready for row in rows])
    slope, start = np.polyfit(counts, seconds, 1)
    apart = np.abs(start + slope * counts - seconds) / seconds
    return (
        f"Line of best fit over the nets: {start:.2f} s and {slope * 1e3:.1f} ms a distinct "
        f"kernel; {rows[int(apart.argmax())].net} is the farthest from it, by {apart.max():.0%}."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the machine and the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.compile", description=__doc__)
    parser.add_argument("--nets", nargs="+", choices=tuple(NETS), default=list(NETS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write its part of this page")
    options = parser.parse_args(argv)
    described = ", ".join(f"{name} {value}" for name, value in machine.describe().items())
    rows = []
    for net in options.nets:
        rows.append(measure(net, options.clock, options.runs))
        print("  ".join(rows[-1].cells()), file=sys.stderr, flush=True)
    legend = LEGEND.format(runs=options.runs, clock=options.clock)
    parts = [
        f"{time.strftime('%Y-%m-%d')}: {described}.",
        legend,
        grid([HEAD, *(row.cells() for row in rows)]),
    ]
    text = "\n\n".join([*parts, *([line(rows)] if len(rows) > 2 else [])])
    print(text)
    if options.markdown:
        page.write(options.markdown, "compile", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
