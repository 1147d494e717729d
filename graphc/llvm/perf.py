"""What `perf` is told of code in memory: a map of names, and a dump of code with its lines.

`/tmp/perf-PID.map` gives `perf report` the names. `jit-PID.dump`, in the folder that GRAPHC_PERF
names, is for `perf inject --jit`, which makes objects of it, with code and lines, for `perf
annotate`. Its format is that of tools/perf/Documentation/jitdump-specification.txt in Linux.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache as cache_forever
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from graphc.errors import InputError
from graphc.llvm.objects import Code, functions

MAPS = Path("/tmp")
"""Where perf looks for maps."""
MAGIC, VERSION = 0x4A695444, 1
LOAD, LINES = 0, 2
HEADER, PREFIX = struct.Struct("<6I2Q"), struct.Struct("<2IQ")
LOADED, LOCATED, LINE = struct.Struct("<2I4Q"), struct.Struct("<2Q"), struct.Struct("<Q2I")
MACHINES = {"x86_64": 62, "aarch64": 183}
"""ELF's numbers of processors."""


class Record:
    """What one process tells perf. A child of fork() has its own, which names what it inherits."""

    def __init__(self, folder: Path, inherited: Sequence[bytes] = ()) -> None:
        self.folder, self.process, self.count = folder, os.getpid(), 0
        self.named = [*inherited]
        self.names = created(MAPS / f"perf-{self.process}.map")
        self.names.write(b"".join(self.named))
        self.names.flush()

    @cached_property
    def dump(self) -> BinaryIO:
        """The dump, begun with the first code."""
        file = created(self.folder / f"jit-{self.process}.dump")
        machine = MACHINES.get(platform.machine(), 0)
        head = (MAGIC, VERSION, HEADER.size, machine, 0, self.process, time.monotonic_ns(), 0)
        file.write(HEADER.pack(*head))
        file.flush()
        # perf finds the file by this mapping, which it records since it is one of code.
        code = mmap.PROT_READ | mmap.PROT_EXEC
        self.marker = mmap.mmap(file.fileno(), HEADER.size, mmap.MAP_PRIVATE, code)
        return file

    def add(self, codes: Sequence[Code], base: int) -> None:
        """The functions of an object whose code begins at an address."""
        for code in codes:
            at, title = base + code.start, code.title.encode()
            self.named.append(b"%x %x %s\n" % (at, code.size, title))
            self.names.write(self.named[-1])
            if code.rows:
                rows = [
                    LINE.pack(base + place, line, 0) + os.fsencode(file) + b"\0"
                    for place, file, line in code.rows
                ]
                self.write(LINES, LOCATED.pack(at, len(rows)) + b"".join(rows))
            self.count += 1
            thread = threading.get_native_id()
            where = LOADED.pack(self.process, thread, at, at, code.size, self.count)
            self.write(LOAD, where + title + b"\0" + ctypes.string_at(at, code.size))
        self.names.flush()
        self.dump.flush()

    def write(self, kind: int, data: bytes) -> None:
        """One record of the dump."""
        self.dump.write(PREFIX.pack(kind, PREFIX.size + len(data), time.monotonic_ns()) + data)


@dataclass
class State:
    """The record of this process, once there is one."""

    record: Record | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


_state = State()


def described(objects: Sequence[bytes]) -> list[tuple[list[Code], Code]]:
    """The functions of each object, and one of them that a linker finds by its symbol."""
    found = [functions(data) for data in objects]
    return [(codes, next(code for code in codes if code.linked)) for codes in found]


def tell(folder: Path, codes: Sequence[Code], base: int) -> None:
    """Tell perf of the functions of an object whose code begins at an address."""
    with _state.lock:
        if _state.record is None:
            _state.record = Record(folder)
            begin_with_child()
        _state.record.add(codes, base)


@cache_forever
def begin_with_child() -> None:
    """Let every child of fork() have a record of its own."""
    os.register_at_fork(after_in_child=forked)


def forked() -> None:
    """Begin the child's record: perf takes names by the process."""
    _state.lock = threading.Lock()  # another thread may have held it
    if _state.record is not None:
        _state.record = Record(_state.record.folder, _state.record.named)


def created(path: Path) -> BinaryIO:
    """A new file of ours in the place of any of that name. Raises InputError where it cannot be."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        return os.fdopen(os.open(path, flags, 0o600), "w+b")
    except OSError as error:
        raise InputError(f"GRAPHC_PERF: cannot write {path}: {error}") from None
