"""Arithmetic notation over the text builder, so that a numeric method reads as its formula."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.llvm.builder import Builder, Value


@dataclass(frozen=True, slots=True, eq=False)
class Lanes:
    """A value and the builder it lives in; every operator appends one instruction.

    `+ - *` follow the element type, `/` is the floating division, comparisons are ordered (false
    where a lane is NaN) and signed unless the element type is unsigned, `>>` keeps the sign.
    A plain number beside a Lanes is a constant of its type, the same in every lane.
    """

    builder: Builder
    value: Value

    @property
    def dtype(self) -> str:
        """The element type's name."""
        return self.value.dtype

    @property
    def floating(self) -> bool:
        """Whether the lanes are floating-point numbers."""
        return self.dtype.startswith("float")

    @property
    def unsigned(self) -> bool:
        """Whether the lanes are integers without a sign."""
        return self.dtype in ("bool", "uint8", "uint32", "uint64")

    def constant(self, number: float, dtype: str | None = None) -> Lanes:
        """The number in every lane, of this element type unless another is given."""
        value = self.builder.constant(dtype or self.dtype, number, self.value.lanes)
        return Lanes(self.builder, value)

    def widen(self, lanes: int) -> Lanes:
        """The same lanes, or one lane repeated."""
        return Lanes(self.builder, self.builder.splat(self.value, lanes))

    def binary(self, opcode: str, other: Lanes | float) -> Lanes:
        """`opcode self, other`."""
        right = other if isinstance(other, Lanes) else self.constant(other)
        return Lanes(self.builder, self.builder.binary(opcode, self.value, right.value))

    def __add__(self, other: Lanes | float) -> Lanes:
        return self.binary("fadd" if self.floating else "add", other)

    def __sub__(self, other: Lanes | float) -> Lanes:
        return self.binary("fsub" if self.floating else "sub", other)

    def __rsub__(self, other: float) -> Lanes:
        return self.constant(other) - self

    def __mul__(self, other: Lanes | float) -> Lanes:
        return self.binary("fmul" if self.floating else "mul", other)

    def __truediv__(self, other: Lanes | float) -> Lanes:
        return self.binary("fdiv", other)

    def __rtruediv__(self, other: float) -> Lanes:
        return self.constant(other) / self

    def __neg__(self) -> Lanes:
        if not self.floating:
            return 0 - self
        return Lanes(self.builder, self.builder.negate(self.value))

    def __and__(self, other: Lanes | int) -> Lanes:
        return self.binary("and", other)

    def __or__(self, other: Lanes | int) -> Lanes:
        return self.binary("or", other)

    def __xor__(self, other: Lanes | int) -> Lanes:
        return self.binary("xor", other)

    def __lshift__(self, other: int) -> Lanes:
        return self.binary("shl", other)

    def __rshift__(self, other: int) -> Lanes:
        return self.binary("ashr", other)

    def unsigned_shift(self, bits: int) -> Lanes:
        """Shift right, zeros coming in."""
        return self.binary("lshr", bits)

    def compare(self, predicate: str, other: Lanes | float) -> Lanes:
        """Boolean lanes of an LLVM comparison, `predicate` spelled as LLVM does."""
        right = other if isinstance(other, Lanes) else self.constant(other)
        return Lanes(self.builder, self.builder.compare(predicate, self.value, right.value))

    def order(self, predicate: str, other: Lanes | float) -> Lanes:
        """An order comparison: `lt`, `le`, `gt` or `ge` with this element type's prefix."""
        prefix = "o" if self.floating else "u" if self.unsigned else "s"
        return self.compare(prefix + predicate, other)

    def __lt__(self, other: Lanes | float) -> Lanes:
        return self.order("lt", other)

    def __le__(self, other: Lanes | float) -> Lanes:
        return self.order("le", other)

    def __gt__(self, other: Lanes | float) -> Lanes:
        return self.order("gt", other)

    def __ge__(self, other: Lanes | float) -> Lanes:
        return self.order("ge", other)

    def equals(self, other: Lanes | float) -> Lanes:
        """Lane-wise equality (false for NaN)."""
        return self.compare("oeq" if self.floating else "eq", other)

    def differs(self, other: Lanes | float) -> Lanes:
        """Lane-wise inequality (true for NaN)."""
        return self.compare("une" if self.floating else "ne", other)

    def convert(self, opcode: str, dtype: str) -> Lanes:
        """An LLVM conversion to another element type."""
        return Lanes(self.builder, self.builder.convert(opcode, self.value, dtype))

    def intrinsic(self, name: str, *others: Lanes) -> Lanes:
        """An LLVM intrinsic over lanes of one type."""
        operands = (self.value, *(other.value for other in others))
        return Lanes(self.builder, self.builder.intrinsic(name, *operands))

    def __abs__(self) -> Lanes:
        if self.floating:
            return self.intrinsic("llvm.fabs")
        return self if self.unsigned else where(self < 0, -self, self)

    def signed_as(self, other: Lanes) -> Lanes:
        """This magnitude with the sign bit of other."""
        return self.intrinsic("llvm.copysign", other)


def where(condition: Lanes, yes: Lanes | float, no: Lanes | float) -> Lanes:
    """Lane-wise choice; at least one side is a Lanes."""
    model = yes if isinstance(yes, Lanes) else no
    if not isinstance(model, Lanes):
        raise TypeError("where needs one operand with an element type")
    left = yes if isinstance(yes, Lanes) else model.constant(yes)
    right = no if isinstance(no, Lanes) else model.constant(no)
    builder = condition.builder
    return Lanes(builder, builder.select(condition.value, left.value, right.value))


def multiply_add(a: Lanes, b: Lanes | float, c: Lanes | float) -> Lanes:
    """a*b + c, in one instruction where the target has it, else in two; never a call.

    Methods built on it keep their stated bound either way: what must be exact is arranged to be
    exact without fusing.
    """
    left = b if isinstance(b, Lanes) else a.constant(b)
    right = c if isinstance(c, Lanes) else a.constant(c)
    return a.intrinsic("llvm.fmuladd", left, right)


def horner(x: Lanes, coefficients: Sequence[float]) -> Lanes:
    """The polynomial in x, constant coefficient first."""
    total = x.constant(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = multiply_add(total, x, coefficient)
    return total


def horner_unfused(x: Lanes, coefficients: Sequence[float]) -> Lanes:
    """The polynomial in x with every product rounded: the same bits on every target."""
    total = x.constant(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


@dataclass(frozen=True, slots=True)
class Format:
    """How a floating type is laid out, and the numbers that come of it."""

    name: str
    integer: str
    fraction: int
    bias: int

    @property
    def one(self) -> int:
        """The bits of 1.0."""
        return self.bias << self.fraction

    @property
    def magic(self) -> float:
        """1.5 * 2**fraction: adding it leaves the nearest integer in the low bits."""
        return 1.5 * 2.0**self.fraction

    @property
    def tiny(self) -> float:
        """The least normal number."""
        return 2.0 ** (1 - self.bias)


FORMATS = {
    "float32": Format("float32", "int32", 23, 127),
    "float64": Format("float64", "int64", 52, 1023),
}


def layout(x: Lanes) -> Format:
    """The format of floating lanes. Raises TypeError for others."""
    if x.dtype not in FORMATS:
        raise TypeError(f"needs float32 or float64 lanes, got {x.dtype}")
    return FORMATS[x.dtype]


def to_bits(x: Lanes) -> Lanes:
    """Floating lanes as signed integers of the same width."""
    return x.convert("bitcast", layout(x).integer)


def from_bits(x: Lanes, dtype: str) -> Lanes:
    """The inverse of to_bits."""
    return x.convert("bitcast", dtype)


def clamp(x: Lanes, low: float, high: float) -> Lanes:
    """x within [low, high]; NaN stays. The operands' order makes each side one instruction."""
    least = x.constant(low)
    return at_most(where(least > x, least, x), high)


def at_most(x: Lanes, high: float) -> Lanes:
    """The lesser of x and a number; NaN stays."""
    most = x.constant(high)
    return where(most < x, most, x)


def nearest(x: Lanes, offset: int = 0) -> tuple[Lanes, Lanes]:
    """The nearest integer n, ties to even, as a float; and n + offset in an integer's low bits.

    For magnitudes below half of 2**fraction; needs the default rounding mode and no instruction
    beyond an addition.
    """
    shift = layout(x).magic + offset
    shifted = x + shift
    return shifted - shift, to_bits(shifted)
