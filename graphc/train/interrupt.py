"""Ctrl-C while training: it waits until what is being counted is counted whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self


class Interrupts:
    """Holds SIGINT back while `busy`; a context manager, without effect outside the main thread.

        with Interrupts() as interrupts:
            interrupts.busy = True
            try:
                ...                     # not to be cut in two
            finally:
                interrupts.release()    # a SIGINT that came meanwhile is delivered here

    While it is not busy, and once it has ended, the handler that was there before is called at
    once: Python's raises KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self.busy = False
        self._waiting = False
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

    def release(self) -> None:
        """No longer busy: deliver what waits."""
        self.busy = False
        if self._waiting and self._before is not None:
            self._waiting = False
            self._before(signal.SIGINT, None)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.busy:
            self._waiting = True
        elif self._before is not None:
            self._before(number, frame)
