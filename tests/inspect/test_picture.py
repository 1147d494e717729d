"""The roofline as characters: what stands where."""

from __future__ import annotations

from dataclasses import replace

import graphc
from graphc import ops
from graphc.inspect.picture import Axis, axis, picture
from graphc.runtime.limits import Level, Limits
from graphc.runtime.profile import Profile, rows
from graphc.runtime.roofline import Roofline, roofline

LIMITS = Limits(
    "a machine",
    1,
    {"float32": 100.0, "float64": 50.0},
    (Level("L1", 1 << 15, 200.0), Level("memory", 1 << 28, 20.0)),
    0.0,
)


def drawn(seconds: list[float]) -> Roofline:
    """A product and a sum of two matrices that take so many seconds."""
    a, b = (graphc.input(name, (64, 64)) for name in "ab")
    program = graphc.compile([a @ b, a + b], target="avx2", threads=1)
    profile = Profile(rows(list(program.cost().rows), seconds), 1, 1e-6, {})
    return roofline(program.stages, profile, LIMITS)


def place(lines: list[str], mark: str) -> tuple[int, int]:
    """Row and column of a letter within the frame."""
    found = [(r, line.index(mark, 9)) for r, line in enumerate(lines) if mark in line[9:]]
    return found[0]


def test_a_picture_fits_a_terminal_and_has_its_axes() -> None:
    lines = picture(drawn([1e-5, 2e-6])).splitlines()
    assert max(map(len, lines)) <= 79
    assert lines[0] == "GFLOP/s" and any("FLOPs per byte" in line for line in lines)
    assert any(line.rstrip().endswith("float32") for line in lines)
    assert any("memory" in line for line in lines) and any("L1" in line for line in lines)


def test_letters_stand_where_their_kernels_do() -> None:
    """The slower comes first; what computes more a byte stands to the right, the faster higher."""
    found = drawn([1e-5, 2e-6])
    text = picture(found)
    frame = [line for line in text.splitlines() if line[8:9] == "|"]
    frame = [line.replace("float", "").replace("memory", "") for line in frame]
    by_time = sorted(found, key=lambda point: point.seconds, reverse=True)
    assert f"  a {by_time[0].kernel}" in text and f"  b {by_time[1].kernel}" in text
    (row_a, a), (row_b, b) = place(frame, "a"), place(frame, "b")
    assert (a < b) == (by_time[0].intensity < by_time[1].intensity)
    assert (row_a < row_b) == (by_time[0].gflops > by_time[1].gflops)


def test_nothing_to_draw() -> None:
    x = graphc.input("x", (4, 3))
    program = graphc.compile(ops.transpose(x))
    profile = Profile(rows(list(program.cost().rows), [1e-6] * len(program.kernels)), 1, 1e-6, {})
    assert "nothing to draw" in picture(roofline(program.stages, profile, LIMITS))


def test_kernels_far_from_the_roof_are_drawn_at_the_edge() -> None:
    slow = drawn([10.0, 20.0])
    assert max(map(len, picture(slow).splitlines())) <= 79
    many = replace(slow, points=slow.points * 40)  # more than there are letters
    assert "and 68 more" in picture(many)


def test_axes_are_powers_of_ten() -> None:
    found = axis([0.3, 40.0], 31)
    assert found == Axis(-1, 2, 31)
    assert [found.cell(10.0**power) for power in found.powers] == [0, 10, 20, 30]
    assert found.value(10) == 1
    assert axis([1.0], 11) == Axis(0, 1, 11)
