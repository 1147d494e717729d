"""Trim: what a sum reads of a border alone is left out, and no bit changes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, ops
from graphc.llvm import targets
from graphc.loops.ir import END, Barrier, For, Guard, Kernel, Stmt, Update, walk
from graphc.loops.show import show
from graphc.ops.index import Affine, index
from tests.support import Array, random


def added(kernel: Kernel) -> int:
    """The terms that a kernel adds to registers, a vector counted as its lanes."""

    def count(stmts: Sequence[Stmt], at: dict[str, Affine]) -> int:
        total = 0
        for stmt in stmts:
            if isinstance(stmt, Update):
                total += stmt.how == "sum" and stmt.target.buffer.space == "register"
            if not isinstance(stmt, For):
                continue
            assert isinstance(stmt.start, int) and isinstance(stmt.stop, int)
            if stmt.kind == "vector":
                total += (stmt.stop - stmt.start) * count(stmt.body, at)
                continue
            for step in range(stmt.start, stmt.stop, stmt.step):
                here = at | {stmt.index: Affine((), step)}
                places = [(g.position.substitute(here), g.bound) for g in stmt.where]
                assert not any(place.terms for place, _ in places)
                if all(0 <= place.constant < int(str(bound)) for place, bound in places):
                    total += count(stmt.body, here)
        return total

    return count(kernel.body, {})


def inside(size: int, taps: int, stride: int, padding: int, dilation: int = 1) -> int:
    """Pairs of a place of the result and a tap of which the operand is no border."""
    whole = (size + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
    pairs = itertools.product(range(whole), range(taps))
    return sum(0 <= stride * at + dilation * tap - padding < size for at, tap in pairs)


def text(kernel: Kernel) -> list[str]:
    """The lines of a kernel's loops."""
    return show(kernel).splitlines()


@pytest.fixture(params=["avx2", "avx512"])
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A level whose vectors and caches are of one size on any machine."""
    here = replace(targets.level(request.param), unit=64, level1=32 << 10, level2=512 << 10)
    monkeypatch.setattr(targets, "target", lambda name=None: here)
    monkeypatch.setenv("GRAPHC_SKIP", "depth_first")
    return str(request.param)


def second(images: int, filters: int, size: int) -> Kernel:
    """The kernel of the second of two convolutions: what it reads lies channels last."""
    layers = nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, filters, 3, padding=1)
    x = graphc.input("x", (images, 16, size, size))
    program = graphc.compile(nn.Sequential(*layers)(x), threads=1)
    return [k for k in program.stages.kernels if any("tile" in note for note in k.notes)][-1]


@pytest.mark.parametrize("size", [12, 16, 33])
def test_nothing_outside_is_multiplied(size: int, level: str) -> None:
    """Rows are left out by the loop over a filter's rows, columns place by place of a tile."""
    kernel = second(3, 32, size)
    assert any("left out (zeros of a border)" in note for note in kernel.notes)
    one = inside(size, 3, 1, 1)
    assert added(kernel) == 3 * 16 * 32 * one * one
    assert any(" if 0 <= " in line and "for s" in line for line in text(kernel))


@pytest.mark.parametrize("level", ["avx2"], indirect=True)
def test_a_tile_with_no_register_to_spare_is_not_cut(level: str) -> None:
    """What waits while other sums go on would be spilled; rows are left out all the same."""
    kernel = second(3, 24, 12)
    assert any("tile 4 of 3 vectors" in note for note in kernel.notes)  # and 3 and 1 are 16
    assert added(kernel) == 3 * 16 * 24 * inside(12, 3, 1, 1) * 36


def test_all_of_a_sum_may_be_outside() -> None:
    """A window wholly in the border sums nothing."""
    x, weight = graphc.input("x", (2, 4, 3, 3)), graphc.input("weight", (8, 4, 1, 1))
    program = graphc.compile(ops.conv2d(x, weight, padding=2) + 1)
    values = random(2, 4, 3, 3, seed=1), random(8, 4, 1, 1, seed=2)
    (found,) = program(*values)
    wanted = np.einsum("nchw,fc->nfhw", values[0], values[1][:, :, 0, 0]) + 1
    np.testing.assert_allclose(found[:, :, 2:5, 2:5], wanted, rtol=1e-5, atol=1e-5)
    found[:, :, 2:5, 2:5] = 1
    assert (found == 1).all()


CASES = [
    {"padding": 1},
    {"padding": 2},
    {"padding": 1, "stride": 2},
    {"padding": 2, "dilation": 2},
    {"padding": [(1, 2), (2, 1)]},
    {"padding": 3, "stride": 3},
    {"padding": 1, "groups": 4},
    {"padding": 1, "groups": 16},
]


@pytest.mark.parametrize("options", CASES, ids=str)
@pytest.mark.parametrize("shape", [(3, 16, 9, 14), (2, 16, 1, 1)])
@pytest.mark.parametrize("target", ["avx2", "avx512"])
def test_same_bits(
    shape: tuple[int, ...], options: dict[str, Any], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forwards and backwards, in a net and alone, with threads and without."""
    arrays = [random(*shape, seed=1), random(32, 16 // options.get("groups", 1), 3, 3, seed=2)]

    def results(threads: int) -> list[Array]:
        x, weight = (graphc.input(n, a.shape) for n, a in zip("xw", arrays, strict=True))
        y = ops.conv2d(x, weight, floor=True, **options)
        back = graphc.grad(ops.sum(ops.tanh(y)), [x, weight])
        outputs = [y, ops.relu(y) * 2, *back]
        return graphc.compile(outputs, target=target, threads=threads)(*arrays)

    if not targets.level(target).native:
        pytest.skip(f"this processor has no {target}")
    trimmed = [results(1), results(2)]
    monkeypatch.setenv("GRAPHC_SKIP", "trim")
    for found in trimmed:
        for one, two in zip(found, results(1), strict=True):
            np.testing.assert_array_equal(one, two)


def test_what_is_no_number_beside_a_border_stays() -> None:
    """A formula that is 0 where its operand is, but for some values of the other one."""

    @graphc.op("n c h+r, f c r -> n f h")
    def over(a: Any, b: Any) -> Any:
        return a / (a * a + b * b)

    x, weight = random(2, 8, 20, seed=1), random(16, 8, 3, seed=2)
    weight[0, 0, 0] = weight[3, 2, 2] = 0
    bordered = ops.pad(graphc.input("x", x.shape), [(0, 0), (0, 0), (1, 1)])
    y = over(bordered, graphc.input("weight", weight.shape))
    (found,) = graphc.compile([y])(x, weight)
    assert np.isnan(found[:, 0, 0]).all() and np.isnan(found[:, 3, -1]).all()
    assert np.isnan(found).sum() == 4


def test_many_taps_are_no_many_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loops of a sum are written a few times at most, however long the window."""

    def lines() -> int:
        x, weight = graphc.input("x", (2, 16, 512)), graphc.input("weight", (16, 16, 255))
        y = ops.conv1d(x, weight, padding=127)
        outputs = [y, *graphc.grad(ops.sum(ops.tanh(y)), [x, weight])]
        program = graphc.compile(outputs, target="avx2", threads=1)
        return len(program.as_text("asm").splitlines())

    trimmed = lines()
    monkeypatch.setenv("GRAPHC_SKIP", "trim")
    assert trimmed <= 2 * lines()


WIDE: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, int]]] = [
    ("sse2", (4, 8, 8, 8), (8, 1, 7, 7), {"padding": 3, "groups": 8}),
    ("sse2", (4, 16, 14, 14), (16, 1, 5, 5), {"padding": 2, "groups": 16}),
    ("avx512", (1, 2, 64, 32), (16, 1, 2, 2), {"padding": 3, "groups": 2}),
    ("avx512", (1, 8, 34, 34), (64, 2, 2, 1), {"padding": 3, "groups": 4}),
    ("avx512", (1, 4, 64, 33), (32, 1, 3, 1), {"padding": 3, "groups": 4, "stride": 2}),
]


@pytest.mark.parametrize(("target", "image", "filters", "options"), WIDE, ids=str)
def test_tiles_of_as_many_places_as_there_are_lanes(
    target: str,
    image: tuple[int, ...],
    filters: tuple[int, ...],
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A gradient by filters, its sum along the lanes and written out: no loop is taken for it."""
    if not targets.level(target).native:
        pytest.skip(f"this processor has no {target}")
    x, weight = graphc.input("x", image), graphc.input("weight", filters)
    y = ops.conv2d(x, weight, floor=True, **options)
    outputs = graphc.grad(ops.sum(ops.tanh(y)), [weight])
    arrays = random(*image, seed=1), random(*filters, seed=2)
    trimmed = graphc.compile(outputs, target=target, threads=1)(*arrays)[0]
    monkeypatch.setenv("GRAPHC_SKIP", "trim")
    whole = graphc.compile(outputs, target=target, threads=1)(*arrays)[0]
    np.testing.assert_array_equal(trimmed, whole)


@pytest.mark.parametrize(
    ("position", "bound", "text"),
    [
        (index("i") + index("s") - 1, 8, "0 <= i + s - 1 < 8"),
        (index("i") + index("s") - 1, END, "0 <= i + s - 1"),
        (index("i") * -1 - index("s"), END, "i + s <= 0"),
        (index("i") * -2 + 5, END, "2*i <= 5"),
        (index("i") * -1 + 5, 8, "0 <= -i + 5 < 8"),
    ],
)
def test_a_condition_is_read_without_signs_where_it_can(
    position: Affine, bound: int, text: str
) -> None:
    assert str(Guard(position, bound)) == text


def test_threads_wait_between_pieces_of_a_sum_in_parts() -> None:
    """A piece of one step is no loop: what a thread takes over there goes on in the next one."""
    rng = np.random.default_rng(0)
    x, w = graphc.input("x", (1, 24, 70, 257)), graphc.input("w", (2, 24, 3, 3))
    y = ops.conv2d(x, w, stride=2, padding=2, floor=True)
    dy = graphc.input("dy", y.shape)
    slope = graphc.vjp(y, [w], dy)
    given = {n.op.name: rng.standard_normal(n.shape).astype(np.float32) for n in (x, dy)}
    program = graphc.compile(slope, target="avx512", threads=2)
    bodies = [kernel.body for kernel in program.stages.kernels]
    pieces = [[s for s in body if isinstance(s, For) and shared(s)] for body in bodies]
    (loops,) = [some for some in pieces if [s.extent for s in some if ".p" in s.index] == [1, 4, 1]]
    body = next(body for body in bodies if loops[-1] in body)
    places = [body.index(loop) for loop in loops if ".p" in loop.index]
    assert all(Barrier() in body[a:b] for a, b in itertools.pairwise(places))
    one = graphc.compile(slope, threads=1)(**given)[0]
    two = graphc.compile(slope, threads=2)
    for _ in range(300):
        np.testing.assert_array_equal(two(**given)[0], one)


def shared(loop: For) -> bool:
    """Whether threads share what is in a loop."""
    return any(isinstance(s, For) and s.kind == "parallel" for s in walk((loop,)))
