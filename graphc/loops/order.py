"""Order: neighbouring loops that walk memory as one become one.

for i in 0..I: for j in 0..J: x[J*i + j]   -->   for j in 0..I*J: x[j]
"""

from __future__ import annotations

from dataclasses import replace

from graphc.loops.ir import Alloc, For, Kernel, Load, Stmt, Update, rename, walk
from graphc.loops.nest import accesses, forms
from graphc.loops.outside import unasked
from graphc.machine import Machine
from graphc.ops.index import Affine, Bound, Runtime, affine


def order(kernel: Kernel, machine: Machine) -> Kernel:
    """Join loops wherever every access allows it. Loops that only reduce are left as they are."""
    return replace(kernel, body=tuple(_join(s) for s in kernel.body))


def _join(stmt: Stmt) -> Stmt:
    if not isinstance(stmt, For):
        return stmt
    while True:
        joined = join(stmt)
        if joined is None:
            break
        stmt = joined
    return replace(stmt, body=tuple(_join(s) for s in stmt.body))


def join(outer: For) -> For | None:
    """One loop for two that are perfectly nested and walk memory as one."""
    if len(outer.body) != 1 or not isinstance(outer.body[0], For):
        return None
    inner = outer.body[0]
    if "ordered" in (outer.kind, inner.kind):
        return None
    size = inner.stop
    if not isinstance(size, int) or size == 0 or outer.start != 0 or inner.start != 0:
        return None
    if reduces(inner):
        return None
    for access in accesses(inner.body):
        if access.offset.coefficient(outer.index) != size * access.offset.coefficient(inner.index):
            return None
    for form in forms(inner.body):
        if form.coefficient(outer.index) or form.coefficient(inner.index):
            return None
    values = {outer.index: Affine()}
    names = {outer.index, inner.index}
    body = tuple(rename(s, values) for s in unasked(inner.body, names))
    return For(inner.index, 0, times(outer.stop, size), 1, "serial", body)


def reduces(loop: For) -> bool:
    """Whether a loop adds into something that outlives it: its order is then part of the result."""
    inside = {s.buffer.name for s in walk(loop.body) if isinstance(s, Alloc)}
    for stmt in walk(loop.body):
        adds = isinstance(stmt, Update) and stmt.how != "="
        if adds and isinstance(stmt, Update) and stmt.target.buffer.name not in inside:
            return True
        if isinstance(stmt, Load) and stmt.access.buffer.space == "stack":
            return True
    return False


def times(bound: Bound, factor: int) -> Bound:
    """A loop bound times a number."""
    if isinstance(bound, int):
        return bound * factor
    return Runtime(bound.name, bound.scale * factor, bound.multiple)


def unit(name: str) -> Affine:
    """An index as an expression."""
    return affine([(name, 1)])
