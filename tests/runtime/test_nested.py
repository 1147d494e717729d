"""Calls of a program from within a call of it: by an input's own code, or a signal handler's."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pytest

import graphc
from graphc import nn, ops
from graphc.runtime import steps, threads
from graphc.runtime.program import Program

Array = np.ndarray[Any, Any]
Found = TypeVar("Found")


def finished(work: Callable[[], Found], seconds: float = 30) -> Found:
    """What `work` gives, in a thread of its own, so that a call that waits for itself fails."""
    found: list[Found] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "the call waits for itself"
    return found[0]


def doubled() -> Program:
    """2 x, and the sum of x."""
    x = graphc.input("x", ("n",))
    return graphc.compile([x + x, ops.sum(x)])


def counted() -> tuple[Program, nn.Parameter]:
    """A program that adds the sum of its input to a number, and gives that sum."""
    total = nn.Parameter(np.zeros((), np.float32))
    added = ops.sum(graphc.input("x", (3,)))
    return graphc.compile([added], updates={total.node: total.node + added}), total


class Computed:
    """An input whose numbers a program makes when they are asked for."""

    def __init__(self, program: Program, value: Array) -> None:
        self.program, self.value = program, value

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        found: Array = self.program(self.value)[0]
        return found


class Elsewhere(Computed):
    """The same, by another thread that is waited for."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return finished(lambda: Computed.__array__(self), 10)


@pytest.mark.parametrize("kind", [Computed, Elsewhere])
def test_an_input_may_call_the_program_that_it_goes_to(kind: type[Computed]) -> None:
    program = doubled()
    one = np.arange(3, dtype=np.float32)
    values, total = finished(lambda: program(kind(program, one)))
    np.testing.assert_array_equal(values, 4 * one)
    assert total == 6


@pytest.mark.parametrize("way", ["direct", "quick", "slow"])
def test_a_call_within_a_call_leaves_the_outer_ones_results_alone(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right after the native code, where Python runs the handlers of signals that came in it."""
    program = doubled()
    one, other = np.ones(3, np.float32), np.full(5, 7, np.float32)
    program(one)
    if way != "direct":
        program.direct = None
    if way == "slow":
        program.quick = None
    name = {"direct": "direct", "quick": "quick", "slow": "entry"}[way]
    native = getattr(program, name)
    inner: list[Any] = []

    def followed(*arguments: Any) -> Any:
        code = native(*arguments)
        monkeypatch.setattr(program, name, native)
        inner.append(program(other))
        return code

    monkeypatch.setattr(program, name, followed)
    values, total = finished(lambda: program(one))
    np.testing.assert_array_equal(values, one + one)
    np.testing.assert_array_equal(inner[0][0], other + other)
    assert (total, inner[0][1]) == (3, 35)
    assert program(other)[1] == 35 and not program.frame.busy


def test_a_call_within_many_steps_moves_the_same_state(monkeypatch: pytest.MonkeyPatch) -> None:
    program, total = counted()
    fit = program.fit

    def followed(extents: dict[str, int]) -> None:
        fit(extents)
        monkeypatch.setattr(program, "fit", fit)
        assert program(np.full(3, 10, np.float32))[0] == 30

    monkeypatch.setattr(program, "fit", followed)
    data = {"x": np.arange(12, dtype=np.float32)}
    ready, told = finished(lambda: steps.run(program, data, steps.Rows(3), 4, {}))
    assert told == 4
    assert ready["out0"].tolist() == [3, 12, 21, 30]
    assert total.value == 66 + 30


def test_many_steps_within_a_call_keep_their_own_values(monkeypatch: pytest.MonkeyPatch) -> None:
    program, total = counted()
    program(np.zeros(3, np.float32))
    quick, program.direct = program.quick, None
    assert quick is not None
    data = {"x": np.arange(12, dtype=np.float32)}
    inner: list[Any] = []

    def followed(*arrays: Array) -> int:
        code = quick(*arrays)
        inner.append(steps.run(program, data, steps.Rows(3), 4, {}))
        return code

    monkeypatch.setattr(program, "quick", followed)
    (added,) = finished(lambda: program(np.ones(3, np.float32)))
    assert added == 3
    assert inner[0][0]["out0"].tolist() == [3, 12, 21, 30]
    assert total.value == 66 + 3


def test_a_team_may_be_asked_for_while_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_teams", {})
    load, inner = threads.load_worker, []

    def interrupted() -> Any:
        monkeypatch.setattr(threads, "load_worker", load)
        inner.append(threads.team_of(2))
        return load()

    monkeypatch.setattr(threads, "load_worker", interrupted)
    team = finished(lambda: threads.team_of(2))
    assert team.size == inner[0].size == 2
    assert threads.team_of(2) is team


def test_a_signal_handler_may_call_the_program_that_it_interrupts() -> None:
    script = """
import signal, time
import numpy as np
import graphc
a = graphc.input("a", (128, 256))
w = graphc.parameter("w", value=np.eye(256, 192, dtype=np.float32))
program = graphc.compile([graphc.tanh(a @ w), graphc.sum(a)], threads=2)
one, two = (np.full((128, 256), value, np.float32) for value in (0.5, 2.0))
expected = program(one), program(two)
calls = []

def handle(number, frame):
    calls.append(program(two))
    signal.setitimer(signal.ITIMER_REAL, 1e-3)  # not before: on a busy machine it would never end

def right(found, expected):
    assert np.array_equal(found[0], expected[0]) and found[1] == expected[1]

signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 1e-3)
end = time.monotonic() + 30
while len(calls) < 100 and time.monotonic() < end:
    right(program(one), expected[0])
signal.setitimer(signal.ITIMER_REAL, 0)
assert len(calls) > 10, len(calls)
for call in calls:
    right(call, expected[1])
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
