"""Depth first: chains of groups that are computed image by image, with the bits of one by one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, ops
from graphc.graph.node import Node
from graphc.passes.depth import FEWEST

Array = np.ndarray[Any, Any]
IMAGES = FEWEST + 1


def numbers(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def chained(program: graphc.Program) -> list[list[str]]:
    """The kernels that go image by image: the first op of each of their parts."""
    groups = program.stages.plan.groups
    return [[part.nodes[0].op.name for part in g.parts] for g in groups if g.parts]


def same(
    outputs: Sequence[Node] | nn.Module,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Array],
    **options: Any,
) -> graphc.Program:
    """The program: right, and with the bits of one thread and of group after group."""
    if isinstance(outputs, nn.Module):
        options["inputs"] = {name: array.shape for name, array in given.items()}
    program = graphc.compile(outputs, threads=2, **options)
    found = program(**given)
    expected = graphc.evaluate(program.source.outputs, given)
    for skipped in ("", "depth_first"):
        monkeypatch.setenv("GRAPHC_SKIP", skipped)
        other = graphc.compile(outputs, threads=1, **options)
        assert not (skipped and chained(other))
        for one, two, right in zip(found, other(**given), expected, strict=True):
            np.testing.assert_array_equal(one, two)
            scale = np.abs(right).max()
            np.testing.assert_allclose(one, right, rtol=1e-3, atol=1e-4 * scale)
    monkeypatch.delenv("GRAPHC_SKIP")
    return program


def classifier() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Conv2d(16, 24, 3, padding=1), nn.GELU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(600, 10)),
    )


@pytest.mark.parametrize("freeze", [False, True])
def test_a_convolutional_net_is_one_chain(freeze: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"x": numbers(IMAGES, 3, 20, 20)}
    program = same(classifier(), monkeypatch, given, freeze=freeze)
    ops_of = ["pad", "conv2d", "conv2d", "max_pool2d", "conv2d", "avg_pool2d"]
    assert chained(program) == [ops_of]
    kernel = next(g for g in program.stages.plan.groups if g.parts)
    assert kernel.outer == (IMAGES,) and len(kernel.roots) == 1


def test_it_says_so_and_takes_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = {"x": (IMAGES, 3, 20, 20)}
    deep = graphc.compile(classifier(), inputs=shape)
    why = f"avg_pool2d: one after the other for each of {IMAGES} images"
    assert any(why in deep.explain(name) for name in deep.kernels)
    monkeypatch.setenv("GRAPHC_SKIP", "depth_first")
    flat = graphc.compile(classifier(), inputs=shape)
    assert len(deep.kernels) < len(flat.kernels)
    assert deep.memory().arena < flat.memory().arena / 4


@pytest.mark.parametrize("target", ["avx2", "avx512"])
def test_inner_loops_keep_all_in_registers(target: str) -> None:
    """However long a chain's kernel is: no loop of products reads registers back from the stack."""
    program = graphc.compile(classifier(), inputs={"x": (IMAGES, 3, 20, 20)}, target=target)
    (name,) = (n for n in program.kernels if "one after the other" in program.explain(n))
    lines = program.kernels[name].as_text("asm").splitlines()
    begins = {line[:-1]: number for number, line in enumerate(lines) if line.startswith(".LBB")}
    bodies = [
        lines[begins[line.split()[-1]] + 1 : number]
        for number, line in enumerate(lines)
        if line.startswith("\tj") and begins.get(line.split()[-1], number) < number
    ]
    inner = [b for b in bodies if not any(line.startswith(".LBB") for line in b)]
    products = [b for b in inner if sum("vfmadd" in line for line in b) >= 16]
    assert len(products) >= 3
    assert not [line for body in products for line in body if re.search(r"\[rsp( \+ \d+)?\]", line)]


NETS: dict[str, Callable[[], list[nn.Module]]] = {
    "residual": lambda: [
        nn.Conv2d(8, 16, 3, padding=1),
        *(
            nn.Residual(
                nn.Sequential(
                    *(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))
                )
            )
            for _ in range(2)
        ),
        nn.ReLU(),
    ],
    "depthwise": lambda: [
        *(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.SiLU(), nn.Conv2d(8, 32, 1)),
        *(nn.Conv2d(32, 32, 3, padding=1, groups=32), nn.Conv2d(32, 6, 1)),
    ],
    "grouped": lambda: [
        *(nn.Conv2d(8, 24, 1), nn.ReLU(), nn.Conv2d(24, 48, 3, padding=1, groups=6, bias=False)),
        *(nn.BatchNorm2d(48), nn.ReLU(), nn.Conv2d(48, 8, 1), nn.Flatten(2), nn.LazyLinear(5)),
    ],
    "strided": lambda: [nn.Conv2d(8, 12, 3, 2, 1, floor=True), nn.Tanh(), nn.Conv2d(12, 20, 2)],
    "transposed": lambda: [
        *(nn.ConvTranspose2d(8, 10, 2, stride=2), nn.ReLU(), nn.Conv2d(10, 3, 5, padding=2)),
    ],
    "normalised": lambda: [
        *(nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 8, 3), nn.GlobalAvgPool(), nn.Linear(8, 4)),
    ],
    "large steps": lambda: [nn.Conv2d(8, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 4, 1)],
}


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("side", [9, 16])
def test_nets_of_all_kinds(net: str, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(*NETS[net]())
    assert chained(same(model, monkeypatch, {"x": numbers(IMAGES, 8, side, side)}, freeze=True))


def test_attention_of_many_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of a sequence, which are large, never leave the caches."""
    given = {name: numbers(IMAGES, 40, 2, 16) + k for k, name in enumerate("qkv")}
    q, k, v = (graphc.input(name, array.shape) for name, array in given.items())
    weights = ops.softmax(ops.einsum("b i h d, b j h d -> b h i j", q, k) / 4)
    program = same([ops.einsum("b h i j, b j h d -> b i h d", weights, v)], monkeypatch, given)
    (chain,) = chained(program)
    assert len(chain) >= 2 and len(program.stages.plan.groups[-1].roots) == 1


def test_gradients_of_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"x": numbers(IMAGES, 4, 12, 12), "dy": numbers(IMAGES, 16, 6, 6)}
    x, dy = (graphc.input(name, array.shape) for name, array in given.items())
    first, second = graphc.constant(numbers(8, 4, 3, 3)), graphc.constant(numbers(16, 8, 3, 3))
    y = ops.conv2d(ops.max_pool2d(ops.relu(ops.conv2d(x, first, padding=1)), 2), second, padding=1)
    program = same(list(graphc.vjp(y, [x], dy)), monkeypatch, given)
    assert any("conv2d.dimage" in chain for chain in chained(program))


def test_an_index_out_of_range_is_named() -> None:
    words = graphc.input("words", (IMAGES, 30), "int64")
    table, weight = graphc.input("table", (50, 32)), graphc.input("weight", (48, 32))
    y = ops.relu(ops.relu(ops.gather(table, words) @ ops.transpose(weight)) @ weight)
    program = graphc.compile(y, threads=2)
    assert chained(program)
    given = {"words": np.zeros((IMAGES, 30), np.int64), "table": numbers(50, 32)}
    given["words"][7, 3] = 99
    with pytest.raises(IndexError, match=r"index 99 at position \(7, 3\) is not in \[0, 50\)"):
        program(weight=numbers(48, 32), **given)


def convolutions(images: int | str, side: int, inner: int = 16) -> tuple[Node, Node]:
    """A convolution of 8 channels and what another one makes of it."""
    x = graphc.input("x", (images, 8, side, side))
    between = ops.relu(ops.conv2d(x, graphc.constant(numbers(inner, 8, 3, 3)), padding=1))
    return between, ops.conv2d(between, graphc.constant(numbers(8, inner, 3, 3)), padding=1)


def test_only_where_it_pays() -> None:
    """Not for few images, or any number; not for what is asked for, or leaves a cache."""
    between, y = convolutions(IMAGES, 16)
    (chain,) = chained(graphc.compile(y))
    assert chain.count("conv2d") == 2
    assert all(c.count("conv2d") == 1 for c in chained(graphc.compile([between, y])))
    assert not chained(graphc.compile(convolutions(FEWEST - 1, 16)[1]))
    assert not chained(graphc.compile(convolutions("batch", 16)[1]))
    assert all(c.count("conv2d") < 2 for c in chained(graphc.compile(convolutions(16, 200)[1])))
    dense = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    assert not chained(graphc.compile(dense, inputs={"x": (64, 64)}))


def test_training_keeps_what_the_backward_pass_reads() -> None:
    """What is stored for it is no reason to wait for an image: a batch goes layer by layer."""
    step = graphc.compile_train_step(
        classifier(),
        "cross_entropy",
        graphc.optim.SGD(0.1),
        inputs={"x": (IMAGES, 3, 20, 20)},
        targets={"y": (IMAGES,)},
    )
    for chain in chained(step.program):
        assert re.search(r"\.d|bordered", " ".join(chain)) or chain.count("conv2d") < 2


def test_what_is_read_on_other_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reshape that keeps the images is a view of each; one that does not is read as a whole."""
    given = {"x": numbers(IMAGES, 40, 16), "v": numbers(16, 4, 16), "w": numbers(64, 24)}
    x, v, w = (graphc.input(name, array.shape) for name, array in given.items())
    heads = ops.einsum("n i c, c h d -> n i h d", x, v)
    program = same([ops.reshape(heads, (IMAGES, 40, 64)) @ w], monkeypatch, given)
    (chain,) = chained(program)
    assert len(chain) == 2
    assert [view.op.name for view in program.stages.fused.aliases] == ["reshape"]
    program = same([ops.reshape(heads, (IMAGES * 40, 64)) @ w], monkeypatch, given)
    assert not chained(program)
