"""Winograd: windows in tiles give what they give without, but for the last digits."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

import graphc
from graphc import nn, ops, optim
from graphc.errors import CompileError
from graphc.graph.node import Node
from graphc.passes import winograd
from tests.passes.test_arrange import K1, NETS

Array = np.ndarray[Any, Any]
CLOSE = {"float32": 1e-4, "float64": 1e-12}


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small examples, on which tiles do not pay, are rewritten too."""
    monkeypatch.setattr(winograd, "LEAST", 0.0)


def numbers(*shape: int, dtype: str = "float32", seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def distance(found: Array, expected: Array) -> float:
    """The largest difference, relative to the largest element."""
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30))


def in_tiles(program: graphc.Program) -> int:
    """How many contractions were rewritten."""
    return sum("in tiles of" in note.text for note in program.stages.graph.notes)


def both(outputs: Any, **given: Array) -> tuple[graphc.Program, list[Array], list[Array]]:
    """The program in fast math, and the results of fast and exact math."""
    fast, exact = graphc.compile(outputs, math="fast"), graphc.compile(outputs)
    assert not in_tiles(exact)
    return fast, list(fast(**given)), list(exact(**given))


SHAPES = st.fixed_dictionaries(
    {
        "batch": st.sampled_from([1, 2, 5, 6, "batch"]),
        "channels": st.sampled_from([3, 8, 16, 17, 24]),
        "filters": st.sampled_from([3, 16, 18, 32]),
        "height": st.integers(3, 19),
        "width": st.integers(3, 19),
        "taps": st.tuples(st.integers(2, 5), st.integers(2, 5)),
        "padding": st.integers(0, 2),
        "dtype": st.sampled_from(["float32", "float64"]),
        "last": st.booleans(),
    }
)


@settings(max_examples=12, deadline=None, phases=set(Phase) - {Phase.shrink})
@given(SHAPES)
@example(
    {
        "batch": "batch",
        "channels": 3,
        "filters": 32,
        "height": 4,
        "width": 4,
        "taps": (4, 4),
        "padding": 1,
        "dtype": "float64",
        "last": False,
    }
)
def test_any_shape_and_both_gradients(shape: dict[str, Any]) -> None:
    down, across = shape["taps"]
    pad, dtype = shape["padding"], shape["dtype"]
    if shape["height"] + 2 * pad < down or shape["width"] + 2 * pad < across:
        return
    sides = (shape["height"], shape["width"])
    images = (shape["batch"], shape["channels"], *sides)
    if shape["last"]:
        images = (shape["batch"], *sides, shape["channels"])
    x = graphc.input("x", images, dtype)
    weight = numbers(shape["filters"], shape["channels"], down, across, dtype=dtype) / 4
    image = ops.transpose(x, (0, 3, 1, 2)) if shape["last"] else x
    kernel = graphc.parameter("kernel", value=weight)
    y = ops.conv2d(image, kernel, padding=pad) + 0.25
    # Where a sum is 0 but for float32's last digits, these decide of relu's slope.
    y = ops.relu(y) if dtype == "float64" else ops.tanh(y)
    slopes = graphc.grad(ops.sum(ops.sin(y)), [x, kernel])
    given = numbers(*(7 if e == "batch" else e for e in images), dtype=dtype, seed=1)
    fast, found, expected = both([y, *slopes], x=given)
    longer = all(
        side + 2 * pad - taps + 1 > taps for side, taps in zip(sides, (down, across), strict=True)
    )
    assert in_tiles(fast) == 3 if longer else in_tiles(fast) >= 1
    for one, other in zip(found, expected, strict=True):
        assert distance(one, other) < CLOSE[dtype]


@pytest.mark.parametrize("name", NETS)
def test_nets_and_their_gradients(name: str) -> None:
    x = graphc.input("x", (2, 16, 5, 5), "float64")
    y = NETS[name](x)
    outputs = [y, *graphc.grad(ops.sum(ops.sin(y)), [x, K1])]
    fast, found, _ = both(outputs, x=numbers(2, 16, 5, 5, dtype="float64"))
    expected = graphc.evaluate(outputs, {"x": numbers(2, 16, 5, 5, dtype="float64")})
    assert in_tiles(fast) >= 1
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    "channels, side, images, kernels",
    [(32, 16, 8, 3), (32, 24, "batch", 3), (32, 16, "batch", 4), (64, 8, 8, 4)],
)
def test_the_sum_over_images_is_by_blocks_where_that_is_less(
    channels: int, side: int, images: Any, kernels: int, torch: Any
) -> None:
    x = graphc.input("x", (images, channels, side, side))
    k = graphc.parameter("k", value=numbers(channels, channels, 3, 3))
    y = ops.conv2d(x, k, padding=1)
    dy = graphc.input("dy", y.shape)
    given = [numbers(8, channels, side, side, seed=seed) for seed in (0, 1)]
    fast = graphc.compile(graphc.vjp(y, [k], dy), math="fast")
    (found,) = fast(x=given[0], dy=given[1])
    image, gradient = (torch.from_numpy(array).double() for array in given)
    expected = torch.nn.grad.conv2d_weight(image, k.shape, gradient, padding=1).numpy()
    assert in_tiles(fast) == 1
    assert distance(found, expected) < 2e-5
    made = [{n.op.name for n in group.nodes} for group in fast.stages.plan.groups]
    made = [names for names in made if any("dkernel" in name for name in names)]
    whole = {"conv2d.dkernel.tiles", "conv2d.dkernel.filter", "conv2d.dkernel"}
    assert len(made) == kernels and any(whole <= names for names in made) == (kernels == 3)


def test_the_result_is_pytorchs(torch: Any) -> None:
    x, weight = numbers(8, 32, 20, 20), numbers(64, 32, 3, 3, seed=1) / 17
    y = ops.conv2d(graphc.input("x", x.shape), graphc.constant(weight), padding=1)
    fast = graphc.compile(y, math="fast")
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(x).double(), torch.from_numpy(weight).double(), padding=1
    )
    assert in_tiles(fast) == 1
    assert distance(fast(x)[0], expected.numpy()) < 2e-5


def test_windows_are_known_by_their_indices_not_by_a_name() -> None:
    @graphc.op("h+r w+s c n, s f r c -> f n w h")
    def lattice(field: Any, stencil: Any) -> Any:
        """A window over fields, its axes in no usual order."""
        return stencil * field

    x, k = graphc.input("x", (11, 14, 16, 3)), graphc.parameter("k", value=numbers(3, 18, 4, 16))
    fast, (found,), (expected,) = both([lattice(x, k)], x=numbers(11, 14, 16, 3, seed=1))
    assert in_tiles(fast) == 1
    assert distance(found, expected) < 1e-4


@pytest.mark.parametrize("options", [{"stride": 2, "floor": True}, {"dilation": 2}, {"groups": 2}])
def test_other_windows_stay_as_they_are(options: dict[str, Any]) -> None:
    channels = 16 // options.get("groups", 1)
    y = ops.conv2d(
        graphc.input("x", (2, 16, 12, 12)),
        graphc.parameter("k", value=numbers(16, channels, 3, 3)),
        **options,
    )
    fast, (found,), (expected,) = both([y], x=numbers(2, 16, 12, 12, seed=1))
    np.testing.assert_array_equal(found, expected)
    assert "as it is: no window of 2 to 5" in fast.as_text("simplified")


def test_too_few_channels_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "LEAST", 1.2)
    y = ops.conv2d(graphc.input("x", (2, 2, 12, 12)), graphc.parameter("k", (2, 2, 3, 3)))
    fast = graphc.compile(y, math="fast")
    assert in_tiles(fast) == 0
    assert "would be 0." in fast.explain("conv2d"), "the estimate is part of the reason"


def test_what_follows_stays_in_the_blocks() -> None:
    model = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 16, 3))
    fast = graphc.compile(model, inputs={"x": ("batch", 16, 16, 16)}, math="fast")
    (home,) = (g for g in fast.stages.plan.groups if any(n.op.name == "relu" for n in g.nodes))
    assert [n.op.name for n in home.nodes][-3:] == ["conv2d", "bias", "relu"]
    assert len(home.roots) == 1, "the points, the products and the sum are never stored"
    why = fast.explain("relu")
    assert "block by block" in why and "36 products for 144" in why


@pytest.mark.parametrize("sides", [(4, 4), (4, 16), (8, 8), (12, 8), (16, 16)])
def test_the_way_back_is_one_kernel_with_filters_in_its_lanes(sides: tuple[int, int]) -> None:
    """Also where there are as many rows of tiles as tiles in a row, or rows in a tile."""
    net = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())
    program = graphc.compile(net, inputs={"x": (1, 16, *sides)}, math="fast", target="avx2")
    (last,) = (kernel for kernel in program.kernels if "relu" in program.explain(kernel))
    told = program.explain(last)
    assert "conv2d.rows(" in told and "100% of them used" in told
    loops = program.kernels[last].as_text("loops")
    cases = [line for line in loops.splitlines() if "in 0..4:  # unrolled" in line]
    assert len(cases) == 2  # of a tile's rows and of its columns


def test_a_frozen_filter_lies_at_its_points() -> None:
    net = nn.Conv2d(64, 64, 3, padding=1)
    frozen = graphc.compile(net, inputs={"x": (1, 64, 16, 16)}, math="fast", freeze=True)
    pieces = [shape for v in frozen.source.variables() if len(shape := v.shape) == 5]
    assert [(shape[2], math.prod(shape)) for shape in pieces] == [(36, 36 * 64 * 64)]
    assert not any("conv2d.filter(" in frozen.explain(kernel) for kernel in frozen.kernels)


def test_what_is_frozen_counts_no_way_to_its_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that is brought there at each call is worth it for more than four tiles."""
    monkeypatch.setattr(winograd, "LEAST", 1.2)
    net, inputs = nn.Conv2d(64, 64, 3, padding=1), {"x": (1, 64, 8, 8)}
    live, frozen = (
        graphc.compile(net, inputs=inputs, math="fast", freeze=freeze) for freeze in (False, True)
    )
    assert in_tiles(live) == 0
    assert any("conv2d.tiles(" in frozen.explain(kernel) for kernel in frozen.kernels)
    x = numbers(1, 64, 8, 8)
    assert distance(frozen(x)[0], live(x)[0]) < 1e-5


def test_what_the_gradient_of_padding_cuts_off_is_not_made() -> None:
    x, k = graphc.input("x", (4, 16, 16, 16)), graphc.parameter("k", value=numbers(16, 16, 3, 3))
    y = ops.conv2d(ops.tanh(x), k, padding=1)
    fast, (found,), (expected,) = both(
        graphc.grad(ops.sum(ops.square(y)), [x]), x=numbers(4, 16, 16, 16, seed=1)
    )
    assert not any("pad" in node.op.name for node in fast.stages.graph.nodes)
    assert distance(found, expected) < 1e-4


@pytest.mark.parametrize("target", ["avx512", "avx2", "sse2", "neon"])
def test_code_for_every_target(target: str) -> None:
    y = ops.conv2d(graphc.input("x", (4, 32, 9, 9)), graphc.parameter("k", (32, 32, 3, 3)))
    assert graphc.compile(y, math="fast", target=target).as_text("asm")


def test_an_empty_batch() -> None:
    y = ops.conv2d(graphc.input("x", ("n", 16, 9, 9)), graphc.parameter("k", (16, 16, 3, 3)))
    assert graphc.compile(y, math="fast")(np.empty((0, 16, 9, 9), np.float32))[0].shape[0] == 0


def test_no_bit_depends_on_the_number_of_threads() -> None:
    x, k = graphc.input("x", ("n", 32, 24, 24)), graphc.parameter("k", value=numbers(32, 32, 3, 3))
    y = ops.conv2d(ops.tanh(ops.conv2d(x, k, padding=1)), k)
    outputs = [y, *graphc.grad(ops.sum(ops.square(y)), [x, k])]
    one, two = (graphc.compile(outputs, math="fast", threads=t) for t in (1, 2))
    given = numbers(9, 32, 24, 24, seed=1)
    for a, b in zip(one(given), two(given), strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_goes_the_same_way() -> None:
    def losses(math: str) -> list[float]:
        layers = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1)]
        head = [nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 6 * 6, 10)]
        model = nn.Sequential(*layers, *head)
        for number, parameter in enumerate(model.parameters()):
            parameter.assign(numbers(*parameter.shape, seed=number) / 8)
        step = graphc.compile_train_step(
            model,
            "cross_entropy",
            optim.SGD(0.01),
            inputs={"x": ("batch", 3, 12, 12)},
            targets={"y": ("batch",)},
            math=math,
        )
        x, y = numbers(16, 3, 12, 12, seed=9), np.arange(16) % 10
        return [float(step(x=x, y=y)["loss"]) for _ in range(20)]

    exact, fast = losses("exact"), losses("fast")
    assert exact[-1] < exact[0]
    np.testing.assert_allclose(fast, exact, rtol=5e-3)


def test_a_trainer_takes_it() -> None:
    model = nn.Sequential(nn.Conv2d(16, 16, 3), nn.Flatten(), nn.LazyLinear(3))
    trainer = graphc.Trainer(model, "cross_entropy", optim.SGD(0.1), math="fast")
    x, y = numbers(8, 16, 6, 6), np.arange(8) % 3
    trainer.fit(x, y, batch_size=4, epochs=1, verbose=False)
    exact = graphc.compile(model, inputs={"x": ("batch", 16, 6, 6)})
    assert distance(trainer.predict(x), exact(x)[0]) < 1e-4


def test_a_scan_tells_of_its_windows() -> None:
    x, k = graphc.input("x", (3, 2, 16, 8, 8)), graphc.parameter("k", value=numbers(16, 16, 3, 3))

    def step(state: Node, image: Node) -> tuple[Node, Node]:
        made = ops.tanh(ops.conv2d(state + image, k, padding=1))
        return made, ops.sum(made)

    zeros = graphc.constant(np.zeros((2, 16, 8, 8), np.float32))
    state, _ = ops.scan(step, zeros, x)
    fast, (found,), (expected,) = both([state], x=numbers(3, 2, 16, 8, 8) / 9)
    assert in_tiles(fast) == 1 and distance(found, expected) < 1e-4
    assert "in tiles of 4x4" in fast.as_text("simplified")


@pytest.mark.parametrize("way", ["forward", "by the filter"])
def test_a_block_has_room_on_a_stack(way: str) -> None:
    """Eight windows over one image share its points, as many of them as a stack has room for."""
    x = graphc.input("x", (1, 64, 8, 448))
    filters = [graphc.parameter(f"k{i}", value=numbers(64, 64, 3, 3, seed=i)) for i in range(8)]
    made = [ops.conv2d(x, k, padding=1) for k in filters]
    total = made[0] + made[1] if way == "forward" else ops.sin(made[0])
    for y in made[2:]:
        total = total + (ops.relu(y) if way == "forward" else ops.sin(y))
    outputs = [total] if way == "forward" else graphc.grad(ops.sum(total), filters)
    fast = graphc.compile(outputs, math="fast")
    sizes = r"stack \w+: float32\[(\d+)\]"
    loops = [kernel.as_text("loops") for kernel in fast.kernels.values()]
    stacks = [sum(map(int, re.findall(sizes, text))) for text in loops]
    assert 1 << 18 < max(stacks) <= 5 << 18  # 5 MiB, with what keeps lines apart
    given = numbers(1, 64, 8, 448) / 30
    exact = graphc.compile(outputs)
    for one, other in zip(fast(given), exact(given), strict=True):
        assert distance(one, other) < 1e-4


@pytest.mark.parametrize("taps, kept", [((3, 3), True), ((2, 2), False), ((2, 4), False)])
def test_a_filter_that_would_grow_too_much_counts(taps: tuple[int, int], kept: bool) -> None:
    """2x2 taps are nine times as many at their points: they are brought there at each call."""
    net, inputs = nn.Conv2d(64, 64, taps), {"x": (1, 64, 9, 9)}
    estimates = []
    for freeze in (True, False):
        program = graphc.compile(net, inputs=inputs, math="fast", freeze=freeze)
        (note,) = program.stages.graph.notes
        estimates += re.findall(r"([\d.]+) times as fast by estimate", note.text)
    frozen, live = map(float, estimates)
    assert frozen > live if kept else frozen == live


def test_another_math_is_refused() -> None:
    x: Node = graphc.input("x", (3,))
    with pytest.raises(CompileError, match="math='quick': there are 'exact' and 'fast'"):
        graphc.compile(x + x, math="quick")


def test_programs_of_both_are_kept_apart(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    k = graphc.parameter("k", value=numbers(16, 16, 3, 3))
    y = ops.conv2d(graphc.input("x", (2, 16, 9, 9)), k)
    x = numbers(2, 16, 9, 9, seed=1)
    results = {}
    for mode in ("exact", "fast", "exact", "fast"):
        result = graphc.compile(y, math=mode)(x)[0]
        np.testing.assert_array_equal(results.setdefault(mode, result), result)
    assert (results["exact"] != results["fast"]).any()
