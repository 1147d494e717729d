"""Residues: a strided convolution's gradient makes the products that there are, and no others."""

from __future__ import annotations

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.loops.ir import For, Load, Stmt, Update, walk
from graphc.ops.reference import evaluate

SHAPES = (  # channels, filters, results along an axis, size, stride, padding
    (4, 8, 8, 3, 2, 1),
    (3, 16, 5, 3, 2, 1),
    (8, 8, 6, 7, 2, 3),
    (2, 9, 5, 5, 3, 1),
    (4, 4, 7, 1, 2, 0),
    (16, 24, 5, 2, 2, 0),
    (3, 5, 4, 3, 4, 1),
    (8, 16, 7, 4, 2, 1),
    (5, 8, 4, 2, 3, 0),
)


def gradient(
    channels: int, filters: int, results: int, size: int, stride: int, padding: int, batch: int = 2
) -> tuple[list[graphc.Node], dict[str, np.ndarray]]:
    """The gradient of the image, and what it is given."""
    side = (results - 1) * stride + size - 2 * padding
    random = np.random.default_rng(0)
    shapes = {
        "x": (batch, channels, side, side),
        "k": (filters, channels, size, size),
        "dy": (batch, filters, results, results),
    }
    x, k, dy = (graphc.input(name, shape) for name, shape in shapes.items())
    border = (padding, padding)
    y = ops.conv2d(ops.pad(x, ((0, 0), (0, 0), border, border)), k, stride=stride)
    given = {n: random.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    return graphc.vjp(y, [x], dy), given


def products(stmts: tuple[Stmt, ...]) -> int:
    """The additions of products that some statements make."""
    total = 0
    for stmt in stmts:
        if isinstance(stmt, For):
            steps = stmt.step if stmt.kind == "vector" else 1
            total += products(stmt.body) * (stmt.extent or 0) * steps
        total += isinstance(stmt, Update) and stmt.how == "sum" and len(stmt.args) == 2
    return total


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_of_images(shape: tuple[int, ...]) -> None:
    nodes, given = gradient(*shape)
    used = {name: given[name] for name in ("k", "dy")}
    (wanted,) = evaluate(nodes, used)
    results = [graphc.compile(nodes, threads=n)(**used)[0] for n in (1, 2)]
    np.testing.assert_array_equal(*results)
    np.testing.assert_allclose(results[0], wanted, atol=2e-5 * np.abs(wanted).max())


def test_as_many_products_as_there_are() -> None:
    nodes, _ = gradient(16, 32, 8, 3, 2, 1)
    program = graphc.compile(nodes, threads=1, target="avx2")
    (kernel,) = [k for k in program.stages.kernels if products(k.body)]
    sums = [s for s in walk(kernel.body) if isinstance(s, Update) and s.how == "sum"]
    loads = [s for s in walk(kernel.body) if isinstance(s, Load)]
    assert not any(s.guards for s in (*sums, *loads))
    # along an axis of 15, places 0, 2, ... have one tap, places 1, 3, ... have two
    assert products(kernel.body) == 2 * 32 * 16 * (8 * 1 + 7 * 2) ** 2


def test_no_products_where_windows_lie_apart() -> None:
    """Of 1x1 filters with a stride of 2, a quarter of an image has a tap; the rest is 0."""
    nodes, given = gradient(16, 32, 8, 1, 2, 0)
    follows = ops.relu(nodes[0] + 1) * 2
    program = graphc.compile(follows, threads=1, target="avx2")
    (kernel,) = [k for k in program.stages.kernels if products(k.body)]
    assert products(kernel.body) == 2 * 32 * 16 * 8 * 8
    used = {name: given[name] for name in ("k", "dy")}
    (wanted,) = evaluate([follows], used)
    for count in (1, 2):
        (found,) = graphc.compile(follows, threads=count)(**used)
        np.testing.assert_allclose(found, wanted, atol=2e-5 * np.abs(wanted).max())
        assert (found == 2).sum() == 2 * 16 * (15 * 15 - 8 * 8)


def test_infinite_taps_reach_what_they_are_taps_of() -> None:
    nodes, given = gradient(4, 8, 8, 3, 2, 1)
    used = {"k": given["k"], "dy": given["dy"]}
    used["k"][:, :, 0, 0] = np.inf
    (found,), (wanted,) = graphc.compile(nodes)(**used), evaluate(nodes, used)
    inside = (slice(None), slice(None), slice(0, -1), slice(0, -1))  # dy has a border of zeros
    np.testing.assert_array_equal(np.isfinite(found[inside]), np.isfinite(wanted[inside]))


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (2, 3, 4, 2)])
def test_a_border_of_zeros_is_among_what_a_window_has(shape: tuple[int, ...]) -> None:
    """The border is made in the kernel that takes the windows: a load that gives 0."""
    x = graphc.input("x", shape)
    y = ops.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    largest = ops.max_pool2d(y, 2)
    nodes = [largest, ops.avg_pool2d(y, 2), *graphc.grad(ops.sum(largest), [x])]
    given = {"x": np.random.default_rng(0).uniform(-2, -1, shape).astype(np.float32)}
    for found, wanted in zip(graphc.compile(nodes)(**given), evaluate(nodes, given), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_last_part_has_a_loop_of_its_own() -> None:
    """So that neither has a condition, and the lanes lie along the columns."""
    x = graphc.input("x", (2053, 64))
    program = graphc.compile([ops.sum(x, 0)], threads=1)
    text = program.kernels["k00"].as_text("loops")
    assert " if 0 <=" not in text and text.count("lanes along kept i1") == 2
    given = np.random.default_rng(0).random((2053, 64), dtype=np.float32)
    wanted = given.astype(np.float64).sum(0)
    np.testing.assert_allclose(program(given)[0], wanted, rtol=1e-6)


@pytest.mark.parametrize("size", [4, 9])
def test_residues_of_rows_have_tiles_of_their_own(size: int) -> None:
    """A loop around both would leave a tile one side: its vectors would be read for one element."""
    x, k = graphc.input("x", (4, 8, 64)), graphc.input("k", (16, 8, size))
    y = ops.conv1d(x, k, stride=2, padding=size // 2 - (size + 1) % 2, floor=True)
    nodes = graphc.vjp(y, [x], graphc.input("dy", y.shape))
    random = np.random.default_rng(0)
    given = {
        n: random.standard_normal(s).astype(np.float32)
        for n, s in (("k", k.shape), ("dy", y.shape))
    }
    program = graphc.compile(nodes, target="avx512")
    tiles = [
        note for name in program.kernels for note in program.kernels[name].notes if "tile" in note
    ]
    assert tiles and not any("tile 1 of" in note for note in tiles)
    (wanted,) = evaluate(nodes, given)
    for threads in (1, 2):
        (found,) = graphc.compile(nodes, threads=threads)(**given)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


STRIDED = (  # channels, filters, side, size, stride, padding, groups
    (24, 64, 16, 2, 3, 1, 2),  # residues without taps, and groups beside them
    (16, 32, 16, 3, 3, 0, 4),  # a last column that no window covers
    (8, 8, 9, 3, 2, 1, 4),
    (12, 6, 11, 1, 3, 0, 1),  # zeros between what single points make
)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", STRIDED)
def test_residues_of_groups_and_of_what_no_window_covers(
    shape: tuple[int, ...], threads: int
) -> None:
    """Each residue has loops of its own: no zeros around filters, and no conditions inside."""
    channels, filters, side, size, stride, padding, groups = shape
    x = graphc.input("x", (3, channels, side, side))
    k = graphc.input("k", (filters, channels // groups, size, size))
    y = ops.conv2d(x, k, stride=stride, padding=padding, groups=groups, floor=True)
    dy = graphc.input("dy", y.shape)
    nodes = graphc.vjp(y, [x], dy)
    random = np.random.default_rng(0)
    given = {n.op.name: random.standard_normal(n.shape).astype(np.float32) for n in (k, dy)}
    program = graphc.compile(nodes, threads=threads)
    (wanted,) = evaluate(nodes, given)
    np.testing.assert_allclose(program(**given)[0], wanted, rtol=1e-4, atol=1e-4)
    names = [(n.op.name, [i.op.name for i in n.inputs]) for n in program.stages.graph.nodes]
    assert ("bordered", ["k"]) not in names
    inner = [s for kernel in program.stages.kernels for s in walk(kernel.body)]
    sums = [s for s in inner if isinstance(s, Update) and s.how == "sum"]
    assert sums and not any(s.guards for s in sums)


def test_zeros_lie_along_rows() -> None:
    """Lanes along channels would each be in another page; along a row they are neighbours."""
    x, k = graphc.input("x", (2, 32, 34, 34)), graphc.input("k", (8, 32, 1, 1))
    y = ops.conv2d(x, k, stride=3, floor=True)
    nodes = graphc.vjp(y, [x], graphc.input("dy", y.shape))
    kernel = graphc.compile(nodes, target="avx512", threads=1).stages.kernels[-1]
    steps = [
        s.target.offset.coefficient(loop.index)
        for loop in walk(kernel.body)
        if isinstance(loop, For) and loop.kind == "vector"
        for s in loop.body
        if isinstance(s, Update) and s.target.buffer.space == "argument"
    ]
    assert steps and set(steps) <= {1, 3, 3 * 34}


def test_a_last_row_of_one_residue_is_in_no_loop_of_the_others() -> None:
    """An odd height, one image: each residue has its own rows, and no condition is left."""
    x = graphc.input("x", (1, 32, 8, 8))
    weight = graphc.input("weight", (32, 64, 5, 5))
    program = graphc.compile([ops.conv_transpose2d(x, weight, stride=2)], threads=1)
    texts = [kernel.as_text("loops") for kernel in program.kernels.values()]
    (loops,) = [text for text in texts if "image*kernel" in text]
    stores = [line for line in loops.splitlines() if "= value" in line]
    assert stores and not any(" if " in line for line in stores)


@pytest.mark.parametrize("padding", [1, 2])
def test_windows_that_do_not_meet_beside_a_border(padding: int) -> None:
    """What lies in the border is made too, and left out: each element asks one window."""
    x = graphc.input("x", (2, 3, 11, 13), "float64")
    for pool in (ops.avg_pool2d, ops.max_pool2d):
        y = pool(x, 5, stride=5, padding=padding, floor=True)
        outputs = list(graphc.grad(ops.sum(ops.sin(y)), [x]))
        given = {"x": np.random.default_rng(0).standard_normal((2, 3, 11, 13))}
        program = graphc.compile(outputs)
        assert "within(" in program.as_text("simplified")
        for found, expected in zip(program(**given), evaluate(outputs, given), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
