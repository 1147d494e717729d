"""Loops that go back where they came: which do, and that no bit changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.graph.graph import Graph
from graphc.graph.node import Node
from graphc.llvm import targets
from graphc.loops.back import back
from graphc.loops.ir import Access, Buffer, Check, For, Kernel, Load, Stmt, Update
from graphc.machine import Machine
from graphc.ops import scalar
from graphc.ops.index import affine
from graphc.runtime.program import Program
from tests.support import random

KIB = 1 << 10
MACHINE = Machine(32, 16, False, level1=4 * KIB, level2=16 * KIB)
A, B = Buffer("a", "float32", 1 << 16), Buffer("b", "float32", 1 << 16)
VALUE = scalar.argument("value")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose second cache holds 16 thousand numbers."""
    here = replace(targets.target(), level1=16 * KIB, level2=64 * KIB)
    monkeypatch.setattr(targets, "target", lambda name=None: here)


def loop(index: str, stop: int, *body: Stmt, kind: str = "serial", step: int = 1) -> For:
    return For(index, 0, stop, step, kind, body)


def at(buffer: Buffer, constant: int = 0, **factors: int) -> Access:
    return Access(buffer, affine(factors.items(), constant))


def move(source: Access, target: Access) -> tuple[Stmt, ...]:
    return Load("v", source), Update(target, VALUE, ((VALUE, "v"),))


def turned(*body: Stmt, steps: int = 4) -> list[str]:
    """The notes on loops that go back within a loop in order over t."""
    kernel = Kernel("k", (A, B), (loop("t", steps, *body, kind="ordered"),), (), ("b",), ())
    return list(back(kernel, MACHINE).notes)


def test_what_is_read_again_goes_back() -> None:
    (note,) = turned(loop("i", 4096, *move(at(A, i=1), at(B, i=1, t=4096))))
    assert note == "i goes back in odd t: each reads 16 KiB again, a cache holds 16"


def test_tiles_and_vectors_count_with_all_their_elements() -> None:
    row = loop("j", 8, *move(at(A, i=1, u=8, j=1), at(B, i=1, u=8, j=1, t=4096)), kind="vector")
    tile = loop("u", 4, replace(row, step=8), kind="unrolled")
    assert "16 KiB" in turned(loop("i", 4096, tile, step=32))[0]


@pytest.mark.parametrize(
    "body",
    [
        loop("i", 1024, *move(at(A, i=1), at(B, i=1, t=4096))),  # it fits
        loop("i", 4096, *move(at(A, i=1, t=4096), at(B, i=1, t=4096))),  # nothing comes again
        loop("i", 4096, *move(at(A, i=1), at(B))),  # each step writes the same place
        loop("i", 4096, *move(at(B, i=1), at(B, i=1, constant=1))),  # and here reads the one before
        loop("i", 4096, Load("n", at(A, i=1)), Check("n", 9, 0), *move(at(A, i=1), at(B, i=1))),
    ],
)
def test_others_do_not(body: For) -> None:
    assert not turned(body)


def test_one_step_repeats_nothing() -> None:
    assert not turned(loop("i", 4096, *move(at(A, i=1), at(B, i=1, t=4096))), steps=1)


def test_what_a_step_reads_several_times_stays() -> None:
    """It waits for that once, and then computes."""
    moved = move(at(A, i=1), at(B, i=16, t=1 << 16))
    others = move(at(A, i=1), at(B, i=16, j=1, t=1 << 16))
    assert turned(loop("i", 4096, *moved))
    assert not turned(loop("i", 4096, loop("j", 4, *others)))
    assert not turned(loop("i", 4096, *moved, For("j", 0, 8, 4, "serial", others)))


def test_steps_that_are_no_whole_ones_stay() -> None:
    body = move(at(A, i=1), at(B, i=1, t=8192))
    assert turned(loop("i", 4096, *body, step=1))
    assert not turned(loop("i", 8191, *body, step=2))


Step = Callable[[Node, Node], tuple[Node, Node]]


def along(x: Node, step: Step, *, reverse: bool = False) -> Node:
    """The outputs of a scan that begins with zeros."""
    return ops.scan(step, ops.zeros(x.shape[1:], x.dtype), x, reverse=reverse)[1]


def elman(weight: Node) -> Step:
    """A step that reads a matrix."""

    def step(state: Node, at: Node) -> tuple[Node, Node]:
        following = ops.tanh(ops.linear(state, weight) + at)
        return following, following

    return step


def scans() -> dict[str, list[Node]]:
    """Scans of which a step reads more again than the small second cache holds."""
    weight = graphc.parameter("weight", (160, 160))
    doubles = graphc.parameter("doubles", (90, 90), "float64")
    cell = elman(weight)
    rows = graphc.input("rows", (5, 1, 160))

    def nested(state: Node, at: Node) -> tuple[Node, Node]:
        final, _ = ops.scan(cell, state, ops.stack([at, at * 0.5, at * 0.25], axis=0))
        return final, final

    def averaged(state: Node, at: Node) -> tuple[Node, Node]:
        following = (state + at) * 0.5
        return following, state * at

    return {
        "a row": [along(rows, cell)],
        "backwards": [along(rows, cell, reverse=True)],
        "two rows": [along(graphc.input("two", (5, 2, 160)), cell)],
        "gradients": graphc.grad(ops.sum(ops.square(along(rows, cell))), [weight, rows]),
        "a scan in a scan": [along(rows, nested)],
        "a large state": [along(graphc.input("long", (4, 40_000)), averaged)],
        "doubles": [along(graphc.input("x", (5, 1, 90), "float64"), elman(doubles))],
    }


def loops(made: Program) -> str:
    return "\n".join(kernel.as_text("loops") for kernel in made.kernels.values())


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", list(scans()))
@pytest.mark.parametrize("threads", [1, 2])
def test_no_bit_changes(name: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = scans()[name]
    for leaf in Graph(outputs).variables():
        leaf.op.cell.value[...] = 0.1 * random(*leaf.shape)  # type: ignore[attr-defined]
    made = graphc.compile(outputs, threads=threads)
    given = [random(*n.shape, seed=i).astype(n.dtype) for i, n in enumerate(made.inputs)]
    assert "back in odd step" in loops(made)
    monkeypatch.setenv("GRAPHC_SKIP", "back")
    straight = graphc.compile(outputs, threads=threads)
    assert "back in odd step" not in loops(straight)
    for _ in range(3):
        for one, other in zip(made(*given), straight(*given), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("small")
def test_the_reason_and_the_code_say_so() -> None:
    made = graphc.compile(scans()["a row"], threads=1)
    (name,) = [name for name, kernel in made.kernels.items() if "ordered" in kernel.as_text()]
    assert "goes back in odd step0: each reads" in made.explain(name)
    llvm = made.kernels[name].as_text("llvm")
    assert re.search(r"trunc i64 %\w+ to i1", llvm)
