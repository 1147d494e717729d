"""Hoist: copies that every step of a loop would make alike are made once, before it.

for t: { q[...] = b[...]; y[t] += x[t]*q }   -->   q[...] = b[...]; for t: { y[t] += x[t]*q }

The loop is over the steps of a scan, in order, or over those of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphc.loops.ir import Alloc, Check, For, Kernel, Load, Stmt, walk
from graphc.loops.nest import accesses, forms, written
from graphc.machine import Machine


def hoist(kernel: Kernel, machine: Machine) -> Kernel:
    """Apply `lifted` to every loop, the inner ones first."""
    return replace(kernel, body=hoisted(kernel.body))


def hoisted(stmts: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """The statements with what can be moved out of their loops standing before them."""
    result: list[Stmt] = []
    for stmt in stmts:
        if not isinstance(stmt, For):
            result.append(stmt)
            continue
        inside = replace(stmt, body=hoisted(stmt.body))
        result += lifted(inside) if stmt.kind in ("ordered", "serial") else [inside]
    return tuple(result)


def lifted(loop: For) -> list[Stmt]:
    """The buffers of a loop that hold the same at every step, filled before it; then the loop."""
    before: list[Stmt] = []
    copies = [s for s in loop.body if isinstance(s, Alloc) and s.buffer.space != "register"]
    for alloc in copies:
        fills = [s for s in loop.body if alloc.buffer.name in written([s])]
        others = tuple(s for s in loop.body if s is not alloc and s not in fills)
        if fills and all(steady(fill, alloc, loop, others) for fill in fills):
            before += [alloc, *fills]
            loop = replace(loop, body=others)
    return [*before, loop]


def steady(fill: Stmt, alloc: Alloc, loop: For, others: Sequence[Stmt]) -> bool:
    """Whether a statement fills one buffer only, from what no step of the loop changes."""
    if not isinstance(fill, For) or written([fill]) != {alloc.buffer.name} or loop.extent == 0:
        return False
    if any(isinstance(s, Check) for s in walk((fill,))):
        return False
    if any(a.buffer.name in written(others) for a in accesses([fill])) or held(fill):
        return False
    offsets = [a.offset for a in accesses([fill])]
    return not any(form.coefficient(loop.index) for form in (*offsets, *forms([fill])))


def held(fill: Stmt) -> bool:
    """Whether a statement reads registers that are opened outside of it."""
    opened = {s.buffer.name for s in walk((fill,)) if isinstance(s, Alloc)}
    read = (s.access.buffer for s in walk((fill,)) if isinstance(s, Load))
    return any(b.space == "register" and b.name not in opened for b in read)
