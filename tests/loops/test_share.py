"""A function that two passes over a row compute alike is computed once, and is the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.graph.node import Node
from graphc.runtime.program import Program

NOTE = "is kept from one pass over a row to the next"


def loss(x: Node) -> list[Node]:
    labels = graphc.constant(np.arange(x.shape[0]) % x.shape[1])
    value = ops.cross_entropy(x, labels)
    return [value, *graphc.grad(value, x)]


def bent(x: Node) -> list[Node]:
    """The logarithm of a sum is taken off last, and is kept."""
    y = ops.mish(ops.log_softmax(x, 1) * 0.3 * x)
    value = ops.mean(ops.square(y - 0.3))
    return [value, *graphc.grad(value, [x])]


SHARED: dict[str, Callable[[Node], list[Node]]] = {
    "softmax": lambda x: [ops.softmax(x, axis=-1)],
    "cross entropy": loss,
    "twice": lambda x: [ops.tanh(x) * ops.sum(ops.tanh(x), 1, keepdims=True)],
    "by two statements": lambda x: [
        f(x) * ops.sum(ops.sigmoid(x), 1, keepdims=True) for f in (ops.silu, ops.sigmoid)
    ],
    "in a sum of three": bent,
    "of two operands": lambda x: [
        ops.exp(x * ops.max(x, 1, keepdims=True))
        - ops.mean(ops.exp(x * ops.max(x, 1, keepdims=True)), 1, keepdims=True)
    ],
}


def text(program: Program) -> str:
    return "\n".join(kernel.as_text("loops") for kernel in program.kernels.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [8, 13, 40, 100])
@pytest.mark.parametrize("name", SHARED)
def test_every_bit_is_as_if_computed_twice(
    name: str, columns: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = np.random.default_rng(columns).standard_normal((9, columns)).astype(dtype)
    given[3, 2], given[4, 5], given[5] = np.inf, np.nan, -np.inf
    outputs = SHARED[name](graphc.input("x", given.shape, dtype))
    shared = graphc.compile(outputs)
    monkeypatch.setenv("GRAPHC_SKIP", "share")
    plain = graphc.compile(outputs)
    for found, expected in zip(shared(given), plain(given), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert NOTE not in text(plain)


@pytest.mark.parametrize("name", ["softmax", "cross entropy"])
def test_rows_of_some_length_are_kept(name: str) -> None:
    assert NOTE in text(graphc.compile(SHARED[name](graphc.input("x", (9, 40)))))
    assert NOTE not in text(graphc.compile(SHARED[name](graphc.input("x", (9, 7)))))


def test_another_row_is_another_value() -> None:
    x = graphc.input("x", (9, 40))
    y = ops.exp(x) * ops.sum(ops.exp(ops.flip(x, 1)), 1, keepdims=True)
    given = np.random.default_rng(0).standard_normal((9, 40)).astype(np.float32)
    expected = np.exp(given) * np.exp(given).sum(1, keepdims=True)
    np.testing.assert_allclose(graphc.compile(y)(given)[0], expected, rtol=2e-6)


def test_all_statements_of_a_row_read_what_was_kept() -> None:
    loops = text(graphc.compile(SHARED["by two statements"](graphc.input("x", (9, 32)))))
    assert loops.count("float32 = logistic(") == 1 and "x*logistic(" not in loops
