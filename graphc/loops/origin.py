"""Origins: which nodes of the graph each statement of a kernel computes for.

Lowering notes the node that it makes a value for by the value's name (`Kernel.origins`), and passes
keep these names. What has no such name belongs to those that read it: a load, a panel copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from graphc.graph.node import Node
from graphc.loops.ir import (
    Alloc,
    Barrier,
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

Origin = Callable[[Stmt], tuple[Node, ...]]


def origin(kernel: Kernel) -> Origin:
    """The nodes that a statement of the kernel comes from; of a loop, those of all inside."""
    readers: dict[str, list[Stmt]] = {}
    for stmt in walk(kernel.body):
        for name in read(stmt):
            readers.setdefault(name, []).append(stmt)
    found: dict[str, tuple[Node, ...]] = {}

    def reached(name: str) -> Iterator[tuple[Node, ...]]:
        """The nodes of the first values to have any, of all that a value or a buffer goes into."""
        seen, rest = {name}, [name]
        while rest:
            name = rest.pop()
            own = kernel.origins.get(name.partition(".")[0])  # r1.w2: the lanes of r1
            if own is not None:
                yield own
                continue
            into = (made(stmt) for stmt in readers.get(name, ()))
            new = [
                other for other in dict.fromkeys(into) if other is not None and other not in seen
            ]
            seen.update(new)
            rest += reversed(new)

    def named(name: str) -> tuple[Node, ...]:
        """The nodes of a value or a buffer."""
        if name not in found:
            found[name] = union(reached(name))
        return found[name]

    def of(stmt: Stmt) -> tuple[Node, ...]:
        if isinstance(stmt, For):
            return union([of(inner) for inner in stmt.body])
        name = made(stmt)
        return named(name) if name is not None else ()

    return of


def union(parts: Iterable[tuple[Node, ...]]) -> tuple[Node, ...]:
    """The nodes of all parts, each once."""
    return tuple(dict.fromkeys(node for part in parts for node in part))


def made(stmt: Stmt) -> str | None:
    """The value that a statement makes or checks, or the buffer that it fills or begins."""
    match stmt:
        case Load(name=name) | Let(name=name) | Check(name=name):
            return name
        case Update() | Transpose():
            return stmt.target.buffer.name
        case Alloc():
            return stmt.buffer.name
    return None


def read(stmt: Stmt) -> set[str]:
    """The values and buffers that a statement reads."""
    match stmt:
        case For() | Barrier() | Alloc():
            return set()
        case Load():
            return used(stmt) | {stmt.access.buffer.name}
        case Transpose():
            return {stmt.source.buffer.name}
    return used(stmt)


def apart(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """The same statements, each an object of its own, to be told apart by it."""
    return tuple(
        replace(stmt, body=apart(stmt.body)) if isinstance(stmt, For) else replace(stmt)
        for stmt in body
    )
