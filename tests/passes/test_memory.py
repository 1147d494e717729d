"""Memory: nothing alive is overwritten, no order is broken, and little more than must be."""

from __future__ import annotations

import random

import numpy as np
import pytest

import graphc
from graphc import compiler, nn, ops, optim
from graphc.llvm import targets
from graphc.passes import arena, layout, sequence
from graphc.passes.group import Group
from graphc.passes.liveness import kept, least
from graphc.types import SIZE, TensorType
from tests.benchmarks.peers import graphc as peer
from tests.benchmarks.workloads import named

NETS = (
    *("xor", "playground", "mlp", "seednet", "convnet", "lstm", "transformer"),
    *("autoencoder", "resnet", "gru"),
)


@pytest.mark.parametrize("seed", range(20))
def test_an_order_keeps_to_what_kernels_need(seed: int) -> None:
    """For random needs all orders are orders, and none has a smaller peak than the one taken."""
    drawn = random.Random(seed)
    groups = [Group((), (), ()) for _ in range(30)]
    values = [graphc.input(f"v{number}", (1,)) for number in range(30)]
    reads = {
        group: tuple(drawn.sample(values[:number], min(number, drawn.randrange(4))))
        for number, group in enumerate(groups)
    }
    maker = dict(zip(values, groups, strict=True))
    needs = {group: [maker[value] for value in reads[group]] for group in groups}
    traffic = sequence.Traffic(
        {group: (value,) for group, value in zip(groups, values, strict=True)},
        reads,
        {value: drawn.choice([64, 640, 6400]) for value in values},
    )
    plain = sequence.depth_first(needs)
    early = sequence.eager(needs, traffic, plain)
    tight = sequence.eager(needs, traffic, plain, sequence.peak(early, traffic) - 1)
    for order in (plain, early, tight):
        step = {group: number for number, group in enumerate(order)}
        assert len(step) == len(groups)
        assert all(step[other] < step[group] for group in groups for other in needs[group])
    taken = sequence.peak(sequence.sequence(needs, traffic), traffic)
    assert taken <= min(sequence.peak(order, traffic) for order in (plain, early))


def test_a_large_value_waits_until_there_is_room() -> None:
    """What frees its operand is made later where it is too large beside what lies there now."""
    kept, read, one, two, large = (graphc.input(name, (1,)) for name in "abcde")
    first, left, right, frees, ends = (Group((), (), ()) for _ in range(5))
    needs = {first: [], left: [first], right: [first], frees: [first], ends: [left, right, frees]}
    traffic = sequence.Traffic(
        {first: (kept, read), left: (one,), right: (two,), frees: (large,), ends: ()},
        {first: (), left: (kept,), right: (kept,), frees: (read,), ends: (one, two, large)},
        {kept: 50, read: 20, one: 1, two: 1, large: 15},
    )
    plain = sequence.depth_first(needs)
    assert sequence.eager(needs, traffic, plain) == [first, frees, left, right, ends]
    late = sequence.eager(needs, traffic, plain, 80)
    assert late == [first, left, right, frees, ends]
    assert sequence.peak(late, traffic) == 72


def test_an_activation_goes_once_its_weights_gradient_is_made() -> None:
    """The gradients come layer by layer, not all after the last cotangent."""
    layers = [layer for _ in range(6) for layer in (nn.Linear(64, 64), nn.Tanh())]
    step = graphc.compile_train_step(
        nn.Sequential(*layers, nn.Linear(64, 4)),
        "cross_entropy",
        optim.SGD(0.1),
        inputs={"x": (4096, 64)},
        targets={"y": (4096,)},
    )
    found = step.program.memory()
    one = 4096 * 64 * 4
    assert found.kept < 7 * one < found.arena < 8.2 * one
    assert found.values > 12 * one


@pytest.mark.parametrize("name", NETS)
def test_the_arena_is_within_a_tenth_of_what_must_be_kept(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the benchmarks' nets, as planned for vectors of 8 and of 16 numbers.

    For those of 4, seednet's takes 20% more: a filter's update stands in the kernel of its
    gradient and waits for all that reads the filter, so that what both need lies there at once.
    Beside the tenth stands what aligns the values that lie there together: at most 63 bytes each,
    which only nets of a few hundred bytes feel (xor's arena is 448 bytes where 384 must be kept).
    """
    foreign = next(n for n in targets.WIDTHS if not targets.target(n).native)
    monkeypatch.setenv("GRAPHC_TARGET", foreign)  # no code is made: only plans are looked at
    program = peer.compiled(named(f"train-{name}"), 1).program
    for level in ("avx2", "avx512"):
        stages = compiler.make(program.source, targets.target(level))
        plan, fused = stages.plan, stages.fused
        size, bound = plan.arena({})[1], least(plan, fused, {})
        must = max(kept(plan, fused, {}), bound)
        padded = arena.sizes(plan.slots, {})
        padding = {number: n - bare(plan.slots[number].type) for number, n in padded.items()}
        assert all(0 <= n < arena.ALIGNMENT for n in padding.values())
        assert bound <= arena.greatest(plan.slots, padded) <= size
        allowed = 1.1 * must + arena.greatest(plan.slots, padding)
        assert 0 < must <= size <= allowed, f"{size:,} bytes, {must:,} must be kept"
        if must > 100_000:
            assert allowed < 1.11 * must


def bare(type: TensorType) -> int:
    """Bytes of a value's elements."""
    return layout.elements(type, {}) * SIZE[type.dtype]


def test_memory_states_its_sums() -> None:
    """The numbers of `program.memory` and of its text are those of the plan."""
    x = graphc.input("x", ("batch", 64))
    w = graphc.parameter("w", (64, 64))
    hidden = graphc.ops.tanh(x @ w)
    loss = graphc.ops.sum(graphc.ops.square(graphc.ops.tanh(hidden @ w)))
    (slope,) = graphc.grad(loss, [w])
    program = graphc.compile({"loss": loss}, updates={w: w - 0.1 * slope})
    found = program.memory(batch=256)
    assert (found.inputs, found.states, found.outputs) == (256 * 256, 64 * 256, 4)
    assert found.kept >= 256 * 64 * 4 and found.least <= found.arena <= found.values
    assert found.must == max(found.kept, found.least)
    assert found.excess == found.arena / found.must - 1
    text = program.as_text("memory", batch=256)
    for number in (found.arena, found.values, found.least, found.kept, found.inputs):
        assert f"{number:,} bytes" in text
    assert program.memory().arena < found.arena
    with pytest.raises(graphc.InputError, match="no run-time extent 'bathc'"):
        program.memory(bathc=3)


def test_an_inference_keeps_nothing() -> None:
    found = graphc.compile(graphc.ops.tanh(graphc.input("x", (8, 8)))).memory()
    assert (found.kept, found.least, found.arena, found.excess) == (0, 0, 0, 0.0)


def test_a_value_read_through_a_view_is_not_overwritten() -> None:
    """A reader of the old value at the element it makes, and at another through a reshape."""
    x = graphc.input("x", (6, 8))
    y = ops.tanh(x @ graphc.constant(np.eye(8, dtype=np.float32)))
    turned = ops.transpose(ops.reshape(y, (8, 6)))
    made = (y + turned) @ graphc.constant(np.eye(8, dtype=np.float32))
    given = np.linspace(-1, 1, 48, dtype=np.float32).reshape(6, 8)
    wanted = np.tanh(given) + np.tanh(given).reshape(8, 6).T
    np.testing.assert_allclose(graphc.compile(made)(given)[0], wanted, rtol=1e-5, atol=1e-6)


def test_a_variable_read_through_a_view_is_not_updated_in_place() -> None:
    old = np.arange(48, dtype=np.float32).reshape(6, 8)
    v = graphc.parameter("v", value=old)
    turned = ops.transpose(ops.reshape(v, (8, 6)))
    graphc.compile([], updates={v: v - turned})()
    np.testing.assert_array_equal(v.op.cell.value, old - old.reshape(8, 6).T)


def shift() -> tuple[graphc.Node, graphc.Node, dict[graphc.Node, graphc.Node]]:
    """A variable, one that takes its old value on, and their updates."""
    new = graphc.parameter("new", value=np.ones(4, np.float32))
    old = graphc.parameter("old", value=np.zeros((2, 2), np.float32))
    return new, old, {new: new * 2, old: ops.reshape(new, (2, 2))}


def test_a_variable_whose_old_value_another_takes_on_is_updated_last() -> None:
    new, old, updates = shift()
    program = graphc.compile([], updates=updates)
    for power in (1, 2, 4):
        program()
        np.testing.assert_array_equal(new.op.cell.value, [2 * power] * 4)
        np.testing.assert_array_equal(old.op.cell.value, [[power] * 2] * 2)
    assert "at the end" in program.as_text("memory")


def test_so_is_a_carry() -> None:
    """A scan in a scan could write its last state over the outer's, which is passed on."""
    x = graphc.input("x", (3, 4))

    def inner(c: graphc.Node, v: graphc.Node) -> tuple[graphc.Node, None]:
        return c * 0.5 + v, None

    def step(
        c: tuple[graphc.Node, graphc.Node], v: graphc.Node
    ) -> tuple[tuple[graphc.Node, graphc.Node], None]:
        last, _ = ops.scan(inner, c[0] + v, ops.stack([v, v * 2], 0))
        return (last, c[0]), None

    (_, before), _ = ops.scan(step, (ops.zeros(4), ops.ones(4)), x)
    given = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    (wanted,) = graphc.evaluate([before], {"x": given})
    np.testing.assert_allclose(graphc.compile([before])(given)[0], wanted, rtol=1e-5, atol=1e-6)


def test_a_variable_that_is_turned_round_is_not_updated_in_place() -> None:
    old = np.arange(12, dtype=np.float32).reshape(3, 4)
    v = graphc.parameter("v", value=old)
    graphc.compile([], updates={v: ops.flip(v * 2 + 1, 0)})()
    np.testing.assert_array_equal(v.op.cell.value, (old * 2 + 1)[::-1])
