"""Choices: as JSON and back, as words, and the bits of a kernel under every alternative."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, ops
from graphc.graph.node import Node
from graphc.loops.alternatives import nests, tiles, variations
from graphc.loops.choice import MODEL, Choice, Choices, changed, described, read, written
from graphc.runtime.program import Program
from graphc.tuning.trial import Trial

CHOICES: Choices = (
    Choice(tile=("i1", 8, 2, (("i0", 6), ("i2", 2))), pack=True),
    MODEL,
    Choice(part=0, gather=False, unroll=True),
)


def test_choices_go_through_json() -> None:
    assert read(json.loads(json.dumps(written(CHOICES)))) == CHOICES
    assert read(json.loads(json.dumps(written(())))) == ()


@pytest.mark.parametrize(
    "found",
    [
        None,
        {},
        "tile",
        [1],
        [{"tiles": None}],
        [{"pack": 1}],
        [{"part": -1}],
        [{"part": True}],
        [{"part": 1.5}],
        [{"tile": ["i0", 8, 0, []]}],
        [{"tile": ["i0", 8, 1]}],
        [{"tile": ["i0", 0, 1, []]}],
        [{"tile": [0, 8, 1, []]}],
        [{"tile": ["i0", 8, 1, [["i1"]]]}],
        [{"tile": ["i0", 8, 1, [["i1", 0]]]}],
        [{"tile": ["i0", 8, 1, {"i1": 2}]}],
    ],
)
def test_what_are_no_choices_is_refused(found: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read(found)


def test_choices_in_words() -> None:
    assert described(CHOICES) == (
        "nest 0: tile 6 of i0 by 2 of i2 by 2 vectors of 8 along i1, packed; "
        "nest 2: sum at once, not gathered, unrolled"
    )
    assert described(()) == "" and str(MODEL) == "as the model says"
    assert changed((), 2, CHOICES[2]) == (MODEL, MODEL, CHOICES[2])


def gradients(loss: Node, variables: list[Node]) -> Program:
    return graphc.compile([loss, *graphc.grad(loss, variables)])


def product(form: str, left: tuple[int, ...], right: tuple[int, ...]) -> Program:
    a, b = graphc.input("a", left), graphc.input("b", right)
    return graphc.compile(ops.relu(ops.einsum(form, a, b) + 1.0))


def convolution() -> Program:
    image, kernel = graphc.input("image", (24, 8, 12, 12)), graphc.input("kernel", (16, 8, 3, 3))
    loss = ops.sum(ops.square(ops.conv2d(image, kernel, padding=1)))
    return gradients(loss, [image, kernel])


def recurrence() -> Program:
    x = graphc.input("x", (4, 9, 12))
    results, _ = nn.LSTM(12, 20, batch_first=True)(x)
    loss = ops.sum(ops.square(results))
    return gradients(loss, [x])


def lookup() -> Program:
    table, rows = graphc.parameter("table", (50, 24)), graphc.input("rows", ("batch",), "int64")
    weight = graphc.parameter("weight", (24, 70))
    return gradients(ops.sum(ops.gather(table, rows) @ weight), [table, weight])


SUBJECTS = {
    "product": lambda: product("m k, k n -> m n", (37, 129), (129, 66)),
    "left transposed": lambda: product("k m, k n -> m n", (700, 64), (700, 72)),
    "right transposed": lambda: product("m k, n k -> m n", (40, 256), (50, 256)),
    "batched": lambda: product("b m k, b k n -> m n", (12, 20, 64), (12, 64, 48)),
    "along a sum": lambda: product("m k, k -> m", (9, 300), (300,)),
    "convolution": convolution,
    "recurrence": recurrence,
    "lookup": lookup,
}


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_alternative_has_the_bits_of_the_models_schedule(name: str) -> None:
    """Of every kernel of the subject, each on random operands; some must be other loops at all."""
    stages = SUBJECTS[name]().stages
    machine, tried = stages.target.model, 0
    for kernel in stages.lowered:
        trial = Trial(kernel, dict.fromkeys(stages.extents, 33), stages.target, 1)
        seen = [trial.version(())]
        assert seen[0] is not None
        wanted = trial.results(seen[0])
        assert wanted is not None, f"{kernel.name}: an index was refused"
        for number, nest in enumerate(nests(kernel, machine)):
            for stage in (tiles, variations):
                for choices in stage((), number, nest, machine):
                    version = trial.version(choices, [v for v in seen if v is not None])
                    if version is None:
                        continue
                    seen.append(version)
                    assert trial.results(version) == wanted, f"{kernel.name}: {described(choices)}"
                    tried += 1
    assert tried >= 3


def test_a_trial_draws_indices_within_bounds() -> None:
    """Of a checked index, and of the unchecked one of its gradient; numbers are above zero."""
    stages = lookup().stages
    whole = 0
    for kernel in stages.lowered:
        trial = Trial(kernel, {"batch": 40}, stages.target, 1)
        for array in trial.arrays:
            if array.dtype.kind == "i":
                whole += 1
                assert array.min() >= 0 and array.max() < 50 and len(np.unique(array)) > 10
            else:
                assert array.min() > 0
    assert whole >= 2
