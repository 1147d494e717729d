"""What time stamps in the step cost, whether they add up to it, and whether perf agrees.

    python -m tests.benchmarks.profiles

For each net: the step without time stamps and with them, made in turn, and the sum of the kernels.
Then, where perf is installed, the digits' training step under `perf record`: each kernel's share of
the samples beside its share of the time in the very same steps.
"""

from __future__ import annotations

import argparse
import bisect
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphc import nn, optim
from graphc.graph.show import aligned
from graphc.runtime import invented
from graphc.runtime.program import Program
from graphc.runtime.times import addresses
from graphc.train.step import compile_train_step

SECONDS = 4.0
"""How long the run under perf takes."""
LAST = 1 << 16
"""Bytes within which the last kernel ends."""
EVENT = "cpu-clock"
"""What perf samples by: there are no counters of the processor's in a virtual machine."""


def nets() -> dict[str, tuple[nn.Module, Any, Any, int]]:
    """Each net with its inputs, targets and batch."""
    classes = {"y": (("batch",), "int64")}
    return {
        "xor": (
            nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2)),
            {"x": ("batch", 2)},
            classes,
            4,
        ),
        "mlp": (
            nn.Sequential(
                nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
            ),
            {"x": ("batch", 784)},
            classes,
            64,
        ),
        "digits": (
            nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(16, 32, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.LazyLinear(10),
            ),
            {"x": ("batch", 1, 8, 8)},
            classes,
            32,
        ),
    }


def made(name: str, threads: int) -> tuple[Program, dict[str, Any]]:
    """A net's training step, and a batch for it."""
    model, inputs, targets, batch = nets()[name]
    step = compile_train_step(
        model, "cross_entropy", optim.Adam(1e-3), inputs, targets, threads=threads
    )
    return step.program, invented.inputs(step.program.stages, {"batch": batch})


def costs(threads: int, repeats: int) -> list[tuple[str, ...]]:
    """For each net: the step, what stamps add to it, and what the kernels add up to."""
    rows = []
    for name in nets():
        program, batch = made(name, threads)
        found = program.profile(batch, repeats=repeats)
        assert found.step is not None
        step, sums = found.step * 1e6, found.seconds / found.step
        rows.append(
            (name, f"{len(found)}", f"{step:,.2f}", f"{found.overhead:+.1%}", f"{sums - 1:+.1%}")
        )
    return rows


def sampled() -> None:
    """What runs under perf: steps for a while, then, as JSON, where kernels lie and their times."""
    program, batch = made("digits", 1)
    assert program.loaded is not None
    with program.watch() as watch:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            for _ in range(100):
                program(**batch)
        times = watch.times()
    places = addresses(program.loaded, len(program.stages.calls))
    seconds = {row.kernel: row.seconds for row in times}
    names = [kernel.name for kernel in program.stages.kernels]
    kernels = [(n, place, seconds[n]) for n, place in zip(names, places, strict=True)]
    print(json.dumps(kernels))


def perf(folder: Path) -> list[tuple[str, ...]]:
    """Each kernel's share by perf and by its own time stamps, the largest first."""
    data = folder / "perf.data"
    own = [sys.executable, "-m", "tests.benchmarks.profiles", "--sampled"]
    record = ["perf", "record", "-q", "-e", EVENT, "-F", "4999", "-o", str(data), "--", *own]
    done = subprocess.run(record, capture_output=True, text=True, check=True)
    kernels = json.loads(done.stdout.splitlines()[-1])
    script = ["perf", "script", "-i", str(data), "-F", "ip"]
    listed = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    samples = [int(word, 16) for word in listed.split()]
    starts = sorted({place for _, place, _ in kernels})
    found: Counter[int] = Counter()
    for sample in samples:
        number = bisect.bisect_right(starts, sample) - 1
        if number >= 0 and sample < [*starts, starts[-1] + LAST][number + 1]:
            found[starts[number]] += 1
    rows = []
    whole, all_samples = sum(took for _, _, took in kernels), max(found.total(), 1)
    for start in starts:
        alike = [name for name, place, _ in kernels if place == start]  # they share one function
        ours = sum(took for _, place, took in kernels if place == start) / whole
        theirs = found[start] / all_samples
        rows.append((ours, " ".join(alike), theirs))
    rows.sort(reverse=True)
    return [
        (names, f"{ours:.1%}", f"{theirs:.1%}", f"{(ours - theirs) * 100:+.1f}")
        for ours, names, theirs in rows
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--sampled", action="store_true", help="what runs under perf")
    given = parser.parse_args(arguments)
    if given.sampled:
        return sampled()
    heads = ("net", "kernels", "us a step", "with stamps", "sum of kernels")
    print("\n".join(aligned([heads, *costs(given.threads, given.repeats)], right=(1, 2, 3, 4))))
    if shutil.which("perf") is None:
        print("\nperf is not installed: no comparison")
        return None
    with tempfile.TemporaryDirectory() as folder:
        rows = perf(Path(folder))
    print(
        "\n".join(["", *aligned([("kernel", "stamps", "perf", "points"), *rows], right=(1, 2, 3))])
    )
    worst = np.abs([float(row[3]) for row in rows]).max()
    print(f"\nthe largest difference is {worst:.1f} points")


if __name__ == "__main__":
    main()
