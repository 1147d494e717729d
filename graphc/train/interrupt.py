"""Ctrl-C while training: it waits until what is being counted is counted whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self


class Held:
    """Holds SIGINT back inside; one that came meanwhile is delivered at the end."""

    def __init__(self) -> None:
        self.active = False
        self.waiting: Callable[[], Any] | None = None

    def __enter__(self) -> None:
        self.active = True

    def __exit__(self, *_: object) -> None:
        self.active = False
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting()


class Interrupts:
    """Takes SIGINT over inside; a context manager, without effect outside the main thread.

        with Interrupts() as interrupts:
            with interrupts.held:
                ...                     # not to be cut in two

    What is not held is interrupted at once, by the handler that was there before: Python's raises
    KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self.held = Held()
        self._before: Callable[[int, FrameType | None], Any] | None = None

    def __enter__(self) -> Self:
        handler = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and callable(handler):
            self._before = handler
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        before = self._before
        assert before is not None
        if self.held.active:
            self.held.waiting = lambda: before(number, None)
        else:
            before(number, frame)
