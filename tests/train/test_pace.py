"""The pace of a loop of steps: it grows by twice at most, and is another for another batch."""

from __future__ import annotations

from graphc.train.pace import SPAN, Pace


def test_the_pace_follows_what_steps_took() -> None:
    pace = Pace()
    assert pace.steps(4) == 1
    for expected in (2, 4, 8):
        pace.made(4, pace.steps(4), 1e-9)
        assert pace.steps(4) == expected
    pace.made(4, 8, 2 * SPAN)
    assert pace.steps(4) == 4
    pace.made(4, 4, 100 * SPAN)
    assert pace.steps(4) == 1
    pace.made(4, 0, SPAN)  # nothing was made: nothing is known
    assert pace.steps(4) == 1


def test_a_batch_of_another_size_begins_anew() -> None:
    pace = Pace()
    pace.made(1, 1, 1e-9)
    assert (pace.steps(1), pace.steps(1024)) == (2, 1)
