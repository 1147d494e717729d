"""Formulas to instructions: one rule per kind of sympy expression, all lanes at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, reduce

import sympy
from sympy.logic.boolalg import BooleanFalse, BooleanTrue

from graphc.errors import UnsupportedOpError
from graphc.llvm.builder import Builder, Value
from graphc.llvm.functions import FUNCTIONS
from graphc.ops import numeric, scalar
from graphc.ops.dtypes import common, computed_in, dtype_of
from graphc.ops.scalar import Expr, Symbol
from graphc.types import RANK, is_float

RELATIONS: dict[type, tuple[str, str]] = {
    sympy.StrictLessThan: ("olt", "slt"),
    sympy.LessThan: ("ole", "sle"),
    sympy.StrictGreaterThan: ("ogt", "sgt"),
    sympy.GreaterThan: ("oge", "sge"),
    sympy.Equality: ("oeq", "eq"),
    sympy.Unequality: ("une", "ne"),
}
HALF = sympy.Rational(1, 2)


def convert(b: Builder, value: Value, dtype: str) -> Value:
    """A value in another element type, as C converts; floats to ints saturate, NaN to 0."""
    source = value.dtype
    if source == dtype:
        return value
    if dtype == "bool":
        zero = b.constant(source, 0, value.lanes)
        return b.compare("une" if is_float(source) else "ne", value, zero)
    if source == "bool":
        if is_float(dtype):
            return b.convert("uitofp", value, dtype)
        return b.convert("zext", value, dtype)
    if is_float(source) and is_float(dtype):
        return b.convert("fpext" if RANK[dtype] > RANK[source] else "fptrunc", value, dtype)
    if is_float(source):
        return to_integer(b, value, dtype)
    if is_float(dtype):
        return b.convert("uitofp" if source == "uint8" else "sitofp", value, dtype)
    if RANK[dtype] > RANK[source]:
        return b.convert("zext" if source == "uint8" else "sext", value, dtype)
    return b.convert("trunc", value, dtype)


def to_integer(b: Builder, value: Value, dtype: str) -> Value:
    """Truncate towards zero; out of range saturates (uint8: as int32, whose low byte it is)."""
    wide = "int32" if dtype == "uint8" else dtype
    source = {"float32": "f32", "float64": "f64"}[value.dtype]
    target = {"int32": "i32", "int64": "i64"}[wide]
    lanes = "" if value.lanes == 1 else f"v{value.lanes}"
    name = f"@llvm.fptosi.sat.{lanes}{target}.{lanes}{source}"
    result = Value("", wide, value.lanes).type
    b.declarations.add(f"declare {result} {name}({value.type})")
    whole = b.define(wide, value.lanes, f"call {result} {name}({value})")
    return convert(b, whole, dtype)


def emit(
    b: Builder, expr: Expr, values: Mapping[Symbol, Value], dtype: str, lanes: int = 1
) -> Value:
    """Instructions for expr; the result has element type `dtype`.

    The result has the lanes of the widest operand, at least `lanes`.
    """
    if expr.is_Symbol:
        return convert(b, values[expr], dtype)
    width = max([lanes, *(v.lanes for v in values.values())])
    return Formula(b, values, width).emit(expr, dtype)


class Formula:
    """One formula being emitted: its symbols' values, and what is already computed."""

    def __init__(self, b: Builder, values: Mapping[Symbol, Value], width: int) -> None:
        self.b, self.values, self.width = b, values, width
        self.dtypes = {symbol: value.dtype for symbol, value in values.items()}
        self.kinds = tuple(self.dtypes.items())
        self.memo: dict[tuple[Expr, str], Value] = {}

    def emit(self, expr: Expr, dtype: str) -> Value:
        """The value of expr in the given element type, over all lanes it varies in."""
        key = (expr, dtype)
        if key not in self.memo:
            self.memo[key] = self.compute(expr, dtype)
        return self.memo[key]

    def compute(self, expr: Expr, dtype: str) -> Value:
        """As emit, without looking up."""
        if isinstance(expr, sympy.Symbol):
            return convert(self.b, self.values[expr], dtype)
        if isinstance(expr, BooleanTrue | BooleanFalse):
            return self.b.constant(dtype, bool(expr))
        if expr.is_number:
            return self.b.constant(dtype, number(expr, dtype))
        own = self.own(expr, dtype)
        return convert(self.b, self.dispatch(expr, own), dtype)

    def own(self, expr: Expr, default: str) -> str:
        """The element type in which an expression is computed."""
        return kind_of(expr, self.kinds, default)

    def dispatch(self, expr: Expr, dtype: str) -> Value:
        """One rule per class of expression."""
        b = self.b
        match expr:
            case sympy.Add():
                return self.add(expr, dtype)
            case sympy.Mul():
                return self.mul(expr, dtype)
            case sympy.Pow():
                return self.pow(expr.base, expr.exp, dtype)
            case sympy.Piecewise():
                return self.piecewise(expr, dtype)
            case sympy.And():
                return self.fold("and", expr.args)
            case sympy.Or():
                return self.fold("or", expr.args)
            case sympy.Xor():
                return self.fold("xor", expr.args)
            case sympy.Not():
                inner = self.emit(expr.args[0], "bool")
                return b.binary("xor", inner, b.constant("bool", True, inner.lanes))
            case scalar.cast():
                inner, kind = expr.args[0], str(expr.args[1])
                if inner.is_number:
                    return self.b.constant(kind, number(inner, kind))
                return self.emit(inner, dtype_of(inner, self.dtypes, kind))
            case scalar.bounded():
                return self.emit(expr.args[0], dtype)
        for relation, predicates in RELATIONS.items():
            if isinstance(expr, relation):
                return self.compare(expr, predicates)
        return self.function(expr, dtype)

    def both(self, x: Value, y: Value) -> tuple[Value, Value]:
        """Two values with the same number of lanes."""
        lanes = max(x.lanes, y.lanes)
        return self.b.splat(x, lanes), self.b.splat(y, lanes)

    def binary(self, opcode: str, x: Value, y: Value) -> Value:
        """A binary instruction on values of one element type, any lanes."""
        x, y = self.both(x, y)
        return self.b.binary(f"f{opcode}" if is_float(x.dtype) else opcode, x, y)

    def fold(self, opcode: str, parts: tuple[Expr, ...]) -> Value:
        """A logical operation over all parts."""
        values = [self.emit(p, "bool") for p in parts]
        return reduce(lambda x, y: self.b.binary(opcode, *self.both(x, y)), values)

    def add(self, expr: Expr, dtype: str) -> Value:
        """A sum; terms with a factor -1 are subtracted."""
        positive = [a for a in expr.args if not a.could_extract_minus_sign()]
        negative = [-a for a in expr.args if a.could_extract_minus_sign()]
        if not positive:
            return self.negate(self.emit(sympy.Add(*negative), dtype))
        total = self.emit(positive[0], dtype)
        for term in positive[1:]:
            total = self.binary("add", total, self.emit(term, dtype))
        for term in negative:
            total = self.binary("sub", total, self.emit(term, dtype))
        return total

    def negate(self, value: Value) -> Value:
        """-value."""
        if is_float(value.dtype):
            return self.b.negate(value)
        return self.b.binary("sub", self.b.constant(value.dtype, 0, value.lanes), value)

    def mul(self, expr: Expr, dtype: str) -> Value:
        """A product; factors with negative powers make one division."""
        above = [f for f in expr.args if not below(f)]
        under = [sympy.Pow(f.base, -f.exp) for f in expr.args if below(f)]
        coefficient = above[0] if above and above[0].is_Rational else None
        if coefficient is not None and coefficient == -1 and len(above) > 1:
            return self.negate(self.emit(sympy.Mul(*expr.args[1:]), dtype))
        parts = [self.emit(f, dtype) for f in above]
        if not parts:
            parts = [self.b.constant(dtype, 1)]
        top = reduce(lambda x, y: self.binary("mul", x, y), parts)
        if not under:
            return top
        bottom = reduce(lambda x, y: self.binary("mul", x, y), [self.emit(f, dtype) for f in under])
        return self.binary("div", top, bottom)

    def pow(self, base: Expr, exponent: Expr, dtype: str) -> Value:
        """Whole powers by multiplication, halves by square roots, the rest by the pow function."""
        if base == sympy.E:
            return self.call("exp", [exponent], dtype)
        if exponent == -HALF:
            return self.call("rsqrt", [base], dtype)
        if exponent.is_Rational and exponent < 0:
            one = self.b.constant(dtype, 1)
            return self.binary("div", one, self.emit(sympy.Pow(base, -exponent), dtype))
        if exponent.is_Integer:
            return self.power(self.emit(base, dtype), int(exponent))
        if exponent.is_Rational and exponent.q == 2:
            root = self.call("sqrt", [base], dtype)
            if exponent == HALF:
                return root
            whole = self.power(self.emit(base, dtype), int(exponent - HALF))
            return self.binary("mul", whole, root)
        return self.call("pow", [base, exponent], dtype)

    def power(self, value: Value, exponent: int) -> Value:
        """value ** exponent for a whole exponent of at least 1, by squaring."""
        result: Value | None = None
        while exponent:
            if exponent & 1:
                result = value if result is None else self.binary("mul", result, value)
            exponent >>= 1
            if exponent:
                value = self.binary("mul", value, value)
        assert result is not None
        return result

    def piecewise(self, expr: Expr, dtype: str) -> Value:
        """Compares and selects, last branch first; no branch true gives 0."""
        result: Value | None = None
        for value, condition in reversed(expr.args):
            branch = self.emit(value, dtype)
            if isinstance(condition, BooleanTrue):
                result = branch
                continue
            chosen = self.emit(condition, "bool")
            if result is None:
                result = self.b.constant(dtype, 0)
            branch, result = self.both(branch, result)
            lanes = max(chosen.lanes, branch.lanes)
            result = self.b.select(
                self.b.splat(chosen, lanes),
                self.b.splat(branch, lanes),
                self.b.splat(result, lanes),
            )
        assert result is not None
        return result

    def compare(self, expr: Expr, predicates: tuple[str, str]) -> Value:
        """A comparison in the common element type of both sides."""
        kind = common(expr.args, self.dtypes)
        x, y = self.both(self.emit(expr.args[0], kind), self.emit(expr.args[1], kind))
        if is_float(kind):
            return self.b.compare(predicates[0], x, y)
        predicate = predicates[1]
        if kind in ("uint8", "bool") and predicate[0] == "s":
            predicate = "u" + predicate[1:]
        return self.b.compare(predicate, x, y)

    def function(self, expr: Expr, dtype: str) -> Value:
        """A function of the table."""
        name = scalar.name_of(expr)
        if name in numeric.RANDOM:
            return self.call(name, list(expr.args), "int64")
        if name == "is_nan":
            return self.call(name, list(expr.args), self.own(expr.args[0], "float32"))
        if name in ("floor", "ceil", "trunc", "rint") and not is_float(dtype):
            return self.emit(expr.args[0], dtype)
        return self.call(name, list(expr.args), dtype)

    def call(self, name: str, operands: list[Expr], dtype: str) -> Value:
        """Emit a table function over operands of one element type."""
        function: Callable[..., Value] | None = FUNCTIONS.get(name)
        if function is None:
            raise UnsupportedOpError(f"no native code for the scalar function {name}")
        values = [self.emit(o, dtype) for o in operands]
        lanes = max(v.lanes for v in values)
        return function(self.b, *(self.b.splat(v, lanes) for v in values))


@lru_cache(maxsize=4096)
def kind_of(expr: Expr, kinds: tuple[tuple[Symbol, str], ...], default: str) -> str:
    """The element type in which an expression is computed: once for all steps of a tile."""
    return computed_in(expr, dict(kinds), default)


def below(factor: Expr) -> bool:
    """Whether a factor of a product belongs under the line."""
    return bool(
        factor.is_Pow and factor.exp.is_Rational and factor.exp < 0 and factor.base != sympy.E
    )


@lru_cache(maxsize=4096, typed=True)
def number(expr: Expr, dtype: str) -> float | int:
    """A constant expression as a Python number; one that is undefined, as 1/0 is, is NaN."""
    if expr.has(scalar.ScalarFunction):
        value: float | int = numeric.evaluate(expr, {}, {}, dtype).item()
        return value
    if is_float(dtype):
        return float(expr) if expr.is_extended_real else float("nan")
    return int(expr)
