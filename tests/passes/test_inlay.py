"""What is copied with a border lies within the copy: the same bits, and no kernel that copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.graph.node import Node
from graphc.loops.ir import Barrier, For, walk
from graphc.passes import fuse

Array = np.ndarray[Any, Any]
MAKERS: dict[str, Callable[[Node], Node]] = {
    "map": lambda x: ops.tanh(x * 2),
    "rows": lambda x: ops.relu(ops.batch_norm(x)[0]),
    "pool": lambda x: ops.max_pool2d(x, 3, stride=1, padding=1),
    "product": lambda x: ops.relu(ops.conv2d(x, weight(16, 16, 1)) + 0.5),
    "residues": lambda x: ops.conv_transpose2d(x, weight(16, 16, 2), stride=2),
}


def conv(x: Node, size: int = 3) -> Node:
    """A convolution that keeps the extents of an image."""
    return ops.conv2d(x, weight(16, x.shape[1], size), padding=size // 2)


def weight(features: Any, channels: Any, size: int) -> Node:
    """A filter, always the same."""
    values = np.random.default_rng(size).standard_normal((features, channels, size, size)) / 8
    return graphc.constant(values.astype(np.float32))


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def copies(program: graphc.Program) -> int:
    """Kernels that do nothing but copy with a border."""
    groups = program.stages.plan.groups
    return sum({n.op.name for n in group.nodes} <= {"pad", "bordered"} for group in groups)


def same(
    outputs: Sequence[Node], monkeypatch: pytest.MonkeyPatch, **given: Array
) -> graphc.Program:
    """The program: right, with the bits of one thread, of a kernel a node, and of copies.

    Before, it is called with NaN everywhere: no border may hold what a call has left.
    """

    def called(program: graphc.Program) -> list[Array]:
        program(**{name: np.full_like(array, np.nan) for name, array in given.items()})
        return list(program(**given))

    program = graphc.compile(list(outputs), threads=2)
    found = [called(program), called(graphc.compile(list(outputs), threads=1))]
    with monkeypatch.context() as patch:
        patch.setenv("GRAPHC_SKIP", "fuse")
        found.append(called(graphc.compile(list(outputs))))
    with monkeypatch.context() as patch:
        patch.setenv("GRAPHC_CACHE_DIR", "off")
        patch.setattr(fuse, "inlays", lambda graph, views: {})
        plain = graphc.compile(list(outputs))
        assert not plain.stages.fused.inlaid
        found.append(called(plain))
    right = graphc.evaluate(list(outputs), given)
    for some in found:
        for one, first, wanted in zip(some, found[0], right, strict=True):
            np.testing.assert_array_equal(one, first)
            np.testing.assert_allclose(one, wanted, rtol=1e-3, atol=1e-3)
    return program


@pytest.mark.parametrize("maker", MAKERS)
def test_producers(maker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = graphc.input("x", ("n" if maker in ("product", "pool") else 2, 16, 5, 16))
    h = MAKERS[maker](x)
    program = same([conv(h)], monkeypatch, x=numbers(2, 16, 5, 16))
    assert program.stages.fused.inlaid and not copies(program)
    assert " is stored within pad, of which the border is filled" in program.as_text("fused")
    (value,) = program.stages.fused.inlaid
    assert "lies within %" in program.explain(value) and "stores" in program.explain("pad")


@pytest.mark.parametrize("batch, shape", [(1, (1, 3, 5, 16)), ("n", (3, 16, 9, 7))])
def test_other_readers_and_gradients(
    batch: Any, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A net and its gradients, where a value has readers by element, by row and by window.

    The gradient that the one by the image reads with a border is summed over by the filters'.
    """
    channels = shape[1]
    x = graphc.input("x", (batch, *shape[1:]))
    w = [graphc.input("w0", (16, channels, 3, 3)), graphc.input("w1", (32, 16, 3, 3))]
    h = ops.relu(ops.conv2d(x, w[0], padding=1))
    y = ops.relu(ops.conv2d(h, w[1], padding=((1, 2), (0, 1))))
    loss = ops.sum(ops.square(y)) + ops.sum(ops.max_pool2d(h, 2, floor=True) * 3)
    outputs = [loss, ops.sum(h, (2, 3)), *graphc.grad(loss, [x, *w])]
    given = {"w0": numbers(16, channels, 3, 3) / 8, "w1": numbers(32, 16, 3, 3) / 32}
    program = same(outputs, monkeypatch, x=numbers(*shape) / 8, **given)
    assert {copy.op.name for copy in program.stages.fused.inlaid.values()} == {"pad"}
    assert "bordered" in {group.nodes[-1].op.name for group in program.stages.plan.groups}


def test_shared_by_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both threads fill borders, and wait before they store what lies within."""
    x = graphc.input("x", (7, 20, 20, 32))
    p = ops.pad(ops.exp(x), ((0, 0), (6, 6), (6, 6), (0, 0)))
    program = same([p @ graphc.constant(numbers(32, 8))], monkeypatch, x=numbers(7, 20, 20, 32))
    filling, barrier, storing = program.stages.kernels[0].body
    assert isinstance(barrier, Barrier)
    for part in (filling, storing):
        assert any(isinstance(s, For) and s.kind == "parallel" for s in walk((part,)))


@pytest.mark.parametrize("rank, before, after", [(1, 0, 1), (1, 3, 0), (3, 1, 2)])
def test_ranks_and_sides(
    rank: int, before: int, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (2, *(4, 5, 2)[:rank], 16)
    widths = ((0, 0), *((before, after),) * rank, (0, 0))
    x = graphc.input("x", shape)
    y = ops.pad(ops.exp(x), widths) @ graphc.constant(numbers(16, 24))
    program = same([y], monkeypatch, x=numbers(*shape) / 4)
    assert program.stages.fused.inlaid and not copies(program)


def test_around_an_extent_that_is_known_late(monkeypatch: pytest.MonkeyPatch) -> None:
    x = graphc.input("x", ("n", 5))
    h = ops.tanh(ops.einsum("n k, m k c -> m n c", x, graphc.constant(numbers(3, 5, 16))))
    y = ops.pad(h, ((1, 0), (0, 0), (1, 2))) @ graphc.constant(numbers(19, 24))
    program = same([y], monkeypatch, x=numbers(3, 5))
    assert program.stages.fused.inlaid


def test_of_two_copies_one_holds_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    x = graphc.input("x", (2, 16, 6, 6))
    h = ops.relu(conv(x))
    program = same([conv(h), conv(h, 5)], monkeypatch, x=numbers(2, 16, 6, 6))
    before = same([conv(h)], monkeypatch, x=numbers(2, 16, 6, 6))
    assert len(program.stages.fused.inlaid) == len(before.stages.fused.inlaid)
    assert copies(program) == copies(before) + 1


@pytest.mark.parametrize("keep", ["value", "copy", "view"])
def test_results(keep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy may be a result; a value that is one, or that a view re-reads, lies by itself."""
    x = graphc.input("x", (2, 6, 6, 16))
    h = ops.relu(x)
    p = ops.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = ops.einsum("n h w c, c d -> n h w d", p, graphc.constant(numbers(16, 24)))
    kept = {"value": h, "copy": p, "view": ops.reshape(h, (72, 16)) @ numbers(16, 8)}[keep]
    program = same([kept, y], monkeypatch, x=numbers(2, 6, 6, 16))
    assert len(program.stages.fused.inlaid) == (keep == "copy")


@pytest.mark.parametrize("value", [0, 1.5, -np.inf])
def test_other_borders(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A border of any other number than 0 is a copy's, as it was; a maximum beyond it -inf."""
    x = graphc.input("x", (2, 6, 6, 16))
    p = ops.pad(ops.relu(x), ((0, 0), (1, 1), (1, 1), (0, 0)), value=value)
    y = ops.einsum("n h w c, c d -> n h w d", p, graphc.constant(abs(numbers(16, 24))))
    pooled = ops.max_pool2d(-ops.exp(x), 3, stride=1, padding=1)
    program = same([y, pooled], monkeypatch, x=numbers(2, 6, 6, 16))
    assert bool(program.stages.fused.inlaid) == (value == 0)


def test_rows_of_broken_lines_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    x = graphc.input("x", (2, 6, 6, 5))
    p = ops.pad(ops.relu(x), ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = ops.einsum("n h w c, c d -> n h w d", p, graphc.constant(numbers(5, 24)))
    program = same([y], monkeypatch, x=numbers(2, 6, 6, 5))
    assert not program.stages.fused.inlaid and copies(program) == 1


def test_what_no_contraction_reads_is_computed_where_it_is_read() -> None:
    x = graphc.input("x", (2, 6, 6, 16))
    y = ops.tanh(ops.pad(ops.relu(x), ((0, 0), (1, 1), (1, 1), (0, 0)))) + 1
    assert not graphc.compile([y]).stages.fused.inlaid


def test_in_a_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    x = graphc.input("x", (3, 2, 16, 5, 6))

    def step(carry: Node, x: Node) -> tuple[Node, Node]:
        h = ops.tanh(conv(carry + x))
        return conv(h), ops.sum(h, (2, 3))

    last, rows = ops.scan(step, graphc.constant(numbers(2, 16, 5, 6)), x)
    program = same([last, rows], monkeypatch, x=numbers(3, 2, 16, 5, 6))
    (group,) = [g for g in program.stages.plan.groups if g.body is not None]
    assert group.body is not None and group.body.fused.inlaid


def test_looked_up_within(monkeypatch: pytest.MonkeyPatch) -> None:
    x, i = graphc.input("x", (5, 16)), graphc.input("i", (7,), "int64")
    h = ops.relu(x)
    y = ops.pad(h, ((2, 1), (0, 0))) @ graphc.constant(numbers(16, 24))
    outputs = [y, ops.gather(h, i)]
    program = graphc.compile(outputs)
    given = {"x": numbers(5, 16), "i": np.array([0, 4, 2, 2, 1, 3, 4])}
    assert program.stages.fused.inlaid
    for found, right in zip(program(**given), graphc.evaluate(outputs, given), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-5)


def test_borders_are_runs() -> None:
    """What follows one row and precedes the next is filled at once, and nothing is read for it."""
    x = graphc.input("x", (2, 6, 7, 16))
    p = ops.pad(ops.exp(x), ((0, 0), (1, 1), (1, 1), (0, 0)))
    text = graphc.compile([p @ graphc.constant(numbers(16, 24))]).kernels["k00"].as_text("lowered")
    found = [line for line in text.replace("  # serial", "").split("\n") if line[2] != "#"]
    wanted = """\
kernel k00(b0: float32[2304], b1: float32[1344])
  for k1 in 0..2:
    for k2 in 0..160:
      b0[1152*k1 + k2] = 0
    for k3 in 0..5:
      for k4 in 0..32:
        b0[1152*k1 + 144*k3 + k4 + 272] = 0
    for k12 in 0..160:
      b0[1152*k1 + k12 + 992] = 0
  for i0 in 0..2:"""
    assert "\n".join(found[:10]) == wanted
