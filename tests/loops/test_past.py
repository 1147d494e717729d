"""Stores past the caches: which results they are for, that their bits stay, and what ends them."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.graph.node import Node
from graphc.llvm import targets
from graphc.loops import past
from graphc.loops.ir import Update, walk
from graphc.runtime import arrays
from graphc.runtime.program import Program
from tests.support import random

Array = np.ndarray[Any, Any]
KIB = 1 << 10
SAID = "is stored past the caches"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose last cache holds 64 thousand numbers, and results on lines all the same."""
    monkeypatch.setattr(past, "ALIGNED", 64 * KIB)
    monkeypatch.setattr(arrays, "LARGE", 64 * KIB)
    here = replace(targets.target(), level1=16 * KIB, level2=64 * KIB, last=256 * KIB)
    monkeypatch.setattr(targets, "target", lambda name=None: here)


def chain(*shape: Any) -> list[Node]:
    """A map of three operands."""
    a, b, c = (graphc.input(name, shape) for name in "abc")
    return [ops.relu(a * b + c) - a * 0.5]


def padded() -> list[Node]:
    """A copy with a border, the rows of which begin anywhere."""
    return [ops.pad(graphc.input("x", (3, 200, 200)), ((0, 0), (1, 1), (1, 1)))]


def softmax() -> list[Node]:
    """Rows that are gone through several times."""
    return [ops.softmax(graphc.input("x", (256, 512)), axis=-1)]


def doubles() -> list[Node]:
    """Vectors of half as many lanes, and a result that is a byte an element."""
    x = graphc.input("x", (512, 300), "float64")
    return [x * 2 + 1, x > 0]


def normalised() -> list[Node]:
    """Batch norm: what it gives is read by nobody, and all that it reads twice fills the cache."""
    x = graphc.input("x", (8, 16, 32, 32))
    centred = x - ops.mean(x, axis=(0, 2, 3), keepdims=True)
    return [centred / ops.sqrt(ops.mean(ops.square(centred), axis=(0, 2, 3), keepdims=True) + 1e-5)]


GRAPHS: dict[str, Callable[[], list[Node]]] = {
    "chain": lambda: chain(64, 1024),
    "chain of a length that no vector divides": lambda: chain(100001),
    "rows of such a length": lambda: [ops.softmax(graphc.input("x", (300, 333)), axis=-1) * 2],
    **{f.__name__: f for f in (padded, softmax, doubles, normalised)},
}
PAST = ("chain", "chain of a length that no vector divides", "softmax", "doubles", "normalised")


def arguments(program: Program) -> list[Array]:
    """Operands for a program."""
    shapes = [[e if isinstance(e, int) else 64 for e in n.shape] for n in program.inputs]
    drawn = [random(*shape, seed=number) for number, shape in enumerate(shapes)]
    return [a.astype(n.dtype) for a, n in zip(drawn, program.inputs, strict=True)]


def loops(program: Program) -> str:
    """The loops of all kernels."""
    return "\n".join(kernel.as_text("loops") for kernel in program.kernels.values())


def edge(shape: Sequence[int], dtype: Any) -> Array:
    """An array that fills its pages from their beginning, with what lay there before after it."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.frombuffer(mmap.mmap(-1, size + 4096), np.uint8)
    memory[size:] = 77
    return memory[:size].view(dtype).reshape(shape)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_bits_stay_and_nothing_beyond_is_written(name: str, small: None) -> None:
    far = graphc.compile(GRAPHS[name](), threads=1)
    given = arguments(far)
    assert (SAID in loops(far)) == (name in PAST)
    made: list[Array] = []
    far.frame.maker = lambda shape, dtype: lambda: made.append(edge(shape, dtype)) or made[-1]  # type: ignore[func-returns-value]
    found = far(*given)
    for array in made:
        owner = array.base
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        assert (np.frombuffer(owner, np.uint8)[array.nbytes :] == 77).all()
    wanted = graphc.evaluate(GRAPHS[name](), far.signature.by_name(given))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    shared = graphc.compile(GRAPHS[name](), threads=2)
    for _ in range(5):
        for one, other in zip(found, shared(*given), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", GRAPHS)
def test_no_bit_depends_on_the_last_cache(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for last in (64 * KIB, 1 << 30):
        here = replace(targets.target(), level2=64 * KIB, last=last)
        with monkeypatch.context() as patched:
            patched.setattr(targets, "target", lambda name=None, here=here: here)
            program = graphc.compile(GRAPHS[name](), threads=1)
        assert last < 1 << 30 or SAID not in loops(program)
        results.append(program(*arguments(program)))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_reason_and_code_say_so(small: None) -> None:
    program = graphc.compile(chain(64, 1024))
    assert f"why: b3 {SAID}" in program.explain("k00")
    llvm = program.kernels["k00"].as_text("llvm")
    assert llvm.count("!nontemporal") == 4
    ends = llvm[llvm.rindex("!nontemporal") :]
    assert ends.index("fence seq_cst") < ends.index("ret void")
    assert llvm.count("fence seq_cst") == 1
    near = graphc.compile(chain(16, 1024)).kernels["k00"].as_text("llvm")
    assert "!nontemporal" not in near
    assert "fence" not in near


def test_what_was_just_read_or_is_read_soon_is_stored_as_ever(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    w = graphc.parameter("w", value=random(512, 1024))
    moved = graphc.compile([], {w: w * 0.5 + 1})
    assert SAID not in loops(moved)  # in place
    x = graphc.input("x", (100, 330))
    y = ops.exp(x)
    program = graphc.compile(ops.matmul(y, ops.transpose(y)))
    assert SAID in program.explain("k00")
    here = replace(targets.target(), last=512 * KIB)
    monkeypatch.setattr(targets, "target", lambda name=None: here)
    assert SAID not in loops(graphc.compile(ops.matmul(y, ops.transpose(y))))
    assert SAID not in loops(graphc.compile(chain("batch", 1024)))  # who knows how many


def test_a_later_kernel_sees_what_was_stored(small: None) -> None:
    x = graphc.input("x", (512, 1024))
    y = ops.exp(x) - 1
    results = [ops.sum(ops.transpose(y) @ x)]
    program = graphc.compile([y, *results], threads=2)
    kernels = [call.kernel for call in program.stages.calls]
    assert any(s.past for k in kernels for s in walk(k.body) if isinstance(s, Update))
    given = random(512, 1024)
    found = program(given)
    alone = graphc.compile([y, *results], threads=1)(given)
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_array_equal(one, other)
