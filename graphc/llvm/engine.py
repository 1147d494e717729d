"""LLVM text to running code: code generation, linking, assembly text."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache as cache_forever
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import sympy

from graphc import cache, debug
from graphc.errors import CompileError
from graphc.llvm import perf
from graphc.llvm.forks import generating
from graphc.llvm.targets import Target, host_level, machine, target
from graphc.machine import cores

ATTRIBUTES = (
    'attributes #0 = {{ nounwind "no-trapping-math"="true" "target-cpu"="{cpu}" '
    '"target-features"="{features}" "prefer-vector-width"="{bits}" }}'
)


def llvm_version() -> str:
    """The version of the LLVM that llvmlite brings."""
    return ".".join(map(str, llvm.llvm_version_info))


def parse(text: str) -> Any:
    """The module of an IR text, which nothing shares. Raises CompileError with LLVM's words."""
    try:
        return llvm.parse_assembly(text, llvm.create_context())
    except RuntimeError as error:
        raise CompileError(f"LLVM refused generated code: {error}") from None


def module_text(target: Target, parts: Sequence[str]) -> str:
    """A whole module: the target, declarations and functions, and their attributes."""
    attributes = ATTRIBUTES.format(
        cpu=target.cpu, features=target.features, bits=target.vector_bytes * 8
    )
    return "\n\n".join([f'target triple = "{target.triple}"\n', *parts, attributes]) + "\n"


def assembly(text: str, target: Target) -> str:
    """The module as the target's assembly, Intel syntax on x86."""
    module = parse(text)
    module.triple = target.triple
    if target.name != "neon":
        llvm.set_option("graphc", "--x86-asm-syntax=intel")
    return str(machine(target, jit=True).emit_assembly(module))


MOST = 4
"""Threads that generate code, at most: one writes what they are given."""


@dataclass
class Loaded:
    """Native code in memory. It stays while this object lives."""

    tracker: Any
    addresses: dict[str, int]
    from_cache: bool
    object_bytes: int = 0
    functions: dict[str, Any] = field(default_factory=dict)


@cache_forever
def jit() -> Any:
    """The one linker of the process."""
    return llvm.create_lljit_compiler(machine(target(host_level()), jit=True))


_serial = 0


def load(
    key: str,
    write: Callable[[Callable[[str], object]], object],
    names: tuple[str, ...],
    target: Target,
    common: Future[bytes] | None = None,
) -> Loaded:
    """Link the objects kept under a key, or compile what is written; find functions.

    `write` hands over each part of the program's text once it is complete: threads compile them
    while the next are written. `common` is the object of a part that is not written here.
    """
    check_runs(target)
    kept = fetch(key, names, target)
    if kept is not None:
        return kept
    with ThreadPoolExecutor(min(MOST, cores()), "graphc-codegen") as codegen:
        parts: list[Future[bytes]] = []
        write(lambda text: parts.append(codegen.submit(compiled, text, target)))
        objects = [part.result() for part in (*parts, *([common] if common else []))]
    cache.write(key, packed(objects))
    return link(objects, names, False)


def whole(text: str) -> Callable[[Callable[[str], object]], object]:
    """A program of one part, for `load`."""
    return lambda done: done(text)


def compiled(text: str, target: Target) -> bytes:
    """The object of a module's text."""
    with generating():
        module = parse(text)
        module.verify()
        made, lib = machine(target, jit=True), llvm.ffi.lib
        with llvm.ffi.OutputString() as error:
            buffer = emitter()(made, module, 1, error)
            if not buffer:
                raise CompileError(f"LLVM made no object of generated code: {error}")
        try:
            size = lib.LLVMPY_GetBufferSize(buffer)
            return ctypes.string_at(lib.LLVMPY_GetBufferStart(buffer), size)
        finally:
            lib.LLVMPY_DisposeMemoryBuffer(buffer)


@cache_forever
def emitter() -> Any:
    """LLVM's code generation, for any number of threads that each have a context of their own.

    That is what LLVM asks for; llvmlite lets one thread into it at a time, as contexts may be
    shared. It is the same function of the same library, and llvmlite's where that is not found.
    """
    locked = llvm.ffi.lib.LLVMPY_TargetMachineEmitToMemory
    try:
        found = ctypes.CDLL(llvm.ffi.lib._name).LLVMPY_TargetMachineEmitToMemory
    except (AttributeError, OSError):
        return locked
    found.argtypes, found.restype = locked.argtypes, locked.restype
    return found


_common: dict[tuple[str, Target], Future[bytes]] = {}


def once(text: str, target: Target) -> Future[bytes]:
    """The object of a module that many programs have, made once by a thread of its own."""
    made = _common.get((text, target))
    if made is None or (made.done() and made.exception() is not None):
        codegen = ThreadPoolExecutor(1, "graphc-codegen")
        made = _common[text, target] = codegen.submit(compiled, text, target)
        codegen.shutdown(wait=False)
    return made


def forget() -> None:
    """In a child of fork() no thread goes on with such a module."""
    for key in [key for key, made in _common.items() if not made.done()]:
        del _common[key]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)


def packed(objects: Sequence[bytes]) -> bytes:
    """Objects one after the other, each after its length."""
    return b"".join(len(data).to_bytes(8, "little") + data for data in objects)


def unpacked(data: bytes) -> list[bytes]:
    """What `packed` packed. Raises RuntimeError for anything else."""
    found, place = [], 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 8], "little")
        found.append(data[place + 8 : place + 8 + size])
        place += 8 + size
    if place != len(data) or not found:
        raise RuntimeError("no objects")
    return found


def fetch(key: str, names: tuple[str, ...], target: Target) -> Loaded | None:
    """Link the object kept under a key; None where there is none, or one that is no object."""
    data = cache.read(key)
    if data is None:
        return None
    try:
        return link(unpacked(data), names, True)
    except RuntimeError:  # whole, but no object that this linker can read
        cache.forget(key)
        return None


def check_runs(target: Target) -> None:
    """Raise CompileError for code that only GRAPHC_REFERENCE can stand in for here."""
    if not target.native and not debug.reference():
        raise CompileError(
            f"this machine cannot run code for {target.name}; it can be inspected. "
            "GRAPHC_REFERENCE=1 runs the oracle instead"
        )


def link(objects: Sequence[bytes], names: tuple[str, ...], cached: bool) -> Loaded:
    """Objects in memory as one program, its functions found."""
    global _serial
    _serial += 1
    builder = llvm.JITLibraryBuilder().add_current_process()
    for data in objects:
        builder.add_object_img(data)
    described = perf.described(objects) if debug.perf() is not None else []
    for name in (*names, *(anchor.symbol for _, anchor in described)):
        builder.export_symbol(name)
    tracker = builder.link(jit(), f"program{_serial}")
    for codes, anchor in described:
        perf.tell(codes, int(tracker[anchor.symbol]) - anchor.start)
    return Loaded(
        tracker, {name: int(tracker[name]) for name in names}, cached, sum(map(len, objects))
    )


GENERATOR = ("loops", "llvm", "types.py", "ops", "machine.py")
"""The sources that make kernels into code."""


def digest(text: str, target: Target, rooms: tuple[str, ...] = ()) -> str:
    """The key of all that object code depends on: a text, a target, and the source of `rooms`."""
    parts = (
        "graphc-2",
        cache.source((*GENERATOR, *rooms)),
        sympy.__version__,
        llvmlite.__version__,
        str(llvm.llvm_version_info),
        target.triple,
        target.cpu,
        target.features,
        target.name,
        repr(target.model),
        text,
    )
    return cache.digest(*parts)


ENTRY = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
