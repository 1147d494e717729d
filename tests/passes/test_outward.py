"""What the terms of a sum have in common comes after it: when, and that values stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy

import graphc
from graphc import ops
from graphc.graph.node import Node
from graphc.ops import scalar
from graphc.passes.outward import WHY
from tests.support import native, random, values

A, B, C = (scalar.argument(name) for name in "abc")


@pytest.mark.parametrize(
    ("expr", "found"),
    [
        (A, True),
        (-A, True),
        (A + B, True),
        (C * A - B / C, True),
        (sympy.exp(C) * (A + 2 * B), True),
        (A * B, False),
        (A - C, False),
        (A + 1, False),
        (A**2, False),
        (sympy.Abs(A), False),
        (sympy.floor(A) + B, False),
        (scalar.maximum(A, scalar.ZERO), False),
        (scalar.cast(A, sympy.Symbol("int32")), False),
        (sympy.Piecewise((A, C > 0), (0, True)), False),  # it could be, and is not looked at
        (sympy.Piecewise((A, A > 0), (0, True)), False),
    ],
)
def test_what_is_a_sum_of_symbols_each_times_something(expr: scalar.Expr, found: bool) -> None:
    symbols = tuple(s for s in (A, B) if s in expr.free_symbols)
    assert scalar.is_sum(expr, symbols) == found


def notes(*outputs: Node) -> list[str]:
    graph = graphc.compile(list(outputs)).stages.graph
    return [note.name for note in graph.notes if note.text == WHY]


def test_the_gradient_of_a_norm_does_not_wait_for_its_spread() -> None:
    x, dy = graphc.input("x", (16, 24, 40, 30)), graphc.input("dy", (16, 24, 40, 30))
    weight = graphc.input("w", (24,))
    y, *_ = ops.batch_norm(x, weight)
    slopes = graphc.vjp(y, [x, weight], dy)
    assert notes(y, *slopes) == ["sub.db"]
    program = graphc.compile([y, *slopes])
    whole = [
        text
        for kernel in program.kernels.values()
        if "float32[460800]" in (text := kernel.as_text("loops"))
    ]
    assert len(whole) == 4, "the mean; the spread, with all sums of gradients; y; the gradient"


def test_factors_that_wait_for_nothing_stay() -> None:
    x, weight = graphc.input("x", (32, 48)), graphc.input("w", (48,))
    assert not notes(ops.sum(x * weight, 0))
    assert not notes(ops.sum(ops.softmax(x) * 2.0, 0))
    assert not notes(ops.var(x, 0)), "what is subtracted is in no product"


@pytest.mark.parametrize("axis", [0, 1, (0, 2), (1, 2)])
def test_values_stay(axis: Any) -> None:
    node, other = graphc.input("x0", (5, 6, 7), "float64"), graphc.input("x1", (5, 6, 7), "float64")
    scale = ops.rsqrt(ops.mean(ops.square(node), axis, keepdims=True) + 1e-3)
    total = ops.sum((node - other * 0.5) * scale, axis)
    outputs = [total, *graphc.vjp(total, [node, other], ops.sin(total))]
    assert "sum" in notes(*outputs)
    given = [random(5, 6, 7), random(5, 6, 7, seed=1)]
    for found, expected in zip(native(outputs, given), values(outputs, given), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


def test_nothing_is_added_where_an_operand_ends() -> None:
    """Windows beside a border: where one operand is at its end, the other adds nothing either."""
    node, other = graphc.input("x0", (4, 9), "float64"), graphc.input("x1", (4, 11), "float64")
    scale = ops.rsqrt(ops.mean(ops.square(node), 1) + 1e-3)
    rows = ops.pad(node, [(0, 0), (1, 1)]) + other
    outputs = [ops.sum(rows * ops.expand_dims(scale, 1), 1)]
    outputs += graphc.vjp(outputs[0], [node, other], ops.sin(outputs[0]))
    given = [random(4, 9), random(4, 11)]
    for found, expected in zip(native(outputs, given), values(outputs, given), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


def test_second_derivatives_and_a_batch_of_any_size() -> None:
    x = graphc.input("x", ("n", 6, 3, 3), "float64")
    y, *_ = ops.batch_norm(x)
    (first,) = graphc.grad(ops.sum(ops.sin(y)), [x])
    (second,) = graphc.grad(ops.sum(ops.square(first)), [x])
    given = {"x": random(4, 6, 3, 3)}
    found = graphc.compile([first, second])(**given)
    expected = graphc.evaluate([first, second], given)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)
