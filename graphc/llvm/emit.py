"""Loop nests to LLVM IR text: one function a kernel, registers as SSA values, explicit vectors."""

from __future__ import annotations

from typing import Any

from graphc.errors import CompileError
from graphc.llvm import scalar as formulas
from graphc.llvm.builder import Value
from graphc.llvm.function import Function, Lanes, Loop
from graphc.llvm.index import argument, bound, position, span
from graphc.llvm.memory import alloc, fetch, load
from graphc.llvm.reduction import factors, update
from graphc.llvm.transpose import turned_block
from graphc.loops.ir import (
    Alloc,
    Barrier,
    Check,
    Fetch,
    For,
    Kernel,
    Let,
    Load,
    Stmt,
    Transpose,
    Update,
    walk,
)
from graphc.ops import cases
from graphc.ops.index import Affine, affine


def define(function: Function, extents: tuple[str, ...]) -> str:
    """The text of the whole function, of which nothing is written yet."""
    function.b.lines.append(function.entry)
    for buffer in function.kernel.buffers:
        at, slot = f"%{buffer.name}.at", f"%{buffer.name}.slot"
        function.once(f"{at} = getelementptr ptr, ptr %table, i64 {slot}")
        function.once(f"%{buffer.name} = load ptr, ptr {at}, align 8")
    statements(function, function.kernel.body)
    if function.past:  # such stores are seen in any order until then
        function.b.emit("fence seq_cst")
    function.b.emit("ret void")
    known = f" !dbg !{function.lines.subprogram}" if function.lines is not None else ""
    lines = [f"define {header(function.kernel, extents)} #0{known} {{", "entry:"]
    after = function.lines.text if function.lines is not None else []
    return "\n".join([*function.globals, *lines, *function.b.flat(), "}", *after])


def header(kernel: Kernel, extents: tuple[str, ...]) -> str:
    """A kernel's function as the parts of a program declare it to each other.

    It takes the table of pointers, and the slot of each of its buffers.
    """
    slots = [f"i64 %{b.name}.slot" for b in kernel.buffers]
    shared = ["i64 %thread", "i64 %threads", "ptr %team"] if kernel.parallel else []
    sizes = [f"i64 %size.{e}" for e in extents]
    parameters = ", ".join(["ptr %table", *slots, *sizes, "ptr %context", *shared])
    return f"hidden void @{kernel.name}({parameters})"


def statements(function: Function, stmts: tuple[Stmt, ...]) -> None:
    """Statements in order."""
    outside = function.b.where
    for stmt in stmts:
        if function.lines is not None:
            function.b.where = function.lines.at(stmt) or outside
        match stmt:
            case For(kind="vector"):
                vector(function, stmt)
            case For(kind="unrolled"):
                unrolled(function, stmt)
            case For(kind="single"):
                single(function, stmt)
            case For():
                serial(function, stmt)
            case Barrier():
                function.b.emit("call void @team.barrier(ptr %team, i64 %threads)")
            case Load():
                zero = function.lanes is not None and stmt.name in function.lanes.factors
                function.values[stmt.name] = load(function, stmt.access, stmt.guards, zero=zero)
            case Let():
                function.values[stmt.name] = formula(function, stmt)
            case Update():
                update(function, stmt)
            case Check():
                check(function, stmt)
            case Alloc():
                alloc(function, stmt.buffer)
            case Transpose():
                turned_block(function, stmt)
            case Fetch():
                fetch(function, stmt.access)
    function.b.where = outside


def unrolled(function: Function, loop: For) -> None:
    """Each step in turn, the index a constant."""
    assert isinstance(loop.start, int) and isinstance(loop.stop, int)
    for step in range(loop.start, loop.stop, loop.step):
        function.constants[loop.index] = Affine((), step)
        statements(function, loop.body)
    function.constants.pop(loop.index, None)


def vector(function: Function, loop: For) -> None:
    """All steps at once, one a lane; a run-time end masks the lanes beyond it."""
    if function.lanes is not None:
        raise CompileError(f"vector loop {loop.index} inside vector loop {function.lanes.index}")
    if isinstance(loop.start, int) and isinstance(loop.stop, int):
        count = loop.stop - loop.start
        if count <= 0:
            return
        if loop.step > count:
            mask = first_lanes(function, count, loop.step)
            start = Affine((), loop.start)
            function.lanes = Lanes(loop.index, start, loop.step, mask, factors(loop.body), count)
            statements(function, loop.body)
            function.lanes = None
            return
        if count == 1:
            unrolled(function, loop)
            return
        function.lanes = Lanes(loop.index, Affine((), loop.start), count)
        statements(function, loop.body)
        function.lanes = None
        return
    masked(function, loop)


def first_lanes(function: Function, count: int, lanes: int) -> Value:
    """A mask of the first lanes, found on entry.

    It hangs on the top bit of an address, which is 0, so that LLVM does not know it: a choice by a
    known mask becomes a shuffle, one by another the mask of the instruction before it.
    """
    name = f"%first.{count}.{lanes}"
    if name not in function.stack:
        function.stack[name] = name
        wide = f"<{lanes} x i32>"
        last = ", ".join(f"i32 {lane - count}" for lane in range(lanes))
        function.once(f"{name}.table = ptrtoint ptr %table to i64")
        function.once(f"{name}.top = lshr i64 {name}.table, 63")
        function.once(f"{name}.none = trunc i64 {name}.top to i32")
        function.once(f"{name}.one = insertelement {wide} poison, i32 {name}.none, i32 0")
        function.once(
            f"{name}.all = shufflevector {wide} {name}.one, {wide} poison, {wide} zeroinitializer"
        )
        function.once(f"{name} = icmp slt {wide} <{last}>, {name}.all")
    return Value(name, "bool", lanes)


def masked(function: Function, loop: For) -> None:
    """A vector loop of run-time length below `step` lanes."""
    b, count = function.b, loop.step
    start, stop = bound(function, loop.start), bound(function, loop.stop)
    left = b.binary("sub", stop, start)
    some = b.compare("sgt", left, b.constant("int64", 0))
    inside, after = function.fresh("tail"), function.fresh("done")
    before = function.label
    carried = updated(function, loop.body)
    previous = {key: function.registers[key] for key in carried}
    b.emit(f"br i1 {some.text}, label %{inside}, label %{after}")
    function.open(inside)
    short = b.convert("trunc", left, "int32")
    mask = b.compare("slt", b.iota("int32", count), b.splat(short, count))
    prelude: list[Any] = []
    b.lines.append(prelude)
    base = f"{loop.index}.base"
    function.loops.append(Loop(base, start, prelude))
    function.lanes = Lanes(loop.index, affine([(base, 1)]), count, mask, factors(loop.body))
    statements(function, loop.body)
    function.lanes = None
    function.loops.pop()
    end = function.label
    b.emit(f"br label %{after}")
    function.open(after)
    merge(function, carried, previous, before, end)


def single(function: Function, loop: For) -> None:
    """What the first thread alone runs."""
    inside, after = function.fresh("first"), function.fresh("all")
    first = function.b.define("bool", 1, "icmp eq i64 %thread, 0")
    function.b.emit(f"br i1 {first.text}, label %{inside}, label %{after}")
    function.open(inside)
    statements(function, loop.body)
    function.b.emit(f"br label %{after}")
    function.open(after)


def shared(function: Function, loop: For) -> None:
    """What this thread does of a loop that all share: its own part, and then pieces of the rest.

    Nothing that follows before a barrier reads what its steps write.
    """
    assert not updated(function, loop.body), "steps that are shared depend on nothing before them"
    b = function.b
    start, stop = bound(function, loop.start), bound(function, loop.stop)
    step = b.constant("int64", loop.step)
    rounded = b.binary("add", b.binary("sub", stop, start), b.constant("int64", loop.step - 1))
    steps = b.binary("udiv", rounded, step).text

    def ends(call: str) -> tuple[Value, Value]:
        """Begin and end of what a call gives, in steps."""
        pair = b.fresh()
        b.emit(f"{pair} = call {{ i64, i64 }} @team.{call}")
        first, last = (
            b.define("int64", 1, f"extractvalue {{ i64, i64 }} {pair}, {at}") for at in (0, 1)
        )
        return first, last

    own = ends(f"own(i64 %thread, i64 %threads, i64 {steps})")
    turn, following, after = map(function.fresh, ("turn", "more", "done"))
    before = function.label
    b.emit(f"br label %{turn}")
    function.open(turn)
    part = Value(b.fresh(), "int64"), Value(b.fresh(), "int64")
    phis = len(b.lines)
    b.lines.append("")
    first, end = (b.binary("add", start, b.binary("mul", at, step)) for at in part)
    last = b.select(b.compare("slt", end, stop), end, stop)
    counted(function, loop, first, last)
    b.emit(f"br label %{following}")
    function.open(following)
    more = ends(f"more(ptr %team, i64 %thread, i64 %threads, i64 {steps})")
    some = b.compare("sge", more[0], b.constant("int64", 0))
    b.emit(f"br i1 {some.text}, label %{turn}, label %{after}")
    b.lines[phis] = [
        f"  {now.text} = phi i64 [ {old.text}, %{before} ], [ {new.text}, %{following} ]{b.where}"
        for now, old, new in zip(part, own, more, strict=True)
    ]
    function.open(after)


def part(function: Function, loop: For) -> tuple[Value, Value]:
    """Where this thread's part of a loop within loops begins and ends, found on entry.

    Each time around it is the same, and no thread waits: what a step goes on from is its own.
    """
    b = function.b
    here = b.lines, b.known
    b.lines, b.known = function.entry, {}
    start, stop = bound(function, loop.start), bound(function, loop.stop)
    threads, step = Value("%threads", "int64"), b.constant("int64", loop.step)
    rounded = b.binary("add", b.binary("sub", stop, start), b.constant("int64", loop.step - 1))
    steps = b.binary("udiv", rounded, step)
    ends = []
    for number in (Value("%thread", "int64"), b.define("int64", 1, "add i64 %thread, 1")):
        share = b.binary("udiv", b.binary("mul", steps, number), threads)
        ends.append(b.binary("add", start, b.binary("mul", share, step)))
    last = b.select(b.compare("slt", ends[1], stop), ends[1], stop)
    b.lines, b.known = here
    return ends[0], last


def serial(function: Function, loop: For) -> None:
    """A counted loop."""
    if loop.extent == 0:
        return
    if loop.kind == "parallel" and function.loops:
        counted(function, loop, *part(function, loop))
    elif loop.kind == "parallel":
        shared(function, loop)
    elif loop.extent == 1:
        unrolled(function, loop)
    else:
        counted(function, loop, *span(function, loop))


def counted(function: Function, loop: For, start: Value, stop: Value) -> None:
    """A loop between two bounds; registers that its body updates are carried as phis."""
    b = function.b
    head, after = function.fresh("loop"), function.fresh("done")
    before = function.label
    carried = updated(function, loop.body)
    previous = {key: function.registers[key] for key in carried}
    uncertain = loop.extent is None or loop.kind == "parallel"
    first, by, last = way(function, loop, start, stop)
    if uncertain:
        some = b.compare("slt", start, stop)
        b.emit(f"br i1 {some.text}, label %{head}, label %{after}")
    else:
        b.emit(f"br label %{head}")
    function.open(head)
    index = Value(b.fresh(), "int64")
    phis = len(b.lines)
    b.lines.append("")
    for key in carried:
        old = function.registers[key]
        function.registers[key] = Value(b.fresh(), old.dtype, old.lanes)
    entered = {key: function.registers[key] for key in carried}
    prelude: list[Any] = []
    b.lines.append(prelude)
    function.loops.append(Loop(loop.index, index, prelude, bool(loop.where)))
    statements(function, loop.body)
    function.loops.pop()
    following = b.binary("add", index, by)
    more = b.compare("ne", index, last) if loop.back else b.compare("slt", following, stop)
    end = function.label
    b.emit(f"br i1 {more.text}, label %{head}, label %{after}")
    again = f"[ {following.text}, %{end} ]{b.where}"
    lines = [f"  {index.text} = phi i64 [ {first.text}, %{before} ], {again}"]
    for key, phi in entered.items():
        lines.append(
            f"  {phi.text} = phi {phi.type} [ {previous[key].text}, %{before} ], "
            f"[ {function.registers[key].text}, %{end} ]{b.where}"
        )
    b.lines[phis] = lines
    function.open(after)
    if uncertain:
        merge(function, carried, previous, before, end)


def way(function: Function, loop: For, start: Value, stop: Value) -> tuple[Value, Value, Value]:
    """The first index of a loop, what leads to the next one, and where it ends.

    That is the bound, or the last index of a loop that goes back: its steps are whole.
    """
    b = function.b
    by = b.constant("int64", loop.step)
    if not loop.back:
        return start, by, stop
    odd = b.convert("trunc", position(function, affine([(loop.back, 1)])), "bool")
    last = b.binary("sub", stop, by)
    ends = b.select(odd, last, start), b.select(odd, start, last)
    return ends[0], b.select(odd, b.constant("int64", -loop.step), by), ends[1]


def merge(
    function: Function,
    carried: list[tuple[str, int]],
    previous: dict[Any, Value],
    before: str,
    end: str,
) -> None:
    """Registers after a loop that may not have run."""
    for key in carried:
        value = function.registers[key]
        function.registers[key] = function.b.define(
            value.dtype,
            value.lanes,
            f"phi {value.type} [ {previous[key].text}, %{before} ], [ {value.text}, %{end} ]",
        )


def updated(function: Function, body: tuple[Stmt, ...]) -> list[tuple[str, int]]:
    """The registers that live before a loop and that its body updates."""
    targets: set[str] = set()
    inside: set[str] = set()
    for stmt in walk(body):
        if isinstance(stmt, Update):
            targets.add(stmt.target.buffer.name)
            if stmt.companion is not None:
                targets.add(stmt.companion.buffer.name)
        if isinstance(stmt, Alloc):
            inside.add(stmt.buffer.name)
    return [key for key in function.registers if key[0] in targets - inside]


def check(function: Function, stmt: Check) -> None:
    """Record the first index outside its bound in the context; the call then fails."""
    b = function.b
    value = function.values[stmt.name]
    wide = formulas.convert(b, value, "int64")
    limit = b.splat(bound(function, stmt.bound), wide.lanes)
    bad = b.compare("uge", wide, limit)
    if function.lanes is not None and function.lanes.mask is not None and bad.lanes > 1:
        bad = b.binary("and", bad, function.lanes.mask)
    if bad.lanes > 1:
        wrong = b.define("bool", 1, f"call i1 @llvm.vector.reduce.or.v{bad.lanes}i1({bad})")
        b.declarations.add(f"declare i1 @llvm.vector.reduce.or.v{bad.lanes}i1(<{bad.lanes} x i1>)")
    else:
        wrong = bad
    slow, after = function.fresh("bad"), function.fresh("good")
    b.emit(f"br i1 {wrong.text}, label %{slow}, label %{after}")
    function.open(slow)
    b.emit(f"store i64 {stmt.tag}, ptr %context, align 8")
    b.emit(f"br label %{after}")
    function.open(after)


def formula(function: Function, stmt: Let) -> Value:
    """The value of a Let; of a formula with a case for each step of an unrolled loop, that case."""
    expr, args = stmt.expr, dict(stmt.args)
    where = cases.switch(expr)
    place = args.get(where) if where is not None else None
    if isinstance(place, Affine):
        place = place.substitute(function.constants)
        if not place.terms:
            expr = cases.case(expr, place.constant)
            args = {symbol: arg for symbol, arg in args.items() if symbol in expr.free_symbols}
    values = {symbol: argument(function, arg, symbol) for symbol, arg in args.items()}
    return formulas.emit(function.b, expr, values, stmt.dtype)
