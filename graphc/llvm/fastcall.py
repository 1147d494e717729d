"""The entry as a C function of Python objects: arrays are checked and bound without Python code.

CPython hands a vector of object pointers (the METH_FASTCALL convention). Of each the code reads
what numpy's C header fixes for every version: the type, then data, rank, extents, dtype and flags.
An array that is not exactly as wanted makes the call return -1, and Python takes the slow path.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.types import Shape

DATA, RANK, EXTENTS, DTYPE, FLAGS = 16, 24, 32, 56, 64
WANTED_FLAGS = 0x101
"""C-contiguous and aligned."""
HEAD = 7
"""Words of the block before the dtypes: array type, table, sizes, context, int maker, and what lets
other threads of Python run meanwhile and what waits for them to pause, or 0 twice."""


def emit(entry: str, name: str, inputs: Sequence[tuple[int, Shape]], extents: Sequence[str]) -> str:
    """The function's text. `inputs` gives the slot and shape of each array: inputs, then outputs.

    `self` is an int64 array, the block: the words of HEAD, then the address of each input's dtype.
    """
    lines = [
        f"define ptr @{name}(ptr %self, ptr %args, i64 %count) #0 {{",
        "entry:",
        f"  %block.at = getelementptr i8, ptr %self, i64 {DATA}",
        "  %block = load ptr, ptr %block.at, align 8",
        "  %type = load ptr, ptr %block, align 8",
    ]
    for number, word in enumerate(("table", "sizes", "context", "make", "leave", "enter"), 1):
        lines.append(f"  %{word}.at = getelementptr ptr, ptr %block, i64 {number}")
        lines.append(f"  %{word} = load ptr, ptr %{word}.at, align 8")
    lines.append(f"  %ok = icmp eq i64 %count, {len(inputs)}")
    lines.append("  br i1 %ok, label %input0, label %slow")
    for number, (slot, shape) in enumerate(inputs):
        after = f"input{number + 1}"
        lines.append(f"input{number}:")
        lines += checks(number, shape, extents)
        lines.append(f"  br i1 %i{number}.ok, label %bind{number}, label %slow")
        lines.append(f"bind{number}:")
        lines += [
            f"  %i{number}.data.at = getelementptr i8, ptr %i{number}, i64 {DATA}",
            f"  %i{number}.data = load ptr, ptr %i{number}.data.at, align 8",
            f"  %i{number}.slot = getelementptr ptr, ptr %table, i64 {slot}",
            f"  store ptr %i{number}.data, ptr %i{number}.slot, align 8",
            f"  br label %{after}",
        ]
    lines += [
        f"input{len(inputs)}:",
        "  store i64 0, ptr %context, align 8",
        "  %long = icmp ne ptr %leave, null",
        "  br i1 %long, label %apart, label %here",
        "here:",
        f"  %code.here = call i64 @{entry}(ptr %table, ptr %sizes, ptr %context)",
        "  br label %done",
        "apart:",
        "  %thread = call ptr %leave()",
        f"  %code.apart = call i64 @{entry}(ptr %table, ptr %sizes, ptr %context)",
        "  call void %enter(ptr %thread)",
        "  br label %done",
        "done:",
        "  %code = phi i64 [ %code.here, %here ], [ %code.apart, %apart ]",
        "  %result = call ptr %make(i64 %code)",
        "  ret ptr %result",
        "slow:",
        "  %no = call ptr %make(i64 -1)",
        "  ret ptr %no",
        "}",
    ]
    return "\n".join(lines)


def checks(number: int, shape: Shape, extents: Sequence[str]) -> list[str]:
    """Lines that decide whether an object is the array wanted, as %iN.ok.

    An object of another type is not looked into: what it would show is replaced by the block.
    """
    p = f"%i{number}"
    lines = [
        f"  {p}.at = getelementptr ptr, ptr %args, i64 {number}",
        f"  {p}.given = load ptr, ptr {p}.at, align 8",
        f"  {p}.type.at = getelementptr i8, ptr {p}.given, i64 8",
        f"  {p}.type = load ptr, ptr {p}.type.at, align 8",
        f"  {p}.array = icmp eq ptr {p}.type, %type",
        f"  {p} = select i1 {p}.array, ptr {p}.given, ptr %self",
    ]
    wanted = [f"{p}.array"]

    def field(word: str, offset: int, type: str) -> str:
        lines.append(f"  {p}.{word}.at = getelementptr i8, ptr {p}, i64 {offset}")
        lines.append(f"  {p}.{word} = load {type}, ptr {p}.{word}.at, align 4")
        return f"{p}.{word}"

    dtype = field("dtype", DTYPE, "ptr")
    lines.append(f"  {p}.kind.at = getelementptr ptr, ptr %block, i64 {HEAD + number}")
    lines.append(f"  {p}.kind = load ptr, ptr {p}.kind.at, align 8")
    lines.append(f"  {p}.same = icmp eq ptr {dtype}, {p}.kind")
    flags = field("flags", FLAGS, "i32")
    lines.append(f"  {p}.bits = and i32 {flags}, {WANTED_FLAGS}")
    lines.append(f"  {p}.flat = icmp eq i32 {p}.bits, {WANTED_FLAGS}")
    rank = field("rank", RANK, "i32")
    lines.append(f"  {p}.deep = icmp eq i32 {rank}, {len(shape)}")
    wanted += [f"{p}.same", f"{p}.flat", f"{p}.deep"]
    dims = field("dims", EXTENTS, "ptr")
    # Extents are read only where the rank is as wanted; elsewhere the sizes stand in for them.
    lines.append(f"  {p}.safe = and i1 {p}.array, {p}.deep")
    for axis, extent in enumerate(shape):
        name = f"{p}.d{axis}"
        lines.append(f"  {name}.in = getelementptr i64, ptr {dims}, i64 {axis}")
        lines.append(f"  {name}.at = select i1 {p}.safe, ptr {name}.in, ptr %sizes")
        lines.append(f"  {name} = load i64, ptr {name}.at, align 8")
        if isinstance(extent, int):
            lines.append(f"  {name}.ok = icmp eq i64 {name}, {extent}")
        else:
            place = list(extents).index(extent)
            lines.append(f"  {name}.want.at = getelementptr i64, ptr %sizes, i64 {place}")
            lines.append(f"  {name}.want = load i64, ptr {name}.want.at, align 8")
            lines.append(f"  {name}.ok = icmp eq i64 {name}, {name}.want")
        wanted.append(f"{name}.ok")
    total = wanted[0]
    for step, condition in enumerate(wanted[1:]):
        last = step == len(wanted) - 2
        name = f"{p}.ok" if last else f"{p}.all{step}"
        lines.append(f"  {name} = and i1 {total}, {condition}")
        total = name
    return lines
