"""Loops that do nothing but one thing, as LLVM text: multiply and add, or move memory."""

from __future__ import annotations

from graphc.llvm.builder import LLVM_TYPES
from graphc.llvm.engine import module_text
from graphc.llvm.targets import Target
from graphc.types import SIZE

CHAINS = 12
"""Independent sums: four cycles of latency times two units, and some to spare."""
UNROLLED = 4
"""Vectors that a round of the triad moves from each of its arrays."""
PAST = ", !nontemporal !0"
"""What makes a store go past the caches."""
MULTIPLY_ADD, TRIAD = "multiply_add", "triad"


def emit(dtype: str, target: Target, hint: str = "") -> str:
    """The module: `multiply_add(rounds, out)`, and `triad(times, count, out, a, b)`: out = a + 3 b.

    `hint` is what the triad's stores bear. `count` is a multiple of UNROLLED vectors, every array
    begins at a multiple of 64 bytes.
    """
    lanes, scalar = target.vector_bytes // SIZE[dtype], LLVM_TYPES[dtype]
    vector = f"<{lanes} x {scalar}>"
    fma = f"@llvm.fma.v{lanes}f{SIZE[dtype] * 8}"
    chains = range(CHAINS)
    body = "\n  ".join
    phis = [f"%s{i} = phi {vector} [ zeroinitializer, %entry ], [ %t{i}, %loop ]" for i in chains]
    sums = [
        f"%t{i} = call {vector} {fma}({vector} %f, {vector} %f, {vector} %s{i})" for i in chains
    ]
    total = [f"%u0 = fadd {vector} %t0, zeroinitializer"]
    total += [f"%u{i} = fadd {vector} %u{i - 1}, %t{i}" for i in chains if i]
    moved = []
    for i in range(UNROLLED):
        moved += [
            f"%i{i} = add i64 %i, {i * lanes}",
            *(f"%p{a}{i} = getelementptr {scalar}, ptr %{a}, i64 %i{i}" for a in ("out", "a", "b")),
            f"%x{i} = load {vector}, ptr %pa{i}, align 64",
            f"%y{i} = load {vector}, ptr %pb{i}, align 64",
            f"%z{i} = call {vector} {fma}"
            f"({vector} %y{i}, {vector} splat ({scalar} 3.0), {vector} %x{i})",
            f"store {vector} %z{i}, ptr %pout{i}, align 64{hint}",
        ]
    text = f"""define void @{MULTIPLY_ADD}(i64 %rounds, ptr %out) #0 {{
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

define void @{TRIAD}(i64 %times, i64 %count, ptr %out, ptr %a, ptr %b) #0 {{
entry:
  br label %again
again:
  %n = phi i64 [ 0, %entry ], [ %m, %round ]
  br label %loop
loop:
  %i = phi i64 [ 0, %again ], [ %j, %loop ]
  {body(moved)}
  %j = add i64 %i, {lanes * UNROLLED}
  %more = icmp ult i64 %j, %count
  br i1 %more, label %loop, label %round
round:
  %m = add i64 %n, 1
  %repeat = icmp ult i64 %m, %times
  br i1 %repeat, label %again, label %end
end:
  ret void
}}

!0 = !{{i32 1}}"""
    return module_text(target, [f"declare {vector} {fma}({vector}, {vector}, {vector})", text])
