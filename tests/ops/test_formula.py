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
from graphc.errors import DTypeError, GraphcError, ShapeError, UnsupportedOpError


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
        (lambda x: sympy.LambertW(x), "the scalar function LambertW is unknown"),
        (lambda x: sympy.Max(x, 0), r"Max is unknown in .*; graphc\.ops\.scalar\.maximum stands"),
        (lambda x: sympy.floor(x), r"graphc\.ops\.scalar\.floor stands for it"),
        (lambda x: sympy.Integral(x, x), r"Integral is unknown .*graphc/ops/scalar\.py lists"),
        (lambda x: sympy.I * x, "I is not a real number"),
        (lambda x: 1 / (x - x), "zoo is not a real number"),
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


def squared(slope: float | None) -> Any:
    """x*x, each time by the same name; its derivative is slope*x where one is given."""
    op = graphc.op(name="squared")(lambda x: x * x)
    if slope is not None:
        op.derivative(lambda x: slope * x)
    return op


@pytest.mark.parametrize("alone", [False, True])
def test_ops_that_differ_in_their_derivatives_are_not_mixed_up(alone: bool) -> None:
    """Equal formulas are one object, but not those with other derivatives, whatever came before."""
    x, kept, found = graphc.input("x", (3,)), [], []
    for slope in (None, 3.0, 5.0, None):
        result = squared(slope)(graphc.input("x", (3,)) if alone else x)
        kept.append(result)
        (gradient,) = graphc.grad(ops.sum(result), list(result.inputs)[:1])
        found.append(graphc.compile(gradient)(np.ones(3, np.float32))[0][0])
    assert found == [2, 3, 5, 2]
    assert kept[0] is not kept[1]


@graphc.op
def scaled(x: Any, *, by: Any) -> Any:
    """x*by."""
    return x * by


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({}, "scaled: needs the attribute 'by'"),
        ({"by": graphc.constant(2.0)}, "'by' must be a number or text, not Node"),
        ({"by": np.ones(3)}, "'by' must be a number or text, not ndarray"),
        ({"factor": 2}, "no attribute 'factor'; it has: by"),
    ],
)
def test_attributes_are_refused_with_op_and_line(attributes: Any, problem: str) -> None:
    with pytest.raises(UnsupportedOpError, match=problem) as caught:
        scaled(graphc.input("x", (3,)), **attributes)
    assert "test_formula.py:" in str(caught.value)
    assert scaled(graphc.input("x", (3,)), by=np.float32(2)).shape == (3,)


def test_options_of_an_op_are_checked_where_it_is_made() -> None:
    with pytest.raises(UnsupportedOpError, match="how='foo'; there are sum, prod"):
        graphc.op("m k -> m", how="foo")
    with pytest.raises(DTypeError, match="op: result: dtype 'float16'"):
        graphc.op("m k -> m", result="float16")
