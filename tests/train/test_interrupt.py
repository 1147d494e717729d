"""Ctrl-C while training: between two steps, whenever it comes."""

from __future__ import annotations

import signal
import threading

import pytest

from graphc.train.interrupt import Interrupts


def test_an_interrupt_waits_while_it_is_held() -> None:
    before = signal.getsignal(signal.SIGINT)
    reached = []
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
        with interrupts.held:
            signal.raise_signal(signal.SIGINT)
            reached.append("counted")
        reached.append("not reached")
    assert reached == ["counted"]
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_is_delivered_at_once_otherwise() -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt), Interrupts():
        signal.raise_signal(signal.SIGINT)
        reached.append("not reached")
    assert not reached


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts, interrupts.held:
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_leaves_the_handler_alone() -> None:
    found = []

    def work() -> None:
        with Interrupts():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    before = signal.getsignal(signal.SIGINT)
    thread.start()
    thread.join()
    assert found == [before]
