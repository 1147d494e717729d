"""Sums in parts, gathered rows and copied panels: right for every extent, run-time ones too."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.graph.node import Node
from graphc.llvm import targets
from graphc.runtime.program import Program

Array = np.ndarray[Any, Any]
Compared = Callable[[list[Node], dict[str, Array]], Program]


def random(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture(autouse=True)
def small_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums below leave caches of this size, whatever those of the machine are."""
    here = replace(targets.target(), level1=32 << 10, level2=512 << 10)
    monkeypatch.setattr(targets, "target", lambda name=None: here)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Compared:
    """Compiles nodes, and compares the results with those of loops that nothing has rewritten."""

    def compare(outputs: list[Node], given: dict[str, Array]) -> Program:
        program = graphc.compile(outputs)
        with monkeypatch.context() as plain:
            plain.setenv("GRAPHC_SKIP", "arrange,border,pack,fuse,order,tile,parallel")
            simple = graphc.compile(outputs)
        for found, expected in zip(program(**given), simple(**given), strict=True):
            scale = max(float(np.abs(expected).max()), 1e-30)
            np.testing.assert_allclose(found / scale, expected / scale, atol=2e-5)
        return program

    return compare


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(("channels", "filters", "size"), [(8, 24, 12), (16, 32, 16), (6, 10, 28)])
def test_gradients_of_convolutions_over_many_images(
    named: bool, channels: int, filters: int, size: int, compared: Compared
) -> None:
    batch: Any = "batch" if named else 60
    image = graphc.input("image", (batch, channels, size, size))
    kernel = graphc.input("kernel", (filters, channels, 5, 5))
    loss = ops.sum(ops.square(ops.conv2d(image, kernel)))
    for count in (60, 3) if named else (60,):
        given = {
            "image": random((count, channels, size, size), 1),
            "kernel": random((filters, channels, 5, 5), 2),
        }
        program = compared(graphc.grad(loss, [image, kernel]), given)
    if channels == 16:
        assert any("summed over" in note for k in program.kernels.values() for note in k.notes)


@pytest.mark.parametrize("form", ["m k, k n -> m n", "k m, k n -> m n", "m k, n k -> m n"])
@pytest.mark.parametrize("shape", [(64, 64, 64), (130, 70, 300), (37, 129, 1001), (96, 96, 1025)])
@pytest.mark.parametrize("level2", [32 << 10, 1 << 20])
def test_products_of_every_form(
    form: str,
    shape: tuple[int, int, int],
    level2: int,
    compared: Compared,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the second cache holds both operands as they lie, none is gathered."""
    here = replace(targets.target(), level2=level2)
    monkeypatch.setattr(targets, "target", lambda name=None: here)
    sizes = dict(zip("mnk", shape, strict=True))
    left, right = (tuple(sizes[i] for i in part.split()) for part in form[:8].split(", "))
    a, b = graphc.input("a", left), graphc.input("b", right)
    given = {"a": random(left, 1), "b": random(right, 2)}
    program = compared([ops.einsum(form, a, b), ops.relu(ops.einsum(form, a, b) + 1.0)], given)
    if form.startswith("k m") and shape[0] > 64:
        notes = [note for kernel in program.kernels.values() for note in kernel.notes]
        assert any("gathered" in note for note in notes) == (level2 < 1 << 20)


def test_a_long_sum_in_parts_has_the_bits_of_the_sum_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b = graphc.input("a", (2050, 128)), graphc.input("b", (2050, 256))
    product = ops.einsum("k m, k n -> m n", a, b)
    given = random((2050, 128), 1), random((2050, 256), 2)
    whole = graphc.compile([ops.tanh(product), product])
    notes = " ".join(whole.kernels["k00"].notes)
    assert "in parts of" in notes or "in parts of" in " ".join(whole.kernels["k01"].notes)
    monkeypatch.setenv("GRAPHC_SKIP", "fuse,tile")
    plain = graphc.compile([ops.tanh(product), product])
    for one, other in zip(whole(*given), plain(*given), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("size, side", [(1, 65), (3, 33)])
@pytest.mark.parametrize("batch", [8, "batch"])
def test_weights_gradients_of_large_images_go_some_rows_at_a_time(
    size: int, side: int, batch: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One image leaves the second cache, so that parts are of its rows; the bits are the same."""
    x, k = graphc.input("x", (batch, side, side, 64)), graphc.input("k", (32, 64, size, size))
    y = ops.conv2d(ops.transpose(x, (0, 3, 1, 2)), k)
    (dk,) = graphc.vjp(y, [k], ops.sin(y))
    given = {"x": random((8, side, side, 64), 1), "k": random((32, 64, size, size), 2)}
    programs = [graphc.compile(dk, threads=threads) for threads in (1, 2)]
    notes = [note for kernel in programs[0].kernels.values() for note in kernel.notes]
    assert any(note.startswith("summed over s3 in parts") for note in notes)
    found = [np.asarray(program(**given)) for program in programs]
    monkeypatch.setattr("graphc.loops.stream.ALL", float("inf"))
    monkeypatch.setattr("graphc.loops.stream.LONGEST", float("inf"))
    monkeypatch.setenv("GRAPHC_CACHE_DIR", "off")
    whole = graphc.compile(dk, threads=1)
    notes = [note for kernel in whole.kernels.values() for note in kernel.notes]
    assert not any("in parts" in note for note in notes)
    for result in found:
        np.testing.assert_array_equal(result, np.asarray(whole(**given)))


def test_sums_of_a_few_terms_are_made_at_once() -> None:
    """Sums so far would be read and stored again after sixteen terms each."""
    a, b = graphc.input("a", (36, 16, 16, 8)), graphc.input("b", (36, 16, 8, 128))
    program = graphc.compile(ops.einsum("p m c d, p c d n -> p m n", a, b))
    notes = [note for kernel in program.kernels.values() for note in kernel.notes]
    assert notes and not any("in parts" in note for note in notes)


@pytest.mark.parametrize(("shape", "filters"), [((3, 32, 32), 6), ((6, 28, 28), 10)])
def test_parts_of_lanes_fill_the_first_cache_or_have_many_terms(
    shape: tuple[int, int, int],
    filters: int,
    compared: Compared,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lanes are added up at the end of each part: as seldom as the nearest cache lets them."""
    here = replace(targets.level("avx2"), level1=32 << 10, level2=512 << 10)
    if not here.native:
        pytest.skip("the host has no AVX2, for which lanes lie along these sums")
    monkeypatch.setattr(targets, "target", lambda name=None: here)
    channels, height, width = shape
    x, k = graphc.input("x", (64, *shape)), graphc.input("k", (filters, channels, 5, 5))
    g = graphc.input("g", (64, filters, height - 4, width - 4))
    given = {"x": random(x.shape, 1), "g": random(g.shape, 2)}
    program = compared(list(graphc.vjp(ops.conv2d(x, k), [k], g)), given)
    image = 4 * (channels * height * width + filters * (height - 4) * (width - 4))
    kernels = program.kernels.values()
    (made,) = (k for k in kernels if any(n.op.name == "conv2d.dkernel" for n in k.nodes))
    assert "lanes along summed" in " ".join(made.notes)
    parts = re.findall(r"for s2\.p in \d+\.\.\d+(?: by (\d+))?:", made.as_text("loops"))
    assert parts
    assert {int(found or 1) for found in parts} <= ({1} if image <= 32 << 10 else {2, 3})
