"""What native tools see: the files that perf reads, and perf and gdb themselves where they are."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from graphc.errors import InputError
from graphc.llvm import perf

pytest.importorskip("elftools", reason="reading object code takes pyelftools: 'graphc[profiling]'")

ROOT = Path(__file__).parent.parent.parent
NET = """import os, sys
import numpy as np
import graphc
from graphc import ops

x = graphc.input("x", ("batch", 256))
with graphc.layer("dense"):
    y = ops.relu(x @ graphc.parameter("w", (256, 256)))
program = graphc.compile(y, threads=1)
numbers = np.ones((64, 256), np.float32)
for _ in range(int(sys.argv[1])):
    program(numbers)
"""
PRODUCT = 8
"""The line of NET that makes the product."""
FORKED = """
child = os.fork()
if not child:
    graphc.compile(ops.exp(x))(numbers)
    os._exit(0)
os.waitpid(child, 0)
print("processes", os.getpid(), child)
"""


@dataclass
class Function:
    """A function of a dump: what it is called, its code, and the lines it is said to come from."""

    title: str
    address: int
    code: bytes
    rows: list[tuple[int, int, str]]


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """The file of a net, in a folder of its own."""
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


def environment(folder: Path, **settings: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "GRAPHC_CACHE_DIR": str(folder / "cache"),
        **settings,
    }


def ran(folder: Path, command: list[str], **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(folder, **settings),
        capture_output=True,
        text=True,
        timeout=200,
    )


def dumped(path: Path) -> list[Function]:
    """A dump, read by its specification."""
    data = path.read_bytes()
    magic, version, head, _, _, process = struct.unpack_from("<6I", data)
    assert (magic, version, head) == (0x4A695444, 1, 40)
    assert path.name == f"jit-{process}.dump"
    found, rows, at, before = [], {}, head, 0
    while at < len(data):
        kind, size, moment = struct.unpack_from("<2IQ", data, at)
        assert moment >= before
        body = data[at + 16 : at + size]
        if kind == 2:
            address, count = struct.unpack_from("<2Q", body)
            rows[address] = entries(body[16:], count)
        else:
            assert kind == 0
            _, _, address, again, length, number = struct.unpack_from("<2I4Q", body)
            title, _, rest = body[40:].partition(b"\0")
            assert address == again and len(rest) == length and number == len(found) + 1
            found.append(Function(title.decode(), address, rest, rows.get(address, [])))
        at, before = at + size, moment
    return found


def entries(data: bytes, count: int) -> list[tuple[int, int, str]]:
    """The lines of one function."""
    found = []
    for _ in range(count):
        address, line, _ = struct.unpack_from("<Q2I", data)
        name, _, data = data[16:].partition(b"\0")
        found.append((address, line, name.decode()))
    assert not data
    return found


def test_the_dump_holds_names_code_and_lines(net: Path) -> None:
    """From code that has just been made, and again from code in the cache."""
    for _ in range(2):
        done = ran(net.parent, [sys.executable, net.name, "1"], GRAPHC_PERF="told")
        assert done.returncode == 0, done.stderr
        (dump,) = (net.parent / "told").iterdir()
        functions = {f.title: f for f in dumped(dump)}
        product = next(f for f in functions.values() if "matmul" in f.title)
        assert re.fullmatch(r"k\d\d matmul\+relu \(dense\)", product.title)
        assert {(line, file) for _, line, file in product.rows} == {(PRODUCT, str(net))}
        inside = range(product.address, product.address + len(product.code))
        assert product.rows[0][0] == product.address
        assert all(address in inside for address, _, _ in product.rows)
        assert "graphc entry" in functions
        process = dump.stem.removeprefix("jit-")
        names = Path(f"/tmp/perf-{process}.map")
        lines = names.read_text().splitlines()
        assert f"{product.address:x} {len(product.code):x} {product.title}" in lines
        assert names.stat().st_mode & 0o777 == 0o600
        names.unlink()
        dump.unlink()


def test_a_child_has_files_of_its_own(net: Path) -> None:
    """Its map names what it inherits, its dump what it loads."""
    net.write_text(NET + FORKED)
    done = ran(net.parent, [sys.executable, net.name, "1"], GRAPHC_PERF=".")
    assert done.returncode == 0, done.stderr
    parent, child = map(int, re.findall(r"\d+", done.stdout))
    maps = [Path(f"/tmp/perf-{process}.map") for process in (parent, child)]
    texts = [path.read_text() for path in maps]
    for path in maps:
        path.unlink()
    assert "matmul" in texts[0] and "exp" not in texts[0]
    assert texts[1].startswith(texts[0]) and "exp" in texts[1]
    titles = [
        " ".join(f.title for f in dumped(net.parent / f"jit-{p}.dump")) for p in (parent, child)
    ]
    assert "matmul" in titles[0] and "matmul" not in titles[1] and "exp" in titles[1]


def test_a_folder_that_cannot_be_written_is_refused(net: Path) -> None:
    """And nothing is left behind."""
    (net.parent / "file").touch()
    net.write_text("import os; print(os.getpid(), flush=True)\n" + NET)
    done = ran(net.parent, [sys.executable, net.name, "1"], GRAPHC_PERF="file")
    assert done.returncode and "InputError: GRAPHC_PERF: cannot write" in done.stderr
    assert not Path(f"/tmp/perf-{int(done.stdout)}.map").exists()


def test_a_map_follows_no_link(tmp_path: Path) -> None:
    """/tmp is everybody's: what lies there under our name is replaced, not written through."""
    precious, link = tmp_path / "precious", tmp_path / "perf-1.map"
    precious.write_text("kept")
    link.symlink_to(precious)
    with perf.created(link) as file:
        file.write(b"map")
    assert precious.read_text() == "kept" and link.read_bytes() == b"map"
    with pytest.raises(InputError, match="cannot write"):
        perf.created(precious / "below")


def test_it_says_what_to_install(net: Path) -> None:
    (net.parent / "elftools.py").write_text("raise ImportError('not here')")
    settings = {"GRAPHC_PERF": ".", "PYTHONPATH": f"{net.parent}{os.pathsep}{ROOT}"}
    done = ran(net.parent, [sys.executable, net.name, "1"], **settings)
    assert done.returncode and "pip install 'graphc[profiling]'" in done.stderr


def test_perf_shows_kernels_and_lines(net: Path) -> None:
    """perf report names them, perf annotate gives their samples to the user's line."""
    if shutil.which("perf") is None:
        pytest.skip("perf is not installed")
    record = "perf record -q -k mono -e cpu-clock -F 999 -o perf.data".split()
    done = ran(net.parent, [*record, sys.executable, net.name, "3000"], GRAPHC_PERF=".")
    if done.returncode and not list(net.parent.glob("jit-*.dump")):
        pytest.skip(f"perf may not record here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    report = ran(net.parent, "perf report -i perf.data --stdio --sort symbol".split()).stdout
    assert re.search(r"k\d\d matmul\+relu \(dense\)", report)
    for path in Path("/tmp").glob(f"perf-{next(net.parent.glob('jit-*')).stem[4:]}.map"):
        path.unlink()
    inject = "perf inject --jit -i perf.data -o perf.jit.data".split()
    done = ran(net.parent, inject)
    assert done.returncode == 0, done.stderr
    report = ran(net.parent, "perf report -i perf.jit.data --stdio --sort symbol".split()).stdout
    name = re.search(r"k\d\d matmul\+relu \(dense\)", report)
    assert name
    if shutil.which("objdump") is None or shutil.which("addr2line") is None:
        pytest.skip("perf annotate takes binutils, which are not installed")
    annotate = ["perf", "annotate", "-i", "perf.jit.data", "--stdio", "-l", name[0]]
    assert re.search(rf"\d+\.\d+ +net\.py:{PRODUCT}\n", ran(net.parent, annotate).stdout)


def test_gdb_stops_at_the_users_line(net: Path) -> None:
    """A breakpoint at a line of Python stops in its kernel, whose frame has its name and line."""
    if shutil.which("gdb") is None:
        pytest.skip("gdb is not installed")
    commands = ["set breakpoint pending on", f"break {net.name}:{PRODUCT}", "run", "bt 2"]
    gdb = ["gdb", "-q", "-batch", "-nx", "-iex", "set debuginfod enabled off"]
    gdb += [part for command in commands for part in ("-ex", command)]
    done = ran(net.parent, [*gdb, "--args", sys.executable, net.name, "1"], GRAPHC_DEBUG_INFO="1")
    if "ptrace" in done.stderr:
        pytest.skip(f"gdb may not run a program here: {done.stderr.strip()}")
    frame = rf"#0 +k\d\d matmul\+relu \(dense\) .*at {re.escape(str(net))}:{PRODUCT}\n"
    assert re.search(frame, done.stdout), done.stdout + done.stderr
