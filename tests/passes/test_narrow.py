"""Narrowing: only what is read is computed, and what is read stays as it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.graph.graph import make_graph
from graphc.graph.node import Node
from graphc.machine import Machine
from graphc.ops.reference import evaluate
from graphc.passes.invert import invert
from graphc.passes.narrow import narrow

MACHINE = Machine(32, 16, False)
X = graphc.input("x", (6, 8))
GIVEN = {"x": np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)}


def shapes(outputs: Sequence[Node]) -> dict[str, tuple[Any, ...]]:
    """The shape of each op after narrowing, whose values are those of before."""
    graph = narrow(invert(make_graph(outputs), MACHINE), MACHINE)
    wanted, found = evaluate(list(outputs), GIVEN), evaluate(list(graph.outputs), GIVEN)
    for a, b in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(a, b)
    return {node.op.name: node.shape for node in graph.nodes if node.inputs}


def test_one_reader() -> None:
    assert shapes([ops.exp(X)[1:4, 2:]]) == {"exp": (3, 6), "slice": (3, 6)}


def test_through_several() -> None:
    found = shapes([ops.tanh(ops.exp(X))[2:3]])
    assert found["exp"] == found["tanh"] == (1, 8)


def test_the_box_around_two_readers() -> None:
    y = ops.exp(X)
    assert shapes([y[1:3], ops.tanh(y[4:5])])["exp"] == (4, 8)


def test_an_output_stays_whole() -> None:
    y = ops.exp(X)
    assert shapes([y, ops.tanh(y[4:5])])["exp"] == (6, 8)


def test_a_reduction_keeps_its_terms() -> None:
    assert shapes([ops.sum(ops.exp(X), axis=1)[2:4]]) == {"exp": (2, 8), "sum": (2,), "slice": (2,)}


def test_places_beyond_the_end_stay_beyond_it() -> None:
    padded = ops.pad(ops.exp(X)[1:5], ((0, 3), (2, 2)))
    assert shapes([padded[2:]])["exp"] == (2, 8)


def test_what_depends_on_its_place_stays_whole() -> None:
    count = ops.iota((6, 8), axis=0, dtype="float32")
    assert shapes([(X + count)[3:]])["add"] == (3, 8)


def test_rows_by_number_are_all_there() -> None:
    rows = ops.gather(ops.exp(X), graphc.constant(np.array([1, 4])))
    assert shapes([rows])["exp"] == (6, 8)


@pytest.mark.parametrize("padding", [1, 2])
def test_an_image_gradient_has_no_border(padding: int) -> None:
    x, k = graphc.input("x", (2, 3, 8, 8)), graphc.input("k", (4, 3, 3, 3))
    y = ops.conv2d(x, k, padding=padding)
    graph = make_graph(graphc.grad(ops.sum(y * y), x))
    graph = narrow(invert(graph, MACHINE), MACHINE)
    assert [n.shape for n in graph.nodes if "dimage" in n.op.name] == [(2, 3, 8, 8)]


def test_a_label_out_of_bounds_is_refused_whoever_reads_its_loss() -> None:
    logits, labels = graphc.input("logits", (6, 4)), graphc.input("labels", (6,), "int64")
    first = graphc.compile(ops.cross_entropy(logits, labels, reduction="none")[:3])
    with pytest.raises(IndexError, match="77"):
        first(np.zeros((6, 4), np.float32), np.array([0, 1, 2, 3, 77, 1]))
    rows = graphc.compile(ops.embedding(labels, ops.exp(logits))[1:3])
    with pytest.raises(IndexError, match="-3"):
        rows(logits=np.zeros((6, 4), np.float32), labels=np.array([0, 1, 2, 3, 1, -3]))


@pytest.mark.parametrize("shape", [(2, 1, 2), (3, 4, 5)])
def test_a_part_of_a_join_is_no_view_of_an_operand(shape: tuple[int, ...]) -> None:
    """It would go on beyond the operand's rows, where memory holds the next ones."""
    x = graphc.input("x", shape)
    joined = ops.concat([x, x * 2], 1)[:1]
    given = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    (found,) = graphc.compile(joined)(given)
    np.testing.assert_array_equal(found, np.concatenate([given, given * 2], 1)[:1])
