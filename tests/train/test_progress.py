"""What fit shows, on a terminal and off it, and how seldom it asks."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from rich.console import Console

from graphc.errors import InputError
from graphc.train import progress as module
from graphc.train.progress import MAX_STRIDE, Progress, Values


class Clock:
    """A clock that a test moves, and that counts how often it is read."""

    def __init__(self) -> None:
        self.now, self.reads = 1000.0, 0

    def __call__(self) -> float:
        self.reads += 1
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


def console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, no_color=True)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def never() -> dict[str, float]:
    raise AssertionError("values were asked for, though nothing is drawn")


def run(bar: Progress, steps: int, advance: Callable[[], None], values: Values = dict) -> None:
    bar.epoch(1)
    for step in range(1, steps + 1):
        advance()
        bar.step(step, values)


def test_a_line_an_epoch_where_there_is_no_terminal() -> None:
    out = console(terminal=False)
    with Progress(2, 10, 1, examples_per_epoch=95, console=out) as bar:
        run(bar, 10, lambda: None, never)
        bar.end_epoch({"loss": 0.51234, "val_loss": 1e-7}, 0.5)
        bar.epoch(2)
        bar.end_epoch({}, 3725.0)
        bar.end_epoch({}, 0.01234)
    assert text(out).splitlines() == [
        "epoch 1/2  0.5 s  190 examples/s  loss 0.5123  val_loss 1e-07",
        "epoch 2/2  1:02:05  0 examples/s",
        "epoch 2/2  12 ms  7,699 examples/s",
    ]


def test_long_lines_are_not_wrapped_and_markup_is_text() -> None:
    out = console(terminal=False)
    with Progress(1, 1, 1, console=out) as bar:
        bar.epoch(1)
        bar.end_epoch({f"[bold]metric {i}": i for i in range(30)}, 61.0)
    assert text(out).count("\n") == 1
    assert "epoch 1/1  1:01  0 steps/s  [bold]metric 0 0" in text(out)


@pytest.mark.parametrize("terminal", [False, True])
def test_silence(terminal: bool) -> None:
    out = console(terminal)
    with Progress(1, 10, 0, console=out) as bar:
        run(bar, 10, lambda: None, never)
        bar.end_epoch({"loss": 1.0}, 1.0)
    assert text(out) == ""


def test_lines_alone_on_a_terminal() -> None:
    out = console(terminal=True)
    with Progress(1, 10, 2, console=out) as bar:
        run(bar, 10, lambda: None, never)
        bar.end_epoch({"loss": 1.0}, 1.0)
    assert text(out) == "epoch 1/1  1.0 s  10 steps/s  loss 1\n"


def test_the_bar(clock: Clock) -> None:
    out = console(terminal=True)

    def half_a_second() -> None:
        clock.now += 0.5

    with Progress(3, 10, 1, examples_per_epoch=100, console=out) as bar:
        run(bar, 4, half_a_second, lambda: {"loss": 0.25})
        shown = text(out)
        bar.end_epoch({"loss": 0.125}, 5.0)
    # 4 steps of 10 examples in 2 s; 26 steps of 0.5 s are left.
    for part in ("epoch 1/3", "4/10", "loss 0.25", "20 examples/s", "13.0 s left"):
        assert part in shown, part
    assert "epoch 1/3  5.0 s  20 examples/s  loss 0.125" in text(out)


@pytest.mark.parametrize(
    ("width", "shown_then"),
    [
        (50, set()),
        (60, {"loss 0.25"}),
        (80, {"loss 0.25", "left"}),
        (120, {"loss 0.25", "accuracy 0.875", "top_5_accuracy 0.9688", "left"}),
        (160, {"loss 0.25", "accuracy 0.875", "top_5_accuracy 0.9688", "left", "examples/s"}),
    ],
)
def test_a_narrow_terminal_shows_less_not_half(
    clock: Clock, width: int, shown_then: set[str]
) -> None:
    """The counter of steps stays whole; what goes first is the rate."""
    out = Console(file=io.StringIO(), force_terminal=True, width=width, no_color=True)
    values = {"loss": 0.25, "accuracy": 0.875, "top_5_accuracy": 0.96875}
    with Progress(100, 41235, 1, examples_per_epoch=5_000_000, console=out) as bar:
        bar.epoch(12)
        clock.now += 0.5
        bar.step(4123, lambda: values)
        shown = text(out)
    assert "epoch 12/100" in shown and "…" not in shown
    assert "4123/41235" in shown
    parts = {"loss 0.25", "accuracy 0.875", "top_5_accuracy 0.9688", "left", "examples/s"}
    assert {part for part in parts if part in shown} == shown_then
    line = shown.split("\n")[-1]
    assert len(re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", line).strip("\r")) <= width


def test_time_left_of_a_resumed_run_counts_its_own_epochs(clock: Clock) -> None:
    out = console(terminal=True)
    with Progress(6, 10, 1, console=out) as bar:
        bar.epoch(5)
        clock.now += 10.0
        bar.epoch(6)
        clock.now += 5.0
        bar.step(5, dict)
    assert "epoch 6/6" in text(out) and "5.0 s left" in text(out)


def test_drawn_at_most_ten_times_a_second_and_seldom_looked_at(clock: Clock) -> None:
    drawn: list[float] = []

    def values() -> dict[str, float]:
        drawn.append(clock.now)
        return {}

    def a_tenth_of_a_millisecond() -> None:
        clock.now += 1e-4

    steps = 100_000  # ten seconds
    with Progress(1, steps, 1, console=console(terminal=True)) as bar:
        run(bar, steps, a_tenth_of_a_millisecond, values)
    assert 90 <= len(drawn) <= 101
    assert min(b - a for a, b in pairwise(drawn)) >= 0.0999
    assert clock.reads <= steps / MAX_STRIDE + 500


def test_slow_steps_are_drawn_each(clock: Clock) -> None:
    drawn: list[float] = []

    def values() -> dict[str, float]:
        drawn.append(clock.now)
        return {}

    def a_fifth_of_a_second() -> None:
        clock.now += 0.2

    with Progress(1, 20, 1, console=console(terminal=True)) as bar:
        run(bar, 20, a_fifth_of_a_second, values)
    assert len(drawn) == 20


def test_an_error_inside_ends_the_bar() -> None:
    out = console(terminal=True)
    with pytest.raises(ZeroDivisionError), Progress(1, 10, 1, console=out) as bar:
        bar.epoch(1)
        raise ZeroDivisionError
    assert text(out).count("\x1b[?25l") == text(out).count("\x1b[?25h")  # the cursor is back


def test_another_verbosity_is_refused() -> None:
    with pytest.raises(InputError, match="verbose must be 0"):
        Progress(1, 1, 3)
