"""Targets that the host cannot run, and objects in the cache that cannot be read."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

import graphc
from graphc import cache, ops
from graphc.errors import CompileError
from graphc.llvm import engine, targets
from graphc.llvm.epoch import EPOCH_NAME
from graphc.llvm.module import common
from graphc.runtime.threads import load_worker


def foreign() -> str:
    """A target that is not the host's."""
    return next(name for name in targets.WIDTHS if not targets.target(name).native)


def test_code_for_another_machine_is_looked_at_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    x = graphc.input("x", (3,))
    monkeypatch.delenv("GRAPHC_REFERENCE", raising=False)
    program = graphc.compile(x + 1, target=foreign())
    assert program.as_text("asm")
    with pytest.raises(CompileError, match=f"cannot run code for {foreign()}; it can be inspected"):
        program(np.zeros(3))
    monkeypatch.setenv("GRAPHC_REFERENCE", "1")
    assert program(np.zeros(3))[0].tolist() == [1, 1, 1]


def test_the_variable_is_read_at_each_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sse2", "avx2"):
        monkeypatch.setenv("GRAPHC_TARGET", name)
        assert targets.target().name == name
    monkeypatch.setenv("GRAPHC_TARGET", foreign())
    with pytest.raises(CompileError, match="cannot run code"):
        graphc.compile(graphc.input("x", (3,)) * 2)(np.zeros(3))


def test_an_object_that_cannot_be_linked_is_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checksum is right; what it holds is no object."""
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "cache"))
    x = graphc.input("x", (3,))
    graphc.compile(x * 3 + 1)
    entries = list((tmp_path / "cache").glob("*.o"))  # the program's image, and its code
    (entry,) = [path for path in entries if b"\x7fELF" in path.read_bytes()[:60]]
    good = entry.read_bytes()
    data = b"no object code"
    entry.write_bytes(cache.MAGIC + hashlib.sha256(entry.stem.encode() + data).digest() + data)
    assert cache.read(entry.stem) == data
    program = graphc.compile(x * 3 + 1)
    assert program.loaded is not None and not program.loaded.from_cache
    assert program(np.ones(3))[0].tolist() == [4, 4, 4]
    assert entry.read_bytes() == good


def test_what_every_program_has_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    load_worker()  # what threads wait in is compiled by the first program of a process
    monkeypatch.setenv("GRAPHC_CACHE_DIR", "off")
    monkeypatch.setattr(engine, "_common", {})
    texts: list[str] = []
    compiled = engine.compiled

    def seen(text: str, target: targets.Target) -> bytes:
        texts.append(text)
        return compiled(text, target)

    monkeypatch.setattr(engine, "compiled", seen)
    x, count = graphc.input("x", (3,)), graphc.parameter("count", (3,))
    programs = [graphc.compile(x * k, {count: count + k}) for k in (2, 3)]
    assert [p(np.ones(3))[0].tolist() for p in programs] == [[2, 2, 2], [3, 3, 3]]
    assert graphc.compile(count + 0)()[0].tolist() == [5, 5, 5]
    assert len(texts) == 4
    assert sum(f"define i64 @{EPOCH_NAME}(" in text for text in texts) == 1
    assert all(f"define i64 @{EPOCH_NAME}(" in program.as_text("llvm") for program in programs)


FORKED = """
import os, signal
import numpy as np
import graphc
from graphc import errors, ops
table, rows = graphc.constant(np.ones((3, 2), np.float32)), graphc.constant(np.array([0, 7]))
try:
    graphc.compile(ops.gather(table, rows))
except (IndexError, errors.GraphcError):
    child = os.fork()
else:
    raise SystemExit("no error")
if not child:
    signal.alarm(60)
    x = graphc.input("x", (5,))
    os._exit(int(graphc.compile(x + 1)(np.zeros(5))[0].sum()))
raise SystemExit(0 if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5 else "no child")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_child_of_fork_compiles_after_its_parents_compilation_failed() -> None:
    """What every program has is being made then, by a thread that holds LLVM's lock."""
    settings = os.environ | {"GRAPHC_CACHE_DIR": "off"}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", FORKED], check=True, env=settings, timeout=120)


BUSY = """
import os, signal, threading, time
import numpy as np
import graphc
from graphc import ops

def compiled(number):
    x = graphc.input("x", (5, 6))
    made = graphc.compile(ops.softmax(ops.tanh(x * number)) + number)
    return made(np.zeros((5, 6)))[0].sum()

def others(first):
    for number in range(first, first + 10**6):
        compiled(number)

compiled(0)
for first in (10**7, 2 * 10**7, 3 * 10**7):
    threading.Thread(target=others, args=(first,), daemon=True).start()
for number in range(8):
    time.sleep(0.2)
    child = os.fork()
    if not child:
        signal.alarm(60)
        os._exit(int(abs(compiled(number) - 5 - 30 * number) > 1e-3))
    status = os.waitpid(child, 0)[1]
    if status:
        raise SystemExit(f"child {number}: status {status}")
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_child_of_fork_compiles_though_other_threads_of_its_parent_did() -> None:
    """They are then inside LLVM, or make nodes; none of their locks stays taken in the child."""
    settings = os.environ | {"GRAPHC_CACHE_DIR": "off"}
    done = subprocess.run(
        [sys.executable, "-c", BUSY], capture_output=True, text=True, env=settings, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_what_could_not_be_made_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_common", {})
    target = targets.target(targets.host_level())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "compiled", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.once(common(target), target).result(60)
    assert b"ELF" in engine.once(common(target), target).result(60)


def texts(count: int) -> list[str]:
    """Modules of several kernels, each other than the others."""
    x = graphc.input("x", (37, 41))
    nodes = [ops.softmax(ops.matmul(x, ops.transpose(x * k)) + k) for k in range(1, count + 1)]
    return [graphc.compile(node).as_text("llvm") for node in nodes]


def test_threads_that_generate_code_make_the_objects_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target, given = targets.target(targets.host_level()), texts(6)
    alone = [engine.compiled(text, target) for text in given]
    for _ in range(3):
        with ThreadPoolExecutor(6) as threads:
            together = list(threads.map(engine.compiled, given, [target] * 6))
        assert together == alone
    monkeypatch.setattr(engine, "emitter", engine.emitter.__wrapped__)
    assert engine.emitter() is not llvm.ffi.lib.LLVMPY_TargetMachineEmitToMemory
    monkeypatch.setattr(engine.ctypes, "CDLL", lambda name: object())
    assert engine.emitter() is llvm.ffi.lib.LLVMPY_TargetMachineEmitToMemory
    assert [engine.compiled(text, target) for text in given] == alone


def test_a_program_of_many_parts_is_the_same_on_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", "off")
    monkeypatch.setattr("graphc.llvm.module.PART", 50)
    x = graphc.input("x", (5, 7))
    results = [ops.sum(ops.tanh(x * k) @ ops.transpose(x), axis=1) for k in range(1, 9)]
    made: list[bytes] = []
    link = engine.link

    def seen(objects: list[bytes], *rest: Any) -> engine.Loaded:
        made.append(engine.packed(objects))
        return link(objects, *rest)

    monkeypatch.setattr(engine, "link", seen)
    for cores in (1, 2, 9):
        monkeypatch.setattr(engine, "cores", lambda cores=cores: cores)
        program = graphc.compile(results)
        assert np.isfinite(program(np.ones((5, 7), np.float32))[0]).all()
    assert len(engine.unpacked(made[0])) > 3
    assert made[0] == made[1] == made[2]
