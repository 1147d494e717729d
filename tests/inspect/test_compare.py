"""Differences between two programs: what counts as one, and how it is shown."""

from __future__ import annotations

import graphc
from graphc.inspect.compare import Difference, compared, settled, table


def difference(before: str, after: str) -> Difference:
    """Two texts as a stage."""
    (found,) = compared(lambda stage: before, lambda stage: after, ["graph"])
    return found


def test_places_and_widths_do_not_count() -> None:
    """The same graph from two lines of a file."""
    first = graphc.compile(graphc.input("x", (3,)) * 2)
    second = graphc.compile(graphc.exp(graphc.input("x", (3,))) * 2)
    again = graphc.compile((graphc.input("x", (3,)) * 2) + 0)
    for stage in ("graph", "fused", "loops"):
        assert settled(first.as_text(stage)) == settled(
            graphc.compile(first.source.outputs[0]).as_text(stage)
        )
    assert not difference(first.as_text(), second.as_text()).equal
    assert difference(first.as_text("fused"), again.as_text("fused")).counts != (0, 0)
    assert settled(
        "%0 = a(x)    : f32[]  x  # net.py:3 (0.b)\n  # from net.py:3 (0)\n\n  # kept"
    ) == [
        "%0 = a(x)  : f32[]  x",
        "",
        "  # kept",
    ]


def test_numbers_that_only_moved_do_not_count() -> None:
    """One node more renumbers the rest; where nothing else differs the numbers do count."""
    found = difference(
        "%0 = a\n%1 = b(%0)\n%2 = c(%1)", "%0 = a\n%1 = n(%0)\n%2 = b(%1)\n%3 = c(%2)"
    )
    assert found.counts == (0, 1) and "+%1 = n(%0)" in found.lines() and not found.equal
    swapped = difference("%2 = sub(%0, %1)", "%2 = sub(%1, %0)")
    assert swapped.counts == (1, 1) and not swapped.equal


def test_unified_difference() -> None:
    """As diff -u prints it."""
    before = "\n".join("abcdefghij")
    found = difference(before, before.replace("c\n", "").replace("h", "h\nx"))
    assert found.lines(("one", "two"), context=1) == [
        "--- one", "+++ two",
        "@@ -2,3 +2,2 @@", " b", "-c", " d",
        "@@ -8,2 +7,3 @@", " h", "+x", " i",
    ]  # fmt: skip
    assert (
        difference("a", "a").lines() == [] and difference("", "a").lines()[2] == "@@ -0,0 +1,1 @@"
    )


def test_table() -> None:
    """Equal, or how many lines."""
    lines = table([difference("a\nb", "a\nc\nd"), Difference("loops", ("a",), ("a",))])
    assert [line.split() for line in lines[1:]] == [
        ["graph", "2", "-1", "+2"],
        ["loops", "1", "equal"],
    ]
