"""Register tiles: vectors held, steps of a sum written out, instructions spent."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import graphc
from graphc import nn, ops
from graphc.llvm import targets
from graphc.llvm.targets import Target
from graphc.loops.ir import For, Let, Stmt
from graphc.loops.strip import at_a_time, written_out
from graphc.ops import scalar
from graphc.ops.index import Affine, index
from graphc.runtime.kernels import KernelView


def convolution(target: str) -> KernelView:
    """A convolution with lanes along the width, in tiles of filters by rows of the image."""
    size = {"avx2": 12, "avx512": 20}[target]  # a row of the result is one vector
    image = graphc.input("image", (4, 6, size, size))
    taps = graphc.parameter("taps", (10, 6, 5, 5))
    return graphc.compile(ops.conv2d(image, taps), target=target).kernels["k00"]


@pytest.mark.parametrize("target", ["avx2", "avx512"])
def test_the_side_that_moves_vectors_is_walked_first(target: str) -> None:
    loops = convolution(target).as_text("loops")
    assert re.search(r"tile \dx\d of 1 vectors", loops)
    rows, filters = loops.index("for i2.t in"), loops.index("for i1.t in")
    assert rows < filters


def test_no_vector_is_spilled() -> None:
    assembly = convolution("avx2").as_text("asm").splitlines()
    assert any("vfmadd231ps" in line for line in assembly)
    assert not [line for line in assembly if "mmword ptr [rsp" in line]


@pytest.mark.parametrize(("size", "padding", "tile"), [(8, 0, "2x6"), (3, 1, "3x3")])
def test_what_steps_share_fits_beside_the_sums(size: int, padding: int, tile: str) -> None:
    """Several rows, and channels last: three steps written out would hold two more of each row."""
    image = graphc.input("image", (7, 128, size, size))
    filters = graphc.parameter("filters", (32, 128, 3, 3))
    program = graphc.compile(ops.conv2d(image, filters, padding=padding), target="avx512")
    names = [name for name in program.kernels if f"tile {tile} of 2" in program.explain(name)]
    (name,) = names
    lines = program.kernels[name].as_text("asm").splitlines()
    assert not [line for line in lines if "mmword ptr [rsp" in line]


def test_lanes_that_are_off_cost_no_instruction() -> None:
    """Ten of sixteen: nobody looks at the others, so that no sum is blended with what it was."""
    a, b = graphc.input("a", (128, 256)), graphc.input("b", (256, 10))
    lines = graphc.compile(a @ b, target="avx512").kernels["k00"].as_text("asm").splitlines()
    products = [line for line in lines if "vfmadd" in line]
    assert products
    assert all("zmm" in line and "{k" not in line for line in products)
    assert not [line for line in lines if re.search(r"zmm\d+ \{k\d\}(?! \{z\})", line)]


@pytest.mark.parametrize("target", ["avx2", "avx512"])
def test_the_rest_of_a_row_adds_zeros(target: str) -> None:
    """28 along the lanes: what is loaded beyond them is 0, so that no sum is blended or masked."""
    left, right = graphc.input("left", (5, 40, 28)), graphc.input("right", (3, 40, 28))
    program = graphc.compile(ops.einsum("c h w, f h w -> c f", left, right), target=target)
    assert "lanes along summed" in program.as_text("loops")
    lines = program.kernels["k00"].as_text("asm").splitlines()
    products = [line for line in lines if "vfmadd" in line]
    assert products and not [line for line in products if "{k" in line]
    assert not [line for line in lines if "blend" in line or re.search(r"zmm\d+ \{k\d\}$", line)]


def test_what_lies_beyond_a_row_is_not_added() -> None:
    """A sum's last vector ends within its row, though infinities and NaN follow."""
    left, right = graphc.input("left", (6, 4, 28)), graphc.input("right", (6, 4, 28))
    program = graphc.compile(ops.einsum("b h w, b h w -> b", left, right))
    draw = np.random.default_rng(0)
    x, y = (draw.standard_normal((6, 4, 28)).astype(np.float32) for _ in range(2))
    x[1::2], y[1::2] = np.inf, np.nan
    (found,) = program(x, y)
    np.testing.assert_allclose(found[::2], (x * y).sum((1, 2))[::2], rtol=1e-4)
    assert np.isnan(found[1::2]).all()


@pytest.mark.parametrize("columns", [9, 10, 12, 17, 20])
def test_a_row_that_ends_within_a_vector_is_summed_in_whole_ones(columns: int) -> None:
    """Their last lanes are zeros: a narrower vector would be a part of another, and be spilled."""
    a, b = graphc.input("a", (96, 256)), graphc.input("b", (256, columns))
    program = graphc.compile(a @ b, target="avx2")
    lines = program.kernels["k00"].as_text("asm").splitlines()
    products = [line for line in lines if "vfmadd" in line and "ss\t" not in line]
    assert products and not [line for line in products if "xmm" in line]
    assert not [line for line in products if "[rsp" in line]


def test_a_tile_is_chosen_by_all_the_tiles_that_a_nest_is_made_of() -> None:
    """Five rows of nine vectors: by 4 and 3, tiles of 3 and 2 rows would not fill the units."""
    a, b = graphc.input("a", (5, 256)), graphc.input("b", (256, 66))
    assert "tile 5 of 2 vectors" in graphc.compile(a @ b, target="avx2").explain("k00")


@pytest.mark.parametrize("extent", [2, 3, 11, 13, 23])
def test_lanes_that_are_off_change_nothing(extent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masked vectors, as AVX-512 has them, on any machine: sums across rows, along rows, maxima."""
    model = Target.model.fget  # type: ignore[attr-defined]
    masked = property(lambda target: replace(model(target), masked=True))
    a, b = graphc.input("a", (6, 37)), graphc.input("b", (37, extent))
    outputs = [a @ b, ops.transpose(b) @ ops.transpose(a), ops.sum(b, 0), ops.max(b, 0)]
    outputs += [ops.sum(b, 1), ops.min(b, 1), ops.softmax(b, 1), ops.argmax(b, 0)]
    draw = np.random.default_rng(0)
    given = {n.op.name: draw.standard_normal(n.shape).astype(np.float32) for n in (a, b)}
    given["b"][3, 1] = np.inf
    plain = graphc.compile(outputs)(**given)
    monkeypatch.setattr(Target, "model", masked)
    monkeypatch.setenv("GRAPHC_CACHE_DIR", "off")
    program = graphc.compile(outputs)
    assert "masked.load" in program.as_text("llvm")
    for found, other, wanted in zip(
        program(**given), plain, graphc.evaluate(outputs, given), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("terms", [64, 63, 61, 7, "terms"])
def test_steps_of_a_sum_are_written_out_and_none_is_lost(terms: int | str) -> None:
    """Whole runs of steps, the rest of them, and a number that is known at run time only."""
    a, b = graphc.input("a", (terms, 12)), graphc.input("b", (terms, 24))
    program = graphc.compile(ops.transpose(a) @ b)
    draw = np.random.default_rng(0)
    for count in (terms,) if isinstance(terms, int) else (0, 1, 3, 4, 5, 61):
        x, y = draw.standard_normal((count, 12)), draw.standard_normal((count, 24))
        x, y = x.astype(np.float32), y.astype(np.float32)
        (found,) = program(x, y)
        np.testing.assert_allclose(found, x.T @ y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("terms", [3, 8, 10, 64, 65])
def test_written_out_a_loop_counts_every_step(terms: int) -> None:
    loop = For("s", 0, terms, 1, "serial", ())
    value = Let("v", scalar.argument("x"), ((scalar.argument("x"), index("s")),), "int64")
    steps = at_a_time(loop, 12)
    seen: list[int] = []

    def run(stmts: tuple[Stmt, ...], at: dict[str, int]) -> None:
        for stmt in stmts:
            if isinstance(stmt, For):
                assert isinstance(stmt.start, int) and isinstance(stmt.stop, int)
                for i in range(stmt.start, stmt.stop, stmt.step):
                    run(stmt.body, at | {stmt.index: i})
            else:
                assert isinstance(stmt, Let) and isinstance(stmt.args[0][1], Affine)
                place = stmt.args[0][1]
                seen.append(sum(by * at[name] for name, by in place.terms) + place.constant)

    run(written_out(loop, steps, (value,)), {})
    assert seen == list(range(terms))
    assert steps == (terms if terms <= 8 else 2 if terms == 10 else 4)


def test_a_product_spends_few_instructions_beside_its_multiply_adds() -> None:
    """19 for 12 in a tile of 4 by 3 vectors: the rest, which counts, is shared by four steps."""
    a, b = graphc.input("a", (128, 512)), graphc.input("b", (512, 240))
    lines = graphc.compile(a @ b, target="avx2").kernels["k00"].as_text("asm").splitlines()
    loops = [lines[start:end] for start, end in inner_loops(lines)]
    hot = max(loops, key=lambda loop: sum("vfmadd" in line for line in loop))
    multiply_adds = sum("vfmadd" in line for line in hot)
    assert multiply_adds == 48
    assert len(hot) <= multiply_adds * 1.75


def inner_loops(lines: list[str]) -> list[tuple[int, int]]:
    """First and last of the lines of every loop that has no other one inside."""
    found, start, label = [], 0, ""
    for number, line in enumerate(lines):
        if line.endswith(":"):
            start, label = number + 1, line[:-1]
        elif line.strip().startswith("j") and label and line.split()[-1] == label:
            found.append((start, number + 1))
    return found


def test_large_filters_are_read_once_for_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows go inside the filters' tiles where no cache holds all filters, and change no bit."""
    x, weight = graphc.input("x", (3, 64, 16, 16)), graphc.input("weight", (64, 64, 3, 3))
    y = ops.relu(ops.conv2d(x, weight, padding=1))
    random = np.random.default_rng(0)
    given = {n.op.name: random.standard_normal(n.shape).astype(np.float32) for n in (x, weight)}
    bits, orders = [], []
    for level2 in (128 << 10, 1 << 20):
        machine = replace(targets.target("avx2"), level2=level2)
        monkeypatch.setattr(targets, "target", lambda name=None, machine=machine: machine)
        program = graphc.compile(y)
        text = program.kernels["k01"].as_text("loops")
        assert "summed over" not in text
        orders.append(re.findall(r"for (i\d)[.o]* in [^:]*: +# (?:serial|parallel)", text)[:3])
        bits.append(program(**given)[0])
    assert orders == [["i0", "i1", "i2"], ["i0", "i2", "i1"]]
    np.testing.assert_array_equal(*bits)


def test_panels_of_large_filters_go_outside_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no tiles, but a loop of their own, that goes outside an image's rows as tiles do."""
    x = graphc.input("x", (64, 12, 12))
    first, second = (graphc.input(f"w{n}", (n, 64, 3, 3)) for n in (64, 128))
    y = ops.conv2d(ops.relu(ops.conv2d(x, first, padding=1)), second)
    orders = []
    for level2 in (192 << 10, 1 << 20):
        machine = replace(targets.target("avx2"), level2=level2)
        monkeypatch.setattr(targets, "target", lambda name=None, machine=machine: machine)
        program = graphc.compile(y)
        texts = [kernel.as_text("loops") for kernel in program.kernels.values()]
        (text,) = [text for text in texts if "lanes along kept i2f.place" in text]
        loops = re.findall(r"for (i\w+(?:\.panel)?)[.o]* in [^:]*: +# (?:serial|parallel)", text)
        orders.append(loops[:2])
    assert orders == [["i2f.panel", "i0"], ["i0", "i2f.panel"]]


FETCH = {"avx512": "prefetcht0", "avx2": "prefetcht0", "sse2": "prefetcht0", "neon": "prfm"}


@pytest.mark.parametrize("target", FETCH)
def test_what_follows_a_sum_is_asked_for_as_it_begins(target: str) -> None:
    """Of an array that the second cache may not hold; a bias, or a small array, is near."""
    shapes = {"x": (96, 64), "weight": (48, 64), "bias": (48,), "rest": (96, 48)}
    x, weight, bias, rest = (graphc.input(name, shape) for name, shape in shapes.items())
    y = ops.relu(ops.linear(x, weight, bias) + rest)
    given = [np.ones(shape, np.float32) for shape in shapes.values()]
    found = []
    for level2 in (1 << 10, 1 << 20):
        here = replace(targets.target(target), level2=level2)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(targets, "target", lambda name=None, here=here: here)
            program = graphc.compile(y)
            kernel = program.kernels["k00"]
            asked = re.findall(r"fetch (b\d)\[48\*i0", kernel.as_text("loops"))
            assert set(asked) == ({"b3"} if level2 == 1 << 10 else set())
            assert (FETCH[target] in kernel.as_text("asm")) == bool(asked)
            found += list(program(*given)) if program.loaded else []
    np.testing.assert_array_equal(found[:1], found[1:])


def test_an_argmax_holds_its_best_too() -> None:
    """A pool and where its maxima lie: three registers for each vector."""
    x = graphc.input("x", (64, 32, 32, 32))
    pooled = ops.max_pool2d(ops.transpose(x, (0, 3, 1, 2)), 2)
    slope = graphc.grad(ops.sum(ops.sin(pooled)), [x])
    program = graphc.compile([pooled, *slope], target="avx2")
    (told,) = (t for t in map(program.explain, program.kernels) if "max_pool2d.at(" in t)
    (sums,) = re.findall(r"(\d+) accumulators", told)
    assert 3 * int(sums) <= 16


def test_the_larger_operand_of_two_tiles_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few rows by a large matrix, lanes along the sum: the rows are near, tile after tile."""
    x, weight = graphc.input("x", (6, 128)), graphc.parameter("weight", (300, 128))
    weight.op.cell.value[...] = np.random.default_rng(0).standard_normal((300, 128))  # type: ignore[attr-defined]
    given = np.random.default_rng(1).standard_normal((6, 128)).astype("float32")
    here, found = targets.target("avx2"), {}
    for level2 in (1 << 20, 64 << 10):
        small = replace(here, level2=level2)
        monkeypatch.setattr(targets, "target", lambda name=None, small=small: small)
        program = graphc.compile(ops.linear(x, weight))
        text = program.kernels["k00"].as_text("loops")
        assert re.search(r"lanes along summed .* tile \dx\d", text)
        found[text.index("for i0.o in") < text.index("for i1.o in")] = program(given)[0]
    np.testing.assert_array_equal(found[True], found[False])


def test_panels_of_a_large_matrix_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile of rows by two panels: outside goes what does not stay in the second cache."""
    net = nn.Sequential(nn.Linear(784, 2048), nn.ReLU())
    real = targets.target
    for level2 in (1 << 20, 16 << 20):

        def sized(name: str | None = None, level2: int = level2) -> targets.Target:
            return replace(real(name), level2=level2)

        monkeypatch.setattr(targets, "target", sized)
        program = graphc.compile(net, inputs={"x": (60, 784)}, freeze=True, target="avx512")
        text = program.kernels["k00"].as_text("loops")
        assert "tile 6x2 of 2 vectors" in text
        outside = text.index("for i1n.panel.o in") < text.index("for i0.o in")
        assert outside == (level2 == 1 << 20)


@pytest.mark.parametrize(("channels", "inside"), [(8, True), (32, False)])
def test_groups_that_share_a_line_are_walked_one_after_the_other(
    channels: int, inside: bool
) -> None:
    """All of a line is read while it is near; groups of whole lines are walked one by one."""
    image = graphc.input("image", (1, 4 * channels, 21, 21))
    filters = graphc.parameter("filters", (4 * channels, channels, 3, 3))
    y = ops.conv2d(image, filters, groups=4)
    program = graphc.compile(ops.conv2d(ops.relu(y), filters, groups=4), target="avx512")
    (loops,) = (
        text
        for text in (kernel.as_text("loops") for kernel in program.kernels.values())
        if "relu" not in text and "lanes along kept i3f" in text
    )
    assert (loops.index("for i3g in 0..4") > loops.index("for i2.")) is inside
