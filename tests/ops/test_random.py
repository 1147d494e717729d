"""Random tensors: what they are a function of, their distributions, and how steps advance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.autodiff import vjp
from graphc.errors import DTypeError, ShapeError
from graphc.graph.leaf import input, parameter, variable
from graphc.graph.node import Node
from graphc.graph.site import layer
from graphc.ops import philox
from graphc.ops.make import fill
from graphc.ops.random import DEFAULT, Generator
from graphc.ops.reference import evaluate

MANY = (100, 200)


def value(node: Node, **inputs: Any) -> Any:
    """The value of one node."""
    return evaluate([node], inputs)[0]


@pytest.fixture(autouse=True)
def restarted() -> Any:
    """Each test begins and ends with the default generator at seed 0."""
    ops.seed(0)
    yield
    ops.seed(0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_numbers_fill_their_interval(dtype: str) -> None:
    found = value(ops.uniform(MANY, low=-2, high=3, dtype=dtype))
    assert found.dtype == dtype
    assert found.shape == MANY
    assert found.min() >= -2
    assert found.max() < 3
    assert abs(found.mean() - 0.5) < 0.03
    assert abs(found.std() - 5 / 12**0.5) < 0.03
    assert len(np.unique(found)) > 19900


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_numbers_have_their_moments(dtype: str) -> None:
    found = value(ops.normal(MANY, mean=3, std=2, dtype=dtype))
    assert found.dtype == dtype
    assert abs(found.mean() - 3) < 0.06
    assert abs(found.std() - 2) < 0.05
    assert abs(((found - 3) ** 3).mean()) < 0.6


def test_bernoulli_and_randint() -> None:
    found = value(ops.bernoulli(0.3, MANY))
    assert set(np.unique(found)) == {0.0, 1.0}
    assert abs(found.mean() - 0.3) < 0.015
    assert value(ops.bernoulli(1, (50,), dtype=bool)).all()
    assert not value(ops.bernoulli(0, (50,), dtype="int32")).any()
    whole = value(ops.randint(MANY, -3, 4))
    assert whole.dtype == np.int64
    assert np.unique(whole).tolist() == [-3, -2, -1, 0, 1, 2, 3]
    probabilities = np.array([0.0, 0.5, 1.0], np.float32)
    found = value(ops.bernoulli(input("p", (3,)), (500, 3)), p=probabilities)
    assert np.abs(found.mean(0) - probabilities).max() < 0.1
    assert ops.bernoulli(input("p", (3,))).shape == (3,)


def test_an_element_is_a_function_of_seed_step_stream_and_position() -> None:
    node = ops.uniform((2, 3), stream=7)
    ops.seed(11)
    DEFAULT.step.assign(5)
    wanted = philox.uniform(11, 5, 7, np.arange(6).reshape(2, 3))
    assert np.array_equal(value(node), wanted)
    first = value(node)
    assert np.array_equal(first, value(node))
    DEFAULT.step.assign(6)
    assert not np.array_equal(first, value(node))
    ops.seed(12)
    assert not np.array_equal(first, value(node))
    assert not np.array_equal(value(ops.uniform((2, 3), stream=8)), value(node))


def test_a_longer_batch_begins_like_a_shorter_one() -> None:
    x = input("x", ("batch", 4))
    node = ops.uniform(("batch", 4), stream=1) + 0 * x
    short, long = (value(node, x=np.zeros((rows, 4))) for rows in (2, 5))
    assert np.array_equal(short, long[:2])


def test_large_and_negative_seeds() -> None:
    ops.seed(2**64 - 1)
    high = value(ops.uniform((3,), stream=0))
    ops.seed(-1)
    assert np.array_equal(high, value(ops.uniform((3,), stream=0)))


def test_streams_differ_by_layer_and_occurrence_and_repeat_by_trace() -> None:
    def trace() -> list[Node]:
        with ops.streams():
            made = [ops.uniform((3,)), ops.uniform((3,))]
            with layer("body.0"):
                made.append(ops.uniform((3,)))
            with layer("body.1"):
                made.append(ops.uniform((3,)))
            return made

    first, second = trace(), trace()
    assert all(a is b for a, b in zip(first, second, strict=True))
    assert len(set(first)) == 4
    assert ops.uniform((3,)) is not ops.uniform((3,))


@pytest.mark.parametrize("p", [0.0, 0.25, 0.9, 1.0])
def test_dropout_keeps_the_mean_and_drops_what_it_says(p: float) -> None:
    x = input("x", MANY)
    y = ops.dropout(x, p)
    (back,) = vjp([y], [x], [fill(1, y.type)])
    ones = np.ones(MANY, np.float32)
    found, gradient = evaluate([y, back], {"x": ones})
    assert abs((found == 0).mean() - p) < 0.015
    if p < 1:
        assert abs(found.mean() - 1) < 0.1
        assert np.allclose(found[found != 0], 1 / (1 - p))
    assert np.array_equal(gradient, found)


def test_dropped_infinities_are_zero() -> None:
    y = ops.dropout(input("x", (1000,)), 0.5)
    found = value(y, x=np.full(1000, np.inf))
    assert set(found.tolist()) == {0.0, np.inf}


def test_generators_of_their_own() -> None:
    key = Generator()
    key.restart(3)
    node = ops.uniform((3,), key=key, stream=0)
    ops.seed(9)
    first = value(node)
    ops.seed(10)
    assert np.array_equal(first, value(node))
    assert list(ops.advance([node])) == [parameter_of(key)]


def parameter_of(key: Generator) -> Node:
    """The node that reads a generator's step."""
    return variable(key.step)


def test_advance_finds_the_steps_that_are_read() -> None:
    x = input("x", (3,))
    assert ops.advance([ops.relu(x) + parameter("w", (3,))]) == {}
    updates = ops.advance([ops.dropout(x, 0.5) + ops.normal((3,)), ops.randint((2,), 0, 3)])
    assert list(updates) == [parameter_of(DEFAULT)]
    (following,) = updates.values()
    assert following.dtype == "int64"
    assert value(following) == DEFAULT.step.value + 1


def test_the_step_is_found_below_derivatives() -> None:
    x = input("x", (3,))
    y = ops.dropout(x * x, 0.5)
    (back,) = vjp([y], [x], [fill(1, y.type)])
    assert list(ops.advance([back])) == [parameter_of(DEFAULT)]


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"dropout: p=1.5 is no probability"):
        ops.dropout(input("x", (3,)), 1.5)
    with pytest.raises(ShapeError, match=r"\[3, 3\) holds no whole number"):
        ops.randint((2,), 3, 3)
    with pytest.raises(DTypeError, match=r"uniform: gives float32 or float64, not int32"):
        ops.uniform((2,), dtype="int32")
    with pytest.raises(ShapeError, match=r"does not end in p's"):
        ops.bernoulli(input("p", (3,)), (3, 2))


def test_a_scan_draws_anew_at_each_step_and_each_call() -> None:
    """What the steps of a scan draw is what one tensor of all steps would hold."""
    key = ops.Generator()
    x = graphc.input("x", (2, 3))

    def outer(carry: Any, _: Any) -> Any:
        def inner(carry: Any, row: Any) -> Any:
            return carry, row + ops.uniform((3,), key=key, stream=7)

        return carry, graphc.scan(inner, 0.0, x)[1]

    drawn = graphc.scan(outer, 0.0, length=4)[1]
    whole = ops.uniform((4, 2, 3), key=key, stream=7)
    zeros = {"x": np.zeros((2, 3), np.float32)}
    wanted, oracle = graphc.evaluate([whole, drawn], zeros)
    np.testing.assert_array_equal(oracle, wanted)
    updates = ops.advance([drawn])
    assert [variable.op.name for variable in updates] == ["random.step"]
    program = graphc.compile([drawn], updates)
    np.testing.assert_array_equal(program(**zeros)[0], wanted)
    assert not np.any(program(**zeros)[0] == wanted)


def test_dropout_in_a_scan_drops_in_backward_what_it_dropped() -> None:
    x = graphc.input("x", ("batch", 8))
    rows = graphc.scan(lambda carry, _: (carry, ops.dropout(x, 0.5)), 0.0, length=3)[1]
    (slope,) = graphc.grad(ops.sum(rows * rows), x)
    found, back = graphc.compile([rows, slope])(np.ones((5, 8), np.float32))
    assert len({part.tobytes() for part in found}) == 3
    np.testing.assert_allclose(back, (4 * found).sum(0))
