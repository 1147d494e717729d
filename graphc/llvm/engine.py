"""LLVM text to running code: the host's features, code generation, linking, assembly text."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cache as cache_forever
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import sympy

from graphc import cache, debug
from graphc.errors import CompileError
from graphc.llvm import perf, team
from graphc.llvm.functions import instructions
from graphc.machine import LAST, LEVEL1, LEVEL2, Machine, levels

LEVELS: dict[str, tuple[str, ...]] = {
    "sse2": (),
    "avx2": (
        "sse3",
        "ssse3",
        "sse4.1",
        "sse4.2",
        "popcnt",
        "avx",
        "avx2",
        "fma",
        "bmi",
        "bmi2",
        "f16c",
        "lzcnt",
    ),
}
LEVELS["avx512"] = (
    *LEVELS["avx2"],
    "avx512f",
    "avx512bw",
    "avx512cd",
    "avx512dq",
    "avx512vl",
    "evex512",
)
TRIPLES = {"neon": "aarch64-unknown-linux-gnu"}
ATTRIBUTES = (
    'attributes #0 = {{ nounwind "no-trapping-math"="true" "target-cpu"="{cpu}" '
    '"target-features"="{features}" "prefer-vector-width"="{bits}" }}'
)
WIDTHS = {"avx512": 64, "avx2": 32, "sse2": 16, "neon": 16}
TUNED = {"sse2": "x86-64", "avx2": "x86-64-v3", "avx512": "x86-64-v4", "neon": "generic"}
"""The processor that code of a level is ordered for where it is not the host's: by the oldest's
order, some inner loops on AVX2 held more than the registers."""


@dataclass(frozen=True)
class Target:
    """What code is generated for: a level, its vector bytes, LLVM's names of it, its caches."""

    name: str
    vector_bytes: int
    registers: int
    triple: str
    cpu: str
    features: str
    native: bool
    level1: int = LEVEL1
    level2: int = LEVEL2
    last: int = LAST

    @property
    def model(self) -> Machine:
        """What schedules are chosen by."""
        return Machine(
            self.vector_bytes,
            self.registers,
            masked=self.name == "avx512",
            level1=self.level1,
            level2=self.level2,
            last=self.last,
            threads=team.architecture(self.triple) is not None,
            instructions=instructions,
        )


@cache_forever
def start() -> None:
    """Make LLVM's back end for the host available, once."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()


@cache_forever
def start_all() -> None:
    """Make LLVM's back ends for all machines available, once: it takes longer."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


@cache_forever
def host_features() -> dict[str, bool]:
    """The host's features by LLVM's names."""
    start()
    return dict(llvm.get_host_cpu_features())


def llvm_version() -> str:
    """The version of the LLVM that llvmlite brings."""
    return ".".join(map(str, llvm.llvm_version_info))


def host_level() -> str:
    """The highest level that the host runs."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return "neon"
    features = host_features()
    if features.get("avx512f") and features.get("avx512vl") and features.get("avx512dq"):
        return "avx512"
    return "avx2" if features.get("avx2") and features.get("fma") else "sse2"


def target(name: str | None = None) -> Target:
    """A target by level: avx512, avx2, sse2, neon, or GRAPHC_TARGET or the host's best for None.

    Raises CompileError for an unknown name. A level above the host's can be compiled and looked
    at, not run.
    """
    return level(name or os.environ.get("GRAPHC_TARGET") or host_level())


@cache_forever
def level(name: str) -> Target:
    """A target by its name."""
    start()
    if name not in WIDTHS:
        raise CompileError(f"unknown target {name!r}; graphc has {', '.join(WIDTHS)}")
    best = host_level()
    registers = 32 if name in ("avx512", "neon") else 16
    order = ["sse2", "avx2", "avx512"]
    if name == best:
        features = llvm.get_host_cpu_features().flatten()
        return Target(
            name,
            WIDTHS[name],
            registers,
            llvm.get_process_triple(),
            llvm.get_host_cpu_name(),
            features,
            True,
            *levels(),
        )
    if name == "neon":
        return Target(name, 16, registers, TRIPLES[name], TUNED[name], "+neon", False)
    triple = llvm.get_process_triple() if best != "neon" else "x86_64-unknown-linux-gnu"
    wanted = ",".join(f"+{f}" for f in LEVELS[name])
    native = best != "neon" and order.index(name) <= order.index(best)
    near = levels() if native else (LEVEL1, LEVEL2, LAST)
    return Target(name, WIDTHS[name], registers, triple, TUNED[name], wanted, native, *near)


def machine(target: Target, *, jit: bool) -> Any:
    """A fresh LLVM target machine; it must not be used again once an engine has it."""
    if target.triple == llvm.get_process_triple():
        start()
    else:
        start_all()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=2,
        jit=jit,
        reloc="default" if jit else "pic",
        codemodel="jitdefault" if jit else "default",
    )


def parse(text: str) -> Any:
    """The module of an IR text. Raises CompileError with LLVM's words and the line."""
    try:
        return llvm.parse_assembly(text)
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

    `write` hands over each part of the program's text once it is complete: a thread compiles it
    while the next is written. `common` is the object of a part that is not written here.
    """
    check_runs(target)
    kept = fetch(key, names, target)
    if kept is not None:
        return kept
    with ThreadPoolExecutor(1, "graphc-codegen") as codegen:
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
    module = parse(text)
    module.verify()
    return bytes(machine(target, jit=True).emit_object(module))


_common: dict[tuple[str, Target], Future[bytes]] = {}


def once(text: str, target: Target) -> Future[bytes]:
    """The object of a module that many programs have, made once by a thread of its own."""
    made = _common.get((text, target))
    if made is None or (made.done() and made.exception() is not None):
        codegen = ThreadPoolExecutor(1, "graphc-codegen")
        made = _common[text, target] = codegen.submit(compiled, text, target)
        codegen.shutdown(wait=False)
    return made


def settled() -> None:
    """Wait until no such module is being made: its thread, and LLVM's lock, would stay behind."""
    wait(list(_common.values()))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=settled)


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
