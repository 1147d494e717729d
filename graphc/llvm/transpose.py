"""A square block read by rows and written by columns: turned over in registers."""

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
    ever larger halves of whole rows change places, and for the machine as quick.
    """
    b, size = function.b, stmt.size
    kind = stmt.source.buffer.dtype
    element, align = LLVM_TYPES[kind], SIZE[kind]
    part = min(PIECE // align, size)
    first, _, _ = pointer(function, stmt.source)

    def piece(row: int, column: int) -> Value:
        at = b.address(element, first, b.constant("int64", row * stmt.across + column))
        return b.define(kind, part, f"load {spell(kind, part)}, {at}, align {align}")

    columns: list[Value] = []
    for column in range(0, size, part):
        rows = []
        for row in range(part):
            pieces = [piece(row + below, column) for below in range(0, size, part)]
            while len(pieces) > 1:
                pieces = [
                    b.shuffle(left, right, range(2 * left.lanes))
                    for left, right in zip(pieces[::2], pieces[1::2], strict=True)
                ]
            rows += pieces
        columns += interleaved(function, rows)
    first, _, _ = pointer(function, stmt.target)
    for column, value in enumerate(columns):
        at = b.address(element, first, b.constant("int64", column * stmt.down))
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
