"""Matrices along whose rows sums go: turned over panel by panel, by one rule in graph and loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import graphc
from graphc import nn, ops
from graphc.loops.alternatives import stack
from graphc.loops.crosswise import crossed
from graphc.loops.order import order
from graphc.loops.panel import MOST
from graphc.loops.tile import reductions
from graphc.passes.pack import turns_panels
from graphc.runtime.program import Program


def product(m: int | str, k: int, n: int) -> graphc.Node:
    a, b = graphc.input("a", (m, k)), graphc.input("b", (n, k))
    return ops.relu(a @ ops.transpose(b))


def operands(m: int, k: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(m + k + n)
    return tuple(rng.standard_normal(s).astype(np.float32) for s in ((m, k), (n, k)))


def names(program: Program) -> list[str]:
    return [n.op.name for g in program.stages.fused.groups for n in g.nodes]


def turning(program: Program) -> bool:
    """Whether some loops go across a matrix."""
    stages = program.stages
    nests = [n for k in stages.lowered for n in reductions(order(k, stages.target.model).body)]
    return any(crossed(nest, nest.kept[-1], nest.inner) for nest in nests)


def test_one_kernel_turns_panels_over_in_registers() -> None:
    program = graphc.compile(product(128, 784, 512), target="avx2")
    assert "packed" not in names(program) and list(program.kernels) == ["k00"]
    assert "packed: turned over" in program.explain("k00")
    assembly = program.kernels["k00"].as_text("asm")
    assert "vunpcklps" in assembly or "vshufps" in assembly
    panels = program.kernels["k00"].as_text("loops")
    assert "turned" in panels or "transpose" in panels.lower()


@pytest.mark.parametrize("m, k, n", list(itertools.product((7, 8), (7, 8, 1024, 1025), (7, 8))))
def test_graph_and_loops_decide_alike(m: int, k: int, n: int) -> None:
    program = graphc.compile(product(m, k, n), target="avx2")
    nodes = program.stages.graph.nodes
    assert any(map(turns_panels, nodes)) == turning(program)
    assert turning(program) == (m >= 8 and 8 <= k <= 1024)


@pytest.mark.parametrize("m, wanted", [(23, False), (24, True)])
@pytest.mark.parametrize("k", [1025, 4097])
def test_long_sums_go_along_few_rows(m: int, wanted: bool, k: int) -> None:
    program = graphc.compile(product(m, k, 20), target="avx2")
    nodes = program.stages.graph.nodes
    assert turning(program) == any(map(turns_panels, nodes)) == wanted


@pytest.mark.parametrize("target", ["avx2", "avx512"])
@pytest.mark.parametrize("rows", [30, 300, "batch"])
@pytest.mark.parametrize("columns", [40, 300])
def test_the_longest_sums_are_made_in_parts(target: str, rows: int | str, columns: int) -> None:
    """Panel by panel, so that threads share them and the sums so far stay near."""
    program = graphc.compile(product(rows, 9001, columns), target=target)
    assert "packed" not in names(program)
    text = program.kernels["k00"].as_text("loops")
    assert "in parts of 3001, each turned over" in text
    assert "i1.b in" in text
    assert stack(program.stages.kernels[0]) <= MOST


@pytest.mark.parametrize(
    "m, k, n",
    [
        *((8, 8, 7), (37, 1001, 129), (100, 784, 500), (65, 64, 9)),
        *((24, 1025, 20), (30, 4096, 40), (30, 9001, 40), (300, 4500, 260)),
    ],
)
def test_no_bit_depends_on_how_the_matrix_lies(m: int, k: int, n: int) -> None:
    a, b = operands(m, k, n)
    upright = ops.relu(graphc.input("a", (m, k)) @ graphc.input("b", (k, n)))
    (expected,) = graphc.compile(upright)(a, np.ascontiguousarray(b.T))
    for rows in (m, "batch"):
        for threads in (1, 2):
            (found,) = graphc.compile(product(rows, k, n), threads=threads)(a, b)
            np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(expected, np.maximum(a @ b.T, 0), rtol=1e-4, atol=2e-6 * k)


@pytest.mark.parametrize("batch, wanted", [(7, False), (8, True), (16, True)])
def test_weights_of_a_scan_are_turned_over_once(batch: int, wanted: bool) -> None:
    net = nn.RNN(24, 40)
    program = graphc.compile(net, inputs={"x": (12, batch, 24)}, target="avx2")
    texts = [program.kernels[name].as_text("loops") for name in program.kernels]
    (scan,) = [text for text in texts if "ordered" in text]
    assert ("copied in panels" in scan) == wanted
    draw = np.random.default_rng(0)
    x = draw.standard_normal((12, batch, 24)).astype(np.float32)
    found, shared = (
        graphc.compile(net, inputs={"x": (12, batch, 24)}, threads=n)(x) for n in (1, 2)
    )
    expected = graphc.evaluate(program.source.outputs, {"x": x})
    for one, other, right in zip(found, shared, expected, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one, right, rtol=1e-4, atol=1e-5)


def test_a_matrix_of_each_step_of_a_scan_is_turned_over_in_each() -> None:
    draw = np.random.default_rng(0)
    matrices = draw.standard_normal((6, 24, 24)).astype(np.float32)
    state = draw.standard_normal((16, 24)).astype(np.float32)

    def step(h: graphc.Node, m: graphc.Node) -> tuple[graphc.Node, None]:
        return ops.tanh(h @ ops.transpose(m)), None

    h, m = graphc.input("h", state.shape), graphc.input("m", matrices.shape)
    (found,) = graphc.compile(ops.scan(step, h, m)[0])(state, matrices)
    for matrix in matrices:
        state = np.tanh(state @ matrix.T)
    np.testing.assert_allclose(found, state, rtol=1e-3, atol=1e-4)


def test_sums_over_several_indices_go_along_rows_too() -> None:
    a, b = graphc.input("a", (48, 3, 40)), graphc.input("b", (16, 3, 40))
    y = ops.einsum("mij,nij->mn", a, b)
    program = graphc.compile(y, target="avx2")
    assert turning(program)
    rng = np.random.default_rng(0)
    given = [rng.standard_normal(x.shape).astype(np.float32) for x in (a, b)]
    (found,) = graphc.compile(y)(*given)
    np.testing.assert_allclose(found, np.einsum("mij,nij->mn", *given), rtol=1e-4, atol=1e-4)


HEADS = {
    "b h m k, b h n k": ("bhmk,bhnk->bhmn", (3, 2, "m", 40), (3, 2, 24, 40)),
    "beside each other": ("bmhk,bnhk->bhmn", (3, "m", 2, 40), (3, 24, 2, 40)),
    "results beside each other": ("bmhk,bnhk->bmhn", (3, "m", 2, 40), (3, 24, 2, 40)),
    "one left for all right": ("mk,bnk->bmn", ("m", 40), (5, 24, 40)),
    "sums over two": ("bmjk,bnjk->bmn", (4, "m", 3, 20), (4, 17, 3, 20)),
    "any number of them": ("bmk,bnk->bmn", ("batch", "m", 40), ("batch", 24, 40)),
}


@pytest.mark.parametrize("case", HEADS)
@pytest.mark.parametrize("m", [7, 8, 30])
def test_products_side_by_side_turn_panels_over_one_by_one(case: str, m: int) -> None:
    spelled, *shapes = HEADS[case]
    known = [tuple(m if size == "m" else size for size in shape) for shape in shapes]
    a, b = (graphc.input(name, shape) for name, shape in zip("ab", known, strict=True))
    y = ops.einsum(spelled, a, b)
    program = graphc.compile(y, target="avx2")
    assert turning(program) == any(map(turns_panels, program.stages.graph.nodes)) == (m >= 8)
    assert "packed" not in names(program)
    rng = np.random.default_rng(m)
    given = [
        rng.standard_normal([4 if size == "batch" else size for size in shape]).astype(np.float32)
        for shape in known
    ]
    found, shared = (graphc.compile(y, threads=n)(*given)[0] for n in (1, 2))
    np.testing.assert_array_equal(found, shared)
    np.testing.assert_allclose(found, np.einsum(spelled, *given), rtol=1e-4, atol=1e-4)


def test_windows_that_overlap_are_no_rows() -> None:
    x, filters = graphc.input("x", (1, 1, 200)), graphc.input("filters", (25, 1, 9))
    y = ops.conv1d(x, filters, stride=2, floor=True)
    assert not turning(graphc.compile(y, target="avx2"))


def test_what_lasts_is_turned_over_once() -> None:
    net = nn.Linear(96, 64)
    live, frozen = (
        graphc.compile(net, inputs={"x": (48, 96)}, target="avx2", freeze=freeze)
        for freeze in (False, True)
    )
    assert turning(live) and not turning(frozen)
    assert [v.shape for v in frozen.source.variables() if len(v.shape) > 1] == [(4, 96, 16)]


@pytest.mark.parametrize("rows", [40, "batch"])
@pytest.mark.parametrize("threads", [1, 2])
def test_sums_so_far_do_not_lie_where_another_operand_may(rows: int | str, threads: int) -> None:
    """What is added to the product may be overwritten by the result, and is read at the end."""
    residual = ops.tanh(graphc.input("residual", (rows, 24)))
    y = ops.sigmoid(product(rows, 5000, 24) + residual)
    a, b = operands(40, 5000, 24)
    other = np.random.default_rng(0).standard_normal((40, 24)).astype(np.float32)
    (found,) = graphc.compile(y, threads=threads)(residual=other, a=a, b=b)
    expected = 1 / (1 + np.exp(-(np.maximum(a @ b.T, 0) + np.tanh(other))))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "b, m, k, n",
    [(5, 48, 40, 30), (64, 24, 64, 40), (3, 30, 9001, 40), (2, 8, 16, 17), (40, 32, 200, 7)],
)
def test_matrices_one_behind_the_other_are_turned_over_panel_by_panel(
    b: int, m: int, k: int, n: int
) -> None:
    """As gradients of 1x1 filters by images, channels first: image by image, with the same bits."""
    rng = np.random.default_rng(b + m + k + n)
    x, y = (rng.standard_normal(s).astype(np.float32) for s in ((b, m, k), (b, n, k)))
    left, right = graphc.input("x", x.shape), graphc.input("y", y.shape)
    across = ops.einsum("bmk,bnk->mn", left, right)
    program = graphc.compile(across, target="avx2")
    assert turning(program) and any(map(turns_panels, program.stages.graph.nodes))
    assert "packed" not in names(program)
    upright = ops.einsum("bmk,bkn->mn", left, graphc.input("y", (b, k, n)))
    (expected,) = graphc.compile(upright)(x, np.ascontiguousarray(y.swapaxes(1, 2)))
    for threads in (1, 2):
        (found,) = graphc.compile(across, threads=threads)(x, y)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found, np.einsum("bmk,bnk->mn", x, y), rtol=1e-3, atol=1e-5 * b * k)


def test_images_of_256_places_are_summed_over_one_by_one() -> None:
    """A panel of one image stays near; long rows of it are made in parts of their own."""
    texts = []
    for b, k in ((64, 256), (4, 9001)):
        x, y = (graphc.input(name, (b, 64, k)) for name in "xy")
        program = graphc.compile(ops.einsum("bmk,bnk->mn", x, y), target="avx512")
        texts.append(program.explain("k00"))
    assert "summed over s2 in parts of 256, each turned over" in texts[0]
    assert "summed over s3 in parts of 3001, each turned over" in texts[1]
