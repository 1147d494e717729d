"""A block read by rows and written by columns: turned over in registers."""

from __future__ import annotations

from graphc.llvm.builder import LLVM_TYPES, Value, spell
from graphc.llvm.function import Function
from graphc.llvm.memory import pointer
from graphc.loops.ir import Transpose
from graphc.types import SIZE

PIECE = 16
"""Bytes of a vector within which lanes change places at the least cost."""


def turned_block(function: Function, stmt: Transpose) -> None:
    """A block turned over in registers: pieces come to their places as they are read.

    A piece is what instructions interleave within. For LLVM this is a third quicker than to have
    ever larger halves of whole rows change places, and for the machine as quick. The last pieces of
    a block that they do not divide overlap, and rows beyond its own are its last one.
    """
    b, kind = function.b, stmt.source.buffer.dtype
    element, align = LLVM_TYPES[kind], SIZE[kind]
    least = min(stmt.rows, stmt.columns)
    part = min(PIECE // align, 1 << least.bit_length() - 1)
    size = 1 << (stmt.rows - 1).bit_length()
    first, _, _ = pointer(function, stmt.source)

    def piece(row: int, column: int) -> Value:
        place = min(row, stmt.rows - 1) * stmt.across + column
        at = b.address(element, first, b.constant("int64", place))
        return b.define(kind, part, f"load {spell(kind, part)}, {at}, align {align}")

    if least == 1:
        columns = {(r, c): piece(r, c) for r in range(stmt.rows) for c in range(stmt.columns)}
    else:
        columns = {}
        for column in (*range(0, stmt.columns - part, part), stmt.columns - part):
            rows = []
            for row in range(part):
                pieces = [piece(row + below, column) for below in range(0, size, part)]
                while len(pieces) > 1:
                    pieces = [
                        b.shuffle(left, right, range(2 * left.lanes))
                        for left, right in zip(pieces[::2], pieces[1::2], strict=True)
                    ]
                rows += pieces
            found = interleaved(function, rows)
            columns |= {(0, column + place): value for place, value in enumerate(found)}
    first, _, _ = pointer(function, stmt.target)
    for (row, column), value in columns.items():
        at = b.address(element, first, b.constant("int64", column * stmt.down + row))
        if value.lanes > stmt.rows:
            value = b.shuffle(value, value, range(stmt.rows))
        b.emit(f"store {value}, {at}, align {align}")


def interleaved(function: Function, rows: list[Value]) -> list[Value]:
    """Squares turned over, of as many lanes as there are rows, that lie side by side in them.

    abcd efgh ijkl mnop   -->   aibj ckdl emfn gohp   -->   aeim bfjn cgko dhlp
    """
    count, lanes = len(rows), rows[0].lanes
    low = [
        corner + lane // 2 + lanes * (lane % 2)
        for corner in range(0, lanes, count)
        for lane in range(count)
    ]
    orders = low, [lane + count // 2 for lane in low]
    for _ in range(count.bit_length() - 1):
        pairs = zip(rows[: count // 2], rows[count // 2 :], strict=True)
        rows = [function.b.shuffle(a, b, order) for a, b in pairs for order in orders]
    return rows
