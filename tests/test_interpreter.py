"""While programs are made the collector waits and turns are short; then all is as it was."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import graphc
from graphc import nn, optim
from graphc.interpreter import TURN, waiting


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    """Each test begins, and leaves the next, with a collector that runs; turns are as before."""
    gc.enable()
    turn = sys.getswitchinterval()
    yield
    gc.enable()
    assert sys.getswitchinterval() == turn


@waiting
def enabled() -> bool:
    """Whether the collector runs inside a call."""
    return gc.isenabled()


@waiting
def nested() -> tuple[bool, bool]:
    """The same inside a call within a call, and after the inner one."""
    return enabled(), gc.isenabled()


def test_it_waits_in_a_call_and_goes_on_afterwards() -> None:
    assert nested() == (False, False)
    assert gc.isenabled()


@pytest.mark.parametrize("usual", [5e-3, 0.1, 0.007, TURN / 4, 2e-4])
def test_turns_are_short_in_a_call(usual: float) -> None:
    """No turn becomes longer than it was."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(usual)
    usual = sys.getswitchinterval()
    inside = waiting(waiting(sys.getswitchinterval))()
    after = sys.getswitchinterval()
    sys.setswitchinterval(before)
    assert inside == min(usual, TURN)
    assert after == usual


def test_it_goes_on_after_an_error() -> None:
    @waiting
    def fails() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        fails()
    assert gc.isenabled()


def test_it_stays_off_where_it_was_off() -> None:
    gc.disable()
    assert not enabled()
    assert not gc.isenabled()


@contextmanager
def elsewhere() -> Iterator[None]:
    """A call that another thread is in."""
    inside, leave = threading.Event(), threading.Event()

    @waiting
    def stays() -> None:
        inside.set()
        assert leave.wait(60)

    thread = threading.Thread(target=stays)
    thread.start()
    assert inside.wait(60)
    yield
    leave.set()
    thread.join()


def test_it_waits_for_the_last_of_two_threads() -> None:
    with elsewhere():
        assert not enabled()
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_child_of_fork_collects_though_another_thread_compiles() -> None:
    with elsewhere():
        child = os.fork()
        if not child:
            os._exit(0 if gc.isenabled() and not enabled() and gc.isenabled() else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_child_of_fork_in_a_call_ends_it_and_waits_in_the_next() -> None:
    turn = sys.getswitchinterval()
    child = waiting(os.fork)()
    if not child:
        os._exit(
            0
            if sys.getswitchinterval() == turn
            and gc.isenabled()
            and not enabled()
            and gc.isenabled()
            else 1
        )
    assert os.waitpid(child, 0)[1] == 0
    assert gc.isenabled()


def test_programs_are_made_while_it_waits() -> None:
    """A shape, asked for in the middle of tracing, sees it; an error lets it go on."""
    seen = []

    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 2)

        def forward(self, x: graphc.Node) -> graphc.Node:
            seen.append(gc.isenabled())
            return self.inner(x)

    model = Looks()
    optimizer = optim.SGD(0.1)
    graphc.compile_train_step(model, "mse", optimizer, inputs={"x": (4, 3)}, targets={"y": (4, 2)})
    assert seen == [False]
    assert gc.isenabled()
    with pytest.raises(graphc.ShapeError):
        graphc.compile_train_step(
            model, "mse", optimizer, inputs={"x": (4, 5)}, targets={"y": (4, 2)}
        )
    assert gc.isenabled()
