"""Updates of variables: new values are made of old ones, in place or not; all of them or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.autodiff import grad
from graphc.errors import IndexError
from graphc.graph.leaf import Variable
from graphc.graph.node import Node
from graphc.ops.reference import evaluate

Array = np.ndarray[Any, Any]


def values(*shape: int, seed: int = 0) -> Array:
    """Normal float32 numbers."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def parameter(name: str, *shape: int, seed: int = 0) -> Node:
    """A variable with random numbers."""
    return graphc.parameter(name, value=values(*shape, seed=seed))


def value_of(variable: Node) -> Array:
    """What lies in a variable's cell."""
    assert isinstance(variable.op, Variable)
    return variable.op.cell.value


Step = tuple[list[Node], dict[Node, Node]]


def swap() -> Step:
    a, b = parameter("a", 33), parameter("b", 33, seed=1)
    return [], {a: b, b: a}


def rotate() -> Step:
    a, b, c = (parameter(n, 5, 3, seed=k) for k, n in enumerate("abc"))
    return [a], {a: b * 2, b: c + 1, c: a}


def descend() -> Step:
    w, x = parameter("w", 17, 5), graphc.constant(values(3, 17))
    loss = ops.sum(ops.square(ops.matmul(x, w)))
    return [loss], {w: w - 0.1 * grad(loss, [w])[0]}


def also_an_output() -> Step:
    w = parameter("w", 33)
    new = w * 0.5 + 1
    return [w, new, ops.sum(w)], {w: new}


def by_its_own_sum() -> Step:
    w = parameter("w", 5, 17)
    return [], {w: w / ops.sum(ops.abs(w)) - ops.mean(w, 1, keepdims=True)}


def chained() -> Step:
    a, b, c = parameter("a", 33), parameter("b", 33, seed=1), parameter("c", 3)
    return [ops.sum(b)], {a: a + b, b: b * a, c: c + ops.sum(a) - ops.max(b)}


def momentum() -> Step:
    w, m, t = (
        parameter("w", 17),
        parameter("m", 17, seed=1),
        graphc.parameter("t", value=np.float32(1)),
    )
    moved = 0.9 * m + w
    return [t], {m: moved, w: w - 0.1 * moved / ops.sqrt(t + 1), t: t + 1}


def shifted() -> Step:
    w = parameter("w", 33)
    return [], {w: ops.roll(w, 1) + w}


def turned() -> Step:
    w = parameter("w", 5, 5)
    return [], {w: ops.transpose(w)}


def turned_and_used() -> Step:
    w = parameter("w", 5, 5)
    return [ops.matmul(w, w)], {w: ops.transpose(w) + ops.matmul(w, w)}


def reversed_() -> Step:
    w, v = parameter("w", 17), parameter("v", 17, seed=1)
    return [], {w: ops.flip(w), v: ops.flip(w) + v}


def the_same_value_twice() -> Step:
    a, b = parameter("a", 5), parameter("b", 5, seed=1)
    new = a * b
    return [new], {a: new, b: new}


def a_constant() -> Step:
    a, b = parameter("a", 5), parameter("b", 5, seed=1)
    return [a], {a: ops.zeros((5,)), b: graphc.constant(values(5, seed=9))}


def nothing() -> Step:
    a = parameter("a", 5)
    return [a], {a: a}


def reshaped() -> Step:
    a, b = parameter("a", 6), parameter("b", 2, 3, seed=1)
    return [], {a: ops.reshape(b, (6,)), b: ops.reshape(a, (2, 3))}


def row_by_row() -> Step:
    w = parameter("w", 5, 17)
    return [], {w: ops.softmax(w) - w}


def column_by_column() -> Step:
    w = parameter("w", 5, 17)
    return [], {w: ops.softmax(w, 0) - w}


def integers() -> Step:
    n = graphc.parameter("n", value=np.arange(5), dtype="int64")
    flag = graphc.parameter("flag", value=np.zeros(5, bool), dtype="bool")
    return [flag], {n: n * 3 + 1, flag: ops.logical_not(flag)}


STEPS: dict[str, Callable[[], Step]] = {
    f.__name__.strip("_"): f
    for f in (
        swap, rotate, descend, also_an_output, by_its_own_sum, chained, momentum, shifted, turned,
        turned_and_used, reversed_, the_same_value_twice, a_constant, nothing, reshaped, row_by_row,
        column_by_column, integers,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("skip", ["", "fuse"])
def test_three_steps_equal_the_oracle(
    name: str, skip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHC_SKIP", skip)
    outputs, updates = STEPS[name]()
    program = graphc.compile(outputs, updates)
    for _ in range(3):
        wanted = evaluate([*outputs, *updates.values()])
        found = program()
        for value, other in zip([*found, *map(value_of, updates)], wanted, strict=True):
            np.testing.assert_allclose(value, other, rtol=2e-5, atol=1e-5)


# --- all or nothing -------------------------------------------------------------------------


def trainer() -> tuple[Any, list[Node]]:
    """A step of training on labels: inputs x and y, a table, two layers, a counter."""
    x, y = graphc.input("x", ("batch", 5)), graphc.input("y", ("batch",), "int64")
    row = graphc.input("row", ("batch",), "int32")
    table, w = parameter("table", 7, 5), parameter("w", 5, 3, seed=1)
    count = graphc.parameter("count", value=np.int64(0), dtype="int64")
    scores = ops.matmul(x + ops.embedding(row, table), w)
    loss = ops.cross_entropy(scores, y)
    slopes = grad(loss, [table, w])
    updates = {
        table: table - 0.1 * slopes[0],
        w: w - 0.1 * slopes[1],
        count: count + 1,
    }
    return graphc.compile({"loss": loss}, updates), list(updates)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"y": [0, 3, 1, 2]}, r"index 3 at position \(1,\) is not in \[0, 3\)"),
        ({"y": [0, 1, 1, -1]}, r"index -1 at position \(3,\) is not in \[0, 3\)"),
        ({"row": [0, 1, 7, 1]}, r"index 7 at position \(2,\) is not in \[0, 7\)"),
        ({"row": [-(2**31), 1, 1, 1]}, r"index -2147483648 at position \(0,\) is not in \[0, 7\)"),
        ({"y": [2**40, 0, 0, 0]}, r"index 1099511627776 at position \(0,\) is not in \[0, 3\)"),
    ],
)
def test_a_bad_index_names_itself_and_changes_nothing(change: dict[str, Any], problem: str) -> None:
    step, variables = trainer()
    good = {
        "x": values(4, 5),
        "y": np.array([0, 2, 1, 1]),
        "row": np.array([0, 6, 3, 3], np.int32),
    }
    first = step(**good)
    before = [value_of(v).copy() for v in variables]
    with pytest.raises(IndexError, match=problem) as caught:
        step(**(good | {n: np.array(v) for n, v in change.items()}))
    assert "test_updates.py" in str(caught.value)
    for variable, old in zip(variables, before, strict=True):
        np.testing.assert_array_equal(value_of(variable), old)
    second = step(**good)
    assert second["loss"] < first["loss"]
    assert value_of(variables[2]) == 2


def test_a_refused_input_changes_nothing() -> None:
    step, variables = trainer()
    before = [value_of(v).copy() for v in variables]
    with pytest.raises(graphc.errors.InputError):
        step(x=values(4, 4), y=np.zeros(4, int), row=np.zeros(4, int))
    for variable, old in zip(variables, before, strict=True):
        np.testing.assert_array_equal(value_of(variable), old)


def test_a_bad_index_beside_copied_updates_changes_nothing() -> None:
    """A swap is made by copies at the end: these too must wait for the checks."""
    a, b = parameter("a", 5), parameter("b", 5, seed=1)
    i = graphc.input("i", (2,), "int64")
    program = graphc.compile([ops.gather(a, i)], {a: b, b: a})
    with pytest.raises(IndexError):
        program(np.array([0, 5]))
    np.testing.assert_array_equal(value_of(a), values(5))
    program(np.array([0, 4]))
    np.testing.assert_array_equal(value_of(a), values(5, seed=1))
    np.testing.assert_array_equal(value_of(b), values(5))
