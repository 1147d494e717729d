"""The entry as C functions of Python objects: arrays are checked and bound without Python code.

CPython hands a vector of object pointers (the METH_FASTCALL convention). Of each the code reads
what numpy's C header fixes for every version: the type, then data, rank, extents, dtype and flags.
One function takes the inputs and the arrays for results. An array that is not exactly as wanted
makes it return -1, and Python takes the slow path. The other takes the inputs, makes the results by
numpy's functions, and returns a tuple of them, or None where Python is to take a slower path. From
the first array that it makes to its end no other code of Python runs, so that it needs no lock.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.types import Shape

DATA, RANK, EXTENTS, DTYPE, FLAGS = 16, 24, 32, 56, 64
WANTED_FLAGS = 0x101
"""C-contiguous and aligned."""
WORDS = (
    *("type", "table", "sizes", "context", "number", "leave", "enter"),
    *("tuple", "put", "array", "scalar", "hold", "drop", "none"),
)
"""The block before the dtypes of inputs and results: numpy's array type, where the entry's three
arguments lie, and functions: an int of a C integer; what lets other threads of Python run meanwhile
and what waits for them to pause, or 0 twice; a tuple, and setting an item of it; an array, and a
number, of numpy; counting a reference more, and one less. Then None."""
BUSY = 5
"""The word of the context that is not 0 while some call has the program's buffers."""


def emit(entry: str, name: str, inputs: Sequence[tuple[int, Shape]], extents: Sequence[str]) -> str:
    """The text of the first. `inputs` gives the slot and shape of each array: inputs, then results.

    `self` is an int64 array, the block: WORDS, then the address of each dtype.
    """
    return f"{run(entry, name, inputs, extents)}\n{told(name)}"


def told(name: str) -> str:
    """The code of `run` as a Python int."""
    lines = [
        f"define ptr @{name}(ptr %self, ptr %args, i64 %count) #0 {{",
        "entry:",
        *block("number"),
        f"  %code = call i64 @{name}.run(ptr %self, ptr %args, i64 %count)",
        "  %result = call ptr %number(i64 %code)",
        "  ret ptr %result",
        "}",
    ]
    return "\n".join(lines)


def block(*words: str) -> list[str]:
    """Lines that read words of the block."""
    lines = [
        f"  %block.at = getelementptr i8, ptr %self, i64 {DATA}",
        "  %block = load ptr, ptr %block.at, align 8",
    ]
    for word in words:
        lines.append(f"  %{word}.at = getelementptr ptr, ptr %block, i64 {WORDS.index(word)}")
        lines.append(f"  %{word} = load ptr, ptr %{word}.at, align 8")
    return lines


def run(entry: str, name: str, inputs: Sequence[tuple[int, Shape]], extents: Sequence[str]) -> str:
    """Bind arrays and run: the entry's code, or -1 where an array is not as wanted."""
    lines = [
        f"define internal i64 @{name}.run(ptr %self, ptr %args, i64 %count) #0 {{",
        "entry:",
        *block("type", "table", "sizes", "context", "leave", "enter"),
        f"  %ok = icmp eq i64 %count, {len(inputs)}",
    ]
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
        "  ret i64 %code",
        "slow:",
        "  ret i64 -1",
        "}",
    ]
    return "\n".join(lines)


def emit_making(
    name: str,
    inputs: int,
    arrays: Sequence[Shape],
    numbers: Sequence[int],
    extents: Sequence[str],
    run: str,
) -> str:
    """The text of the second, which calls the first one's `run`.

    It makes arrays of these shapes, and numbers of what the entry leaves in these slots.
    """
    count = inputs + len(arrays)
    lines = [
        f"define ptr @{name}(ptr %self, ptr %args, i64 %count) #0 {{",
        "entry:",
        *block("table", "sizes", "context", *WORDS[WORDS.index("leave") :]),
        f"  %given = alloca [{max(count, 1)} x ptr], align 8",
        f"  %dims = alloca [{max(map(len, arrays), default=1)} x i64], align 8",
        f"  %ok = icmp eq i64 %count, {inputs}",
        "  br i1 %ok, label %begin, label %other",
        "begin:",  # the tuple comes first: Python's collector may run code
        f"  %made = call ptr %tuple(i64 {len(arrays) + len(numbers)})",
        "  %no.tuple = icmp eq ptr %made, null",
        "  br i1 %no.tuple, label %failed, label %alone",
        "alone:",
        f"  %busy.at = getelementptr i64, ptr %context, i64 {BUSY}",
        "  %busy = load i64, ptr %busy.at, align 8",
        "  %idle = icmp eq i64 %busy, 0",
        "  %stays = icmp eq ptr %leave, null",
        "  %free = and i1 %idle, %stays",
        "  br i1 %free, label %array0, label %drop.made",
    ]
    for number, shape in enumerate(arrays):
        lines += array(number, inputs + number, shape, extents)
    lines.append(f"array{len(arrays)}:")
    for number in range(inputs):
        lines += [
            f"  %from{number} = getelementptr ptr, ptr %args, i64 {number}",
            f"  %input{number} = load ptr, ptr %from{number}, align 8",
            f"  %to{number} = getelementptr ptr, ptr %given, i64 {number}",
            f"  store ptr %input{number}, ptr %to{number}, align 8",
        ]
    lines += [
        f"  %code = call i64 @{run}.run(ptr %self, ptr %given, i64 {count})",
        "  %right = icmp eq i64 %code, 0",
        "  br i1 %right, label %number0, label %drop.made",
    ]
    for number, slot in enumerate(numbers):
        n, after = f"%n{number}", f"number{number + 1}"
        lines += [
            f"number{number}:",
            f"  {n}.slot = getelementptr ptr, ptr %table, i64 {slot}",
            f"  {n}.data = load ptr, ptr {n}.slot, align 8",
            *dtype(n, count + number),
            f"  {n} = call ptr %scalar(ptr {n}.data, ptr {n}.dtype, ptr null)",
            *kept(n, len(arrays) + number, after),
        ]
    lines += [
        f"number{len(numbers)}:",
        "  ret ptr %made",
        "drop.made:",
        "  call void %drop(ptr %made)",
        "  br label %other",
        "other:",
        "  call void %hold(ptr %none)",
        "  ret ptr %none",
        "drop.failed:",
        "  call void %drop(ptr %made)",
        "  br label %failed",
        "failed:",  # the function that failed has said why
        "  ret ptr null",
        "}",
    ]
    return "\n".join(lines)


def array(number: int, place: int, shape: Shape, extents: Sequence[str]) -> list[str]:
    """Lines that make an array, as number `place` of what the entry is given."""
    a = f"%a{number}"
    lines = [f"array{number}:"]
    for axis, extent in enumerate(shape):
        size = str(extent)
        if not isinstance(extent, int):
            size = f"{a}.size{axis}"
            at = list(extents).index(extent)
            lines.append(f"  {size}.at = getelementptr i64, ptr %sizes, i64 {at}")
            lines.append(f"  {size} = load i64, ptr {size}.at, align 8")
        lines.append(f"  {a}.dim{axis} = getelementptr i64, ptr %dims, i64 {axis}")
        lines.append(f"  store i64 {size}, ptr {a}.dim{axis}, align 8")
    return [
        *lines,
        *dtype(a, place),
        f"  call void %hold(ptr {a}.dtype)",  # the array takes it
        f"  {a} = call ptr %array(i32 {len(shape)}, ptr %dims, ptr {a}.dtype, i32 0)",
        f"  {a}.to = getelementptr ptr, ptr %given, i64 {place}",
        f"  store ptr {a}, ptr {a}.to, align 8",
        *kept(a, number, f"array{number + 1}"),
    ]


def dtype(name: str, place: int) -> list[str]:
    """Lines that read a dtype's address from the block."""
    return [
        f"  {name}.dtype.at = getelementptr ptr, ptr %block, i64 {len(WORDS) + place}",
        f"  {name}.dtype = load ptr, ptr {name}.dtype.at, align 8",
    ]


def kept(name: str, place: int, after: str) -> list[str]:
    """Lines that put a new object into the tuple, if there is one, and go on after it."""
    return [
        f"  {name}.none = icmp eq ptr {name}, null",
        f"  br i1 {name}.none, label %drop.failed, label {name}.made",
        f"{name[1:]}.made:",
        f"  {name}.put = call i32 %put(ptr %made, i64 {place}, ptr {name})",
        f"  br label %{after}",
    ]


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
    lines.append(f"  {p}.kind.at = getelementptr ptr, ptr %block, i64 {len(WORDS) + number}")
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
