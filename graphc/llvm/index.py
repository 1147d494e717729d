"""Index expressions, loop bounds and guards as values, and what a formula's symbols stand for."""

from __future__ import annotations

from graphc.llvm.builder import Value
from graphc.llvm.function import Function, Loop
from graphc.loops.ir import Arg, For, Guard
from graphc.ops.index import Affine, Bound, Runtime
from graphc.ops.scalar import Symbol


def argument(function: Function, arg: Arg, symbol: Symbol) -> Value:
    """What a symbol of a formula stands for."""
    if isinstance(arg, str):
        return function.values[arg]
    if isinstance(arg, Runtime):
        return bound(function, arg)
    return position(function, arg)


def position(function: Function, form: Affine) -> Value:
    """The value of an index expression, a lane each where it moves with the vector index."""
    form = form.substitute(function.constants)
    b = function.b
    step = 0
    if function.lanes is not None:
        step = form.coefficient(function.lanes.index)
        form = form.substitute({function.lanes.index: function.lanes.start})
    total = b.constant("int64", form.constant)
    for loop in function.loops:
        factor = form.coefficient(loop.index)
        if factor:
            part = scaled(function, loop, factor)
            total = part if total.text == "0" else b.binary("add", total, part)
    if not step or function.lanes is None:
        return total
    count = function.lanes.count
    ramp = Value(
        "<" + ", ".join(f"i64 {step * lane}" for lane in range(count)) + ">", "int64", count
    )
    return ramp if total.text == "0" else b.binary("add", b.splat(total, count), ramp)


def scaled(function: Function, loop: Loop, factor: int) -> Value:
    """factor * index, computed once at the head of the loop."""
    if factor == 1:
        return loop.value
    if factor not in loop.scaled:
        name = function.b.fresh()
        function.ahead(loop, f"{name} = mul i64 {loop.value.text}, {factor}")
        loop.scaled[factor] = name
    return Value(loop.scaled[factor], "int64")


def bound(function: Function, limit: Bound) -> Value:
    """A loop bound as an int64, run-time ones computed on entry."""
    b = function.b
    if isinstance(limit, int):
        return b.constant("int64", limit)
    key = f"%size.{limit.name}.{limit.scale}.{limit.multiple}"
    if key not in function.stack:
        function.stack[key] = key
        source = f"%size.{limit.name}"
        function.once(f"{key}.all = mul i64 {source}, {limit.scale}")
        function.once(f"{key}.rest = urem i64 {key}.all, {limit.multiple}")
        function.once(f"{key} = sub i64 {key}.all, {key}.rest")
    return Value(key, "int64")


def span(function: Function, loop: For) -> tuple[Value, Value]:
    """Where a loop begins and ends: with the steps at which its conditions hold."""
    b = function.b
    start, stop = bound(function, loop.start), bound(function, loop.stop)
    for guard in loop.where:
        by = guard.position.coefficient(loop.index)
        rest = position(function, guard.position.substitute({loop.index: Affine()}))
        limit, one = bound(function, guard.bound), b.constant("int64", 1)
        if by > 0:  # 0 <= rest + index < limit
            first, end = b.binary("sub", b.constant("int64", 0), rest), b.binary("sub", limit, rest)
        else:  # 0 <= rest - index < limit
            end = b.binary("add", rest, one)
            first = b.binary("sub", end, limit)
        start = b.select(b.compare("sgt", first, start), first, start)
        stop = b.select(b.compare("slt", end, stop), end, stop)
    return start, stop


def condition(function: Function, guards: tuple[Guard, ...]) -> Value | None:
    """All conditions, together with the mask of a run-time tail; None where nothing masks."""
    b = function.b
    total = function.lanes.mask if function.lanes is not None else None
    for guard in guards:
        at = position(function, guard.position)
        limit = b.splat(bound(function, guard.bound), at.lanes)
        inside = b.compare("ult", at, limit)
        if total is None:
            total = inside
        else:
            lanes = max(total.lanes, inside.lanes)
            total = b.binary("and", b.splat(total, lanes), b.splat(inside, lanes))
    return total
