"""What a nest reads, in bytes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphc.loops.ir import Access, Buffer
from graphc.loops.nest import footprint
from graphc.ops.index import affine


def touched(terms: dict[str, int], extents: dict[str, int]) -> int:
    """The bytes counted one by one."""
    names = [name for name in terms if name in extents]
    points = itertools.product(*(range(extents[name]) for name in names))
    return 4 * len({sum(terms[n] * i for n, i in zip(names, at, strict=True)) for at in points})


def counted(terms: dict[str, int], extents: dict[str, int]) -> int:
    buffer = Buffer("x", "float32", 1 << 20, "argument")
    return footprint(Access(buffer, affine(terms.items())), extents)


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(-40, 40).filter(bool), max_size=4),
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 5), max_size=4),
)
def test_no_fewer_bytes_are_counted_than_are_touched(
    terms: dict[str, int], extents: dict[str, int]
) -> None:
    points = 4
    for name in terms:
        points *= extents.get(name, 1)
    assert touched(terms, extents) <= counted(terms, extents) <= points


@pytest.mark.parametrize(
    ("terms", "extents"),
    [
        ({"h": 32, "r": 32, "w": 1, "s": 1}, {"h": 28, "r": 5, "w": 28, "s": 5}),  # a window
        ({"h": 64, "r": 32, "w": 2, "s": 1}, {"h": 10, "r": 3, "w": 10, "s": 3}),  # and a stride
        ({"c": 900, "h": 30, "r": 30, "w": 1}, {"c": 6, "h": 24, "r": 5, "w": 24}),
        (
            {"c": 900, "h": 448, "w": 16, "s": 16, "n": 1},
            {"c": 2, "h": 1, "w": 24, "s": 5, "n": 16},
        ),
        ({"i": 7, "j": 1}, {"i": 3, "j": 7}),
        ({"i": 8, "j": 1}, {"i": 3, "j": 7}),
        ({}, {"i": 4}),
        ({"i": 8, "j": 1}, {"i": 3, "j": 0}),
    ],
)
def test_what_windows_share_is_counted_once(terms: dict[str, int], extents: dict[str, int]) -> None:
    assert counted(terms, extents) == touched(terms, extents)
