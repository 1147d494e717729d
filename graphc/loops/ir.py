"""The loop language.

    kernel = Kernel(name, buffers, stmt*)
    stmt   = For(index, start, stop, step, kind, stmt*, where)  the steps at which `where` holds
           | Load(name, access, guards, inside)             name := access, 0 where a guard fails
           | Let(name, expr, args)                          name := expr(args)
           | Update(target, expr, args, how, guards)        target how= expr(args) where guards hold
           | Check(name, bound, tag)                        0 <= name < bound, else the call fails
           | Alloc(buffer)                                  a register or stack buffer begins
           | Transpose(target, source, steps, sizes)        a block copied, turned over
           | Fetch(access)                                  memory is asked for what is read soon
           | Barrier()                                      every thread waits for the others
    access = Access(buffer, offset, lookups)                element offset + sum(value * stride)
    arg    = name | affine | Runtime                        a value, an index expression, an extent
    bound  = number | Runtime(extent, scale, multiple)      scale*extent rounded down to a multiple

The kinds of loops: serial, parallel (each thread runs its part of the steps: they are independent),
single (one step, run by the first thread alone), ordered (each step needs the one before),
unrolled, vector; of loops that sum: lanes (so many sums side by side, a tree joins them) and
inorder: these two are part of the result, decided by the node alone, so that fusing changes no
bit. A value holds one number; in a vector loop, one a lane. An Update in a vector loop whose target
does not move with the vector index reduces across the lanes. Register buffers are addressed by
unrolled and vector indices only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from graphc.graph.node import Node
from graphc.graph.site import Site
from graphc.loops.choice import Choices
from graphc.ops.index import Affine, Bound, Runtime
from graphc.ops.scalar import Expr, Symbol, factors


@dataclass(frozen=True, slots=True)
class Buffer:
    """Where elements live: an argument of the kernel, its stack, or registers."""

    name: str
    dtype: str
    size: Bound
    space: str = "argument"


END = 1 << 31
"""A bound beyond any position."""


@dataclass(frozen=True, slots=True)
class Guard:
    """0 <= position < bound."""

    position: Affine
    bound: Bound

    def __str__(self) -> str:
        if self.bound != END:
            return f"0 <= {self.position} < {self.bound}"
        if all(factor < 0 for _, factor in self.position.terms):
            return f"{Affine(self.position.terms) * -1} <= {self.position.constant}"
        return f"0 <= {self.position}"


@dataclass(frozen=True, slots=True)
class Access:
    """One element of a buffer: its offset in elements, plus looked-up values times strides."""

    buffer: Buffer
    offset: Affine
    lookups: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        extra = "".join(f" + {s}*{n}" if s != 1 else f" + {n}" for n, s in self.lookups)
        return f"{self.buffer.name}[{self.offset}{extra}]"


Arg = str | Affine | Runtime
Args = tuple[tuple[Symbol, Arg], ...]


@dataclass(frozen=True, slots=True)
class Load:
    """name := access, and 0 where a guard fails (nothing is read there).

    `inside`: where one of these fails a border is read, that holds 0.
    """

    name: str
    access: Access
    guards: tuple[Guard, ...] = ()
    inside: tuple[Guard, ...] = ()


@dataclass(frozen=True, slots=True)
class Let:
    """name := expr(args), of element type dtype."""

    name: str
    expr: Expr
    args: Args
    dtype: str


@dataclass(frozen=True, slots=True)
class Update:
    """target how= expr(args); how is "=" or a reduction; an argmax has its best in `companion`.

    `past`: the store goes past the caches; it is of whole vectors, aligned.
    """

    target: Access
    expr: Expr
    args: Args
    how: str = "="
    guards: tuple[Guard, ...] = ()
    companion: Access | None = None
    place: Expr | None = None
    past: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """The call fails with IndexError unless 0 <= name < bound; `tag` finds the node to blame."""

    name: str
    bound: Bound
    tag: int
    position: tuple[Affine, ...] = ()


@dataclass(frozen=True, slots=True)
class Alloc:
    """A register or stack buffer begins to live."""

    buffer: Buffer


@dataclass(frozen=True, slots=True)
class For:
    """index = start, start + step, ... while below stop.

    `back`: a loop around it, in whose odd steps it runs from the last of its own to the first.
    `where`: it takes the steps at which these hold, which are neighbours, and no others.
    """

    index: str
    start: Bound
    stop: Bound
    step: int
    kind: str
    body: tuple[Stmt, ...]
    back: str = ""
    where: tuple[Guard, ...] = ()

    @property
    def extent(self) -> int | None:
        """The number of steps where it is a number."""
        if isinstance(self.start, int) and isinstance(self.stop, int) and not self.where:
            return max(0, -(-(self.stop - self.start) // self.step))
        return None


@dataclass(frozen=True, slots=True)
class Transpose:
    """target[c*down + r] = source[r*across + c], r below rows, c below columns: in registers."""

    target: Access
    source: Access
    across: int
    down: int
    rows: int
    columns: int

    @property
    def read(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Strides and counts of what is read."""
        return (self.across, self.rows), (1, self.columns)

    @property
    def made(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Strides and counts of what is written."""
        return (self.down, self.columns), (1, self.rows)


@dataclass(frozen=True, slots=True)
class Fetch:
    """A hint: what lies there is read soon, and may be brought near. It changes no value."""

    access: Access


@dataclass(frozen=True, slots=True)
class Barrier:
    """Every thread waits here until all have come; then each sees what the others wrote."""


Stmt = For | Load | Let | Update | Check | Alloc | Transpose | Fetch | Barrier


@dataclass(frozen=True)
class Kernel:
    """One function: its buffers in argument order, its statements, and where it comes from.

    `far`: those it writes that no cache will hold (see `loops/past.py`).
    `choices` are what measuring has decided about its schedule. `origins`: the nodes that values,
    and what buffers are made to hold, come from (see `loops/origin.py`).
    """

    name: str
    buffers: tuple[Buffer, ...]
    body: tuple[Stmt, ...]
    sites: tuple[Site, ...] = ()
    written: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)
    choices: Choices = ()
    far: tuple[str, ...] = ()
    origins: Mapping[str, tuple[Node, ...]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def parallel(self) -> bool:
        """Whether threads share its work; else the first runs it."""
        return any(isinstance(s, For) and s.kind == "parallel" for s in walk(self.body))


def walk(body: tuple[Stmt, ...]) -> Iterator[Stmt]:
    """Every statement, outer before inner."""
    for stmt in body:
        yield stmt
        if isinstance(stmt, For):
            yield from walk(stmt.body)


def rename(stmt: Stmt, values: dict[str, Affine]) -> Stmt:
    """The statement with indices replaced by expressions."""

    def access(a: Access) -> Access:
        return Access(a.buffer, a.offset.substitute(values), a.lookups)

    def guards(gs: tuple[Guard, ...]) -> tuple[Guard, ...]:
        return tuple(Guard(g.position.substitute(values), g.bound) for g in gs)

    def args(pairs: Args) -> Args:
        return tuple((s, a.substitute(values) if isinstance(a, Affine) else a) for s, a in pairs)

    match stmt:
        case Load(name, a, gs, borders):
            return Load(name, access(a), guards(gs), guards(borders))
        case Let(name, expr, pairs, dtype):
            return Let(name, expr, args(pairs), dtype)
        case Update():
            return replace(
                stmt,
                target=access(stmt.target),
                args=args(stmt.args),
                guards=guards(stmt.guards),
                companion=stmt.companion and access(stmt.companion),
            )
        case Check():
            return replace(stmt, position=tuple(p.substitute(values) for p in stmt.position))
        case Transpose():
            return replace(stmt, target=access(stmt.target), source=access(stmt.source))
        case Fetch(a):
            return Fetch(access(a))
        case For():
            body = tuple(rename(s, values) for s in stmt.body)
            return replace(stmt, body=body, where=guards(stmt.where))
    return stmt


def indices(stmt: Stmt) -> set[str]:
    """The loop indices a statement mentions (for a loop: those mentioned inside)."""

    def of(forms: list[Affine]) -> set[str]:
        return {name for form in forms for name in form.names}

    match stmt:
        case Load(_, a, gs):
            return of([a.offset, *(g.position for g in gs)])
        case Let(_, _, pairs, _):
            return of([a for _, a in pairs if isinstance(a, Affine)])
        case Update():
            forms = [stmt.target.offset, *(g.position for g in stmt.guards)]
            forms += [a for _, a in stmt.args if isinstance(a, Affine)]
            return of(forms)
        case Check():
            return of(list(stmt.position))
        case Fetch(a):
            return of([a.offset])
        case For():
            own = of([g.position for g in stmt.where])
            return own.union(*map(indices, stmt.body))
    return set()


def used(stmt: Stmt) -> set[str]:
    """The values a statement reads by name."""
    match stmt:
        case Load(_, a, _):
            return {name for name, _ in a.lookups}
        case Let(_, _, pairs, _):
            return {a for _, a in pairs if isinstance(a, str)}
        case Update():
            names = {a for _, a in stmt.args if isinstance(a, str)}
            return names | {name for name, _ in stmt.target.lookups}
        case Check(name=name):
            return {name}
        case For():
            return {name for s in stmt.body for name in used(s)}
    return set()


def is_product(stmt: Stmt) -> bool:
    """Whether it adds a product of two values."""
    if not isinstance(stmt, Update) or stmt.how != "sum":
        return False
    given = {symbol for symbol, arg in stmt.args if isinstance(arg, str)}
    found = factors(stmt.expr)
    return len(found) == 2 and given.issuperset(found)


def map_loops(body: tuple[Stmt, ...], change: Callable[[For], list[Stmt]]) -> tuple[Stmt, ...]:
    """Rebuild a body with every loop passed through `change`, innermost first."""
    result: list[Stmt] = []
    for stmt in body:
        if isinstance(stmt, For):
            result += change(replace(stmt, body=map_loops(stmt.body, change)))
        else:
            result.append(stmt)
    return tuple(result)
