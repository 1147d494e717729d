"""Sequences against PyTorch's loops: values, first and second derivatives, structure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphc.autodiff import grad, hessian_vector_product, jvp
from graphc.compiler import compile
from graphc.errors import DTypeError, ShapeError, UnsupportedOpError
from graphc.graph.graph import postorder
from graphc.graph.leaf import constant, input, parameter
from graphc.graph.node import Node
from graphc.ops import reduce
from graphc.ops.activation import sigmoid
from graphc.ops.create import ones_like, zeros
from graphc.ops.elementary import exp, tanh
from graphc.ops.reference import evaluate
from graphc.ops.scan import Scan, cumprod, cumsum, scan
from graphc.ops.shape import moveaxis, transpose
from tests.support import random, run, same


def affine_recurrence(x: Node, start: Node, w: Node) -> tuple[Node, Node]:
    """h = tanh(h*w + x), y = h*h*x."""

    def step(h: Node, x: Node) -> tuple[Node, Node]:
        h = tanh(h * w + x)
        return h, h * h * x

    return scan(step, start, x)


def unrolled(torch: Any, reverse: bool = False) -> Any:
    """The same in PyTorch."""

    def function(x: Any, h: Any, w: Any) -> Any:
        ys = [None] * len(x)
        for t in reversed(range(len(x))) if reverse else range(len(x)):
            h = torch.tanh(h * w + x[t])
            ys[t] = h * h * x[t]
        return h, torch.stack(ys) if ys else torch.zeros_like(x)

    return function


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_values_and_derivatives(torch: Any, steps: int) -> None:
    arrays = random(steps, 2, 3), random(2, 3), random(3)
    same(torch, affine_recurrence, unrolled(torch), *arrays, order=3 if steps == 4 else 2)


def test_reverse(torch: Any) -> None:
    def ours(x: Node, start: Node, w: Node) -> tuple[Node, Node]:
        def step(h: Node, x: Node) -> tuple[Node, Node]:
            h = tanh(h * w + x)
            return h, h * h * x

        return scan(step, start, x, reverse=True)

    same(torch, ours, unrolled(torch, reverse=True), random(4, 2), random(2), random(2))


def test_nested(torch: Any) -> None:
    """A scan in a scan, the inner one reading the outer one's carry."""

    def ours(x: Node, w: Node) -> tuple[Node, Node]:
        def outer(h: Node, row: Node) -> tuple[Node, Node]:
            last, ys = scan(lambda c, v: (tanh(c * w + h * v), c * v), h, row)
            return last + h, ys

        return scan(outer, zeros((), "float64"), x)

    def theirs(x: Any, w: Any) -> Any:
        h = torch.zeros((), dtype=torch.float64)
        rows = []
        for row in x:
            c, ys = h, []
            for v in row:
                ys.append(c * v)
                c = torch.tanh(c * w + h * v)
            rows.append(torch.stack(ys))
            h = c + h
        return h, torch.stack(rows)

    same(torch, ours, theirs, random(3, 2), random())


def test_lstm_as_a_tree(torch: Any) -> None:
    """Nested carries; weights as shared operands; gradients equal torch.nn.LSTM's."""
    steps, batch, features, width = 4, 2, 3, 5
    arrays = [
        random(steps, batch, features),
        random(4, features, width),
        random(4, width, width),
        random(4, width),
    ]

    def ours(x: Node, wx: Node, wh: Node, b: Node) -> tuple[Node, Node]:
        def product(a: Node, w: Node) -> Node:
            return sum_last(a[:, :, None] * w[None])

        def step(state: dict[str, Node], x: Node) -> tuple[dict[str, Node], Node]:
            i, f, g, o = (product(x, wx[k]) + product(state["h"], wh[k]) + b[k] for k in range(4))
            c = sigmoid(f) * state["c"] + sigmoid(i) * tanh(g)
            h = sigmoid(o) * tanh(c)
            return {"h": h, "c": c}, h

        nothing = zeros((batch, width), "float64")
        state, ys = scan(step, {"h": nothing, "c": nothing}, x)
        return state["c"], ys

    def theirs(x: Any, wx: Any, wh: Any, b: Any) -> Any:
        flat = [w.permute(0, 2, 1).reshape(4 * width, -1) for w in (wx, wh)]
        state = [torch.zeros(1, batch, width, dtype=torch.float64)] * 2
        module = torch.nn.LSTM(features, width).double()
        names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
        given = [*flat, b.reshape(-1), torch.zeros(4 * width, dtype=torch.float64)]
        call = torch.func.functional_call
        ys, (_, c) = call(module, dict(zip(names, given, strict=True)), (x, tuple(state)))
        return c[0], ys

    same(torch, ours, theirs, *arrays, order=1)


def sum_last(x: Node) -> Node:
    """The sum over axis 1, by a scan: this file stands on no reduction."""
    return scan(lambda c, v: (c + v, None), zeros((2, 5), "float64"), moveaxis(x, 1, 0))[0]


def test_one_run_backwards() -> None:
    """Cotangents of the last carry and of the outputs are pulled back by one scan."""
    x, w = input("x", (5, 3), "float64"), parameter("w", (3,), "float64")
    h, ys = affine_recurrence(x, zeros(3, "float64"), w)
    loss = total(h) + total(ys[2]) + total(ys[4])
    runs = {n.op.family(n) for n in postorder(grad(loss, [x, w])) if isinstance(n.op, Scan)}
    assert sum(op.reverse for op, _ in runs if op.length == 5) == 1


def total(x: Node) -> Node:
    """The sum of a vector."""
    return scan(lambda c, v: (c + v, None), zeros((), "float64"), x)[0]


def test_backward_keeps_what_the_derivative_reads() -> None:
    """A running sum's gradient reads nothing of the forward run."""
    x = input("x", (5,), "float64")
    (back,) = [
        n.op for n in postorder(grad(total(x), [x])) if isinstance(n.op, Scan) and n.op.reverse
    ]
    assert back.slices == back.shared == ()


def test_shared_operands_are_lifted() -> None:
    """Parameters and what is computed from them once; constants stay in the body."""
    w = parameter("w", value=np.array(2.0), dtype="float64")
    x = input("x", (3,), "float64")
    last, ys = scan(lambda c, v: (c * exp(w) + v + 1.0, c), zeros((), "float64"), x)
    (run_,) = {n.op.family(n) for n in postorder([last, ys]) if isinstance(n.op, Scan)}
    assert [n.op.name for n in run_[1]] == ["full", "x", "exp"]
    assert [p.op.name for p in run_[0].placeholders] == [
        "scan0.carry0",
        "scan0.x0",
        "scan0.shared0",
    ]
    found = evaluate([last], {"x": np.zeros(3)})[0]
    np.testing.assert_allclose(found, 1 + np.exp(2) + np.exp(4))


def test_equal_scans_are_one_node() -> None:
    x = input("x", (3,), "float64")
    assert cumsum(x) is cumsum(x)
    assert cumsum(x) is not cumsum(x[::-1])


def test_integer_carry_and_no_sequence() -> None:
    """A counter beside a float carry; length without xs."""
    x = parameter("x", value=np.array(1.5), dtype="float64")

    def step(state: tuple[Node, Node], _: None) -> tuple[tuple[Node, Node], Node]:
        n, p = state
        return (n + 1, p * x), n

    (n, p), ns = scan(step, (constant(0), constant(1.0, "float64")), length=4)
    found = evaluate([n, p, ns, *grad(p, [x])])
    np.testing.assert_allclose(found[0], 4)
    np.testing.assert_allclose(found[1], 1.5**4)
    np.testing.assert_array_equal(found[2], [0, 1, 2, 3])
    np.testing.assert_allclose(found[3], 4 * 1.5**3)


def test_run_time_batch() -> None:
    """A named extent inside the stacks."""
    x = input("x", ("batch", 4), "float64")
    ys = transpose(cumsum(transpose(x)))
    assert ys.shape == ("batch", 4)
    array = random(3, 4)
    np.testing.assert_allclose(evaluate([ys], {"x": array})[0], array.cumsum(1))


def test_jvp_and_hessian() -> None:
    """Forward derivatives through a scan, from reverse mode twice."""
    x = parameter("x", value=random(3), dtype="float64")
    v = constant(random(3, seed=1), "float64")
    last, _ = scan(lambda c, v: (tanh(c + v), None), zeros((), "float64"), x)
    (forward,), (hessian,) = jvp([last], [x], [v]), hessian_vector_product(last, [x], [v])
    (slope,) = grad(last, [x])

    def at(shift: float) -> list[Any]:
        x.op.cell.assign(random(3) + shift * random(3, seed=1))
        return list(evaluate([last, slope]))

    plus, minus = at(1e-5), at(-1e-5)
    x.op.cell.assign(random(3))
    found = evaluate([forward, hessian])
    np.testing.assert_allclose(found[0], (plus[0] - minus[0]) / 2e-5, rtol=1e-6)
    np.testing.assert_allclose(found[1], (plus[1] - minus[1]) / 2e-5, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_cumulative(torch: Any, axis: int) -> None:
    x = random(3, 4)
    x[1, 2] = 0
    same(torch, lambda x: cumsum(x, axis), lambda x: x.cumsum(axis), x)
    same(torch, lambda x: cumprod(x, axis), lambda x: x.cumprod(axis), x)
    whole = np.arange(12, dtype=np.int32).reshape(3, 4)
    np.testing.assert_array_equal(run(lambda x: cumsum(x, axis), whole), whole.cumsum(axis))


def test_errors() -> None:
    x, start = input("x", (3, 2)), zeros(2)
    with pytest.raises(ShapeError, match=r"carry 0 starts as f32\[2\], but .* f32\[1,2\]"):
        scan(lambda c, v: (c[None], v), start, x)
    with pytest.raises(DTypeError, match="carry 0 starts as f64"):
        scan(lambda c, v: (v, v), zeros(2, "float64"), x)
    with pytest.raises(ShapeError, match="another structure"):
        scan(lambda c, v: ((c, c), v), start, x)
    with pytest.raises(ShapeError, match="2 steps, but a leading 3"):
        scan(lambda c, v: (c, v), start, x, length=2)
    with pytest.raises(ShapeError, match="length must be given"):
        scan(lambda c, v: (c, v), start)
    with pytest.raises(ShapeError, match="needs a number as its leading extent"):
        scan(lambda c, v: (c, v), start, input("y", ("batch", 2)))


def test_a_step_that_returns_no_pair_is_refused() -> None:
    with pytest.raises(
        UnsupportedOpError, match=r"must return a pair \(next carry, output or None"
    ):
        scan(lambda carry, x: carry, 0.0, input("x", (3,)))


def test_first_and_second_derivatives_compile_into_one_program() -> None:
    """Scans of forward, backward and the backward of that share operands and step in turn."""
    xs, w = input("xs", (6, 3, 4), "float64"), input("w", (4, 4), "float64")
    last, rows = scan(lambda h, x: (tanh(h @ w + x),) * 2, zeros((3, 4), "float64"), xs)
    total = reduce.sum(rows * rows) + reduce.sum(last)
    slopes = grad(total, [xs, w])
    curved = hessian_vector_product(total, [xs, w], [ones_like(xs), ones_like(w)])
    given = {"xs": random(6, 3, 4), "w": random(4, 4)}
    roots = [total, rows, *slopes, *curved]
    found, wanted = compile(roots)(**given), evaluate(roots, given)
    for value, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-10, atol=1e-10)


def test_a_body_may_read_constant_arrays() -> None:
    """They stay in the body, and are there at every step; also in a scan inside it."""
    x = input("x", (4, 3), "float64")
    weights, more = np.array([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 1.0])

    def inner(c: Any, a: Any) -> Any:
        return c * 0.5 + a * more, c

    def step(c: Any, a: Any) -> Any:
        return c + a * weights, scan(inner, c * more, x)[0]

    y = scan(step, x[0], x)[1]
    outputs = [y, *grad(reduce.sum(tanh(y)), [x])]
    given = {"x": np.random.default_rng(0).standard_normal((4, 3))}
    results = compile(outputs)(**given)
    for found, expected in zip(results, evaluate(outputs, given), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
