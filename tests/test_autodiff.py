"""What grad, vjp, jvp and hessian_vector_product take, give, and refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.errors import DTypeError, GraphcError, InputError, ShapeError
from graphc.ops.reference import evaluate

VALUE = np.array([1, 2, 3], np.float32)


def test_one_node_stands_for_a_list_of_one() -> None:
    x = graphc.input("x", (3,))
    total = ops.sum(x**3)
    given = {"x": VALUE}
    for found, wanted in (
        (graphc.grad(total, x), 3 * VALUE**2),
        (graphc.vjp(x**3, x, VALUE), 3 * VALUE**3),
        (graphc.jvp(x**3, x, x), 3 * VALUE**3),
        (graphc.hessian_vector_product(total, x, [VALUE]), 6 * VALUE**2),
    ):
        assert len(found) == 1
        np.testing.assert_allclose(evaluate(found, given)[0], wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "problem", "call"),
    [
        (InputError, "jvp: a tangent for each variable is needed: 1, not 0",
         lambda x, k: graphc.jvp([x], [x], [])),
        (InputError, "vjp: a cotangent for each output is needed: 2, not 1",
         lambda x, k: graphc.vjp([x, x], [x], [x])),
        (InputError, "hessian_vector_product: a vector for each variable is needed: 1, not 2",
         lambda x, k: graphc.hessian_vector_product(ops.sum(x), x, [x, x])),
        (InputError, "the output must be of the type Node, not float",
         lambda x, k: graphc.grad(3.0, x)),
        (InputError, "variables must be of the type Node, not int",
         lambda x, k: graphc.grad(ops.sum(x), 3)),
        (InputError, "not Parameter; its variable is its .node",
         lambda x, k: graphc.grad(ops.sum(x), graphc.nn.Linear(2, 2).weight)),
        (ShapeError, r"grad: needs a scalar, not f32\[3\]", lambda x, k: graphc.grad(x, x)),
        (ShapeError, r"cotangent f32\[4\] does not fit its output f32\[3\]",
         lambda x, k: graphc.vjp(x, x, np.ones(4))),
        (DTypeError, r"cotangent f64\[3\] does not fit its output f32\[3\]",
         lambda x, k: graphc.vjp(x, x, graphc.constant(np.ones(3)))),
        (DTypeError, "grad: needs a float", lambda x, k: graphc.grad(ops.sum(k), x)),
        (DTypeError, r"variables must be floats, <k : i64\[3\]>",
         lambda x, k: graphc.grad(ops.sum(x * k), [k])),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    kind: type[GraphcError], problem: str, call: Callable[..., Any]
) -> None:
    x, k = graphc.input("x", (3,)), graphc.input("k", (3,), "int64")
    with pytest.raises(kind, match=problem) as caught:
        call(x, k)
    assert "test_autodiff.py" in str(caught.value)
