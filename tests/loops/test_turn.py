"""Turning: what is read across its rows comes in blocks turned over in registers, bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.graph.node import Node
from graphc.llvm import targets
from graphc.loops.ir import For, Load, Transpose, walk

READ = "turned over in registers"

MAPS: dict[str, Callable[[Node, Node, Node], Node]] = {
    "added": lambda x, y, row: ops.transpose(x, (1, 0)) + y,
    "computed": lambda x, y, row: ops.maximum(ops.transpose(x * 2, (1, 0)) - row, y),
    "twice": lambda x, y, row: ops.transpose(x, (1, 0)) * ops.transpose(ops.abs(x), (1, 0)) + row,
    "chosen": lambda x, y, row: ops.where(ops.transpose(x, (1, 0)) > 3, y, row),
}


def operands(shape: tuple[int, int], dtype: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"x": shape, "y": shape[::-1], "row": shape[:1]}
    return {name: rng.integers(0, 9, s).astype(dtype) for name, s in shapes.items()}


@pytest.mark.parametrize("target", [None, "avx2", "sse2"])
@pytest.mark.parametrize("shape", [(70, 100), (16, 16), (8, 33), (5, 64), (64, 5)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("name", MAPS)
def test_maps_of_what_is_turned_over(
    name: str, dtype: str, shape: tuple[int, int], target: str | None
) -> None:
    if not targets.target(target).native:
        pytest.skip(f"this machine does not run {target}")
    given = operands(shape, dtype)
    made = MAPS[name](*(graphc.input(n, v.shape, dtype) for n, v in given.items()))
    program = graphc.compile([made], target=target)
    given = {i.op.name: given[i.op.name] for i in program.inputs}
    np.testing.assert_array_equal(program(**given)[0], graphc.evaluate([made], given)[0])
    if min(shape) >= 16:
        last = program.stages.kernels[-1]
        assert READ in program.explain(last.name)
        stmts = list(walk(last.body))
        assert any(isinstance(s, Transpose) for s in stmts)


SHORT: dict[str, tuple[tuple[int, ...], tuple[int, ...], str]] = {  # shape, order, blocks
    "filters": ((24, 20, 3, 3), (2, 3, 1, 0), "16x9"),
    "filters back": ((3, 3, 20, 24), (3, 2, 0, 1), "9x16"),
    "large filters": ((33, 2, 5, 5), (2, 3, 1, 0), "16x16"),
    "colours": ((2, 9, 17, 3), (0, 3, 1, 2), "16x3"),
    "colours back": ((2, 3, 9, 17), (0, 2, 3, 1), "3x16"),
    "rows of one": ((1, 40, 1, 33), (3, 0, 1, 2), "16x16"),
    "a matrix with an axis of one": ((40, 33, 1, 1), (1, 2, 0, 3), "16x16"),
    "a little more than blocks": ((70, 19), (1, 0), "16x16"),
    "much more than blocks": ((2, 30, 31), (0, 2, 1), "16x16"),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("target", [None, "avx512", "avx2", "sse2"])
@pytest.mark.parametrize("name", SHORT)
def test_rows_of_any_length(name: str, target: str | None, threads: int) -> None:
    """Copied, computed, and added to a state in place; rows that are no whole blocks too."""
    if not targets.target(target).native:
        pytest.skip(f"this machine does not run {target}")
    shape, order, blocks = SHORT[name]
    rng = np.random.default_rng(5)
    x, y = (rng.integers(0, 99, s).astype(np.float32) for s in (shape, [shape[i] for i in order]))
    operand, state = graphc.input("x", x.shape), graphc.parameter("state", value=y)
    turned = ops.transpose(operand, order)
    copy = graphc.compile([turned], target=target, threads=threads)
    if target == "avx512":
        assert f"{blocks} blocks {READ}" in copy.explain("k00")
    np.testing.assert_array_equal(copy(x)[0], x.transpose(order))
    moved = graphc.compile(
        [ops.sum(turned)], {state: state * 0.5 + turned}, target=target, threads=threads
    )
    for _ in range(2):
        y = y * np.float32(0.5) + x.transpose(order)
        moved(x)
        np.testing.assert_array_equal(state.op.cell.value, y)


def test_short_rows_follow_those_that_lie_behind_them() -> None:
    """16 filters of 9 points go together, so that what is read and written makes whole lines."""
    x = graphc.input("x", (64, 32, 3, 3))
    program = graphc.compile([ops.transpose(x, (2, 3, 1, 0))], target="avx512", threads=1)
    (kernel,) = program.stages.kernels
    assert [s.step for s in walk(kernel.body) if isinstance(s, For)] == [16, 16, 1, 9, 16]


@pytest.mark.parametrize("target", ["avx512", "avx2", "sse2"])
def test_what_is_read_backwards_is_read_whole(target: str) -> None:
    """A row backwards is a vector whose lanes change places, not one gathered lane by lane."""
    x = graphc.input("x", (7, 9))
    program = graphc.compile([ops.flip(x, 1) + 1], target=target, threads=1)
    assert "gather" not in program.as_text("llvm")
    if targets.target(target).native:
        given = np.random.default_rng(6).standard_normal((7, 9)).astype(np.float32)
        np.testing.assert_array_equal(program(given)[0], given[:, ::-1] + np.float32(1))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_images_of_several_rows(threads: int) -> None:
    """[n, h, w, c] read for [n, c, h, w], with something for each channel."""
    x, bias = graphc.input("x", (3, 6, 20, 24)), graphc.input("bias", (24, 1, 1))
    made = ops.relu(ops.transpose(x, (0, 3, 1, 2)) + bias)
    rng = np.random.default_rng(1)
    given = {n.op.name: rng.standard_normal(n.shape).astype(np.float32) for n in (x, bias)}
    program = graphc.compile([made], threads=threads)
    assert READ in program.explain("k00")
    np.testing.assert_array_equal(program(**given)[0], graphc.evaluate([made], given)[0])


def test_what_is_counted_at_run_time_is_read_one_by_one() -> None:
    x = graphc.input("x", ("rows", 40))
    made = ops.transpose(x, (1, 0)) + 1
    given = np.random.default_rng(2).standard_normal((17, 40)).astype(np.float32)
    program = graphc.compile([made])
    assert READ not in program.explain("k00")
    np.testing.assert_array_equal(program(given)[0], given.T + np.float32(1))


def test_what_leaves_its_operand_is_read_under_its_conditions() -> None:
    """A border around what is turned over: no block of it may be read."""
    x = graphc.input("x", (32, 32))
    made = ops.pad(ops.transpose(x, (1, 0)), ((1, 2), (3, 1))) + 1
    given = np.random.default_rng(3).standard_normal((32, 32)).astype(np.float32)
    program = graphc.compile([made], threads=1)
    stmts = [s for kernel in program.stages.kernels for s in walk(kernel.body)]
    assert any(isinstance(s, Load) and s.guards for s in stmts)
    assert not any(isinstance(s, Transpose) for s in stmts)
    np.testing.assert_array_equal(
        program(given)[0], np.pad(given.T, ((1, 2), (3, 1))) + np.float32(1)
    )


def test_threads_share_blocks() -> None:
    """A block counts as the instructions that it is, so that a copy of 360 KB is not small."""
    x = graphc.input("x", (300, 300))
    program = graphc.compile([ops.transpose(x, (1, 0))], threads=2)
    kernel = program.stages.kernels[0]
    assert kernel.parallel
    given = np.random.default_rng(4).standard_normal((300, 300)).astype(np.float32)
    np.testing.assert_array_equal(program(given)[0], given.T)


@pytest.mark.parametrize("threads", [2, 3])
def test_each_thread_has_blocks_of_its_own(threads: int) -> None:
    """Whole lines, half a line and a rest, each a part that threads share."""
    given = operands((303, 300), "float32")
    made = MAPS["computed"](*(graphc.input(n, v.shape, "float32") for n, v in given.items()))
    program = graphc.compile([made], threads=threads)
    kernel = program.stages.kernels[-1]
    assert kernel.parallel and READ in program.explain(kernel.name)
    assert "shared t" not in program.kernels[kernel.name].as_text("loops")
    (wanted,) = graphc.evaluate([made], given)
    for _ in range(20):
        np.testing.assert_array_equal(program(**given)[0], wanted)
