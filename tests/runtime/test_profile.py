"""Times inside the step: they add up to it, survive threads and refusals, and change nothing."""

from __future__ import annotations

import json
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, ops, optim
from graphc.errors import CompileError, IndexError, InputError
from graphc.runtime.profile import typical
from graphc.runtime.program import Program
from graphc.runtime.times import Records
from graphc.train.step import TrainStep, compile_train_step


def trained(*, threads: int = 1) -> TrainStep:
    """The training step of a net whose larger layers are worth sharing."""
    graphc.seed(0)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.1), nn.Linear(256, 10))
    return compile_train_step(
        model,
        "cross_entropy",
        optim.Adam(1e-3),
        {"x": ("batch", 64)},
        {"y": (("batch",), "int64")},
        threads=threads,
    )


def batch(size: int) -> dict[str, Any]:
    """Inputs and labels."""
    random = np.random.default_rng(0)
    x = random.standard_normal((size, 64)).astype(np.float32)
    return {"x": x, "y": random.integers(0, 10, size)}


def state(program: Program) -> list[bytes]:
    """The bytes of all state."""
    return [v.op.cell.value.tobytes() for v, _ in program.source.updates]


@pytest.mark.parametrize(("threads", "size"), [(1, 64), (1, 7), (2, 256)])
def test_kernels_add_up_to_the_step(threads: int, size: int) -> None:
    step = trained(threads=threads)
    before = state(step.program)
    profile = step.program.profile(batch(size), repeats=40)
    rows, kernels = [row.kernel for row in profile], list(step.program.kernels)
    assert rows[: len(kernels)] == kernels and rows[len(kernels) :] in ([], ["copies"])
    assert sum(row.share for row in profile) == pytest.approx(1)
    assert profile.step is not None and profile.threads == threads
    assert 0.3 < profile.seconds / profile.step < 3  # on a busy machine; measured in docs
    assert profile.extents == {"batch": size}
    assert state(step.program) == before


def test_a_long_kernel_takes_the_longest() -> None:
    """The row of the large product has most of the time, and its FLOPs are those of its formula."""
    a, b = graphc.input("a", (192, 192)), graphc.input("b", (192, 192))
    small = graphc.input("small", (4, 4))
    program = graphc.compile([a @ b, ops.sum(small)], threads=1)
    ones = np.ones((192, 192), np.float32)
    profile = program.profile([ones, ones, np.ones((4, 4), np.float32)], repeats=20)
    longest = max(profile, key=lambda row: row.seconds)
    assert "matmul" in longest.cost.ops and longest.share > 0.8
    assert longest.gflops == pytest.approx(2 * 192**3 / longest.seconds / 1e9)


def test_results_and_state_are_those_of_a_step_without_stamps() -> None:
    first = trained()
    ours = [first(**batch(16))["loss"] for _ in range(3)]
    after = state(first.program)
    second = trained()
    with second.program.watch():
        theirs = [second(**batch(16))["loss"] for _ in range(3)]
    assert ours == theirs and state(second.program) == after


def test_a_refused_label_is_the_callers_error_and_changes_nothing() -> None:
    step = trained()
    before, given = state(step.program), batch(8)
    given["y"][3] = 10
    with pytest.raises(IndexError, match=r"10 at position \(3,\)"):
        step.program.profile(given)
    assert state(step.program) == before
    with step.program.watch() as watch:
        with pytest.raises(IndexError):
            step(**given)
        assert watch.times().repeats == 0
        step(**batch(8))
        assert watch.times().repeats == 1


def test_copies_have_a_row_of_their_own() -> None:
    """Two variables that change places: their new values are copied when all kernels have run."""
    a = graphc.parameter("a", value=np.arange(3, dtype=np.float32))
    b = graphc.parameter("b", value=np.ones(3, np.float32))
    program = graphc.compile(ops.sum(a + b), updates={a: b, b: a})
    assert program.stages.ending.copies
    profile = program.profile([], repeats=3)
    assert profile.rows[-1].kernel == "copies" and profile.rows[-1].cost.bytes > 0
    assert a.op.cell.value.tolist() == [0, 1, 2]


def test_a_program_without_kernels() -> None:
    x = graphc.input("x", (3,))
    profile = graphc.compile(x).profile([np.ones(3, np.float32)], repeats=2)
    assert len(profile) == 0 and profile.seconds == 0
    assert profile.trace()["traceEvents"] == []


def test_no_native_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_REFERENCE", "1")
    program = graphc.compile(ops.tanh(graphc.input("x", (3,))))
    with pytest.raises(CompileError, match="no native code"):
        program.profile([np.ones(3, np.float32)])
    with pytest.raises(CompileError, match="no native code"):
        program.watch()


# --- watching -------------------------------------------------------------------------------


def test_a_watch_counts_every_step_that_is_made_meanwhile() -> None:
    step, given = trained(), batch(16)
    step(**given)
    with step.program.watch() as watch:
        assert watch.times().repeats == 0
        step(**given)
        data = {name: np.concatenate([value] * 5) for name, value in given.items()}
        step.run(data, batch_size=16)  # many steps in one call
        step.program(x=given["x"].tolist(), y=given["y"])  # a call that must be bound by Python
        times = watch.times()
        assert times.repeats == 7 and times.seconds > 0 and times.step is None
        assert times.extents == {"batch": 16}
    step(**given)
    assert watch.times().repeats == 7
    watch.stop()
    step(**given)


def test_watches_of_one_program_are_apart() -> None:
    step, given = trained(), batch(4)
    with step.program.watch() as outer:
        step(**given)
        with step.program.watch() as inner:
            step(**given)
        step(**given)
        assert (outer.times().repeats, inner.times().repeats) == (3, 1)
    assert step.program.running is step.program.loaded


def test_turning_on_and_off_while_another_thread_trains() -> None:
    step, given = trained(), batch(4)
    stop, failed = threading.Event(), []

    def train() -> None:
        while not stop.is_set():
            try:
                step(**given)
            except Exception as error:  # told to the test's own thread
                failed.append(error)
                return

    thread = threading.Thread(target=train)
    thread.start()
    seen = 0
    for _ in range(20):
        with step.program.watch() as watch:
            while not watch.records.steps - watch.began[0]:
                pass
            seen += watch.times().repeats
    stop.set()
    thread.join()
    assert not failed and seen >= 20


# --- as text, data and trace ----------------------------------------------------------------


def test_the_table_and_the_data_say_the_same() -> None:
    profile = trained().program.profile(batch(8), repeats=4)
    lines = str(profile).splitlines()
    assert lines[0].startswith("# means over the middle fifth of 4 steps, batch = 8, 1 thread; ")
    assert [line.split()[0] for line in lines[2:-1]] == [row.kernel for row in profile]
    assert "test_profile.py:" in lines[2]
    found = json.loads(json.dumps(profile.as_json()))
    assert [row["seconds"] for row in found["kernels"]] == [row.seconds for row in profile]
    assert found["step_seconds"] == profile.step and found["extents"] == {"batch": 8}


@pytest.mark.parametrize("threads", [1, 2])
def test_a_trace_has_every_kernel_of_some_steps_in_order(threads: int, tmp_path: Path) -> None:
    profile = trained(threads=threads).program.profile(batch(256), repeats=12)
    profile.to_trace(tmp_path / "t.json")
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    named = {event["tid"] for event in events if event["ph"] == "M"}
    assert named == {span["tid"] for span in spans} == set(range(threads))
    first = [span for span in spans if span["tid"] == 0]
    kernels = [row.kernel for row in profile]
    assert [span["name"].split()[0] for span in first] == kernels * 8
    for span, after in pairwise(first):
        assert 0 <= span["ts"] <= span["ts"] + span["dur"] <= after["ts"] + 1e-6
    assert {"ops", "layer", "source", "FLOPs", "bytes", "step"} == set(first[0]["args"])
    for span in spans:
        assert 0 <= span["args"]["step"] < 8 and span["dur"] >= 0


def test_a_trace_that_cannot_be_written(tmp_path: Path) -> None:
    profile = trained().program.profile(batch(2), repeats=1)
    with pytest.raises(InputError, match="cannot write there"):
        profile.to_trace(tmp_path / "missing" / "t.json")


def test_typical_is_the_middle_of_the_steps() -> None:
    """Steps that were disturbed count for nothing, whichever part the disturbance fell upon."""
    steps = np.tile([10.0, 20.0], (10, 1))
    steps[0, 0], steps[1, 1], steps[2] = 1000, 5000, 0
    assert typical(steps).tolist() == [10, 20]


def test_records_keep_the_last_steps() -> None:
    records = Records(parts=1, threads=1, depth=3)
    for made in range(5):
        records.record[0, 2 + made % 3 * 3 : 5 + made % 3 * 3] = made * 10, made * 10 + 4, 0
        records.record[0, 0] += 1
    assert records.latest(2).tolist() == [[4], [4]]
    assert [(s.begin, s.end) for s in records.spans(3)] == [(20, 24), (30, 34), (40, 44)]
