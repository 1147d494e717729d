"""Parallel: share a kernel's loops among threads, with barriers where one part needs another.

    for i: x[i] = ...; for j: y += x[j]   -->   parallel for i: ...; barrier; one thread: for j: ...

A loop is shared where its steps write places of their own, so that every element is computed as it
is by one thread: no bit depends on the number of threads. Loops that are too small to share, and
those whose steps depend on each other, are run by one thread; a loop in order has its body shared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from graphc.loops.independent import independent
from graphc.loops.ir import (
    Access,
    Alloc,
    Barrier,
    Buffer,
    Check,
    For,
    Kernel,
    Let,
    Load,
    Stmt,
    Transpose,
    Update,
    used,
    walk,
)
from graphc.loops.nest import extent
from graphc.machine import Machine

LEAST = 6000
"""Vector instructions, roughly, below which sharing a loop costs more than it gains."""
EVEN = 8
"""Steps of a loop from which on its parts are about equal for any small number of threads."""


def parallel(kernel: Kernel, machine: Machine) -> Kernel:
    """Share what can be shared; a kernel of little work is left to one thread."""
    if not machine.threads:
        return kernel
    alone = opened(kernel.body) - summed(kernel.body)
    while True:
        body = phases(kernel.body, alone)
        met = crossing(body)
        if not alone & met:
            break
        alone -= met
    if not any(isinstance(s, For) and s.kind == "parallel" for s in walk(body)):
        return kernel
    return replace(kernel, body=tuple(everywhere(stmt, met) for stmt in body))


def spans(stmts: tuple[Stmt, ...]) -> Iterator[tuple[Stmt, ...]]:
    """Statements one by one, but together from where a register begins to the last one to use it.

    What is read or computed in between is in use, too: both are a thread's own.
    """
    begins = any(map(register, stmts))
    last = {name: at for at, stmt in enumerate(stmts) for name in names(stmt)} if begins else {}
    at = 0
    while at < len(stmts):
        here = end = at
        while here <= end and register(stmts[at]):
            for name in made(stmts[here]):
                end = max(end, last.get(name, 0))
            here += 1
        yield stmts[at : end + 1]
        at = end + 1


def made(stmt: Stmt) -> tuple[str, ...]:
    """The register that a statement begins, or the value that it gives a name."""
    if isinstance(stmt, Load | Let):
        return (stmt.name,)
    return (stmt.buffer.name,) if isinstance(stmt, Alloc) and register(stmt) else ()


def names(stmt: Stmt) -> set[str]:
    """The registers and values that a statement uses."""
    targets: list[Access | None] = []
    for inner in walk((stmt,)):
        if isinstance(inner, Load):
            targets.append(inner.access)
        elif isinstance(inner, Update):
            targets += [inner.target, inner.companion]
    return used(stmt) | {a.buffer.name for a in targets if a and a.buffer.space == "register"}


def register(stmt: Stmt) -> bool:
    """Whether a statement begins a register, which is a thread's own."""
    return isinstance(stmt, Alloc) and stmt.buffer.space == "register"


@dataclass(frozen=True)
class Touched:
    """The buffers that statements read and write, registers excepted."""

    reads: frozenset[str]
    writes: frozenset[str]

    def __or__(self, other: Touched) -> Touched:
        return Touched(self.reads | other.reads, self.writes | other.writes)

    def meets(self, other: Touched) -> bool:
        """Whether one must be finished before the other begins."""
        return bool(self.writes & (other.reads | other.writes) or self.reads & other.writes)


NOTHING = Touched(frozenset(), frozenset())


def touched(stmts: Sequence[Stmt], alone: frozenset[str]) -> Touched:
    """What statements touch, but for the buffers that each thread has for itself."""
    reads: set[str] = set()
    writes: set[str] = set()
    for stmt in walk(tuple(stmts)):
        if isinstance(stmt, Load) and stmt.access.buffer.space != "register":
            reads.add(stmt.access.buffer.name)
        if isinstance(stmt, Update) and stmt.target.buffer.space != "register":
            writes.add(stmt.target.buffer.name)
        if isinstance(stmt, Transpose):
            reads.add(stmt.source.buffer.name)
            writes.add(stmt.target.buffer.name)
    return Touched(frozenset(reads - alone), frozenset(writes - alone))


def phases(stmts: tuple[Stmt, ...], alone: frozenset[str]) -> tuple[Stmt, ...]:
    """Statements as parts that are shared, or run by one thread, and barriers between them."""
    result: list[Stmt] = []
    since = NOTHING
    for span in spans(stmts):
        stmt, *more = span
        if more:
            part: Stmt = single(span)
        else:
            part = stmt if isinstance(stmt, Load | Let | Check | Alloc) else shared(stmt, alone)
        here = touched([part], alone)
        if since.meets(here):
            result.append(Barrier())
            since = NOTHING
        since |= here
        match (result[-1] if result else None), part:
            case For(kind="single", body=before), For(kind="single", body=body):
                result[-1] = single((*before, *body))
            case _:
                result.append(part)
    return tuple(result)


def single(stmts: tuple[Stmt, ...]) -> For:
    """Statements that the first thread runs."""
    return For("one", 0, 1, 1, "single", stmts)


def shared(stmt: Stmt, alone: frozenset[str]) -> Stmt:
    """A statement whose work is shared where it can be, else run by one thread."""
    if isinstance(stmt, For) and stmt.kind == "single":
        return stmt
    if not isinstance(stmt, For) or work(stmt) < LEAST:
        return single((stmt,))
    if stmt.kind in ("serial", "ordered"):
        found = divided(stmt, alone)
        if found is not None:
            return found
    if stmt.kind not in ("serial", "ordered"):
        return single((stmt,))
    body = phases(stmt.body, alone)
    if not any(isinstance(s, For) and s.kind == "parallel" for s in walk(body)):
        return single((stmt,))
    if touched(body, alone).meets(touched(body, alone)):
        body = (*body, Barrier())
    return replace(stmt, body=body)


def divided(loop: For, alone: frozenset[str]) -> For | None:
    """The loop, or the only one inside it, shared: the outermost with enough independent steps."""
    best: tuple[float, For] | None = None
    around: list[For] = []
    current = loop
    while current.kind == "serial":
        if independent(current, around, alone) and extent(current) > 1:
            balance = 1.0 if extent(current) >= EVEN else evenness(extent(current))
            if best is None or balance > best[0] + 0.1:
                found = replace(current, kind="parallel")
                for outer in reversed(around):
                    found = replace(outer, body=(found,))
                best = balance, found
            if balance > 0.9:
                break
        around.append(current)
        inside = current.body
        if len(inside) != 1 or not isinstance(inside[0], For):
            break
        current = inside[0]
    return best[1] if best else None


def evenness(steps: int) -> float:
    """The share of two threads' time in use when so many steps are divided."""
    return steps / (2 * -(-steps // 2))


def work(stmt: Stmt) -> float:
    """Instructions of a statement, vectors counted as one, run-time extents guessed."""
    if isinstance(stmt, Transpose):
        return stmt.columns + stmt.rows * (1.0 + math.log2(stmt.rows))  # halves change places
    if not isinstance(stmt, For):
        return 4.0 if isinstance(stmt, Let) else 1.0
    inside = sum(map(work, stmt.body))
    if stmt.kind == "vector":
        return inside
    return inside * -(-extent(stmt) // (1 if stmt.extent is not None else stmt.step))


def opened(body: tuple[Stmt, ...]) -> frozenset[str]:
    """The stack buffers of a kernel."""
    found = (s.buffer for s in walk(body) if isinstance(s, Alloc))
    return frozenset(buffer.name for buffer in found if buffer.space == "stack")


def summed(body: tuple[Stmt, ...]) -> frozenset[str]:
    """Buffers that are added to: they outlive the step of the loop that does so."""
    return frozenset(
        s.target.buffer.name for s in walk(body) if isinstance(s, Update) and s.how != "="
    )


def crossing(body: tuple[Stmt, ...]) -> frozenset[str]:
    """Stack buffers that a thread fills and another may read: used in several parts.

    Not those that begin anew in each part that uses them.
    """
    users: dict[str, list[str]] = {}
    for part in parts(body):
        own, touches = opened((part,)), touched([part], frozenset())
        for name in touches.reads | touches.writes:
            kind = part.kind if isinstance(part, For) else "all"
            users.setdefault(name, []).append("own" if name in own else kind)
    return frozenset(
        name
        for name in opened(body) & set(users)
        if len(users[name]) > 1 and set(users[name]) not in ({"single"}, {"own"})
    )


def parts(body: tuple[Stmt, ...]) -> list[Stmt]:
    """What is shared, or run by one thread, or by all alike, at any depth."""
    result: list[Stmt] = []
    for stmt in body:
        if isinstance(stmt, For) and stmt.kind not in ("parallel", "single"):
            result += parts(stmt.body)
        else:
            result.append(stmt)
    return result


def everywhere(stmt: Stmt, names: frozenset[str]) -> Stmt:
    """The statement with some stack buffers made memory that all threads share."""

    def buffer(b: Buffer) -> Buffer:
        return replace(b, space="shared") if b.name in names and b.space == "stack" else b

    def access(a: Access) -> Access:
        return replace(a, buffer=buffer(a.buffer))

    match stmt:
        case For():
            return replace(stmt, body=tuple(everywhere(s, names) for s in stmt.body))
        case Load():
            return replace(stmt, access=access(stmt.access))
        case Update():
            return replace(stmt, target=access(stmt.target))
        case Transpose():
            return replace(stmt, target=access(stmt.target), source=access(stmt.source))
        case Alloc():
            return Alloc(buffer(stmt.buffer))
    return stmt
