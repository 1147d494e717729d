"""Reading and writing elements: addresses, masks, contiguous and spread vectors."""

from __future__ import annotations

from graphc.errors import CompileError
from graphc.llvm import scalar as formulas
from graphc.llvm.builder import LLVM_TYPES, Value, spell
from graphc.llvm.function import Function
from graphc.llvm.index import condition, scaled
from graphc.loops.ir import Access, Buffer, Guard
from graphc.ops.index import Affine
from graphc.types import SIZE

WHOLE = (1, 2, 4, 8)
"""So many neighbours one instruction loads, or stores, without a mask."""
LINE, PAST = 64, ", !nontemporal !{i32 1}"
"""Bytes of a cache line, where a result begins; what makes a store go past the caches."""


def alloc(function: Function, buffer: Buffer) -> None:
    """A register buffer starts empty; one on the stack is reserved on entry, if shared for good."""
    if buffer.space == "register":
        for key in [k for k in function.registers if k[0] == buffer.name]:
            del function.registers[key]
        return
    if buffer.name in function.stack:
        return
    element = memory_type(buffer.dtype)
    if buffer.space == "shared":
        name = f"@{function.kernel.name}.{buffer.name}"
        array = f"[{buffer.size} x {element}]"
        function.globals.append(f"{name} = internal global {array} zeroinitializer, align 64")
        function.stack[buffer.name] = name
    else:
        name = f"%{buffer.name}"
        function.once(f"{name} = alloca [{buffer.size} x {element}], align 64")
        function.stack[buffer.name] = name


def register(function: Function, access: Access) -> tuple[str, int]:
    """Which register an access means: its name and the place of lane 0."""
    form = access.offset.substitute(function.constants)
    if function.lanes is not None:
        form = form.substitute({function.lanes.index: Affine()})
    if form.terms:
        raise CompileError(f"{function.kernel.name}: register {access} moves with {form.names}")
    return access.buffer.name, form.constant


def held(function: Function, access: Access) -> Value:
    """What a register holds; in a vector loop, as many of its lanes as the loop has."""
    _, value, lanes = slot(function, access)
    if len(lanes) >= value.lanes:
        return value
    return function.b.shuffle(value, value, lanes)


def hold(function: Function, access: Access, value: Value) -> None:
    """Change what a register holds; in a vector loop, as many of its lanes as the loop has."""
    key, old, lanes = slot(function, access)
    if len(lanes) < old.lanes:
        wide = function.b.shuffle(value, value, [i % len(lanes) for i in range(old.lanes)])
        order = [old.lanes + i - lanes.start if i in lanes else i for i in range(old.lanes)]
        value = function.b.shuffle(old, wide, order)
    function.registers[key] = value


def slot(function: Function, access: Access) -> tuple[tuple[str, int], Value, range]:
    """Where the value of a register is kept, the value, and which of its lanes are meant."""
    key = name, place = register(function, access)
    if key not in function.registers:
        key = name, max(at for kept, at in function.registers if kept == name and at <= place)
    lanes, first = function.lanes, place - key[1]
    moves = lanes is not None and access.offset.coefficient(lanes.index) != 0
    count = lanes.count if lanes is not None and moves else 1
    return key, function.registers[key], range(first, first + count)


def pointer(function: Function, access: Access) -> tuple[str, int, list[tuple[Value, int]]]:
    """The address of lane 0, the step between lanes, and vectors of looked-up offsets.

    Offsets are added loop by loop, at the head of each loop, so that an inner loop adds only
    what it moves by.
    """
    form = access.offset.substitute(function.constants)
    step = 0
    if function.lanes is not None:
        step = form.coefficient(function.lanes.index)
        form = form.substitute({function.lanes.index: function.lanes.start})
    element = memory_type(access.buffer.dtype)
    name = function.stack.get(access.buffer.name, f"%{access.buffer.name}")
    terms: list[tuple[str, int]] = []
    for loop in function.loops:
        factor = form.coefficient(loop.index)
        if not factor:
            continue
        terms.append((loop.index, factor))
        key = (access.buffer.name, tuple(terms))
        if key not in loop.pointers:
            amount = scaled(function, loop, factor)
            fresh = function.b.fresh()
            function.ahead(
                loop, f"{fresh} = getelementptr {element}, ptr {name}, i64 {amount.text}"
            )
            if loop.opaque:
                seen, fresh = fresh, function.b.fresh()
                function.ahead(loop, f"{fresh} = freeze ptr {seen}")
            loop.pointers[key] = fresh
        name = loop.pointers[key]
    vectors = []
    for value_name, stride in access.lookups:
        value = formulas.convert(function.b, function.values[value_name], "int64")
        if value.lanes > 1:
            vectors.append((value, stride))
            continue
        amount = function.b.binary("mul", value, function.b.constant("int64", stride))
        name = function.b.address(element, name, amount).text
    if form.constant:
        name = function.b.address(element, name, function.b.constant("int64", form.constant)).text
    return name, step, vectors


def load(
    function: Function, access: Access, guards: tuple[Guard, ...], *, zero: bool = False
) -> Value:
    """Read an element, or one a lane; nothing is read where a guard fails or a lane is off.

    What is there then is 0 where a guard fails, and in any lane if that is to be `zero`.
    """
    if access.buffer.space == "register":
        return held(function, access)
    name, step, vectors = pointer(function, access)
    dtype = access.buffer.dtype
    kind = "uint8" if dtype == "bool" else dtype
    short = shorter(function, step, vectors, guards)
    if short and (step != 1 or vectors or short in WHOLE) and (short > 1 or not vectors):
        value = read_short(function, name, kind, step, vectors, short, 0 if zero else 1)
        return formulas.convert(function.b, value, "bool") if dtype == "bool" else value
    mask = condition(function, guards) if guards or step or vectors else None
    count = function.lanes.count if function.lanes is not None else 1
    several = step != 0 or bool(vectors) or (mask is not None and mask.lanes > 1)
    if step == 1 and not vectors and mask is not None and mask.lanes == 1:
        value = read_one(function, name, kind, mask, count)  # all lanes or none
    elif several:
        value = read_lanes(
            function, name, kind, step, vectors, mask, count, 0 if guards or zero else 1
        )
    else:
        value = read_one(function, name, kind, mask)
    return formulas.convert(function.b, value, "bool") if dtype == "bool" else value


def shorter(
    function: Function, step: int, vectors: list[tuple[Value, int]], guards: tuple[Guard, ...]
) -> int:
    """How many elements a vector loop reads or writes, if they are less than its lanes; or 0."""
    lanes = function.lanes
    if lanes is None or guards or not (step or vectors):
        return 0
    return lanes.known


def read_short(
    function: Function,
    name: str,
    kind: str,
    step: int,
    vectors: list[tuple[Value, int]],
    count: int,
    rest: int,
) -> Value:
    """Elements in the first lanes of a vector, and a number in the others."""
    b = function.b
    assert function.lanes is not None
    lanes = function.lanes.count
    if count == 1:
        value = b.define(kind, 1, f"load {spell(kind, 1)}, ptr {name}, align {SIZE[kind]}")
        others = b.constant(kind, rest, lanes)
        return b.define(kind, lanes, f"insertelement {others}, {value}, i64 0")
    first = [(b.shuffle(v, v, range(count)), stride) for v, stride in vectors]
    value = read_lanes(function, name, kind, step, first, None, count, rest)
    order = [min(lane, count) for lane in range(lanes)]
    return b.shuffle(value, b.constant(kind, rest, count), order)


def read_one(function: Function, name: str, kind: str, mask: Value | None, count: int = 1) -> Value:
    """One element, or neighbouring ones, or 0."""
    b, type = function.b, spell(kind, count)
    if mask is None:
        return b.define(kind, count, f"load {type}, ptr {name}, align {SIZE[kind]}")
    inside, after = function.fresh("read"), function.fresh("skip")
    before = function.label
    b.emit(f"br i1 {mask.text}, label %{inside}, label %{after}")
    function.open(inside)
    value = b.define(kind, count, f"load {type}, ptr {name}, align {SIZE[kind]}")
    b.emit(f"br label %{after}")
    function.open(after)
    zero = "zeroinitializer" if count > 1 else b.constant(kind, 0).text
    return b.define(kind, count, f"phi {type} [ {zero}, %{before} ], [ {value.text}, %{inside} ]")


def read_lanes(
    function: Function,
    name: str,
    kind: str,
    step: int,
    vectors: list[tuple[Value, int]],
    mask: Value | None,
    count: int,
    empty: int,
) -> Value:
    """One element a lane: contiguous, or gathered; `empty` where the mask is off.

    Lanes that are off read 1: LLVM takes 0/0 for 0 where it sees the zeros.
    """
    b = function.b
    type, align = spell(kind, count), SIZE[kind]
    zero = b.constant(kind, empty, count)
    if step == 1 and not vectors:
        if mask is None:
            return b.define(kind, count, f"load {type}, ptr {name}, align {align}")
        mask = b.splat(mask, count)
        intrinsic = f"@llvm.masked.load.{suffix(kind, count)}.p0"
        b.declarations.add(f"declare {type} {intrinsic}(ptr, <{count} x i1>, {type})")
        return b.define(
            kind, count, f"call {type} {intrinsic}(ptr align {align} {name}, {mask}, {zero})"
        )
    if step == 2 and not vectors and mask is None:
        return read_alternate(function, name, kind, count)
    if step == -1 and not vectors and mask is None:
        last = b.address(LLVM_TYPES[kind], name, b.constant("int64", 1 - count))
        forward = b.define(kind, count, f"load {type}, {last}, align {align}")
        return b.shuffle(forward, forward, range(count - 1, -1, -1))
    pointers = addresses(function, name, kind, step, vectors, count)
    on = b.splat(mask, count) if mask is not None else b.constant("bool", True, count)
    intrinsic = f"@llvm.masked.gather.{suffix(kind, count)}.v{count}p0"
    b.declarations.add(f"declare {type} {intrinsic}(<{count} x ptr>, <{count} x i1>, {type})")
    return b.define(
        kind,
        count,
        f"call {type} {intrinsic}(<{count} x ptr> align {align} {pointers}, {on}, {zero})",
    )


def read_alternate(function: Function, name: str, kind: str, count: int) -> Value:
    """Every other element: two loads, the second up to the last one wanted, and a shuffle.

    Both are whole registers, so that 6 lanes, of 11 elements, are read as 8 and 8.
    """
    b, span = function.b, 2 * count - 1
    width = 1 << (span.bit_length() - 1)
    type, align = spell(kind, width), SIZE[kind]
    first = b.define(kind, width, f"load {type}, ptr {name}, align {align}")
    further = b.address(LLVM_TYPES[kind], name, b.constant("int64", span - width))
    second = b.define(kind, width, f"load {type}, {further}, align {align}")
    places = range(0, span, 2)
    return b.shuffle(first, second, [p if p < width else p - span + 2 * width for p in places])


def store(
    function: Function,
    access: Access,
    value: Value,
    guards: tuple[Guard, ...],
    *,
    past: bool = False,
) -> None:
    """Write an element, or one a lane; nothing is written where a guard fails.

    `past`: whole aligned vectors, which go past the caches.
    """
    b = function.b
    name, step, vectors = pointer(function, access)
    kind = access.buffer.dtype
    if kind == "bool":
        value, kind = formulas.convert(b, value, "uint8"), "uint8"
    mask = condition(function, guards)
    align = SIZE[kind]
    if step == 0 and not vectors:
        if value.lanes > 1:
            raise CompileError(f"{function.kernel.name}: lanes stored to one place {access}")
        if mask is None:
            b.emit(f"store {value}, ptr {name}, align {align}")
            return
        inside, after = function.fresh("write"), function.fresh("skip")
        b.emit(f"br i1 {mask.text}, label %{inside}, label %{after}")
        function.open(inside)
        b.emit(f"store {value}, ptr {name}, align {align}")
        b.emit(f"br label %{after}")
        function.open(after)
        return
    assert function.lanes is not None
    count = function.lanes.count
    value = b.splat(value, count)
    short = shorter(function, step, vectors, guards)
    if short and not vectors and (step != 1 or short in WHOLE or not function.masked):
        store_first(function, name, kind, value, step, short)
        return
    if step == 1 and not vectors and mask is None:
        if past:
            function.past = True
            b.emit(f"store {value}, ptr {name}, align {min(align * count, LINE)}{PAST}")
            return
        b.emit(f"store {value}, ptr {name}, align {align}")
        return
    on = b.splat(mask, count) if mask is not None else b.constant("bool", True, count)
    if step == 1 and not vectors:
        intrinsic = f"@llvm.masked.store.{suffix(kind, count)}.p0"
        b.declarations.add(f"declare void {intrinsic}({value.type}, ptr, <{count} x i1>)")
        b.emit(f"call void {intrinsic}({value}, ptr align {align} {name}, {on})")
        return
    if not vectors and mask is None:
        store_first(function, name, kind, value, step, count)
        return
    pointers = addresses(function, name, kind, step, vectors, count)
    intrinsic = f"@llvm.masked.scatter.{suffix(kind, count)}.v{count}p0"
    b.declarations.add(f"declare void {intrinsic}({value.type}, <{count} x ptr>, <{count} x i1>)")
    b.emit(f"call void {intrinsic}({value}, <{count} x ptr> align {align} {pointers}, {on})")


def store_first(
    function: Function, name: str, kind: str, value: Value, step: int, count: int
) -> None:
    """Write the first lanes: neighbours at once, others one by one.

    A scatter would compute the address of every lane.
    """
    b, align = function.b, SIZE[kind]
    if step == 1 and count > 1:
        first = b.shuffle(value, value, range(count))
        b.emit(f"store {first}, ptr {name}, align {align}")
        return
    for lane in range(count):
        part = b.define(value.dtype, 1, f"extractelement {value}, i64 {lane}")
        place = b.address(LLVM_TYPES[kind], name, b.constant("int64", step * lane))
        b.emit(f"store {part}, ptr {place.text}, align {align}")


def addresses(
    function: Function,
    name: str,
    kind: str,
    step: int,
    vectors: list[tuple[Value, int]],
    count: int,
) -> str:
    """A vector of addresses."""
    b = function.b
    total = Value(
        "<" + ", ".join(f"i64 {step * lane}" for lane in range(count)) + ">", "int64", count
    )
    for value, stride in vectors:
        amount = b.binary("mul", value, b.constant("int64", stride, count))
        total = b.binary("add", total, amount)
    return b.address(LLVM_TYPES[kind], name, total).text


def fetch(function: Function, access: Access) -> None:
    """Ask for the line of a first lane, to be read from all caches."""
    function.b.declarations.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
    name, _, _ = pointer(function, access)
    function.b.emit(f"call void @llvm.prefetch.p0(ptr {name}, i32 0, i32 3, i32 1)")


def memory_type(dtype: str) -> str:
    """How an element is stored; a bool takes a byte."""
    return "i8" if dtype == "bool" else LLVM_TYPES[dtype]


def suffix(kind: str, lanes: int) -> str:
    """An intrinsic's name for a vector type."""
    scalar = {"float": "f32", "double": "f64"}.get(LLVM_TYPES[kind], LLVM_TYPES[kind])
    return f"v{lanes}{scalar}"
