"""What code is generated for: the levels of instructions, the host's own, and its caches."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm

from graphc.errors import CompileError
from graphc.llvm import team
from graphc.llvm.functions import instructions
from graphc.machine import LAST, LEVEL1, LEVEL2, Machine
from graphc.machine import levels as caches

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
WIDTHS = {"avx512": 64, "avx2": 32, "sse2": 16, "neon": 16}
UNITS = {"znver1": 16, "znver4": 32}
"""Processors that take their widest vectors in two passes, and the bytes of one."""
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
    unit: int = WIDTHS["avx512"]
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
            unit=self.unit,
            level1=self.level1,
            level2=self.level2,
            last=self.last,
            threads=team.architecture(self.triple) is not None,
            instructions=instructions,
        )


@cache
def start() -> None:
    """Make LLVM's back end for the host available, once."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()


@cache
def start_all() -> None:
    """Make LLVM's back ends for all machines available, once: it takes longer."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


@cache
def host_features() -> dict[str, bool]:
    """The host's features by LLVM's names."""
    start()
    return dict(llvm.get_host_cpu_features())


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


@cache
def level(name: str) -> Target:
    """A target by its name."""
    start()
    if name not in WIDTHS:
        raise CompileError(f"unknown target {name!r}; graphc has {', '.join(WIDTHS)}")
    best = host_level()
    unit = UNITS.get(llvm.get_host_cpu_name(), WIDTHS["avx512"])
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
            unit,
            *caches(),
        )
    if name == "neon":
        return Target(name, 16, registers, TRIPLES[name], TUNED[name], "+neon", False)
    triple = llvm.get_process_triple() if best != "neon" else "x86_64-unknown-linux-gnu"
    wanted = ",".join(f"+{f}" for f in LEVELS[name])
    native = best != "neon" and order.index(name) <= order.index(best)
    near = (unit, *caches()) if native else ()
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
