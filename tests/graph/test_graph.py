"""What may be compiled: nodes, several, named ones; anything else is refused with the place."""

from __future__ import annotations

from typing import Any

import pytest

import graphc
from graphc import ops
from graphc.errors import GraphcError, InputError
from graphc.graph.graph import make_graph


@pytest.mark.parametrize(
    ("outputs", "problem"),
    [
        (3, "outputs must be a node, several, or a dict of named ones, not int 3"),
        (None, "not NoneType None"),
        ("loss", "not str 'loss'"),
        ([3], "an output must be a node, not int 3"),
        ({"a": [3]}, r"an output must be a node, not list \[3\]"),
        ([], "nothing to compute"),
        ({}, "nothing to compute"),
    ],
)
def test_what_is_no_node_is_refused(outputs: Any, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        graphc.compile(outputs)
    assert "test_graph.py" in str(caught.value)


def test_updates_are_of_nodes() -> None:
    w = graphc.parameter("w", (2,))
    with pytest.raises(InputError, match="what is updated must be a node, not str 'w'"):
        make_graph(w, {"w": w})  # type: ignore[dict-item]  # what is tested
    with pytest.raises(InputError, match=r"an update's value must be a node, not float 0\.0"):
        make_graph([], {w: 0.0})  # type: ignore[dict-item]  # what is tested
    weight: Any = graphc.nn.Linear(2, 2).weight
    with pytest.raises(InputError, match=r"its variable is its \.node"):
        make_graph([], {weight: w})
    assert make_graph([], {w: w + 1}).outputs == ()


@pytest.mark.parametrize("change", [lambda w: ops.sum(w), lambda w: ops.cast(w, "float64")])
def test_an_update_of_another_type_says_where_its_value_was_made(change: Any) -> None:
    w = graphc.parameter("w", (4,))
    with pytest.raises(GraphcError, match=r"the update of 'w' : f32\[4\] has type") as caught:
        graphc.compile(ops.sum(w), {w: change(w)})
    assert "test_graph.py:" in str(caught.value)
