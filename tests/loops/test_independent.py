"""Which loops threads may share: those whose steps touch places of their own."""

from __future__ import annotations

import pytest

from graphc.loops.independent import independent
from graphc.loops.ir import Access, Alloc, Buffer, For, Load, Stmt, Transpose, Update
from graphc.ops import scalar
from graphc.ops.index import Runtime, affine

A, B = Buffer("a", "float32", 4096), Buffer("b", "float32", 4096)
VALUE = scalar.argument("value")


def at(buffer: Buffer, constant: int = 0, **factors: int) -> Access:
    return Access(buffer, affine(factors.items(), constant))


def loop(index: str, stop: int, *body: Stmt, step: int = 1, kind: str = "serial") -> For:
    return For(index, 0, stop, step, kind, body)


def store(target: Access, how: str = "=") -> Update:
    return Update(target, VALUE, ((VALUE, "v"),), how)


COPY = Load("v", at(A, i=8, j=1)), store(at(B, i=8, j=1))
INDEPENDENT: dict[str, For] = {
    "rows": loop("i", 4, loop("j", 8, *COPY)),
    "columns": loop("j", 8, loop("i", 4, *COPY)),
    "tiles": loop("i", 12, loop("t", 3, loop("j", 8, store(at(B, i=8, t=8, j=1)))), step=3),
    "lanes": loop("i", 4, loop("v", 8, store(at(B, i=8, v=1)), step=8, kind="vector")),
    "short lanes": loop("i", 4, loop("v", 5, store(at(B, i=5, v=1)), step=8, kind="vector")),
    "in place": loop("i", 4, Load("v", at(B, i=1)), store(at(B, i=1))),
    "a row turned in place": loop("i", 4, loop("j", 8, Load("v", at(B, 7, i=8, j=-1)), COPY[1])),
    "sums of one's own": loop("i", 4, loop("s", 9, store(at(B, i=1), "sum"))),
    "a buffer of one's own": loop("i", 4, Alloc(Buffer("t", "float32", 8, "stack")), COPY[1]),
    "blocks": loop("i", 4, Transpose(at(B, i=64), at(A, i=64), 8, 8, 8, 8)),
    "another part of the buffer": loop(
        "i", 4, loop("j", 8, Load("v", at(B, i=8, j=1)), store(at(B, 32, i=8, j=1)))
    ),
}
DEPENDENT: dict[str, For] = {
    "one place for all": loop("i", 4, store(at(B), "sum")),
    "a sum over the loop": loop("s", 9, loop("i", 4, store(at(B, i=1), "sum"))),
    "overlapping windows": loop("h", 4, loop("r", 3, store(at(B, h=2, r=1), "sum"))),
    "a scatter": loop("h", 4, loop("r", 3, store(at(B, h=1, r=1), "sum"))),
    "lanes beyond the row": loop(
        "i", 4, loop("v", 8, store(at(B, i=5, v=1)), step=8, kind="vector")
    ),
    "the row before": loop("i", 4, Load("v", at(B, -8, i=8)), store(at(B, i=8))),
    "a part that overlaps": loop(
        "i", 4, loop("j", 8, Load("v", at(B, i=8, j=1)), store(at(B, 31, i=8, j=1)))
    ),
    "a row read by all": loop("i", 4, loop("j", 8, Load("v", at(B, j=1)), COPY[1])),
    "a place that is data": loop("i", 4, store(Access(B, affine([]), (("k", 1),)))),
    "one buffer for all threads": loop(
        "i", 4, Alloc(Buffer("b", "float32", 8, "shared")), store(at(B, j=1))
    ),
    "overlapping blocks": loop("i", 4, Transpose(at(B, i=32), at(A, i=64), 8, 8, 8, 8)),
}


@pytest.mark.parametrize("name", INDEPENDENT)
def test_steps_with_places_of_their_own_are_independent(name: str) -> None:
    assert independent(INDEPENDENT[name], (), frozenset())


@pytest.mark.parametrize("name", DEPENDENT)
def test_steps_that_meet_are_not(name: str) -> None:
    assert not independent(DEPENDENT[name], (), frozenset())


def test_a_loop_around_may_sum_but_not_shift() -> None:
    around = loop("s", 9)
    inner = loop("i", 4, store(at(B, i=1), "sum"))
    assert independent(inner, (around,), frozenset()), "each thread adds to elements of its own"
    shifted = loop("i", 4, store(at(B, i=1, s=1), "sum"))
    assert not independent(shifted, (around,), frozenset())


def test_a_run_time_extent_is_outermost_in_memory() -> None:
    batch = Runtime("batch")
    rows = For("i", 0, batch, 1, "serial", (loop("j", 8, store(at(B, i=8, j=1))),))
    assert independent(rows, (), frozenset())
    column = loop("j", 8, For("i", 0, batch, 1, "serial", (store(at(B, i=8, j=1)),)))
    assert independent(column, (), frozenset())
    crossed = loop("j", 8, For("i", 0, batch, 1, "serial", (store(at(B, i=1, j=8)),)))
    assert not independent(crossed, (), frozenset()), "how far i reaches is not known"


def test_a_private_buffer_is_no_reason() -> None:
    stack = Buffer("row", "float32", 8, "stack")
    body = loop("j", 8, store(Access(stack, affine([("j", 1)])))), COPY[1]
    shared = loop("i", 4, *body)
    assert independent(shared, (), frozenset(["row"]))
    assert not independent(shared, (), frozenset())
