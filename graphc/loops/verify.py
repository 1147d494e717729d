"""Invariants of a kernel: values and indices are known where they are used, registers opened."""

from __future__ import annotations

from graphc.errors import CompileError
from graphc.loops.ir import Alloc, Fetch, For, Kernel, Let, Load, Stmt, Update, indices, used


def verify(kernel: Kernel) -> None:
    """Raise CompileError where a statement mentions what is not known at its place."""
    arguments = {buffer.name for buffer in kernel.buffers}
    _body(kernel, kernel.body, set(), set(), arguments)


def _body(
    kernel: Kernel,
    body: tuple[Stmt, ...],
    values: set[str],
    loops: set[str],
    buffers: set[str],
) -> None:
    values, buffers = set(values), buffers
    for stmt in body:
        if isinstance(stmt, For):
            for name in sorted({n for g in stmt.where for n in g.position.names}):
                if name not in {*loops, stmt.index}:
                    raise CompileError(f"{kernel.name}: {name} is no loop around {stmt.index}")
            _body(kernel, stmt.body, values, {*loops, stmt.index}, buffers)
            continue
        for name in sorted(used(stmt) - values):
            raise CompileError(f"{kernel.name}: {name} is used before it is known, in {stmt}")
        for name in sorted(indices(stmt) - loops):
            raise CompileError(f"{kernel.name}: {name} is no loop around {stmt}")
        if isinstance(stmt, Alloc):
            buffers.add(stmt.buffer.name)
        touched = [stmt.access] if isinstance(stmt, Load | Fetch) else []
        touched += [stmt.target] if isinstance(stmt, Update) else []
        for access in touched:
            if access.buffer.name not in buffers:
                raise CompileError(f"{kernel.name}: {access} is not opened, in {stmt}")
        if isinstance(stmt, Load | Let):
            values.add(stmt.name)
