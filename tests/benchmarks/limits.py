"""What the cores can do at most, measured: multiply-adds and memory traffic, by kernels of LLVM.

Each is a loop over the widest vectors of the target, written here as text; with two cores it runs
on both at once. Compiled once in a process.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from graphc.llvm import engine

CHAINS = 12  # independent sums: four cycles of latency times two units, and some to spare
ELEMENTS = 1 << 24  # of each array that is streamed: 64 MiB, beyond any cache
Native = Callable[..., None]


def kernels(lanes: int) -> str:
    """The module: `multiply_add(rounds, out)` and `triad(count, out, a, b)`, out = a + 3 b."""
    vector = f"<{lanes} x float>"
    chains = range(CHAINS)
    phis = [f"%s{i} = phi {vector} [ zeroinitializer, %entry ], [ %t{i}, %loop ]" for i in chains]
    sums = [f"%t{i} = call {vector} @fma({vector} %f, {vector} %f, {vector} %s{i})" for i in chains]
    total = ["%u0 = fadd VECTOR %t0, zeroinitializer".replace("VECTOR", vector)]
    total += [f"%u{i} = fadd {vector} %u{i - 1}, %t{i}" for i in chains if i]
    body = "\n  ".join
    text = f"""
declare {vector} @fma({vector}, {vector}, {vector})

define void @multiply_add(i64 %rounds, ptr %out) {{
entry:
  %f = load {vector}, ptr %out, align 64
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
  {body(phis)}
  {body(sums)}
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %rounds
  br i1 %more, label %loop, label %end
end:
  {body(total)}
  store {vector} %u{CHAINS - 1}, ptr %out, align 64
  ret void
}}

define void @triad(i64 %count, ptr %out, ptr %a, ptr %b) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
  %pa = getelementptr float, ptr %a, i64 %i
  %pb = getelementptr float, ptr %b, i64 %i
  %po = getelementptr float, ptr %out, i64 %i
  %x = load {vector}, ptr %pa, align 64
  %y = load {vector}, ptr %pb, align 64
  %z = call {vector} @fma({vector} %y, {vector} splat (float 3.0), {vector} %x)
  store {vector} %z, ptr %po, align 64NONTEMPORAL
  %j = add i64 %i, {lanes}
  %more = icmp ult i64 %j, %count
  br i1 %more, label %loop, label %end
end:
  ret void
}}

!0 = !{{i32 1}}
"""
    return text.replace("@fma(", f"@llvm.fma.v{lanes}f32(")


def compiled(text: str) -> tuple[Any, dict[str, int]]:
    """The engine and the functions' addresses."""
    target = engine.target()
    module = llvm.parse_assembly(text)
    module.verify()
    jit = llvm.create_mcjit_compiler(module, engine.machine(target, jit=True))
    jit.finalize_object()
    return jit, {name: jit.get_function_address(name) for name in ("multiply_add", "triad")}


def aligned(elements: int) -> np.ndarray[Any, Any]:
    """Zeros at a multiple of 64 bytes, every page touched."""
    memory = np.zeros(elements * 4 + 64, np.uint8)
    start = -memory.ctypes.data % 64
    array = memory[start : start + elements * 4].view(np.float32)
    array[:] = 0.5
    return array


@dataclass
class Limits:
    """The kernels, their memory, and what was measured: GFLOP/s and GB/s of all cores together.

    Traffic is counted as 12 bytes for each element of a triad, with ordinary stores and with ones
    that go past the cache; the better counts.
    """

    cores: Sequence[int]
    gflops: list[float] = field(default_factory=list)
    gbytes: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.now: Callable[[], float] = time.perf_counter
        self.lanes = engine.target().vector_bytes // 4
        self.engines, self.triads = [], []
        for hint in ("", ", !nontemporal !0"):
            jit, address = compiled(kernels(self.lanes).replace("NONTEMPORAL", hint))
            self.engines.append(jit)  # keeps the code
            self.triads.append(
                ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * 3)(address["triad"])
            )
            self.multiply_add = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(
                address["multiply_add"]
            )
        count = ELEMENTS // len(self.cores)
        self.arrays = [[aligned(count) for _ in range(3)] for _ in self.cores]
        self.outs = [aligned(64) for _ in self.cores]

    def measure(self, now: Callable[[], float]) -> None:
        """One round of each kernel, about 50 ms."""
        self.now = now
        rounds = 4_000_000 // CHAINS
        seconds = self._together(lambda i: self.multiply_add(rounds, self.outs[i].ctypes.data))
        work = 2 * CHAINS * self.lanes * rounds * len(self.cores)
        self.gflops.append(work / seconds / 1e9)
        best = min(map(self._streamed, self.triads))
        self.gbytes.append(12 * self.arrays[0][0].size * len(self.cores) / best / 1e9)

    def _streamed(self, triad: Native) -> float:
        """Seconds of a triad over all arrays."""

        def work(i: int) -> None:
            triad(self.arrays[i][0].size, *(array.ctypes.data for array in self.arrays[i]))

        return self._together(work)

    def _together(self, work: Callable[[int], None]) -> float:
        """Seconds from a common start to the last end; native code runs without Python's lock."""
        barrier = threading.Barrier(len(self.cores))
        spans: list[tuple[float, float]] = []

        def run(i: int) -> None:
            barrier.wait()
            start = self.now()
            work(i)
            spans.append((start, self.now()))

        threads = [threading.Thread(target=run, args=(i,)) for i in range(1, len(self.cores))]
        for thread in threads:
            thread.start()
        run(0)
        for thread in threads:
            thread.join()
        return max(end for _, end in spans) - min(start for start, _ in spans)
