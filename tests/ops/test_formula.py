"""Ops made of a formula: how they are shown and called, and what a formula may not be."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy

import graphc
from graphc import ops
from graphc.errors import GraphcError, ShapeError, UnsupportedOpError


def test_an_op_shows_its_operands_attributes_and_defaults() -> None:
    shown = str(inspect.signature(ops.gelu))
    assert shown.startswith("(x: Any, /, *, approximate: str = 'none')")
    assert list(inspect.signature(ops.where).parameters) == ["condition", "a", "b"]
    assert inspect.signature(ops.leaky_relu).parameters["negative_slope"].default == 0.01
    assert repr(ops.add).startswith("add(a: Any, b: Any, /)")
    assert ops.gelu.__name__ == "gelu"
    assert ops.gelu.__module__.startswith("graphc.ops.")


def branching(x: Any) -> Any:
    """Python's if, which needs a number."""
    return x if x > 0 else 0


@pytest.mark.parametrize(
    ("formula", "problem"),
    [
        (branching, "sympy.Piecewise for branches"),
        (lambda x: np.sin(x), "not Python's if, math's or numpy's functions"),
        (lambda x: math.sin(x), "not Python's if, math's or numpy's functions"),
        (lambda x: None, "the formula gives None"),
        (lambda x: x + sympy.Symbol("y"), "reads 'y', which is no operand"),
        (lambda x: sympy.gamma(x), "the scalar function gamma is unknown"),
    ],
)
def test_a_formula_of_anything_but_symbols_is_refused(
    formula: Callable[..., Any], problem: str
) -> None:
    with pytest.raises(UnsupportedOpError, match=problem) as caught:
        graphc.op(formula)(graphc.input("x", (3,)))
    assert formula.__name__ in str(caught.value)


def test_a_signature_that_gives_an_index_no_extent_is_refused() -> None:
    with pytest.raises(ShapeError, match="no operand is read at the result's index k"):
        graphc.op("i j -> k")(lambda a: a)(graphc.input("x", (2, 3)))


def test_a_derivative_of_anything_but_symbols_is_refused() -> None:
    twice = graphc.op(lambda x: 2 * x)
    twice.derivative(branching)
    with pytest.raises(GraphcError, match=r"sympy\.Piecewise"):
        twice(graphc.input("x", (3,)))
