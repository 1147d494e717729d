"""Share: an elementary function that two passes over a row compute alike is computed once.

for s: r += exp(x[s] - m);  for k: y[k] = exp(x[k] - m)/r
-->
for s: { e[s] = exp(x[s] - m); r += e[s] };  for k: y[k] = e[k]/r

The row lies on the stack, in the nearest cache: a store and a load take less than a function.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from graphc.loops.ir import Access, Alloc, Buffer, For, Kernel, Let, Load, Stmt, Update, used, walk
from graphc.loops.nest import written
from graphc.machine import Machine
from graphc.ops import scalar
from graphc.ops.index import Affine, Runtime, index
from graphc.ops.instead import instead
from graphc.ops.scalar import Expr, Symbol
from graphc.types import is_float

SHORTEST, LONGEST = 8, 1 << 14
"""Elements of a row that is kept."""
SIGNS = "kept", "~kept"
"""How what was kept is called in a formula, with a number and a sign that no operand's name has."""


def share(kernel: Kernel, machine: Machine) -> Kernel:
    """Keep what is computed again in every row of a kernel."""
    kinds = {s.name: s.access.buffer.dtype for s in walk(kernel.body) if isinstance(s, Load)}
    kinds |= {s.name: s.dtype for s in walk(kernel.body) if isinstance(s, Let)}
    sharing = Sharing(kinds)
    body = sharing.shared(kernel.body)
    if not sharing.rows:
        return kernel
    notes = (f"{what} is kept from one pass over a row to the next" for what in sharing.notes)
    return replace(kernel, body=(*map(Alloc, sharing.rows), *body), notes=(*kernel.notes, *notes))


@dataclass(frozen=True)
class Call:
    """An elementary function in a statement of a loop, its dtype, and the buffers it reads."""

    stmt: Let | Update
    expr: Expr
    dtype: str
    reads: frozenset[str]


@dataclass
class Sharing:
    """One kernel being rewritten. `kinds`: the dtype of every value."""

    kinds: dict[str, str]
    rows: list[Buffer] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def shared(self, stmts: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        """The statements, what a loop among them computes again being kept from an earlier one."""
        result = [replace(s, body=self.shared(s.body)) if isinstance(s, For) else s for s in stmts]
        for later in range(len(result)):
            for earlier in range(later):
                pair = self.pair(result[earlier : later + 1])
                if pair is not None:
                    result[earlier], result[later] = pair
                    break
        return tuple(result)

    def pair(self, stmts: Sequence[Stmt]) -> tuple[For, For] | None:
        """The first and the last of some statements, if they are loops of which it is worth it."""
        first, last = stmts[0], stmts[-1]
        if not isinstance(first, For) or not isinstance(last, For):
            return None
        size = first.extent
        if size != last.extent or size is None or not SHORTEST <= size <= LONGEST:
            return None
        if any(loop.kind == "ordered" or loop.start != 0 for loop in (first, last)):
            return None
        changed, known = written(stmts), self.calls(last)
        for meaning, calls in self.calls(first).items():
            again, call = known.get(meaning, []), calls[0]
            if not again or call.reads & changed:
                continue
            number = len(self.rows)
            if any(held(c.stmt.expr, exprs(calls, c.stmt), number) is None for c in calls):
                continue
            if any(held(c.stmt.expr, exprs(again, c.stmt), number) is None for c in again):
                continue
            row = Buffer(f"kept{number}", call.dtype, size, "stack")
            made, back = f"made{number}", f"back{number}"
            self.kinds |= {made: call.dtype, back: call.dtype}
            self.rows.append(row)
            self.notes.append(str(call.expr))
            args = tuple(pair for pair in call.stmt.args if pair[0] in call.expr.free_symbols)
            kept = scalar.argument(f"{SIGNS[0]}{number}#")
            keep = Update(Access(row, index(first.index)), kept, ((kept, made),))
            load = Load(back, Access(row, index(last.index)))
            return (
                taken(first, calls, made, number, (Let(made, call.expr, args, call.dtype), keep)),
                taken(last, again, back, number, (load,)),
            )
        return None

    def calls(self, loop: For) -> dict[tuple[Expr, str], list[Call]]:
        """The elementary functions of a loop's statements, by what they mean at any step."""
        if any(isinstance(s, For | Alloc) for s in loop.body):
            return {}
        inside = {s.name: s for s in loop.body if isinstance(s, Load | Let)}
        found: dict[tuple[Expr, str], list[Call]] = {}
        for stmt in loop.body:
            if not isinstance(stmt, Let | Update) or (isinstance(stmt, Update) and stmt.guards):
                continue
            dtype = stmt.dtype if isinstance(stmt, Let) else stmt.target.buffer.dtype
            for part in scalar.functions(stmt.expr):
                known = dict(stmt.args)
                names = [known.get(symbol) for symbol in part.free_symbols]
                same = all(isinstance(n, str) and self.kinds.get(n) == dtype for n in names)
                if same and names and is_float(dtype):
                    meaning, reads = self.meaning(part, stmt, inside, loop.index)
                    if meaning is not None:
                        call = Call(stmt, part, dtype, frozenset(reads))
                        found.setdefault((meaning, dtype), []).append(call)
        return found

    def meaning(
        self, expr: Expr, stmt: Let | Update, inside: dict[str, Load | Let], step: str
    ) -> tuple[Expr | None, set[str]]:
        """An expression with what its symbols stand for spelled out; None where that may change."""
        reads: set[str] = set()
        spelled = {}
        for symbol, arg in stmt.args:
            if symbol not in expr.free_symbols:
                continue
            if isinstance(arg, Affine | Runtime):
                return None, reads
            made = inside.get(arg)
            match made:
                case None:
                    text = arg
                case Load(access=access, guards=guards):
                    if guards or access.lookups or access.buffer.space == "register":
                        return None, reads
                    reads.add(access.buffer.name)
                    here = access.offset.substitute({step: index("*")})
                    text = f"{access.buffer.name}[{here}]"
                case Let(expr=value):
                    inner, more = self.meaning(value, made, inside, step)
                    if inner is None:
                        return None, reads
                    reads |= more
                    text = f"({scalar.spelled(inner)}: {made.dtype})"
            spelled[symbol] = scalar.argument(text)
        return expr.xreplace(spelled), reads


def exprs(calls: Sequence[Call], stmt: Stmt) -> list[Expr]:
    """The expressions of some calls that stand in a statement."""
    return [call.expr for call in calls if call.stmt is stmt]


def taken(
    loop: For, calls: Sequence[Call], name: str, number: int, before: tuple[Stmt, ...]
) -> For:
    """The loop with a value in the place of some calls, and what no statement reads left out."""
    body: list[Stmt] = []
    for stmt in loop.body:
        alike = exprs(calls, stmt)
        if alike and stmt is calls[0].stmt:
            body += before
        body.append(without(stmt, alike, name, number) if alike else stmt)
    return replace(loop, body=tuple(read(body)))


def without(stmt: Stmt, alike: Sequence[Expr], name: str, number: int) -> Stmt:
    """A statement with a value in the place of some expressions."""
    assert isinstance(stmt, Let | Update)
    found = held(stmt.expr, alike, number)
    assert found is not None
    expr, symbol = found
    args = tuple(pair for pair in stmt.args if pair[0] in expr.free_symbols)
    return replace(stmt, expr=expr, args=(*args, (symbol, name)))


def held(expr: Expr, alike: Sequence[Expr], number: int) -> tuple[Expr, Symbol] | None:
    """A formula with a symbol in the place of some expressions, and that symbol, if any will do."""
    for sign in SIGNS:
        symbol = scalar.argument(f"{sign}{number}#")
        found = instead(expr, alike, symbol)
        if found is not None:
            return found, symbol
    return None


def read(stmts: Sequence[Stmt]) -> Iterator[Stmt]:
    """The statements without definitions that none of the later ones reads."""
    wanted: set[str] = set()
    left: list[Stmt] = []
    for stmt in reversed(stmts):
        if isinstance(stmt, Load | Let) and stmt.name not in wanted:
            continue
        wanted |= used(stmt)
        left.append(stmt)
    return reversed(left)
