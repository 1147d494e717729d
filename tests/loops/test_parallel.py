"""What one thread runs between the parts of a kernel that are shared."""

from __future__ import annotations

from graphc.loops.ir import Access, Alloc, Buffer, For, Let, Load, Stmt, Update
from graphc.loops.parallel import spans
from graphc.ops import scalar
from graphc.ops.index import Affine, index

X = scalar.argument("x")
R, Q = (Buffer(name, "float32", 4, "register") for name in "rq")
OUT, ROW = Buffer("out", "float32", 64), Buffer("row", "float32", 64, "stack")


def loop(*body: Stmt) -> For:
    return For("i", 0, 64, 1, "serial", body)


def add(target: Buffer, value: str = "v") -> Update:
    return Update(Access(target, Affine()), X, ((X, value),), "sum")


def load(name: str, buffer: Buffer) -> Load:
    return Load(name, Access(buffer, Affine()))


def lengths(*stmts: Stmt) -> list[int]:
    assert sum(spans(stmts), ()) == stmts
    return [len(span) for span in spans(stmts)]


def test_from_where_a_register_begins_to_its_last_use() -> None:
    other = loop(Update(Access(OUT, index("i")), scalar.ZERO, ()))
    tile = (Alloc(R), loop(load("v", ROW), add(R)), load("w", R), add(OUT, "w"))
    assert lengths(other, *tile, other) == [1, 4, 1]
    again = (Alloc(Q), loop(load("v", ROW), add(Q)), load("z", Q), add(OUT, "z"))
    assert lengths(*tile, *again) == [4, 4]
    assert lengths(Alloc(ROW), other, other) == [1, 1, 1]


def test_what_is_read_or_computed_in_between_is_in_use_too() -> None:
    computed = Let("u", X, ((X, "w"),), "float32")
    other = loop(Update(Access(OUT, index("i")), scalar.ZERO, ()))
    assert lengths(Alloc(R), load("w", R), computed, other, add(OUT, "u"), other) == [5, 1]


def test_a_register_that_begins_while_another_is_in_use() -> None:
    assert lengths(Alloc(R), Alloc(Q), load("v", R), add(Q), load("w", Q), add(OUT, "w")) == [6]
