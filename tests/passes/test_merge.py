"""Axes of short rows that are summed together become one: which, and that the values stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.graph.graph import make_graph
from graphc.graph.node import Node
from graphc.machine import Machine
from graphc.ops.formula import Formula
from graphc.passes import merge
from tests.support import native, random, values

MACHINE = Machine(32, 16, False)
REDUCTIONS = [ops.sum, ops.mean, ops.max, ops.min, ops.prod]


def merged(*outputs: Node) -> list[str]:
    """What a graph's ops do after the pass."""
    graph = merge.merge(make_graph(list(outputs)), MACHINE)
    return [node.op.describe() for node in graph.nodes if isinstance(node.op, Formula)]


def test_the_rows_of_an_image_are_summed_as_one() -> None:
    x = graphc.input("x", (8, 3, 5, 7))
    assert merged(ops.sum(x, (0, 2, 3))) == [
        "[i0, i1, 7*i2 + i3] += x  where x[i0, i1, i2, i3]",
        "[i1] += x  where x[i0, i1, i3]",
    ]


def test_so_are_maps_that_nothing_else_reads() -> None:
    x, y = (graphc.input(name, (4, 5, 7)) for name in "xy")
    found = merged(ops.sum(ops.square(x - y), (1, 2)))
    assert [line.split("  where")[0] for line in found] == [
        "[i0, 7*i1 + i2] += x",
        "[i0, 7*i1 + i2] += x",
        "[b0, b2] = a - b",
        "[b0, b2] = x**2",
        "[i0] += x",
    ]


def test_what_a_product_computes_in_its_registers_stays() -> None:
    a, b = graphc.input("a", (12, 40)), graphc.input("b", (40, 6))
    found = merged(ops.sum(ops.relu(a @ b)))
    assert "[b0, b1] = Piecewise((0, x <= 0), (x, True))  where x[b0, b1]" in found


def test_so_do_long_rows_and_operands_of_some_of_the_axes() -> None:
    long, short = graphc.input("x", (4, 6, 16)), graphc.input("y", (4, 5, 7))
    assert len(merged(ops.sum(long, (1, 2)))) == 1
    weight = graphc.input("w", (7,))
    assert not any("7*" in line for line in merged(ops.einsum("nhw,w->n", short, weight)))
    assert not any("7*" in line for line in merged(ops.sum(short, 1)))
    diagonal = graphc.input("z", (3, 4, 5, 4, 5))
    assert not any("5*" in line for line in merged(ops.einsum("aijij->a", diagonal)))


def test_what_is_done_is_said() -> None:
    text = graphc.compile([ops.sum(graphc.input("x", (9, 5, 7)))]).as_text("simplified")
    assert "its last 3 axes, of short rows, are summed as one" in text


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (4, 1, 9, 3), (3, 2, 1, 2), (5, 6, 14, 14)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_values_stay(reduction: Any, shape: tuple[int, ...]) -> None:
    x = random(*shape)
    for axes in ((2, 3), (1, 2, 3), (0, 2, 3), (0, 1, 2, 3), (1, 3)):

        def outputs(node: Node, axes: tuple[int, ...] = axes) -> list[Node]:
            y = reduction(ops.tanh(node) * 0.5, axes)
            return [y, *graphc.vjp(y, [node], ops.ones_like(y))]

        node = graphc.input("x0", shape, "float64")
        for found, expected in zip(
            native(outputs(node), [x]), values(outputs(node), [x]), strict=True
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("batch", [4, "n"])
@pytest.mark.parametrize("side", [1, 3, 7])
def test_norms_of_small_images(batch: Any, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One program with a batch of any size, too; with the pass and without it."""
    x, dy = (graphc.input(name, (batch, 6, side, side), "float64") for name in ("x", "dy"))
    given = {"x": random(4, 6, side, side), "dy": random(4, 6, side, side, seed=1)}

    def results() -> list[np.ndarray[Any, Any]]:
        found = []
        for y in (ops.batch_norm(x)[0], ops.group_norm(x, 2), ops.instance_norm(x)):
            found += graphc.compile([y, *graphc.vjp(y, [x], dy)])(**given)
        return found

    merges = results()
    monkeypatch.setenv("GRAPHC_SKIP", "merge")
    for found, expected in zip(merges, results(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


def test_threads_and_fusion_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    x = graphc.input("x", (64, 40, 7, 7))
    y = ops.sum(ops.square(ops.tanh(x)), (0, 2, 3))
    given = random(64, 40, 7, 7).astype(np.float32)
    (one,), (two,) = (graphc.compile([y], threads=n)(x=given) for n in (1, 2))
    monkeypatch.setenv("GRAPHC_SKIP", "fuse")
    (apart,) = graphc.compile([y], threads=1)(x=given)
    assert one.tobytes() == two.tobytes() == apart.tobytes()
