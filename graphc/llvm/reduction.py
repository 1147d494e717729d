"""Updates: a value stored, or combined with what is there, in a lane each or across the lanes."""

from __future__ import annotations

import sympy

from graphc.errors import CompileError
from graphc.llvm import scalar as formulas
from graphc.llvm.builder import Value
from graphc.llvm.function import Function
from graphc.llvm.functions import FUNCTIONS
from graphc.llvm.index import argument, condition
from graphc.llvm.memory import held, hold, load, register, store
from graphc.loops.ir import For, Load, Stmt, Update, is_product, used, walk
from graphc.ops.scalar import Symbol, identity
from graphc.types import is_float

COMBINE = {
    "sum": ("fadd", "add"),
    "prod": ("fmul", "mul"),
    "any": ("or", "or"),
    "all": ("and", "and"),
}


def update(function: Function, stmt: Update) -> None:
    """target how= expr."""
    values = {symbol: argument(function, arg, symbol) for symbol, arg in stmt.args}
    dtype = stmt.target.buffer.dtype
    if stmt.how in ("argmax", "argmin"):
        update_arg(function, stmt, values)
        return
    moves = function.lanes is not None and stmt.target.offset.coefficient(function.lanes.index) != 0
    count = function.lanes.count if function.lanes is not None and moves else 1
    if stmt.how == "=":
        value = formulas.emit(function.b, stmt.expr, values, dtype)
        if stmt.target.buffer.space == "register":
            key = register(function, stmt.target)
            function.registers[key] = function.b.splat(value, count)
            function.begun[key] = function.lanes.mask if function.lanes is not None else None
        else:
            store(function, stmt.target, value, stmt.guards, past=stmt.past)
        return
    mask = condition(function, stmt.guards)
    factors = fused(stmt, values, dtype)
    if factors is not None and adds_nothing(function, stmt, factors):
        mask = None
    in_register = stmt.target.buffer.space == "register"
    scatter = any(function.values[n].lanes > 1 for n, _ in stmt.target.lookups)
    if scatter:
        raise CompileError(f"{function.kernel.name}: lanes may collide in {stmt.target}")
    if in_register:
        old = held(function, stmt.target)
        begun = function.begun.get(register(function, stmt.target)) if moves else None
        if mask == begun and not stmt.guards:
            mask = None  # the lanes that are off were never on
    else:
        old = load(function, stmt.target, stmt.guards)
    if (
        factors is not None
        and mask is None
        and (moves or function.lanes is None or all(v.lanes == 1 for v in factors))
    ):
        lanes = max(old.lanes, *(v.lanes for v in factors))
        x, y = (function.b.splat(v, lanes) for v in factors)
        new = function.b.fmuladd(x, y, function.b.splat(old, lanes))
    else:
        new = reduced(function, stmt, values, dtype, mask, old, moves, factors)
    if in_register:
        hold(function, stmt.target, new)
    else:
        store(function, stmt.target, new, stmt.guards)


def reduced(
    function: Function,
    stmt: Update,
    values: dict[Symbol, Value],
    dtype: str,
    mask: Value | None,
    old: Value,
    moves: bool,
    factors: tuple[Value, Value] | None,
) -> Value:
    """old combined with the expression, across the lanes where the target stands still."""
    b = function.b
    empty = empty_of(stmt.how, dtype)
    if factors is not None and mask is not None and (moves or function.lanes is None):
        lanes = max(old.lanes, mask.lanes, *(v.lanes for v in factors))
        x, y, z = (b.splat(v, lanes) for v in (*factors, old))
        return b.select(b.splat(mask, lanes), b.fmuladd(x, y, z), z)
    value = formulas.emit(b, stmt.expr, values, dtype)
    if function.lanes is not None and not moves:
        value = b.splat(value, function.lanes.count)
    if mask is not None:
        lanes = max(mask.lanes, value.lanes)
        value = b.select(
            b.splat(mask, lanes), b.splat(value, lanes), b.constant(dtype, empty, lanes)
        )
    if function.lanes is not None and not moves:
        value = across(function, value, stmt.how, empty)
    lanes = max(old.lanes, value.lanes)
    return combine(function, stmt.how, b.splat(old, lanes), b.splat(value, lanes))


def combine(function: Function, how: str, x: Value, y: Value) -> Value:
    """One step of a reduction."""
    if how in ("max", "min"):
        return FUNCTIONS[f"{how}imum"](function.b, x, y)
    opcodes = COMBINE[how]
    if x.dtype == "bool":
        return function.b.binary({"sum": "or", "prod": "and"}.get(how, opcodes[1]), x, y)
    return function.b.binary(opcodes[0] if is_float(x.dtype) else opcodes[1], x, y)


def across(function: Function, value: Value, how: str, empty: float | int) -> Value:
    """A tree over the lanes: the upper half onto the lower, until one is left."""
    b = function.b
    lanes = 1 << (value.lanes - 1).bit_length()
    if lanes != value.lanes:
        fill = b.constant(value.dtype, empty, value.lanes)
        value = b.shuffle(value, fill, range(lanes))
    while lanes > 1:
        lanes //= 2
        halves = []
        for first in (0, lanes):
            halves.append(
                b.shuffle(value, value, range(first, first + lanes))
                if lanes > 1
                else b.define(value.dtype, 1, f"extractelement {value}, i64 {first}")
            )
        value = combine(function, how, halves[0], halves[1])
    return value


def update_arg(function: Function, stmt: Update, values: dict[Symbol, Value]) -> None:
    """Keep the first best value and where it stands; a NaN is better than any number.

    The place is -1 until there is one: the first value is the best so far, infinite or not.
    """
    assert stmt.companion is not None and stmt.place is not None
    b = function.b
    kind = stmt.companion.buffer.dtype
    best_key, where_key = register(function, stmt.companion), register(function, stmt.target)
    best, where = function.registers[best_key], function.registers[where_key]
    value = formulas.emit(b, stmt.expr, values, kind)
    place = formulas.emit(b, stmt.place, values, stmt.target.buffer.dtype)
    lanes = max(best.lanes, value.lanes, place.lanes)
    best, where, value, place = (b.splat(v, lanes) for v in (best, where, value, place))
    if is_float(kind):
        better = b.compare("ogt" if stmt.how == "argmax" else "olt", value, best)
        odd = b.compare("uno", value, value)
        fine = b.compare("oeq", best, best)
        better = b.binary("or", better, b.binary("and", odd, fine))
    else:
        unsigned = "u" if kind in ("bool", "uint8") else "s"
        better = b.compare(f"{unsigned}{'gt' if stmt.how == 'argmax' else 'lt'}", value, best)
    better = b.binary("or", better, b.compare("slt", where, b.constant(where.dtype, 0, lanes)))
    mask = condition(function, stmt.guards)
    if mask is not None:
        better = b.binary("and", better, b.splat(mask, lanes))
    function.registers[best_key] = b.select(better, value, best)
    function.registers[where_key] = b.select(better, place, where)


def fused(stmt: Update, values: dict[Symbol, Value], dtype: str) -> tuple[Value, Value] | None:
    """The two factors of a product that is summed, for a fused multiply-add."""
    if stmt.how != "sum" or not is_float(dtype) or not isinstance(stmt.expr, sympy.Mul):
        return None
    if len(stmt.expr.args) != 2 or any(f not in values for f in stmt.expr.args):
        return None
    first, second = (values[f] for f in stmt.expr.args)
    return (first, second) if first.dtype == second.dtype == dtype else None


def factors(stmts: tuple[Stmt, ...]) -> frozenset[str]:
    """What some statements load for nothing but sums of products of two values."""
    every = [stmt for stmt in walk(stmts) if not isinstance(stmt, For)]
    loads = [stmt for stmt in every if isinstance(stmt, Load)]
    loaded = {stmt.name for stmt in loads if stmt.access.buffer.space != "register"}
    return frozenset(loaded.difference(*(used(stmt) for stmt in every if not is_product(stmt))))


def adds_nothing(function: Function, stmt: Update, factors: tuple[Value, Value]) -> bool:
    """Whether both factors are 0 in the lanes that are off, as they were loaded so."""
    lanes = function.lanes
    loaded = lanes is not None and used(stmt) <= lanes.factors
    return loaded and not stmt.guards and all(value.lanes > 1 for value in factors)


def empty_of(how: str, dtype: str) -> float | int:
    """What contributes nothing to a reduction."""
    return (
        formulas.number(identity(how, dtype), dtype)
        if dtype != "bool"
        else how in ("all", "min", "prod")
    )
