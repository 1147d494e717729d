"""Parallel: mark the outer loops whose steps may run at the same time.

for i: x[i, ...] = ...   -->   the same, marked parallel
"""

from __future__ import annotations

from dataclasses import replace

from graphc.loops.ir import Alloc, Check, For, Kernel, Load, Stmt, Transpose, Update, walk
from graphc.machine import Machine


def parallel(kernel: Kernel, machine: Machine) -> Kernel:
    """Mark every outermost loop that writes a place of its own at each step."""
    return replace(kernel, body=tuple(marked(stmt) for stmt in kernel.body))


def marked(stmt: Stmt) -> Stmt:
    """A loop, marked where its steps are independent."""
    if not isinstance(stmt, For) or stmt.kind not in ("serial", "ordered"):
        return stmt
    if stmt.kind == "serial" and independent(stmt):
        return replace(stmt, kind="parallel")
    return stmt


def independent(loop: For) -> bool:
    """Whether no step writes what another reads or writes; rows on the stack are private."""
    own = {s.buffer.name for s in walk(loop.body) if isinstance(s, Alloc)}
    written: set[str] = set()
    for stmt in walk(loop.body):
        if isinstance(stmt, Check):
            continue
        target = stmt.target if isinstance(stmt, Update | Transpose) else None
        if target is None or target.buffer.name in own or target.buffer.space == "stack":
            continue
        if target.buffer.space == "register" or target.lookups:
            return False
        if not target.offset.coefficient(loop.index):
            return False
        written.add(target.buffer.name)
    reads = [s.access for s in walk(loop.body) if isinstance(s, Load)]
    return all(
        access.offset.coefficient(loop.index) for access in reads if access.buffer.name in written
    )
