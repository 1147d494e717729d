"""11. Convolution, fast: one large layer and its two gradients on one thread.

    python examples/lecture/11_convolution_fast.py --out pictures

The layer is the speed test of ConvNetJS: 96 filters of 11x11x3 slide with stride 1 over an image of
128x128x3. Forward pass and gradients are a program each and run in turns, so that a slow spell of
the machine meets all three; the time is that of the processor.

Source: Karpathy, ConvNetJS, its speed test (in_sx 128, in_depth 3, sx 11, filters 96, stride 1).
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import pictures
from checks import correlated, distance
from common import Arguments, Lesson

import graphc
from graphc import ops

Array = np.ndarray[Any, Any]
Times = tuple[dict[str, Array], dict[str, Array]]

JAVASCRIPT = 1776.0
"""Milliseconds that are told of the same forward pass in ConvNetJS, whose test prints its own."""


def programs() -> dict[str, graphc.Program]:
    """The layer, and its gradients by the image and by the filters for a given cotangent."""
    x, w = graphc.input("image", (1, 3, 128, 128)), graphc.input("filters", (96, 3, 11, 11))
    maps = ops.conv2d(x, w, graphc.input("bias", (96,)))
    by_image, by_filters = graphc.vjp(maps, [x, w], [graphc.input("cotangent", maps.shape)])
    named = {"forward": maps, "gradient by the image": by_image, "by the filters": by_filters}
    return {name: graphc.compile(output, threads=1) for name, output in named.items()}


def arrays() -> dict[str, Array]:
    """Normal numbers for each input; the bias is 0, so that the layer is bilinear."""
    random = np.random.default_rng(0)
    shapes = {"image": (1, 3, 128, 128), "filters": (96, 3, 11, 11), "cotangent": (1, 96, 118, 118)}
    found = {name: random.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    return {**found, "bias": np.zeros(96, np.float32)}


def timed(compiled: dict[str, graphc.Program], given: dict[str, Array], rounds: int) -> Times:
    """What each program gave, and its milliseconds in every round."""
    results: dict[str, Array] = {}
    times: dict[str, list[float]] = {name: [] for name in compiled}
    for _ in range(rounds + 2):
        for name, program in compiled.items():
            chosen = [given[node.op.name] for node in program.inputs]
            began = time.process_time()
            (results[name],) = program(*chosen)
            times[name].append(1e3 * (time.process_time() - began))
    return results, {name: np.array(found[2:]) for name, found in times.items()}  # two warm up


def product(one: Array, other: Array) -> float:
    """The scalar product of two arrays, in float64."""
    pair = [graphc.input(name, (one.size,)) for name in ("one", "other")]
    dot = ops.dot(*(ops.cast(node, "float64") for node in pair))
    return float(graphc.compile(dot)(one.ravel(), other.ravel())[0])


def main(arguments: Arguments = None) -> dict[str, object]:
    """Time the three programs, and show the loops of the fastest."""
    lesson = Lesson(__doc__, arguments)
    compiled = programs()
    given = arrays()
    results, times = timed(compiled, given, 45 if lesson.quick else 101)
    found = {name: float(np.median(rounds)) for name, rounds in times.items()}
    forward = found["forward"]
    lesson.claim("forward, ms", forward, f"at most 50; ConvNetJS {JAVASCRIPT:.0f}", forward <= 50)
    least = {name: float(rounds.min()) for name, rounds in times.items()}  # beside no others' work
    for name in list(compiled)[1:]:
        lesson.at_most(f"{name} / forward", least[name] / least["forward"], 1.5)
    known = correlated(given["image"], given["filters"])
    far = distance(results["forward"], known) / float(abs(known).max())
    lesson.at_most("maps beside scipy's, difference over the largest", far, 1e-5)
    pairs = zip(results.values(), ("cotangent", "image", "filters"), strict=True)
    numbers = [product(result, given[name]) for result, name in pairs]
    spread = float(np.ptp(numbers)) / abs(numbers[0])
    claim = "maps . cotangent = gradient . image = gradient . filters, relative difference"
    lesson.claim(claim, spread, "below 1e-4", spread < 1e-4)
    for name, program in compiled.items():
        flops = program.cost().flops
        print(f"{name:24} {found[name]:6.2f} ms {flops / found[name] / 1e6:6.1f} GFLOP/s")

    bars = {"ConvNetJS, forward, as told": JAVASCRIPT, **found}
    lesson.draw("11_convolution_fast.png", partial(pictures.times, bars), (6, 2.2))
    busiest = max(compiled["forward"].kernels.values(), key=lambda kernel: kernel.flops)
    lesson.inside("The loops of the forward pass", busiest.as_text("loops"))
    return lesson.finish()


if __name__ == "__main__":
    main()
