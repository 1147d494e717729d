"""Shares of a loop: every step is done once, whoever comes first, by any number of threads."""

from __future__ import annotations

import ctypes
import random
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from graphc.llvm import engine, targets, team
from graphc.runtime import threads

pytestmark = pytest.mark.skipif(not threads.supported(), reason="no team of threads here")


class Pair(ctypes.Structure):
    """What the functions give: first step and end."""

    _fields_ = (("begin", ctypes.c_int64), ("end", ctypes.c_int64))


OWN = ctypes.CFUNCTYPE(Pair, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
MORE = ctypes.CFUNCTYPE(Pair, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


@pytest.fixture(scope="module")
def functions() -> engine.Loaded:
    target = targets.target(targets.host_level())
    text = team.functions(target.triple).replace("define hidden", "define")
    whole = engine.module_text(target, [*team.declarations(target.triple), text])
    return engine.load(
        engine.digest(whole, target), engine.whole(whole), ("team.own", "team.more"), target
    )


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_step_of_a_loop_is_done_once(count: int, functions: engine.Loaded) -> None:
    """Loop after loop without a barrier between, the threads as fast or slow as chance has it."""
    own, more = OWN(functions.addresses["team.own"]), MORE(functions.addresses["team.more"])
    raw = np.zeros(team.BLOCK + team.LINE * (count + 1), np.uint8)
    block = raw.ctypes.data + -raw.ctypes.data % team.LINE
    loops = [0, 1, 2, 3, 7, 8, 64, 1000, 5, 33]
    done = [Counter[int]() for _ in loops]
    draw = random.Random(count)

    def run(number: int) -> Iterator[None]:
        """What a thread does, with a pause after each piece."""
        for at, steps in enumerate(loops):
            part = own(number, count, steps)
            while part.begin >= 0:
                done[at].update(range(part.begin, part.end))
                yield
                part = more(block, number, count, steps)

    running = [run(number) for number in range(count)]
    while running:
        one = draw.choice([running[0], *running])  # the first is twice as fast as any
        if next(one, "over") == "over":
            running.remove(one)
    for steps, found in zip(loops, done, strict=True):
        assert found == Counter(range(steps))


def test_what_a_slow_thread_has_not_begun_is_done_by_others(functions: engine.Loaded) -> None:
    own, more = OWN(functions.addresses["team.own"]), MORE(functions.addresses["team.more"])
    raw = np.zeros(team.BLOCK + team.LINE * 3, np.uint8)
    block = raw.ctypes.data + -raw.ctypes.data % team.LINE
    slow = own(1, 2, 96)
    fast, part = 0, own(0, 2, 96)
    while part.begin >= 0:
        fast += part.end - part.begin
        part = more(block, 0, 2, 96)
    assert (slow.begin, slow.end) == (48, 78)
    assert fast == 96 - 30
    assert more(block, 1, 2, 96).begin == -1
