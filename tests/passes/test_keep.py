"""What the backward pass makes of a kept value alone is kept in its place, if that saves work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.graph.node import Node
from graphc.llvm import targets
from graphc.machine import Machine
from graphc.ops import cases, scalar
from graphc.ops.cost import instructions
from graphc.ops.formula import Formula
from graphc.passes import keep
from graphc.runtime.memory import assume

Array = np.ndarray[Any, Any]
Function = Callable[[Any], Node]


def tanh_gelu(x: Any) -> Node:
    return ops.gelu(x, approximate="tanh")


def attention(x: Node) -> Node:
    """Weights of a causal mask: the rows' first elements alone are not masked in the first row."""
    size = int(x.shape[-1])
    mask = graphc.constant(np.tri(int(x.shape[0]), size, dtype=bool))
    return ops.softmax(ops.where(mask, x, -np.inf), -1)


SHARING = [ops.gelu, tanh_gelu, ops.silu, attention]
CHEAP = [ops.relu, ops.sigmoid, ops.tanh, ops.square, ops.hardswish, ops.elu, ops.softplus]


class Net:
    """A loss of two products with a function between them, its variables, and some numbers."""

    def __init__(self, function: Function, dtype: str = "float32", batch: int | str = 12) -> None:
        drawn = np.random.default_rng(0)
        shapes = {"w": (20, 24), "c": (24,), "v": (24, 16)}
        self.x = graphc.input("x", (batch, 20), dtype)
        self.variables = [graphc.input(name, shape, dtype) for name, shape in shapes.items()]
        w, c, v = self.variables
        self.before = self.x @ w + c
        self.loss = ops.sum(ops.square(function(self.before) @ v))
        self.numbers: dict[str, Array] = {"x": drawn.standard_normal((12, 20)).astype(dtype)}
        for name, shape in shapes.items():
            self.numbers[name] = drawn.standard_normal(shape).astype(dtype) * 0.5

    def outputs(self) -> list[Node]:
        return [self.loss, *graphc.grad(self.loss, self.variables)]

    def step(self, **options: Any) -> graphc.Program:
        return graphc.compile(self.outputs(), **options)


def kept(program: graphc.Program) -> list[Node]:
    return [n for n in program.stages.graph.nodes if n.op.name.endswith(f".{keep.KEPT}")]


def without(monkeypatch: pytest.MonkeyPatch, skipped: str, net: Net) -> graphc.Program:
    with monkeypatch.context() as patch:
        patch.setenv("GRAPHC_SKIP", skipped)
        return net.step()


def arena(program: graphc.Program) -> int:
    return program.stages.plan.arena(assume(program.stages, {}))[1]


def same(found: Mapping[str, Array] | Any, expected: Any) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("function", "batch"), [*((function, 12) for function in SHARING), (ops.gelu, "n")]
)
def test_it_is_kept_in_the_place_of_what_it_is_made_of(
    function: Function, batch: int | str
) -> None:
    net = Net(function, batch=batch)
    program = net.step()
    (value,) = kept(program)
    (user,) = program.stages.graph.users()[value]
    assert user.site.derived and not value.site.derived
    assert isinstance(user.op, Formula) and user.op.expr == scalar.argument("grad") * keep.KEPT
    (group,) = [g for g in program.stages.plan.groups if value in g.nodes]
    assert value in group.roots
    (source,) = [i for i in value.inputs if i.shape == value.shape]
    readers = program.stages.graph.users()[source]
    assert all(not reader.site.derived for reader in readers)
    if function is not attention:  # whose scores are made by a kernel before
        assert source in group.nodes and source not in group.roots


@pytest.mark.parametrize("function", SHARING)
def test_gradients_are_central_differences(function: Function) -> None:
    net = Net(function, "float64")
    program = net.step()
    assert kept(program)
    _, *slopes = program(**net.numbers)
    forward = graphc.compile(net.loss)
    for variable, slope in zip(net.variables, slopes, strict=True):
        name = variable.op.name
        assert slope.shape == net.numbers[name].shape
        for place in list(np.ndindex(slope.shape))[::17]:
            losses = []
            for step in (1e-6, -1e-6):
                moved = net.numbers[name].copy()
                moved[place] += step
                losses.append(float(forward(**{**net.numbers, name: moved})[0]))
            expected = (losses[0] - losses[1]) / 2e-6
            np.testing.assert_allclose(slope[place], expected, rtol=2e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "theirs"),
    [
        (ops.gelu, lambda torch, x: torch.nn.functional.gelu(x)),
        (tanh_gelu, lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh")),
        (ops.silu, lambda torch, x: torch.nn.functional.silu(x)),
    ],
)
@pytest.mark.parametrize(("dtype", "digits"), [("float32", 2e-5), ("float64", 1e-12)])
def test_gradients_are_those_of_torch(
    torch: Any, function: Function, theirs: Any, dtype: str, digits: float
) -> None:
    net = Net(function, dtype)
    found = net.step()(**net.numbers)
    given = {name: torch.tensor(value) for name, value in net.numbers.items()}
    wanted = [given[v.op.name].requires_grad_() for v in net.variables]
    after = theirs(torch, given["x"] @ given["w"] + given["c"])
    loss = (after @ given["v"]).square().sum()
    expected = [loss, *torch.autograd.grad(loss, wanted)]
    for one, other in zip(found, expected, strict=True):
        right = other.detach().numpy()
        np.testing.assert_allclose(one, right, rtol=digits, atol=digits * np.abs(right).max())


@pytest.mark.parametrize("function", SHARING)
def test_no_bit_depends_on_fusion_or_threads(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net(function)
    found = net.step()(**net.numbers)
    same(net.step(threads=1)(**net.numbers), found)
    same(without(monkeypatch, "fuse", net)(**net.numbers), found)
    apart = without(monkeypatch, "keep", net)
    assert not kept(apart)
    for one, other in zip(apart(**net.numbers), found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("function", [ops.gelu, attention])
def test_a_derivative_of_one_factor_keeps_its_bits(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net(function)
    same(net.step()(**net.numbers), without(monkeypatch, "keep", net)(**net.numbers))


@pytest.mark.parametrize("function", SHARING)
def test_the_arena_does_not_grow(function: Function, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net(function)
    assert arena(net.step()) <= arena(without(monkeypatch, "keep", net))


@pytest.mark.parametrize("function", SHARING)
def test_a_forward_pass_has_nothing_of_it(function: Function) -> None:
    net = Net(function)
    for program in (graphc.compile(net.loss), graphc.compile(net.loss, freeze=True)):
        assert not kept(program)
        assert "kept" not in program.as_text("graph") + program.as_text("simplified")


@pytest.mark.parametrize("function", CHEAP)
def test_what_costs_little_more_than_its_store_is_made_anew(function: Function) -> None:
    assert not kept(Net(function).step())


def test_a_value_that_is_kept_anyway_keeps_its_readers() -> None:
    net = Net(ops.gelu)
    loss = net.loss + ops.sum(net.before**3)
    assert not kept(graphc.compile([loss, *graphc.grad(loss, net.variables)]))
    assert not kept(graphc.compile([*net.outputs(), net.before]))


def test_a_view_counts_as_a_reader() -> None:
    net = Net(ops.gelu)
    loss = net.loss + ops.sum(ops.reshape(net.before, (24, 12)) ** 3)
    assert not kept(graphc.compile([loss, *graphc.grad(loss, net.variables)]))


def test_what_can_be_made_anew_of_kept_values_needs_no_place() -> None:
    x, weight = graphc.input("x", (12, 24)), graphc.input("weight", (24, 24))

    def step(value: Node) -> graphc.Program:
        loss = ops.sum(ops.square(ops.gelu(value) @ weight))
        return graphc.compile([loss, *graphc.grad(loss, [weight, x])])

    assert not kept(step(x))
    assert not kept(step(x * 2))
    assert not kept(step(ops.layer_norm(x @ weight, (24,))))
    assert kept(step(x @ weight))


def test_a_value_that_the_forward_pass_reads_later_is_in_memory_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, weight = graphc.input("x", (24, 24)), graphc.input("weight", (24, 24))
    value = x
    for _ in range(4):  # each product is added after the function of it has been multiplied
        made = value @ weight
        value = made + ops.gelu(made) @ weight
    loss = ops.sum(ops.square(value))
    outputs = [loss, *graphc.grad(loss, [weight])]
    program = graphc.compile(outputs)
    assert len(kept(program)) == 4
    monkeypatch.setenv("GRAPHC_SKIP", "keep")
    assert arena(program) <= arena(graphc.compile(outputs))


def test_a_branch_of_zero_stays_as_it_is() -> None:
    x, g = scalar.argument("x"), scalar.argument("g")
    one, exp = scalar.whole(1), graphc.ops.reduce.risen()
    branches = cases.only_where(g * exp, [x > 0])
    assert scalar.cofactor(branches, g) is None
    assert scalar.cofactor(g * exp, g) == exp
    assert scalar.cofactor(g, g) == one
    assert scalar.cofactor(g + x, g) is None
    assert scalar.cofactor(g * g * x, g) is None


def test_the_common_part_is_computed_once() -> None:
    net = Net(ops.gelu)
    alone, both = graphc.compile(net.loss), net.step()
    (value,) = kept(both)
    (number,) = [n for n, g in enumerate(both.stages.plan.groups) if value in g.nodes]
    signs = "@llvm.copysign"  # each error function copies one sign
    texts = [p.kernels[k].as_text("llvm") for p, k in ((alone, "k00"), (both, f"k{number:02d}"))]
    calls = [sum(signs in line and " call " in line for line in t.splitlines()) for t in texts]
    assert calls[0] == calls[1] > 0


def test_instructions_are_counted_from_the_code() -> None:
    model = targets.target("avx2").model
    net = Net(ops.gelu)
    x = scalar.argument("x")
    gelu = ops.gelu(net.x).op
    assert isinstance(gelu, Formula)
    whole = instructions([gelu.expr], model)
    assert whole > model.instructions("erf", 1) > 20 > model.instructions("abs", 1) == 1
    assert instructions([gelu.expr, gelu.expr], model) == whole
    assert instructions([gelu.expr], Machine(32, 16, False)) < 8
    assert instructions([x], model) == 0


def test_the_decision_is_explained() -> None:
    program = Net(ops.gelu).step()
    text = program.explain("gelu")
    assert "why: gelu.dx.kept is kept from the forward pass in the place of add: " in text
    assert "instructions are those of gelu" in text
    text = program.explain("gelu.dx")
    assert "why: gelu.dx reads gelu.dx.kept, which is kept from the forward pass" in text
