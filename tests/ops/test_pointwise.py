"""Arithmetic, elementary functions, activations and logic, against PyTorch and at extremes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from graphc import ops
from graphc.autodiff import vjp
from graphc.errors import DTypeError, ShapeError, UnsupportedOpError
from graphc.graph.leaf import constant, input
from graphc.graph.node import Node
from graphc.ops.make import fill
from graphc.ops.reference import evaluate
from tests.support import central_differences, nodes, random, run, same, single, values

GRID = np.concatenate([np.linspace(-6.5, 6.5, 24), [0.03, -0.03]])  # no kink is on it
UNIT = np.linspace(0.05, 0.95, 7)
POSITIVE = np.array([0.01, 0.3, 1.0, 2.5, 40.0])

SMOOTH = {
    "neg": GRID,
    "square": GRID,
    "sqrt": POSITIVE,
    "rsqrt": POSITIVE,
    "reciprocal": POSITIVE,
    "exp": GRID,
    "expm1": GRID,
    "log": POSITIVE,
    "log1p": POSITIVE,
    "logit": UNIT,
    "sin": GRID,
    "cos": GRID,
    "tan": UNIT,
    "tanh": GRID,
    "erf": GRID,
    "sigmoid": GRID,
    "log_sigmoid": GRID,
    "gelu": GRID,
    "silu": GRID,
    "mish": GRID,
    "softplus": GRID,
}
KINKED = {
    "abs": GRID,
    "sign": GRID,
    "relu": GRID,
    "relu6": GRID,
    "leaky_relu": GRID,
    "elu": GRID,
    "selu": GRID,
    "celu": GRID,
    "softsign": GRID,
    "hardtanh": GRID,
    "hardsigmoid": GRID,
    "hardswish": GRID,
    "floor": GRID,
    "ceil": GRID,
    "trunc": GRID,
    "round": GRID,
}
THEIRS = {"log_sigmoid": "logsigmoid"}
ACTIVATIONS = [
    *"sigmoid log_sigmoid step relu relu6 leaky_relu elu selu celu gelu silu mish".split(),
    *"softplus softsign hardtanh hardsigmoid hardswish tanh erf".split(),
]


def theirs(torch: Any, name: str) -> Any:
    """PyTorch's function of that name."""
    name = THEIRS.get(name, name)
    return getattr(torch, name, None) or getattr(torch.nn.functional, name)


@pytest.mark.parametrize("name", [*SMOOTH, *KINKED])
def test_unary_ops_equal_pytorch(torch: Any, name: str) -> None:
    ours, other, x = getattr(ops, name), theirs(torch, name), {**SMOOTH, **KINKED}[name]
    tolerance = 1e-7 if name == "hardsigmoid" else 1e-10  # PyTorch's 1/6 there is a float32
    same(
        torch, ours, other, x, order=1 if name in ("abs", "hardsigmoid") else 2, tolerance=tolerance
    )
    single(torch, ours, other, x, tolerance=1e-4 if name == "tan" else 2e-5)
    same(torch, ours, other, np.zeros((0, 3)), order=1)
    same(torch, ours, other, x[:1].reshape(1, 1), order=1)


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_are_the_central_differences(name: str) -> None:
    central_differences(getattr(ops, name), SMOOTH[name], tolerance=1e-5)


OPTIONS: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("gelu", {"approximate": "tanh"}, "gelu", {"approximate": "tanh"}),
    ("leaky_relu", {"negative_slope": 0.2}, "leaky_relu", {"negative_slope": 0.2}),
    ("elu", {"alpha": 0.7}, "elu", {"alpha": 0.7}),
    ("elu", {"alpha": -0.7}, "elu", {"alpha": -0.7}),
    ("celu", {"alpha": 2}, "celu", {"alpha": 2}),
    ("softplus", {"beta": 3, "threshold": 5}, "softplus", {"beta": 3, "threshold": 5}),
    ("hardtanh", {"min_val": -2, "max_val": 0.5}, "hardtanh", {"min_val": -2, "max_val": 0.5}),
]


@pytest.mark.parametrize(("name", "options", "other", "other_options"), OPTIONS)
def test_attributes_equal_pytorch(
    torch: Any, name: str, options: Any, other: str, other_options: Any
) -> None:
    same(
        torch,
        lambda x: getattr(ops, name)(x, **options),
        lambda x: getattr(torch.nn.functional, other)(x, **other_options),
        GRID,
    )


PAIRS = ["add", "sub", "mul", "div", "maximum", "minimum", "remainder", "pow"]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(
    ("left", "right"), [((2, 3), (2, 3)), ((2, 1, 3), (4, 1)), ((), (3,)), ((0, 3), (1, 3))]
)
def test_binary_ops_equal_pytorch(torch: Any, name: str, left: Any, right: Any) -> None:
    a, b = np.abs(random(*left)) + 0.1, np.abs(random(*right, seed=1)) + 0.1
    order = 1 if name == "remainder" else 2
    same(torch, getattr(ops, name), getattr(torch, name), a, b, order=order)
    single(torch, getattr(ops, name), getattr(torch, name), a, b)


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "maximum", "minimum", "add", "mul"])
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_binary_ops_keep_integers(torch: Any, name: str, dtype: str) -> None:
    a = np.array([7, 5, 9, 0], dtype)
    b = np.array([2, 3, 4, 5], dtype)
    if dtype != "uint8":
        a, b = np.concatenate([a, -a]).astype(dtype), np.concatenate([b, b]).astype(dtype)
    same(torch, getattr(ops, name), getattr(torch, name), a, b, order=0)


def test_division_of_integers_is_float32() -> None:
    quotient = run(ops.div, np.array([1, 2]), np.array([2, 4]))
    assert quotient.dtype == np.float32
    assert quotient.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, -2, 0.5, -0.5, 1.5, 2.0, 0.3, -1.7])
def test_powers_of_numbers_equal_pytorch(torch: Any, exponent: float) -> None:
    same(torch, lambda x: x**exponent, lambda x: x**exponent, POSITIVE)
    if float(exponent).is_integer() and exponent >= 0:
        same(torch, lambda x: x**exponent, lambda x: x**exponent, GRID)


def test_whole_powers_are_products() -> None:
    (x,) = nodes([GRID])
    assert "x**2" in (x**2).op.describe()
    assert (x**2.0) is (x**2)
    assert "sqrt(x)" in (x**0.5).op.describe()


def test_gradients_of_powers_at_zero(torch: Any) -> None:
    x, y = np.array([0.0, 0.0, 0.0, 2.0]), np.array([0.0, 1.0, 2.0, 0.0])
    same(torch, ops.pow, torch.pow, x, y, order=1)


@pytest.mark.parametrize("bounds", [(-1.0, 2.0), (None, 1.5), (0.5, None)])
def test_clip_equals_pytorch(torch: Any, bounds: Any) -> None:
    x = np.concatenate([GRID, [b for b in bounds if b is not None]])
    same(torch, lambda x: ops.clip(x, *bounds), lambda x: torch.clip(x, *bounds), x)


def test_clip_by_nodes_and_in_the_wrong_order(torch: Any) -> None:
    low = random(26, seed=3)
    same(torch, ops.clip, torch.clip, GRID, low, low + 1, order=1)
    with pytest.raises(UnsupportedOpError, match=r"lower bound 2 is above the upper bound 1"):
        ops.clip(input("x", (3,)), 2, 1)


def test_where_equals_pytorch(torch: Any) -> None:
    mask = random(4, 3) > 0
    same(torch, ops.where, torch.where, mask, random(4, 3), random(3, seed=2))
    chosen = run(lambda x: ops.where(x < 0, math.inf, x), np.array([-1.0, 2.0]))
    assert chosen.tolist() == [math.inf, 2.0]


def test_where_shields_its_gradient_from_the_other_branch() -> None:
    x = np.array([0.0, 4.0])

    def guarded(x: Node) -> Node:
        return vjp([ops.where(x > 0, ops.sqrt(x), 0)], [x], [fill(1, x.type)])[0]

    assert run(guarded, x)[1] == 0.25


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 2), (3,)])
def test_prelu_has_a_weight_for_each_channel(torch: Any, shape: tuple[int, ...]) -> None:
    weight = random(5 if len(shape) > 1 else 1)
    same(torch, ops.prelu, torch.nn.functional.prelu, random(*shape), weight)


COMPARISONS = {
    "equal": "eq",
    "not_equal": "ne",
    "less": "lt",
    "less_equal": "le",
    "greater": "gt",
    "greater_equal": "ge",
    "logical_and": "logical_and",
    "logical_or": "logical_or",
    "logical_xor": "logical_xor",
}


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_and_logic_equal_pytorch(torch: Any, name: str) -> None:
    a = np.array([1.0, 0.0, math.nan, -2.0, math.inf])
    b = np.array([[1.0], [0.0], [math.nan]])
    ours, other = getattr(ops, name), getattr(torch, COMPARISONS[name])
    same(torch, ours, other, a, b, order=0)
    same(torch, ours, other, np.array([1, 2, 0]), np.array([1, 0, 0]), order=0)


@pytest.mark.parametrize("name", ["isnan", "isinf", "isfinite", "logical_not"])
def test_predicates_equal_pytorch(torch: Any, name: str) -> None:
    ours, other = getattr(ops, name), getattr(torch, name)
    for dtype in ("float32", "float64"):
        x = np.array([0.0, math.nan, math.inf, -math.inf, np.finfo(dtype).max], dtype)
        same(torch, ours, other, x, order=0)
    same(torch, ours, other, np.array([0, 3]), order=0)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_are_finite_at_extremes(name: str, dtype: str) -> None:
    x = np.array([-1e4, -80, -1, 0, 1, 80, 1e4], dtype)
    (node,) = nodes([x])
    ones = fill(1, node.type)
    first = getattr(ops, name)(node)
    (second,) = vjp([first], [node], [ones])
    (third,) = vjp([second], [node], [ones])
    for value in values([first, second, third], [x]):
        assert value.dtype == dtype
        assert np.isfinite(value).all(), value


@pytest.mark.parametrize("name", [*ACTIVATIONS, "exp", "log", "abs", "sign", "floor", "sqrt"])
def test_nan_stays_nan(name: str) -> None:
    x = np.array([math.nan, 1.0], np.float32)
    assert np.isnan(run(getattr(ops, name), x)).tolist() == [True, False]


def test_nan_stays_nan_between_bounds() -> None:
    x = np.array([math.nan], np.float32)
    for value in (
        run(lambda x: ops.clip(x, -1, 1), x),
        run(lambda x: ops.maximum(x, 0), x),
        run(lambda x: ops.minimum(0, x), x),
    ):
        assert np.isnan(value).all()


def test_kinks_have_the_derivatives_that_their_manuals_say() -> None:
    def slope(function: Any, at: float) -> float:
        def derived(x: Node) -> Node:
            return vjp([function(x)], [x], [fill(1, x.type)])[0]

        return float(run(derived, np.array([float(at)]))[0])

    assert slope(ops.relu, 0) == 0
    assert slope(ops.abs, 0) == 0
    assert slope(ops.hardtanh, 1) == slope(ops.hardtanh, -1) == 0
    assert slope(lambda x: ops.clip(x, -1, 1), 1) == 1
    assert slope(lambda x: ops.maximum(x, 0), 0) == 0.5
    assert slope(ops.leaky_relu, 0) == 0.01
    assert slope(ops.step, 3) == slope(ops.sign, 3) == slope(ops.floor, 3) == 0


def test_a_cast_converts_the_gradient_back() -> None:
    x = np.array([-1.7, 0.0, 2.5])
    assert run(lambda x: ops.cast(x, "int32"), x).tolist() == [-1, 0, 2]
    assert run(lambda x: ops.cast(x, bool), x).tolist() == [True, False, True]

    def derived(x: Node) -> Node:
        half = ops.cast(x, np.float32)
        assert half.dtype == "float32"
        return vjp([half * half], [x], [fill(1, half.type)])[0]

    back = run(derived, x)
    assert back.dtype == np.float64
    np.testing.assert_allclose(back, 2 * x, rtol=1e-6)
    (node,) = nodes([x])
    assert ops.cast(node, "float64") is node


def test_stop_gradient_stops_it() -> None:
    def derived(x: Node) -> Node:
        return vjp([x * ops.stop_gradient(x)], [x], [fill(1, x.type)])[0]

    assert run(derived, np.array([3.0])).tolist() == [3.0]


def test_python_operators(torch: Any) -> None:
    a, b = np.array([7.0, -3.5, 2.0]), np.array([2.0, 1.5, -4.0])

    def arithmetic(x: Any, y: Any) -> Any:
        return (x + y) * (x - y) / y + (1 - x) + (2 / y) - (-x) + abs(y) + 2**x + x % y

    same(torch, arithmetic, arithmetic, a, b, order=1)
    same(torch, lambda x, y: x // y + 7 % y, lambda x, y: x // y + 7 % y, a, b, order=0)
    logic = lambda x, y: ~((x < y) & (x > 0)) | ((x >= y) ^ (x <= 1))  # noqa: E731
    same(torch, logic, logic, a, b, order=0)
    (x,) = nodes([a])
    assert isinstance(a * x, Node)
    assert isinstance(np.float32(2) * x, Node)
    assert (a + x).dtype == "float64"
    with pytest.raises(DTypeError, match=r"`&` is logical and takes bool, not float64"):
        x & x


def test_numbers_take_the_dtype_of_the_node_beside_them() -> None:
    small = input("x", (2,))
    assert (small * 2).dtype == (small + 0.5).dtype == (1 - small).dtype == "float32"
    assert (small * np.ones(2)).dtype == "float32"
    whole = input("i", (2,), "int32")
    assert (whole + 1).dtype == "int32"
    assert (whole * 0.5).dtype == "float32"
    assert ops.where(whole > 0, whole, 0).dtype == "int32"
    assert (constant(np.ones(2)) + 1).dtype == "float64"


def test_errors_name_shapes_and_attributes() -> None:
    x, y = input("x", (2, 3)), input("y", (2, 4))
    with pytest.raises(ShapeError, match=r"extents 3 and 4(.|\n)*f32\[2,3\], f32\[2,4\]"):
        x + y
    with pytest.raises(UnsupportedOpError, match=r"no attribute 'alpha'; it has: negative_slope"):
        ops.leaky_relu(x, alpha=0.1)
    with pytest.raises(UnsupportedOpError, match=r"neither 'none' nor 'tanh'"):
        ops.gelu(x, approximate="sigmoid")
    with pytest.raises(TypeError, match="no truth value"):
        bool(x > 0)


def test_every_op_has_a_manual_page() -> None:
    for name in ops.__dict__:
        function = getattr(ops, name)
        if getattr(function, "__module__", "") == ops.__name__ and name[0] != "_":
            assert function.__doc__, name


def test_softplus_has_one_threshold() -> None:
    """Near a small threshold the derivative changes where the value does."""
    x = input("x", (3,), "float64")
    node = ops.softplus(x, beta=3, threshold=2)
    (slope,) = vjp([node], [x], [constant(np.ones(3))])
    given = np.array([0.65, 0.667, -1.0])
    (found,) = evaluate([slope], {"x": given})
    sigmoid = 1 / (1 + np.exp(-3 * given))
    np.testing.assert_allclose(found, [sigmoid[0], 1, sigmoid[2]], rtol=1e-12)
