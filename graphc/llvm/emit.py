"""Loop nests to LLVM IR text: one function a kernel, registers as SSA values, explicit vectors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sympy

from graphc.errors import CompileError
from graphc.llvm import scalar as formulas
from graphc.llvm.builder import LLVM_TYPES, Builder, Value, spell
from graphc.llvm.functions import FUNCTIONS
from graphc.loops.ir import (
    Access,
    Alloc,
    Arg,
    Buffer,
    Check,
    For,
    Guard,
    Kernel,
    Let,
    Load,
    Stmt,
    Transpose,
    Update,
    walk,
)
from graphc.ops.index import Affine, Bound, Runtime, affine
from graphc.ops.scalar import Symbol, identity
from graphc.types import SIZE, is_float

COMBINE = {
    "sum": ("fadd", "add"),
    "prod": ("fmul", "mul"),
    "any": ("or", "or"),
    "all": ("and", "and"),
}


@dataclass
class Loop:
    """A serial loop around the statement being emitted: its index and where to hoist to."""

    index: str
    value: Value
    prelude: list[Any]
    pointers: dict[tuple[str, Affine], str] = field(default_factory=dict)
    scaled: dict[int, str] = field(default_factory=dict)


@dataclass
class Lanes:
    """The vector loop around the statement being emitted."""

    index: str
    start: Affine
    count: int
    mask: Value | None = None


@dataclass
class Function:
    """One kernel's function being written."""

    kernel: Kernel
    b: Builder = field(default_factory=Builder)
    values: dict[str, Value] = field(default_factory=dict)
    constants: dict[str, Affine] = field(default_factory=dict)
    loops: list[Loop] = field(default_factory=list)
    lanes: Lanes | None = None
    registers: dict[tuple[str, int], Value] = field(default_factory=dict)
    stack: dict[str, str] = field(default_factory=dict)
    label: str = "entry"
    labels: int = 0

    def text(self, name: str, extents: tuple[str, ...]) -> str:
        """The whole function."""
        self.extents = extents
        self.entry: list[Any] = []
        self.b.lines.append(self.entry)
        self.body(self.kernel.body)
        self.b.emit("ret void")
        buffers = [f"ptr %{b.name}" for b in self.kernel.buffers]
        parameters = ", ".join([*buffers, *(f"i64 %size.{e}" for e in extents), "ptr %context"])
        lines = [f"define internal void @{name}({parameters}) #0 {{", "entry:"]
        return "\n".join([*lines, *self.b.flat(), "}"])

    # --- statements ------------------------------------------------------------------------

    def body(self, stmts: tuple[Stmt, ...]) -> None:
        """Statements in order."""
        for stmt in stmts:
            match stmt:
                case For(kind="vector"):
                    self.vector(stmt)
                case For(kind="unrolled"):
                    self.unrolled(stmt)
                case For():
                    self.serial(stmt)
                case Load():
                    self.values[stmt.name] = self.load(stmt.access, stmt.guards)
                case Let():
                    self.values[stmt.name] = self.formula(stmt)
                case Update():
                    self.update(stmt)
                case Check():
                    self.check(stmt)
                case Alloc():
                    self.alloc(stmt.buffer)
                case Transpose():
                    self.turned_block(stmt)

    def unrolled(self, loop: For) -> None:
        """Each step in turn, the index a constant."""
        assert isinstance(loop.start, int) and isinstance(loop.stop, int)
        for step in range(loop.start, loop.stop, loop.step):
            self.constants[loop.index] = Affine((), step)
            self.body(loop.body)
        self.constants.pop(loop.index, None)

    def vector(self, loop: For) -> None:
        """All steps at once, one a lane; a run-time end masks the lanes beyond it."""
        if self.lanes is not None:
            raise CompileError(f"vector loop {loop.index} inside vector loop {self.lanes.index}")
        if isinstance(loop.start, int) and isinstance(loop.stop, int):
            count = loop.stop - loop.start
            if count <= 0:
                return
            if loop.step > count:
                on = ", ".join(f"i1 {str(i < count).lower()}" for i in range(loop.step))
                mask = Value(f"<{on}>", "bool", loop.step)
                self.lanes = Lanes(loop.index, Affine((), loop.start), loop.step, mask)
                self.body(loop.body)
                self.lanes = None
                return
            if count == 1:
                self.unrolled(loop)
                return
            self.lanes = Lanes(loop.index, Affine((), loop.start), count)
            self.body(loop.body)
            self.lanes = None
            return
        self.masked(loop)

    def masked(self, loop: For) -> None:
        """A vector loop of run-time length below `step` lanes."""
        b, count = self.b, loop.step
        start, stop = self.bound(loop.start), self.bound(loop.stop)
        left = b.binary("sub", stop, start)
        some = b.compare("sgt", left, b.constant("int64", 0))
        inside, after = self.fresh("tail"), self.fresh("done")
        before = self.label
        carried = self.carried(loop.body)
        previous = {key: self.registers[key] for key in carried}
        b.emit(f"br i1 {some.text}, label %{inside}, label %{after}")
        self.open(inside)
        short = b.convert("trunc", left, "int32")
        mask = b.compare("slt", b.iota("int32", count), b.splat(short, count))
        prelude: list[Any] = []
        b.lines.append(prelude)
        base = f"{loop.index}.base"
        self.loops.append(Loop(base, start, prelude))
        self.lanes = Lanes(loop.index, affine([(base, 1)]), count, mask)
        self.body(loop.body)
        self.lanes = None
        self.loops.pop()
        end = self.label
        b.emit(f"br label %{after}")
        self.open(after)
        self.merge(carried, previous, before, end)

    def serial(self, loop: For) -> None:
        """A counted loop; registers that its body updates are carried as phis."""
        if loop.extent == 0:
            return
        if loop.extent == 1:
            self.unrolled(loop)
            return
        b = self.b
        start, stop = self.bound(loop.start), self.bound(loop.stop)
        head, after = self.fresh("loop"), self.fresh("done")
        before = self.label
        carried = self.carried(loop.body)
        previous = {key: self.registers[key] for key in carried}
        if loop.extent is None:
            some = b.compare("slt", start, stop)
            b.emit(f"br i1 {some.text}, label %{head}, label %{after}")
        else:
            b.emit(f"br label %{head}")
        self.open(head)
        index = Value(b.fresh(), "int64")
        phis = len(b.lines)
        b.lines.append("")
        for key in carried:
            old = self.registers[key]
            self.registers[key] = Value(b.fresh(), old.dtype, old.lanes)
        entered = {key: self.registers[key] for key in carried}
        prelude: list[Any] = []
        b.lines.append(prelude)
        self.loops.append(Loop(loop.index, index, prelude))
        self.body(loop.body)
        self.loops.pop()
        following = b.binary("add", index, b.constant("int64", loop.step))
        more = b.compare("slt", following, stop)
        end = self.label
        b.emit(f"br i1 {more.text}, label %{head}, label %{after}")
        lines = [
            f"  {index.text} = phi i64 [ {start.text}, %{before} ], [ {following.text}, %{end} ]"
        ]
        for key, phi in entered.items():
            lines.append(
                f"  {phi.text} = phi {phi.type} [ {previous[key].text}, %{before} ], "
                f"[ {self.registers[key].text}, %{end} ]"
            )
        b.lines[phis] = lines
        self.open(after)
        if loop.extent is None:
            self.merge(carried, previous, before, end)

    def merge(
        self, carried: list[tuple[str, int]], previous: dict[Any, Value], before: str, end: str
    ) -> None:
        """Registers after a loop that may not have run."""
        for key in carried:
            value = self.registers[key]
            self.registers[key] = self.b.define(
                value.dtype,
                value.lanes,
                f"phi {value.type} [ {previous[key].text}, %{before} ], [ {value.text}, %{end} ]",
            )

    def carried(self, body: tuple[Stmt, ...]) -> list[tuple[str, int]]:
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
        return [key for key in self.registers if key[0] in targets - inside]

    def alloc(self, buffer: Buffer) -> None:
        """A register buffer starts empty; a stack buffer is reserved once, on entry."""
        if buffer.space == "register":
            for key in [k for k in self.registers if k[0] == buffer.name]:
                del self.registers[key]
            return
        if buffer.name not in self.stack:
            name = f"%{buffer.name}"
            element = memory_type(buffer.dtype)
            self.entry.append(f"  {name} = alloca [{buffer.size} x {element}], align 64")
            self.stack[buffer.name] = name

    def turned_block(self, stmt: Transpose) -> None:
        """A block turned over in registers: halves of ever larger blocks change places."""
        b, size = self.b, stmt.size
        kind = stmt.source.buffer.dtype
        type, element, align = spell(kind, size), LLVM_TYPES[kind], SIZE[kind]
        first, _, _ = self.pointer(stmt.source)
        rows = []
        for row in range(size):
            name = b.fresh()
            b.emit(f"{name} = getelementptr {element}, ptr {first}, i64 {row * stmt.across}")
            rows.append(b.define(kind, size, f"load {type}, ptr {name}, align {align}"))
        block = 1
        while block < size:
            lower = [i if not i & block else size + i - block for i in range(size)]
            upper = [i + block if not i & block else size + i for i in range(size)]
            for row in range(size):
                if row & block:
                    continue
                pair = (rows[row], rows[row + block])
                for place, order in ((row, lower), (row + block, upper)):
                    mask = ", ".join(f"i32 {i}" for i in order)
                    rows[place] = b.define(
                        kind, size, f"shufflevector {pair[0]}, {pair[1]}, <{size} x i32> <{mask}>"
                    )
            block *= 2
        first, _, _ = self.pointer(stmt.target)
        for column, value in enumerate(rows):
            name = b.fresh()
            b.emit(f"{name} = getelementptr {element}, ptr {first}, i64 {column * stmt.down}")
            b.emit(f"store {value}, ptr {name}, align {align}")

    def check(self, stmt: Check) -> None:
        """Record the first index outside its bound in the context; the call then fails."""
        b = self.b
        value = self.values[stmt.name]
        wide = formulas.convert(b, value, "int64")
        limit = b.splat(self.bound(stmt.bound), wide.lanes)
        bad = b.compare("uge", wide, limit)
        if self.lanes is not None and self.lanes.mask is not None and bad.lanes > 1:
            bad = b.binary("and", bad, self.lanes.mask)
        if bad.lanes > 1:
            wrong = b.define("bool", 1, f"call i1 @llvm.vector.reduce.or.v{bad.lanes}i1({bad})")
            b.declarations.add(
                f"declare i1 @llvm.vector.reduce.or.v{bad.lanes}i1(<{bad.lanes} x i1>)"
            )
        else:
            wrong = bad
        slow, after = self.fresh("bad"), self.fresh("good")
        b.emit(f"br i1 {wrong.text}, label %{slow}, label %{after}")
        self.open(slow)
        b.emit(f"store i64 {stmt.tag}, ptr %context, align 8")
        b.emit(f"br label %{after}")
        self.open(after)

    # --- values ----------------------------------------------------------------------------

    def formula(self, stmt: Let) -> Value:
        """The value of a Let."""
        values = {symbol: self.argument(arg, symbol) for symbol, arg in stmt.args}
        return formulas.emit(self.b, stmt.expr, values, stmt.dtype)

    def argument(self, arg: Arg, symbol: Symbol) -> Value:
        """What a symbol of a formula stands for."""
        if isinstance(arg, str):
            return self.values[arg]
        if isinstance(arg, Runtime):
            return self.bound(arg)
        return self.position(arg)

    def position(self, form: Affine) -> Value:
        """The value of an index expression, a lane each where it moves with the vector index."""
        form = form.substitute(self.constants)
        b = self.b
        step = 0
        if self.lanes is not None:
            step = form.coefficient(self.lanes.index)
            form = form.substitute({self.lanes.index: self.lanes.start})
        total = b.constant("int64", form.constant)
        for loop in self.loops:
            factor = form.coefficient(loop.index)
            if factor:
                part = self.scaled(loop, factor)
                total = part if total.text == "0" else b.binary("add", total, part)
        if not step or self.lanes is None:
            return total
        count = self.lanes.count
        ramp = Value(
            "<" + ", ".join(f"i64 {step * lane}" for lane in range(count)) + ">", "int64", count
        )
        return ramp if total.text == "0" else b.binary("add", b.splat(total, count), ramp)

    def scaled(self, loop: Loop, factor: int) -> Value:
        """factor * index, computed once at the head of the loop."""
        if factor == 1:
            return loop.value
        if factor not in loop.scaled:
            name = self.b.fresh()
            loop.prelude.append(f"  {name} = mul i64 {loop.value.text}, {factor}")
            loop.scaled[factor] = name
        return Value(loop.scaled[factor], "int64")

    def bound(self, limit: Bound) -> Value:
        """A loop bound as an int64, run-time ones computed on entry."""
        b = self.b
        if isinstance(limit, int):
            return b.constant("int64", limit)
        key = f"%size.{limit.name}.{limit.scale}.{limit.multiple}"
        if key not in self.stack:
            self.stack[key] = key
            source = f"%size.{limit.name}"
            self.entry.append(f"  {key}.all = mul i64 {source}, {limit.scale}")
            self.entry.append(f"  {key}.rest = urem i64 {key}.all, {limit.multiple}")
            self.entry.append(f"  {key} = sub i64 {key}.all, {key}.rest")
        return Value(key, "int64")

    def guard(self, guards: tuple[Guard, ...]) -> Value | None:
        """All conditions, together with the mask of a run-time tail; None where nothing masks."""
        b = self.b
        total = self.lanes.mask if self.lanes is not None else None
        for guard in guards:
            at = self.position(guard.position)
            limit = b.splat(self.bound(guard.bound), at.lanes)
            inside = b.compare("ult", at, limit)
            if total is None:
                total = inside
            else:
                lanes = max(total.lanes, inside.lanes)
                total = b.binary("and", b.splat(total, lanes), b.splat(inside, lanes))
        return total

    # --- memory ----------------------------------------------------------------------------

    def pointer(self, access: Access) -> tuple[str, int, list[tuple[Value, int]]]:
        """The address of lane 0, the step between lanes, and vectors of looked-up offsets.

        Offsets are added loop by loop, at the head of each loop, so that an inner loop adds only
        what it moves by.
        """
        form = access.offset.substitute(self.constants)
        step = 0
        if self.lanes is not None:
            step = form.coefficient(self.lanes.index)
            form = form.substitute({self.lanes.index: self.lanes.start})
        element = memory_type(access.buffer.dtype)
        name = self.stack.get(access.buffer.name, f"%{access.buffer.name}")
        terms: list[tuple[str, int]] = []
        for loop in self.loops:
            factor = form.coefficient(loop.index)
            if not factor:
                continue
            terms.append((loop.index, factor))
            key = (access.buffer.name, affine(terms))
            if key not in loop.pointers:
                amount = self.scaled(loop, factor)
                fresh = self.b.fresh()
                loop.prelude.append(
                    f"  {fresh} = getelementptr {element}, ptr {name}, i64 {amount.text}"
                )
                loop.pointers[key] = fresh
            name = loop.pointers[key]
        vectors = []
        for value_name, stride in access.lookups:
            value = formulas.convert(self.b, self.values[value_name], "int64")
            if value.lanes > 1:
                vectors.append((value, stride))
                continue
            amount = self.b.binary("mul", value, self.b.constant("int64", stride))
            fresh = self.b.fresh()
            self.b.emit(f"{fresh} = getelementptr {element}, ptr {name}, i64 {amount.text}")
            name = fresh
        if form.constant:
            fresh = self.b.fresh()
            self.b.emit(f"{fresh} = getelementptr {element}, ptr {name}, i64 {form.constant}")
            name = fresh
        return name, step, vectors

    def load(self, access: Access, guards: tuple[Guard, ...]) -> Value:
        """Read an element, or one a lane; nothing is read where a guard fails or a lane is off."""
        if access.buffer.space == "register":
            return self.registers[self.register(access)]
        name, step, vectors = self.pointer(access)
        dtype = access.buffer.dtype
        kind = "uint8" if dtype == "bool" else dtype
        mask = self.guard(guards) if guards or step or vectors else None
        count = self.lanes.count if self.lanes is not None else 1
        spread = step != 0 or bool(vectors) or (mask is not None and mask.lanes > 1)
        value = (
            self.read_lanes(name, kind, step, vectors, mask, count, 0 if guards else 1)
            if spread
            else self.read_one(name, kind, mask)
        )
        return formulas.convert(self.b, value, "bool") if dtype == "bool" else value

    def read_one(self, name: str, kind: str, mask: Value | None) -> Value:
        """One element, or 0."""
        b, type = self.b, LLVM_TYPES[kind]
        if mask is None:
            return b.define(kind, 1, f"load {type}, ptr {name}, align {SIZE[kind]}")
        inside, after = self.fresh("read"), self.fresh("skip")
        before = self.label
        b.emit(f"br i1 {mask.text}, label %{inside}, label %{after}")
        self.open(inside)
        value = b.define(kind, 1, f"load {type}, ptr {name}, align {SIZE[kind]}")
        b.emit(f"br label %{after}")
        self.open(after)
        zero = b.constant(kind, 0).text
        return b.define(kind, 1, f"phi {type} [ {zero}, %{before} ], [ {value.text}, %{inside} ]")

    def read_lanes(
        self,
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
        b = self.b
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
            return self.read_alternate(name, kind, count)
        pointers = self.spread(name, kind, step, vectors, count)
        on = b.splat(mask, count) if mask is not None else b.constant("bool", True, count)
        intrinsic = f"@llvm.masked.gather.{suffix(kind, count)}.v{count}p0"
        b.declarations.add(f"declare {type} {intrinsic}(<{count} x ptr>, <{count} x i1>, {type})")
        return b.define(
            kind,
            count,
            f"call {type} {intrinsic}(<{count} x ptr> align {align} {pointers}, {on}, {zero})",
        )

    def read_alternate(self, name: str, kind: str, count: int) -> Value:
        """Every other element: two loads that end at the last one wanted, and a shuffle."""
        b, type, align = self.b, spell(kind, count), SIZE[kind]
        first = b.define(kind, count, f"load {type}, ptr {name}, align {align}")
        further = b.fresh()
        b.emit(f"{further} = getelementptr {LLVM_TYPES[kind]}, ptr {name}, i64 {count - 1}")
        second = b.define(kind, count, f"load {type}, ptr {further}, align {align}")
        order = [2 * lane if 2 * lane < count else 2 * lane + 1 for lane in range(count)]
        mask = ", ".join(f"i32 {place}" for place in order)
        return b.define(kind, count, f"shufflevector {first}, {second}, <{count} x i32> <{mask}>")

    def spread(
        self, name: str, kind: str, step: int, vectors: list[tuple[Value, int]], count: int
    ) -> str:
        """A vector of addresses."""
        b = self.b
        total = Value(
            "<" + ", ".join(f"i64 {step * lane}" for lane in range(count)) + ">", "int64", count
        )
        for value, stride in vectors:
            amount = b.binary("mul", value, b.constant("int64", stride, count))
            total = b.binary("add", total, amount)
        fresh = b.fresh()
        b.emit(f"{fresh} = getelementptr {LLVM_TYPES[kind]}, ptr {name}, {total}")
        return fresh

    def store(self, access: Access, value: Value, guards: tuple[Guard, ...]) -> None:
        """Write an element, or one a lane; nothing is written where a guard fails."""
        b = self.b
        name, step, vectors = self.pointer(access)
        kind = access.buffer.dtype
        if kind == "bool":
            value, kind = formulas.convert(b, value, "uint8"), "uint8"
        mask = self.guard(guards)
        align = SIZE[kind]
        if step == 0 and not vectors:
            if value.lanes > 1:
                raise CompileError(f"{self.kernel.name}: lanes stored to one place {access}")
            if mask is None:
                b.emit(f"store {value}, ptr {name}, align {align}")
                return
            inside, after = self.fresh("write"), self.fresh("skip")
            b.emit(f"br i1 {mask.text}, label %{inside}, label %{after}")
            self.open(inside)
            b.emit(f"store {value}, ptr {name}, align {align}")
            b.emit(f"br label %{after}")
            self.open(after)
            return
        assert self.lanes is not None
        count = self.lanes.count
        value = b.splat(value, count)
        if step == 1 and not vectors and mask is None:
            b.emit(f"store {value}, ptr {name}, align {align}")
            return
        on = b.splat(mask, count) if mask is not None else b.constant("bool", True, count)
        if step == 1 and not vectors:
            intrinsic = f"@llvm.masked.store.{suffix(kind, count)}.p0"
            b.declarations.add(f"declare void {intrinsic}({value.type}, ptr, <{count} x i1>)")
            b.emit(f"call void {intrinsic}({value}, ptr align {align} {name}, {on})")
            return
        pointers = self.spread(name, kind, step, vectors, count)
        intrinsic = f"@llvm.masked.scatter.{suffix(kind, count)}.v{count}p0"
        b.declarations.add(
            f"declare void {intrinsic}({value.type}, <{count} x ptr>, <{count} x i1>)"
        )
        b.emit(f"call void {intrinsic}({value}, <{count} x ptr> align {align} {pointers}, {on})")

    def register(self, access: Access) -> tuple[str, int]:
        """Which register an access means: its name and the place of lane 0."""
        form = access.offset.substitute(self.constants)
        if self.lanes is not None:
            form = form.substitute({self.lanes.index: Affine()})
        if form.terms:
            raise CompileError(f"{self.kernel.name}: register {access} moves with {form.names}")
        return access.buffer.name, form.constant

    # --- updates ---------------------------------------------------------------------------

    def update(self, stmt: Update) -> None:
        """target how= expr."""
        values = {symbol: self.argument(arg, symbol) for symbol, arg in stmt.args}
        dtype = stmt.target.buffer.dtype
        if stmt.how in ("argmax", "argmin"):
            self.update_arg(stmt, values)
            return
        moves = self.lanes is not None and stmt.target.offset.coefficient(self.lanes.index) != 0
        count = self.lanes.count if self.lanes is not None and moves else 1
        if stmt.how == "=":
            value = formulas.emit(self.b, stmt.expr, values, dtype)
            if stmt.target.buffer.space == "register":
                self.registers[self.register(stmt.target)] = self.b.splat(value, count)
            else:
                self.store(stmt.target, value, stmt.guards)
            return
        mask = self.guard(stmt.guards)
        factors = fused(stmt, values, dtype)
        in_register = stmt.target.buffer.space == "register"
        scatter = any(self.values[n].lanes > 1 for n, _ in stmt.target.lookups)
        if scatter:
            raise CompileError(f"{self.kernel.name}: lanes may collide in {stmt.target}")
        if in_register:
            key = self.register(stmt.target)
            old = self.registers[key]
        else:
            old = self.load(stmt.target, stmt.guards)
        if (
            factors is not None
            and mask is None
            and (moves or self.lanes is None or all(v.lanes == 1 for v in factors))
        ):
            lanes = max(old.lanes, *(v.lanes for v in factors))
            x, y = (self.b.splat(v, lanes) for v in factors)
            new = self.b.fmuladd(x, y, self.b.splat(old, lanes))
        else:
            new = self.reduced(stmt, values, dtype, mask, old, moves, factors)
        if in_register:
            self.registers[key] = new
        else:
            self.store(stmt.target, new, stmt.guards)

    def reduced(
        self,
        stmt: Update,
        values: dict[Symbol, Value],
        dtype: str,
        mask: Value | None,
        old: Value,
        moves: bool,
        factors: tuple[Value, Value] | None,
    ) -> Value:
        """old combined with the expression, across the lanes where the target stands still."""
        b = self.b
        empty = empty_of(stmt.how, dtype)
        if factors is not None and mask is not None and (moves or self.lanes is None):
            lanes = max(old.lanes, mask.lanes, *(v.lanes for v in factors))
            x, y, z = (b.splat(v, lanes) for v in (*factors, old))
            return b.select(b.splat(mask, lanes), b.fmuladd(x, y, z), z)
        value = formulas.emit(b, stmt.expr, values, dtype)
        if self.lanes is not None and not moves:
            value = b.splat(value, self.lanes.count)
        if mask is not None:
            lanes = max(mask.lanes, value.lanes)
            value = b.select(
                b.splat(mask, lanes), b.splat(value, lanes), b.constant(dtype, empty, lanes)
            )
        if self.lanes is not None and not moves:
            value = self.across(value, stmt.how, empty)
        lanes = max(old.lanes, value.lanes)
        return self.combine(stmt.how, b.splat(old, lanes), b.splat(value, lanes))

    def combine(self, how: str, x: Value, y: Value) -> Value:
        """One step of a reduction."""
        if how in ("max", "min"):
            return FUNCTIONS[f"{how}imum"](self.b, x, y)
        opcodes = COMBINE[how]
        if x.dtype == "bool":
            return self.b.binary({"sum": "or", "prod": "and"}.get(how, opcodes[1]), x, y)
        return self.b.binary(opcodes[0] if is_float(x.dtype) else opcodes[1], x, y)

    def across(self, value: Value, how: str, empty: float | int) -> Value:
        """A tree over the lanes: the upper half onto the lower, until one is left."""
        b = self.b
        lanes = 1 << (value.lanes - 1).bit_length()
        if lanes != value.lanes:
            fill = b.constant(value.dtype, empty, value.lanes)
            order = ", ".join(f"i32 {i}" for i in range(lanes))
            value = b.define(
                value.dtype, lanes, f"shufflevector {value}, {fill}, <{lanes} x i32> <{order}>"
            )
        while lanes > 1:
            lanes //= 2
            halves = []
            for first in (0, lanes):
                order = ", ".join(f"i32 {first + i}" for i in range(lanes))
                halves.append(
                    b.define(
                        value.dtype,
                        lanes,
                        f"shufflevector {value}, {value.type} poison, <{lanes} x i32> <{order}>",
                    )
                    if lanes > 1
                    else b.define(value.dtype, 1, f"extractelement {value}, i64 {first}")
                )
            value = self.combine(how, halves[0], halves[1])
        return value

    def update_arg(self, stmt: Update, values: dict[Symbol, Value]) -> None:
        """Keep the first best value and where it stands; a NaN is better than any number.

        The place is -1 until there is one: the first value is the best so far, infinite or not.
        """
        assert stmt.companion is not None and stmt.place is not None
        b = self.b
        kind = stmt.companion.buffer.dtype
        best_key, where_key = self.register(stmt.companion), self.register(stmt.target)
        best, where = self.registers[best_key], self.registers[where_key]
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
        mask = self.guard(stmt.guards)
        if mask is not None:
            better = b.binary("and", better, b.splat(mask, lanes))
        self.registers[best_key] = b.select(better, value, best)
        self.registers[where_key] = b.select(better, place, where)

    # --- blocks ----------------------------------------------------------------------------

    def fresh(self, stem: str) -> str:
        """A new block label."""
        self.labels += 1
        return f"{stem}{self.labels}"

    def open(self, label: str) -> None:
        """Begin a block."""
        self.b.lines.append(f"{label}:")
        self.label = label


def fused(stmt: Update, values: dict[Symbol, Value], dtype: str) -> tuple[Value, Value] | None:
    """The two factors of a product that is summed, for a fused multiply-add."""
    if stmt.how != "sum" or not is_float(dtype) or not isinstance(stmt.expr, sympy.Mul):
        return None
    if len(stmt.expr.args) != 2 or any(f not in values for f in stmt.expr.args):
        return None
    first, second = (values[f] for f in stmt.expr.args)
    return (first, second) if first.dtype == second.dtype == dtype else None


def empty_of(how: str, dtype: str) -> float | int:
    """What contributes nothing to a reduction."""
    return (
        formulas.number(identity(how, dtype), dtype)
        if dtype != "bool"
        else how in ("all", "min", "prod")
    )


def memory_type(dtype: str) -> str:
    """How an element is stored; a bool takes a byte."""
    return "i8" if dtype == "bool" else LLVM_TYPES[dtype]


def suffix(kind: str, lanes: int) -> str:
    """An intrinsic's name for a vector type."""
    scalar = {"float": "f32", "double": "f64"}.get(LLVM_TYPES[kind], LLVM_TYPES[kind])
    return f"v{lanes}{scalar}"
