"""The oracle: what it refuses, found without the rest of the graph, and what is cut off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.errors import IndexError, InputError
from graphc.ops import reference

GOOD: dict[str, Any] = {"x": np.ones((4, 3), np.float32), "y": np.array([0, 1, 2, 0])}
BAD = {**GOOD, "y": np.array([0, 1, 7, 0])}


def loss() -> graphc.Node:
    """A loss of labels, in a layer."""
    x, y = graphc.input("x", ("batch", 3)), graphc.input("y", ("batch",), "int64")
    with graphc.layer("head"):
        return ops.cross_entropy(ops.exp(x), y)


@pytest.mark.parametrize("oracle", ["0", "1"])
def test_native_code_and_oracle_refuse_alike(oracle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The op that was called, index, place, bound, input, layer, file and line."""
    monkeypatch.setenv("GRAPHC_REFERENCE", oracle)
    program = graphc.compile(loss())
    program(**GOOD)
    with pytest.raises(IndexError) as caught:
        program(**BAD)
    lines = str(caught.value).splitlines()
    assert lines[0] == "cross_entropy: index 7 at position (2,) is not in [0, 3)"
    assert lines[1:3] == ["  inputs: y", "  layer: head"]
    assert "test_reference.py:" in lines[3]
    error = caught.value
    assert (error.position, error.inputs, error.axis) == ((2,), ("y",), "batch")


def test_only_indices_are_evaluated_to_find_the_wrong_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forward pass by the oracle could take minutes."""
    seen: list[str] = []
    formula = reference.formula
    monkeypatch.setattr(
        reference, "formula", lambda op, *rest: (seen.append(op.name), formula(op, *rest))[1]
    )
    program = graphc.compile(loss())
    with pytest.raises(IndexError):
        program(**BAD)
    assert "exp" not in seen


def test_an_index_that_is_computed_is_checked_where_it_is_used() -> None:
    x, i = graphc.input("x", (5,)), graphc.input("i", ("n",), "int64")
    program = graphc.compile(ops.gather(x, i + 1))
    with pytest.raises(IndexError, match=r"gather: index 5 at position \(1,\) is not in \[0, 5\)"):
        program(x=np.zeros(5), i=[0, 4])


def test_an_index_inside_of_a_scan_names_the_step() -> None:
    table, where = graphc.parameter("table", (5, 2)), graphc.input("where", (4,), "int64")

    def body(total: graphc.Node, i: graphc.Node) -> tuple[graphc.Node, graphc.Node]:
        following = total + ops.sum(ops.gather(table, i))
        return following, following

    _, sums = graphc.scan(body, graphc.constant(np.float32(0)), where)
    program = graphc.compile(sums)
    assert program([0, 1, 2, 4])[0].shape == (4,)
    with pytest.raises(IndexError, match=r"gather: index 9 (.|\n)*in step 2 of a scan"):
        program([0, 1, 9, 3])


@pytest.mark.parametrize("shape", [(4,), (4, 3, 1), (4, 2), (5, 3)])
def test_an_array_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    given = {**GOOD, "x": np.ones(shape, np.float32)}
    with pytest.raises(InputError, match=r"input '.' is .*; the array has shape"):
        graphc.evaluate([loss()], given)


@pytest.mark.parametrize("widths", [((0, 0), (0, -1)), ((0, 0), (-5, 0)), ((-1, 2), (-1, -2))])
def test_what_is_cut_off(widths: tuple[tuple[int, int], ...]) -> None:
    """A negative width leaves elements out, and may leave none."""
    x = graphc.input("x", (3, 5))
    given = {"x": np.arange(15, dtype=np.float32).reshape(3, 5)}
    (found,) = reference.evaluate([ops.pad(x, widths)], given)
    np.testing.assert_array_equal(found, graphc.compile(ops.pad(x, widths))(**given)[0])
