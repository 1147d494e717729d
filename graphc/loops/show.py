"""Loop nests as text."""

from __future__ import annotations

from graphc.loops.ir import (
    Access,
    Alloc,
    Args,
    Barrier,
    Check,
    Fetch,
    For,
    Guard,
    Kernel,
    Let,
    Load,
    Stmt,
    Transpose,
    Update,
)
from graphc.ops.scalar import spelled


def exact(kernel: Kernel) -> str:
    """All that a kernel does, as text: equal texts are equal kernels."""
    parts = [str(kernel.buffers), *kernel.far]
    parts += [_exact(stmt) for stmt in kernel.body]
    return "\n".join(parts)


def _exact(stmt: Stmt) -> str:
    match stmt:
        case For():
            inside = "\n".join(map(_exact, stmt.body))
            head = f"{stmt.index} {stmt.start!r} {stmt.stop!r} {stmt.step} {stmt.kind} {stmt.back}"
            return f"for {head} {stmt.where} {{\n{inside}\n}}"
        case Load():
            return f"load {stmt.name} {_access(stmt.access)} {stmt.guards} {stmt.inside}"
        case Let():
            return f"let {stmt.name} {spelled(stmt.expr)} {stmt.args} {stmt.dtype}"
        case Update():
            place = spelled(stmt.place) if stmt.place is not None else ""
            best = _access(stmt.companion) if stmt.companion is not None else ""
            formula = f"{spelled(stmt.expr)} {stmt.args}"
            return (
                f"update {_access(stmt.target)} {formula} {stmt.how} {stmt.guards} {best} {place}"
            )
    return repr(stmt)


def _access(access: Access) -> str:
    return f"{access.buffer.name} {access.buffer.dtype} {access.offset} {access.lookups}"


SIGNS = {"=": "=", "sum": "+=", "prod": "*=", "max": "max=", "min": "min=", "any": "or="}
SIGNS |= {"all": "and=", "argmax": "argmax=", "argmin": "argmin="}


def show(kernel: Kernel) -> str:
    """The kernel's signature, reasons and statements."""
    buffers = ", ".join(f"{b.name}: {b.dtype}[{b.size}]" for b in kernel.buffers)
    lines = [f"kernel {kernel.name}({buffers})"]
    lines += [f"  # {note}" for note in kernel.notes]
    lines += [f"  # from {site}" for site in kernel.sites]
    for stmt in kernel.body:
        _show(stmt, 1, lines)
    return "\n".join(lines)


def _args(pairs: Args) -> str:
    shown = [f"{s} = {a}" for s, a in pairs if str(s) != str(a)]
    return f"  where {', '.join(shown)}" if shown else ""


def _guards(guards: tuple[Guard, ...]) -> str:
    return f"  if {' and '.join(map(str, guards))}" if guards else ""


def _show(stmt: Stmt, depth: int, lines: list[str]) -> None:
    indent = "  " * depth
    match stmt:
        case For(kind="single", body=body):
            lines.append(f"{indent}one thread:")
            for inner in body:
                _show(inner, depth + 1, lines)
        case For(index, start, stop, step, kind, body, back, where):
            span = f"{start}..{stop}" + (f" by {step}" if step != 1 else "") + _guards(where)
            turn = f", back in odd {back}" if back else ""
            lines.append(f"{indent}for {index} in {span}:  # {kind}{turn}")
            for inner in body:
                _show(inner, depth + 1, lines)
        case Load(name, access, guards, inside):
            border = f"  # 0 elsewhere than{_guards(inside)[4:]}" if inside else ""
            lines.append(f"{indent}{name} = {access}{_guards(guards)}{border}")
        case Let(name, expr, args, dtype):
            lines.append(f"{indent}{name}: {dtype} = {expr}{_args(args)}")
        case Update(target, expr, args, how, guards):
            formula = f"{SIGNS[how]} {expr}{_args(args)}{_guards(guards)}"
            lines.append(f"{indent}{target} {formula}{'  # past the caches' * stmt.past}")
        case Check(name, bound, _):
            lines.append(f"{indent}check 0 <= {name} < {bound}")
        case Alloc(buffer):
            lines.append(f"{indent}{buffer.space} {buffer.name}: {buffer.dtype}[{buffer.size}]")
        case Barrier():
            lines.append(f"{indent}barrier")
        case Fetch(access):
            lines.append(f"{indent}fetch {access}")
        case Transpose(target, source, across, down, rows, columns):
            lines.append(
                f"{indent}{target} = {source} turned  # {rows}x{columns}, {across}, {down} apart"
            )
