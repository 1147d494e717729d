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
import re
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
from graphc.runtime.profile import typical
from graphc.runtime.program import Program
from graphc.runtime.times import DEPTH, addresses
from graphc.train.step import compile_train_step

SECONDS = 4.0
"""Of the processor's time for the run under perf."""
INSTRUCTION = 8
"""Bytes of an instruction, on the high side: where the last kernel ends."""
SAMPLE = re.compile(r"^\s*([0-9a-f]+) \((/(?!/|tmp/perf-))?.*\)$", re.MULTILINE)
"""A sample: its address, and whether that lies in a file, as libraries do, which may lie between
kernels. Code in memory is ascribed to //anon, or to /tmp/perf-PID.map."""
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


def sampled(seconds: float) -> None:
    """What runs under perf: steps for a while, then, as JSON, where kernels lie and their times."""
    program, batch = made("digits", 1)
    assert program.loaded is not None
    steps = []
    with program.watch() as watch:
        end = time.process_time() + seconds
        while time.process_time() < end:
            for _ in range(DEPTH):
                program(**batch)
            steps.append(watch.records.latest(DEPTH))
    parts = typical(np.concatenate(steps))  # perf does not see the time when others run
    places = addresses(program.loaded, len(program.stages.calls))
    names = [kernel.name for kernel in program.stages.kernels]
    kernels = list(zip(names, places, parts[: len(names)].tolist(), strict=True))
    last = program.kernels[names[places.index(max(places))]].as_text("asm")
    end_of_last = max(places) + INSTRUCTION * len(last.splitlines())
    print(json.dumps({"kernels": kernels, "end": end_of_last}))


def perf(folder: Path, seconds: float = SECONDS) -> list[tuple[str, str, str, str]]:
    """Each kernel's share by its time stamps and by perf, and their difference; the largest first.

    Raises CalledProcessError where perf may not sample.
    """
    data = folder / "perf.data"
    own = [sys.executable, "-m", "tests.benchmarks.profiles", "--sampled", str(seconds)]
    record = ["perf", "record", "-q", "-e", EVENT, "-F", "4999", "-o", str(data), "--", *own]
    done = subprocess.run(record, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    kernels = told["kernels"]
    script = ["perf", "script", "-i", str(data), "-F", "ip,dso"]
    listed = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    samples = [int(place, 16) for place, file in SAMPLE.findall(listed) if not file]
    starts = sorted({place for _, place, _ in kernels})
    ends = [*starts[1:], told["end"]]
    found: Counter[int] = Counter()
    for sample in samples:
        number = bisect.bisect_right(starts, sample) - 1
        if number >= 0 and sample < ends[number]:
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
    parser.add_argument("--sampled", type=float, help="what runs under perf, so many seconds")
    given = parser.parse_args(arguments)
    if given.sampled is not None:
        return sampled(given.sampled)
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
