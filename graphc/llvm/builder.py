"""Writes LLVM IR as text, one instruction a line: names, types and constants, and no decisions.

A Value is an SSA name (or a constant) with its element type and its number of lanes. Every method
that makes an instruction appends one line to the builder and returns the Value it defines. Lanes
of the operands must agree; `splat` widens a scalar.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

LLVM_TYPES = {
    "float32": "float",
    "float64": "double",
    "int32": "i32",
    "int64": "i64",
    "uint8": "i8",
    "bool": "i1",
    "uint32": "i32",
    "uint64": "i64",
    "pointer": "ptr",
}


@cache
def spell(dtype: str, lanes: int = 1) -> str:
    """LLVM's spelling of an element type, or of a vector of it."""
    return LLVM_TYPES[dtype] if lanes == 1 else f"<{lanes} x {LLVM_TYPES[dtype]}>"


class Value(NamedTuple):
    """An SSA value or constant: its text, its graphc element type and its lanes."""

    text: str
    dtype: str
    lanes: int = 1

    @property
    def type(self) -> str:
        """LLVM's spelling of this value's type."""
        return spell(self.dtype, self.lanes)

    def __str__(self) -> str:
        return f"{self.type} {self.text}"


def literal(dtype: str, number: float | int | bool) -> str:
    """A scalar constant in LLVM's syntax; floats as exact hexadecimal bit patterns."""
    if dtype == "float64":
        return f"0x{struct.unpack('>Q', struct.pack('>d', float(number)))[0]:016X}"
    if dtype == "float32":
        rounded = struct.unpack(">f", struct.pack(">f", clamp32(float(number))))[0]
        return f"0x{struct.unpack('>Q', struct.pack('>d', rounded))[0]:016X}"
    if dtype == "bool":
        return "true" if number else "false"
    return str(int(number))


def clamp32(number: float) -> float:
    """Round a float64 beyond float32's range to an infinity, as the hardware conversion does."""
    if number != number or abs(number) < 3.4028235677973366e38:
        return number
    return float("inf") if number > 0 else float("-inf")


NOTHING = {"add": "0", "sub": "0", "mul": "1", "udiv": "1"}
"""The second operand that changes nothing."""
COUNT: dict[str, Callable[[int, int], int]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "udiv": operator.floordiv,
}
"""Arithmetic of places and extents."""


def folded(opcode: str, a: Value, b: Value) -> str | None:
    """What arithmetic of whole numbers gives without an instruction; None where it needs one."""
    if opcode not in COUNT:
        return None
    if b.text == NOTHING[opcode]:
        return a.text
    if a.text == "0" and opcode == "add":
        return b.text
    if not (a.text.isdecimal() and b.text.isdecimal()) or b.text == "0":
        return None
    total = COUNT[opcode](int(a.text), int(b.text))
    return str(total) if 0 <= total < 2**62 else None


@dataclass
class Builder:
    """Collects the instructions of one function body.

    What a block has computed, or read since it last wrote, is not written a second time: `known`
    and `read` hold its values by their right sides. `where` ends each instruction: its line.
    """

    prefix: str = "v"
    lines: list[Any] = field(default_factory=list)
    declarations: set[str] = field(default_factory=set)
    serial: int = 0
    known: dict[str, str] = field(default_factory=dict)
    read: dict[str, str] = field(default_factory=dict)
    where: str = ""

    def fresh(self) -> str:
        """A new SSA name."""
        self.serial += 1
        return f"%{self.prefix}{self.serial}"

    def emit(self, line: str) -> None:
        """Append one line as it is: a branch, or what writes to memory."""
        self.lines.append(f"  {line}{self.where}")
        self.read.clear()

    def block(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")
        self.known.clear()
        self.read.clear()

    def define(self, dtype: str, lanes: int, right: str) -> Value:
        """`name = right`, as a value of the given type; right writes nothing."""
        reads = right.startswith("load ") or "@llvm.masked." in right
        table = self.read if reads else self.known
        name = table.get(right)
        if name is None:
            name = table[right] = self.fresh()
            self.lines.append(f"  {name} = {right}{self.where}")
        return Value(name, dtype, lanes)

    def address(self, element: str, pointer: str, places: Value) -> Value:
        """The address so many elements after a pointer; one a lane."""
        right = f"getelementptr {element}, ptr {pointer}, {places}"
        return self.define("pointer", places.lanes, right)

    def constant(self, dtype: str, number: float | int | bool, lanes: int = 1) -> Value:
        """A constant, the same in every lane."""
        text = literal(dtype, number)
        if lanes == 1:
            return Value(text, dtype)
        return Value(f"splat ({LLVM_TYPES[dtype]} {text})", dtype, lanes)

    def iota(self, dtype: str, lanes: int) -> Value:
        """The constant vector 0, 1, ... lanes-1 (a scalar 0 for one lane)."""
        if lanes == 1:
            return self.constant(dtype, 0)
        items = ", ".join(f"{LLVM_TYPES[dtype]} {literal(dtype, i)}" for i in range(lanes))
        return Value(f"<{items}>", dtype, lanes)

    def splat(self, value: Value, lanes: int) -> Value:
        """A scalar repeated over lanes; a value that has them already is returned as it is."""
        if value.lanes == lanes:
            return value
        if not value.text.startswith("%"):
            return Value(f"splat ({value})", value.dtype, lanes)
        one = f"<{lanes} x {LLVM_TYPES[value.dtype]}>"
        first = self.define(value.dtype, lanes, f"insertelement {one} poison, {value}, i64 0")
        return self.define(
            value.dtype,
            lanes,
            f"shufflevector {one} {first.text}, {one} poison, <{lanes} x i32> zeroinitializer",
        )

    def shuffle(self, a: Value, b: Value, order: Sequence[int]) -> Value:
        """Lanes of two values, those of b numbered after those of a."""
        lanes, mask = len(order), ", ".join(f"i32 {place}" for place in order)
        return self.define(a.dtype, lanes, f"shufflevector {a}, {b}, <{lanes} x i32> <{mask}>")

    def binary(self, opcode: str, a: Value, b: Value, dtype: str | None = None) -> Value:
        """An LLVM binary instruction: fadd fsub fmul fdiv add sub mul and or xor shl lshr ashr.

        `dtype` re-labels the result (signed or unsigned of the same width).
        """
        if a.type == "i64" and (found := folded(opcode, a, b)) is not None:
            return Value(found, dtype or a.dtype)
        return self.define(dtype or a.dtype, a.lanes, f"{opcode} {a.type} {a.text}, {b.text}")

    def negate(self, a: Value) -> Value:
        """Floating negation (flips the sign bit)."""
        return self.define(a.dtype, a.lanes, f"fneg {a.type} {a.text}")

    def compare(self, predicate: str, a: Value, b: Value) -> Value:
        """fcmp for floats (olt oeq uno ...), icmp for integers (slt ult eq ...); bool lanes."""
        opcode = "fcmp" if a.dtype.startswith("float") else "icmp"
        return self.define("bool", a.lanes, f"{opcode} {predicate} {a.type} {a.text}, {b.text}")

    def select(self, condition: Value, yes: Value, no: Value) -> Value:
        """Lane-wise choice."""
        return self.define(yes.dtype, yes.lanes, f"select {condition}, {yes}, {no}")

    def convert(self, opcode: str, a: Value, dtype: str) -> Value:
        """A conversion instruction: bitcast fptosi sitofp uitofp fpext fptrunc zext sext trunc."""
        return self.define(dtype, a.lanes, f"{opcode} {a} to {spell(dtype, a.lanes)}")

    def intrinsic(self, name: str, *operands: Value, dtype: str | None = None) -> Value:
        """Call an overloaded intrinsic, e.g. `llvm.fma`, on values of one type."""
        first = operands[0]
        kind = dtype or first.dtype
        bits = {"float": "f32", "double": "f64"}.get(LLVM_TYPES[kind], LLVM_TYPES[kind])
        suffix = bits if first.lanes == 1 else f"v{first.lanes}{bits}"
        result = spell(kind, first.lanes)
        types = ", ".join(o.type for o in operands)
        self.declarations.add(f"declare {result} @{name}.{suffix}({types})")
        arguments = ", ".join(str(o) for o in operands)
        return self.define(kind, first.lanes, f"call {result} @{name}.{suffix}({arguments})")

    def fmuladd(self, a: Value, b: Value, c: Value) -> Value:
        """a*b + c, rounded once where the target has the instruction."""
        return self.intrinsic("llvm.fmuladd", a, b, c)

    def flat(self) -> list[str]:
        """The lines in order, those of nested lists where the lists stand."""
        result: list[str] = []
        stack: list[Any] = [iter(self.lines)]
        while stack:
            for item in stack[-1]:
                if isinstance(item, list):
                    stack.append(iter(item))
                    break
                result.append(item)
            else:
                stack.pop()
        return result
