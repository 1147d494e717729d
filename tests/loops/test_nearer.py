"""Sums in parts of which a tile's operands stay in the nearest cache: when, and the same bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.llvm import targets
from graphc.loops.alternatives import nests, tiles
from graphc.loops.choice import Choice
from graphc.runtime.program import Program
from graphc.tuning.trial import Trial

WHY = "a tile's operands stay near"


@pytest.fixture(autouse=True)
def caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """AVX2, and caches of one size on any machine."""
    here = replace(targets.target("avx2"), level1=32 << 10, level2=512 << 10)
    monkeypatch.setattr(targets, "target", lambda name=None: here)


def convolved(images: int, channels: int, filters: int, size: int, threads: int = 1) -> Program:
    """A convolution of 3x3 by itself, and a bias after it."""
    image = graphc.input("image", (images, channels, size, size))
    kernel = graphc.input("kernel", (filters, channels, 3, 3))
    return graphc.compile(ops.conv2d(image, kernel, padding=1) + 1, threads=threads)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("images", "channels", "filters", "size"), [(1, 64, 64, 56), (1, 64, 20, 111), (3, 64, 3, 64)]
)
def test_windows_over_what_leaves_the_second_cache(
    images: int, channels: int, filters: int, size: int, threads: int
) -> None:
    program = convolved(images, channels, filters, size, threads)
    assert WHY in program.as_text("loops")
    draw = np.random.default_rng(0)
    image = draw.standard_normal((images, channels, size, size), np.float32)
    kernel = draw.standard_normal((filters, channels, 3, 3), np.float32)
    bordered = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1))).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(bordered, (3, 3), axis=(2, 3))
    wanted = np.einsum("nchwrs,fcrs->nfhw", windows, kernel.astype(np.float64), optimize=True) + 1
    np.testing.assert_allclose(program(image, kernel)[0], wanted, rtol=1e-5, atol=2e-4)


@pytest.mark.parametrize(("filters", "size"), [(64, 56), (64, 112), (20, 111)])
def test_parts_have_the_bits_of_the_sum_at_once(filters: int, size: int) -> None:
    """Whether all of it is in parts, or each row."""
    program = convolved(1, 64, filters, size)
    target = program.stages.target
    number = next(i for i, k in enumerate(program.stages.lowered) if nests(k, target.model))
    trial = Trial(program.stages.lowered[number], {}, target, 1)
    parts, whole = trial.version(()), trial.version((Choice(part=0),))
    assert parts is not None and whole is not None
    assert any(WHY in note for note in parts.kernel.notes)
    assert not any(WHY in note for note in whole.kernel.notes)
    assert trial.results(parts) == trial.results(whole)


@pytest.mark.parametrize(("filters", "size"), [(64, 112), (20, 112)])
def test_parts_have_the_bits_of_the_sum_at_once_with_any_tile(filters: int, size: int) -> None:
    """A tuner's tile may lie along other loops than the best for a part."""
    program = convolved(1, 64, filters, size)
    target = program.stages.target
    number = next(i for i, k in enumerate(program.stages.lowered) if nests(k, target.model))
    kernel = program.stages.lowered[number]
    trial = Trial(kernel, {}, target, 1)
    whole = trial.version((Choice(part=0),))
    assert whole is not None
    wanted, seen = trial.results(whole), 0
    for choices in tiles((), 0, nests(kernel, target.model)[0], target.model):
        version = trial.version(choices)
        assert version is not None and trial.results(version) == wanted
        seen += any(WHY in note for note in version.kernel.notes)
    assert seen


def test_partial_sums_are_not_stored_past_the_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read again at once; a result that is made of them on the stack is stored so."""
    here = replace(targets.target(), last=4 << 20)
    monkeypatch.setattr(targets, "target", lambda name=None: here)
    image, kernel = graphc.input("image", (2, 64, 112, 112)), graphc.input("kernel", (64, 64, 3, 3))
    alone = graphc.compile(ops.conv2d(image, kernel, padding=1)).as_text("loops")
    followed = convolved(2, 64, 64, 112).as_text("loops")
    assert WHY in alone and "b2 is stored past the caches" not in alone
    assert WHY in followed and "b2 is stored past the caches" in followed


@pytest.mark.parametrize(("channels", "size"), [(64, 28), (16, 56), (8, 112)])
def test_no_parts_where_an_image_stays_near(channels: int, size: int) -> None:
    """In the second cache, or with few channels in the first one, however many images there are."""
    assert WHY not in convolved(8, channels, 64, size).as_text("loops")
