"""Tracing: which input goes to which parameter of forward, and whose the parameters are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import InputError
from graphc.graph.node import Node


class Difference(nn.Module):
    """Two inputs, and an option."""

    def forward(self, left: Node, right: Node, scale: float = 1.0) -> Node:
        return (left - right) * scale


SHAPE = ("batch", 2)


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("rigth", "left"), r"no input 'rigth'; Difference\.forward.*Did you mean 'right'"),
        (("left",), r"missing input 'right'; Difference\.forward takes left"),
        (("x",), "no input 'x'"),
        (("left", "right", "q"), "no input 'q'"),
    ],
)
def test_inputs_are_refused_by_name(names: tuple[str, ...], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        graphc.compile(Difference(), inputs=dict.fromkeys(names, SHAPE))


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left")])
def test_the_order_of_declarations_decides_nothing_by_name(order: tuple[str, ...]) -> None:
    program = graphc.compile(Difference(), inputs=dict.fromkeys(order, SHAPE))
    (found,) = program(left=np.full((1, 2), 10.0), right=np.ones((1, 2)))
    np.testing.assert_array_equal(found, np.full((1, 2), 9.0))
    assert [node.op.name for node in program.inputs] == list(order)


def test_a_single_input_may_have_any_name() -> None:
    program = graphc.compile(nn.Linear(2, 1), inputs={"images": SHAPE})
    assert program(images=np.ones((3, 2)))[0].shape == (3, 1)


def test_inputs_without_names_of_their_own_come_in_order() -> None:
    class Total(nn.Module):
        def forward(self, *parts: Node) -> Node:
            return parts[0] - parts[1]

    program = graphc.compile(Total(), inputs={"b": SHAPE, "a": SHAPE})
    assert program(b=np.ones((1, 2)), a=np.zeros((1, 2)))[0].tolist() == [[1.0, 1.0]]


class Hidden(nn.Module):
    """A model that keeps what it needs where nobody looks."""

    def __init__(self, hidden: Any) -> None:
        self.hidden = [hidden]
        self.head = nn.Linear(3, 3)

    def forward(self, x: Node) -> Node:
        (hidden,) = self.hidden
        return self.head(hidden(x) if isinstance(hidden, nn.Module) else x * hidden)


@pytest.mark.parametrize(
    "hidden", [nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Parameter(np.ones(3))], ids=str
)
def test_a_parameter_that_is_not_the_models_is_refused(hidden: Any) -> None:
    with pytest.raises(InputError, match=r"nn\.ModuleList(.|\n)*layer(.|\n)*test_trace\.py:"):
        graphc.compile(Hidden(hidden), inputs={"x": ("batch", 3)})


def test_what_is_frozen_may_stand_anywhere() -> None:
    teacher = nn.Linear(3, 3)
    for parameter in teacher.parameters():
        parameter.trainable = False
    graphc.compile(Hidden(teacher), inputs={"x": ("batch", 3)})
