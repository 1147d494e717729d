"""Tuning: what is kept, what a later compilation takes, and what is refused."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import cache, compiler, ops
from graphc.llvm import targets, tuned
from graphc.loops.alternatives import nests, tiles, variations
from graphc.loops.choice import Choice, Choices
from graphc.loops.show import exact
from graphc.runtime.program import Program
from graphc.tuning import search as searching
from graphc.tuning import tune as tuning
from graphc.tuning.search import clear, search
from graphc.tuning.trial import Trial, Version


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test."""
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def made(extent: int | str = 48) -> Program:
    a, b = graphc.input("a", (extent, 128)), graphc.input("b", (128, 64))
    return graphc.compile(ops.tanh(a @ b))


def operands(rows: int = 48) -> list[np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    return [random.standard_normal(s).astype(np.float32) for s in ((rows, 128), (128, 64))]


def choices_of(program: Program) -> dict[str, Choices]:
    """The kernels that were compiled with choices of tuning."""
    return {k.name: k.choices for k in program.stages.lowered if k.choices}


def kernel_of(program: Program) -> int:
    """The number of the kernel with the product."""
    return next(n for n, k in enumerate(program.stages.lowered) if "sum" in exact(k))


def other_choices(program: Program) -> Choices:
    """Choices that give other loops than the model's."""
    kernel = program.stages.lowered[kernel_of(program)]
    trial = Trial(kernel, {}, program.stages.target, 1)
    model = trial.version(())
    assert model is not None
    lanes = program.stages.target.model.lanes(4)
    for tile in (("i1", lanes, 1, (("i0", 3),)), ("i1", lanes, 2, (("i0", 2),))):
        version = trial.version((Choice(tile=tile),), [model])
        if version is not None:
            return version.choices
    raise AssertionError("every choice gives the model's loops")


def keep(program: Program, choices: Choices) -> str:
    text = exact(program.stages.lowered[kernel_of(program)])
    tuned.keep(text, program.stages.target, tuned.Entry(choices, 2.0, 1.0))
    return text


def test_a_later_program_takes_what_is_kept_and_computes_the_same_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = made()
    wanted = before(*operands())[0]
    choices = other_choices(before)
    keep(before, choices)
    after = made()
    number = kernel_of(after)
    view = after.kernels[f"k{number:02d}"]
    assert any(note == f"tuned: {choices[0]}" for note in view.notes)
    assert f"why: tuned: {choices[0]}" in after.explain(view)
    assert view.as_text("loops") != before.kernels[view.name].as_text("loops")
    assert after.image.key != before.image.key
    np.testing.assert_array_equal(after(*operands())[0], wanted)
    again = made()  # from disk
    assert again.image.key == after.image.key and again.loaded is not None
    assert again.loaded.from_cache
    np.testing.assert_array_equal(again(*operands())[0], wanted)
    monkeypatch.setenv("GRAPHC_SKIP", "tuned")
    assert made().kernels[view.name].as_text("loops") == before.kernels[view.name].as_text("loops")


def test_reset_forgets() -> None:
    program = made()
    keep(program, other_choices(program))
    assert choices_of(made())
    assert tuning.reset(made()) == 1 and tuning.reset(made()) == 0
    assert not choices_of(made())
    assert made().image.key == program.image.key


def test_entries_are_owner_only_and_checked(folder: Path) -> None:
    program = made()
    choices = other_choices(program)
    text = keep(program, choices)
    target = program.stages.target
    (file,) = (folder / "tuned").glob("*.o")
    assert (folder / "tuned").stat().st_mode & 0o777 == 0o700 and file.stat().st_mode & 0o077 == 0
    found = tuned.find(text, target, tuned.entries())
    assert found == tuned.Entry(choices, 2.0, 1.0)
    assert tuned.find(text + " ", target, tuned.entries()) is None
    assert tuned.find(text, targets.target("sse2"), tuned.entries()) is None
    file.write_bytes(file.read_bytes()[:-3])
    assert tuned.find(text, target, tuned.entries()) is None
    assert not file.exists()


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"choices": [], "before": 1, "after": 2}',
        b'{"choices": [], "before": "a", "after": 0}',
        b'{"choices": [{"tile": 3}], "before": 2, "after": 1}',
        b'{"choices": 3, "before": 2, "after": 1}',
    ],
)
def test_a_bad_entry_is_ignored(contents: bytes) -> None:
    program = made()
    text = exact(program.stages.lowered[kernel_of(program)])
    cache.write(tuned.key(text, program.stages.target), contents, tuned.ROOM)
    again = made()
    assert not choices_of(again)
    np.testing.assert_array_equal(again(*operands())[0], program(*operands())[0])


def test_an_entry_for_other_loops_leaves_the_models_schedule() -> None:
    program = made()
    keep(program, (Choice(tile=("nowhere", 8, 7, (("i9", 3),))),))
    again = made()
    np.testing.assert_array_equal(again(*operands())[0], program(*operands())[0])


def test_a_folder_that_others_may_write_to_is_not_used(folder: Path) -> None:
    program = made()
    keep(program, other_choices(program))
    (folder / "tuned").chmod(0o777)
    assert tuned.entries() == frozenset() and not choices_of(made())
    keep(program, other_choices(program))
    (folder / "tuned").chmod(0o700)
    assert choices_of(made())


@pytest.fixture
def generous(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever was measured, the last schedule tried has won."""
    monkeypatch.setattr(searching, "least", lambda trial, versions, count: versions[-1])
    monkeypatch.setattr(searching, "clear", lambda before, after: True)
    monkeypatch.setattr(
        tuned, "unpack", lambda found: tuned.Entry(tuned.read(found["choices"]), 1, 1)
    )
    yield


@pytest.mark.usefixtures("generous")
@pytest.mark.parametrize("extent", [48, "batch"])
def test_tune_keeps_winners_that_later_programs_take(extent: int | str) -> None:
    program = made(extent)
    moments: list[tuning.Moment] = []
    outcome = graphc.tune(program, progress=moments.append)
    (row,) = outcome.winners
    assert outcome.kept and not outcome.unmeasured and row.finding.whole
    assert row.finding.tried >= 2 and row.finding.refused == 0
    assert moments[0].tried == 0 and moments[-1].row == row
    again = made(extent)
    assert choices_of(again) == {row.kernel: row.finding.choices}
    np.testing.assert_array_equal(again(*operands())[0], program(*operands())[0])
    text = str(outcome)
    assert row.kernel in text and "1 of 1 kernels have a faster schedule" in text and "kept" in text
    (found,) = outcome.as_json()["kernels"]
    assert found["kernel"] == row.kernel and found["choices"]


@pytest.mark.usefixtures("generous")
def test_a_dry_run_keeps_nothing(folder: Path) -> None:
    outcome = graphc.tune(made(), dry_run=True)
    assert outcome.winners and not outcome.kept and "not kept" in str(outcome)
    assert not (folder / "tuned").exists()


def test_without_a_winner_an_earlier_one_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    program = made()
    keep(program, other_choices(program))
    monkeypatch.setattr(searching, "clear", lambda before, after: False)
    outcome = graphc.tune(made())
    assert not outcome.winners and not choices_of(made())
    assert "the model's" in str(outcome)


def test_other_bits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A schedule that gives other results is not accepted, however fast it is."""
    program = made()
    trial = Trial(program.stages.lowered[kernel_of(program)], {}, program.stages.target, 1)
    honest = trial.results

    def wrong(version: Version) -> list[bytes] | None:
        found = honest(version)
        return found if not version.choices or found is None else [b"?" + found[0][1:]]

    monkeypatch.setattr(trial, "results", wrong)
    monkeypatch.setattr(searching, "clear", lambda before, after: True)
    found = search(trial, time.monotonic() + 60, lambda tried: None)
    assert found.choices == () and found.refused == found.tried > 0


def test_the_end_of_the_budget_ends_the_search() -> None:
    outcome = graphc.tune(made(), budget=1e-9)
    assert len(outcome.unmeasured) == 1 and not outcome.rows
    assert "give a larger budget" in str(outcome)


def dilated() -> list[Any]:
    """A gradient that reads beyond its operand, to be read as 0, and a border that holds 0."""
    x, weight = graphc.input("x", (2, 8, 9, 9)), graphc.input("weight", (32, 8, 3, 3))
    y = ops.conv2d(x, weight, dilation=(3, 1), padding=(2, 1))
    return list(graphc.grad(ops.sum(ops.tanh(y)), [x]))


def grouped() -> list[Any]:
    """A tile of a product of each group, whose panel lies within the tile's loops."""
    x, weight = graphc.input("x", (4, 16, 14, 14)), graphc.input("weight", (16, 4, 3, 3))
    return [ops.conv2d(x, weight, padding=1, groups=4)]


@pytest.mark.parametrize("outputs", [dilated, grouped])
def test_every_schedule_of_a_kernel_can_be_tried(outputs: Callable[[], list[Any]]) -> None:
    """On operands that are 0 where the kernel knows it, so that all results are the same."""
    target = targets.target()
    kernels = graphc.compile(outputs(), threads=1).stages.lowered
    tried = 0
    for kernel in kernels:
        trial = Trial(kernel, {}, target, 1)
        for number, nest in enumerate(nests(kernel, target.model)):
            model = trial.version(())
            assert model is not None
            wanted = trial.results(model)
            for choices in tiles((), number, nest, target.model):
                for other in variations(choices, number, nest, target.model):
                    compiler.schedule(replace(kernel, choices=other), target.model)
                version = trial.version(choices, [model])
                assert version is None or trial.results(version) == wanted
                tried += version is not None
    assert tried


def test_noise_is_no_winner() -> None:
    base = [1.0, 1.02, 1.01, 1.05, 1.0]
    assert clear(base, [0.9, 0.91, 0.92, 0.9, 0.95])
    assert not clear(base, [0.99, 0.99, 1.0, 0.98, 0.99])
    assert not clear(base, [0.7, 0.9, 1.3, 0.8, 1.4]), "its upper quartile is worse"


def test_what_cannot_be_tuned_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    program = made("batch")
    with pytest.raises(graphc.InputError, match="not list"):
        graphc.tune([1])
    for budget in (0, -1, float("nan"), float("inf")):
        with pytest.raises(graphc.InputError, match="budget"):
            graphc.tune(program, budget=budget)
    with pytest.raises(graphc.InputError, match="no kernel 'k77'"):
        graphc.tune(program, kernels=["k77"])
    with pytest.raises(graphc.InputError, match="no run-time extent 'bathc'"):
        graphc.tune(program, bathc=3)
    monkeypatch.setenv("GRAPHC_CACHE_DIR", "off")
    with pytest.raises(graphc.InputError, match="no cache"):
        graphc.tune(program)
    foreign = next(n for n in targets.WIDTHS if not targets.target(n).native)
    monkeypatch.setenv("GRAPHC_TARGET", foreign)
    with pytest.raises(graphc.CompileError, match="no native code"):
        graphc.tune(made("batch"), dry_run=True)


def test_nothing_to_choose() -> None:
    program = graphc.compile(ops.tanh(graphc.input("x", (8, 8))))
    assert "no schedule to choose" in str(graphc.tune(program))


def test_a_tuned_kernel_of_several_threads_has_the_same_bits() -> None:
    x, y = graphc.input("x", (256, 256)), graphc.input("y", (256, 256))
    one = graphc.compile(ops.relu(x @ y), threads=1)
    number = kernel_of(one)
    trial = Trial(one.stages.lowered[number], {}, one.stages.target, 2)
    model = trial.version(())
    assert model is not None
    tile = "i1", one.stages.target.model.lanes(4), 1, (("i0", 5),)
    other = trial.version((Choice(tile=tile),), [model])
    assert other is not None and trial.results(other) == trial.results(model)


def test_the_skip_of_tuned_is_a_pass_name() -> None:
    os.environ["GRAPHC_SKIP"] = "tuned"
    try:
        assert compiler.skipped() == {"tuned"}
    finally:
        del os.environ["GRAPHC_SKIP"]
