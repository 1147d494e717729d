"""Copies that no step changes are made before a loop in order, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.loops.hoist import hoist
from graphc.loops.ir import Access, Alloc, Buffer, For, Kernel, Load, Stmt, Update, walk
from graphc.machine import Machine
from graphc.ops import scalar
from graphc.ops.index import affine
from graphc.runtime.program import Program

MACHINE = Machine(32, 16, False)
A, B = Buffer("a", "float32", 4096), Buffer("b", "float32", 4096)
COPY = Buffer("q", "float32", 8, "stack")
VALUE = scalar.argument("value")


def loop(index: str, stop: int, *body: Stmt, kind: str = "serial") -> For:
    return For(index, 0, stop, 1, kind, body)


def move(source: Access, target: Access) -> tuple[Stmt, ...]:
    return Load("v", source), Update(target, VALUE, ((VALUE, "v"),))


def at(buffer: Buffer, constant: int = 0, **factors: int) -> Access:
    return Access(buffer, affine(factors.items(), constant))


def outside(source: Access, *more: Stmt) -> bool:
    """Whether filling a buffer from `source` is moved out of a loop over t that reads it."""
    fill = loop("i", 8, *move(source, at(COPY, i=1)))
    use = loop("i", 8, *move(at(COPY, i=1), at(B, i=1, t=8)))
    steps = loop("t", 4, Alloc(COPY), fill, use, *more, kind="ordered")
    body = hoist(Kernel("k", (A, B), (steps,), (), ("b",), ()), MACHINE).body
    assert sorted(map(repr, leaves(body))) == sorted(map(repr, leaves((steps,))))
    return len(body) > 1


def leaves(body: tuple[Stmt, ...]) -> list[Stmt]:
    return [s for s in walk(body) if not isinstance(s, For)]


def test_a_copy_that_no_step_changes_is_made_once() -> None:
    assert outside(at(A, i=1))


@pytest.mark.parametrize(
    ("source", "more"),
    [
        (at(A, i=1, t=8), ()),
        (at(B, i=1), ()),
        (at(A, i=1), move(at(B), at(A))),
        (at(A, i=1), move(at(B), at(COPY))),
    ],
    ids=["other rows", "what a step writes", "what is written later", "filled in two ways"],
)
def test_a_copy_that_a_step_changes_stays(source: Access, more: tuple[Stmt, ...]) -> None:
    wrapped = (loop("z", 1, *more),) if more else ()
    assert not outside(source, *wrapped)


def recurrent() -> tuple[Program, dict[str, np.ndarray]]:
    """h = tanh(x[t] + h W) over 12 steps, W 256 by 512 and back."""
    r = np.random.default_rng(0)
    given = {
        "x": r.standard_normal((12, 32, 256)).astype(np.float32),
        "w": (r.standard_normal((256, 512)) / 16).astype(np.float32),
        "v": (r.standard_normal((512, 256)) / 24).astype(np.float32),
    }
    x, w, v = (graphc.input(name, array.shape) for name, array in given.items())
    start = graphc.constant(np.zeros((32, 256), np.float32))

    def step(h: graphc.Node, now: graphc.Node) -> tuple[graphc.Node, graphc.Node]:
        h = ops.tanh(ops.tanh(h @ w) @ v + now)
        return h, h

    return graphc.compile(list(ops.scan(step, start, x))), given


def test_panels_of_a_run_are_copied_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    program, given = recurrent()
    (name,) = [k for k in program.kernels if "scan" in program.kernels[k].as_text("fused")]
    lines = program.kernels[name].as_text("loops").splitlines()
    first = next(n for n, line in enumerate(lines) if "# ordered" in line)
    copies = [n for n, line in enumerate(lines) if "= packed" in line]
    assert copies and max(copies) < first
    found = program(**given)
    monkeypatch.setenv("GRAPHC_SKIP", "hoist")
    plain, _ = recurrent()
    for a, b in zip(found, plain(**given), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("width", [9, 11, 13])
def test_what_is_made_of_sums_in_registers_is_no_copy(width: int) -> None:
    """A recurrence of a width that tiles of two sizes make up: its sums are put by, then used."""
    x, w = graphc.input("x", (5, width)), graphc.input("w", (width, width))
    states = ops.scan(lambda c, v: (ops.tanh(w @ c + v),) * 2, ops.ones(width), x)[1]
    random = np.random.default_rng(0)
    given = {"x": random.standard_normal((5, width)), "w": random.standard_normal((width, width))}
    given = {name: value.astype(np.float32) for name, value in given.items()}
    (wanted,) = graphc.evaluate([states], given)
    np.testing.assert_allclose(graphc.compile(states)(**given)[0], wanted, rtol=1e-4, atol=1e-5)
