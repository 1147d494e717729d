"""Memory safety: operands flush against unreadable pages, so that one byte too many is a crash.

Each kind of kernel runs in a process of its own, where a stray access is a failure of its test.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import ops
from graphc.autodiff import vjp
from graphc.errors import IndexError
from graphc.graph import leaf
from graphc.graph.node import Node, make
from graphc.ops.reference import evaluate
from graphc.types import TensorType

Array = np.ndarray[Any, Any]
PAGE = mmap.PAGESIZE
LENGTHS = range(1, 68)
FEW = (1, 2, 3, 4, 5, 8, 9, 16, 17, 33, 64, 67)

if sys.platform != "linux":
    pytest.skip("guard pages are made by Linux's mprotect", allow_module_level=True)

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
KEPT: list[mmap.mmap] = []


def guarded(shape: tuple[int, ...], dtype: Any, at_end: bool) -> Array:
    """An array whose last (or first) byte touches a page that nobody may read or write."""
    size = int(np.prod(shape, dtype=int)) * np.dtype(dtype).itemsize
    inside = -(-max(size, 1) // PAGE) * PAGE
    region = mmap.mmap(-1, inside + 2 * PAGE)
    KEPT.append(region)
    start = ctypes.addressof(ctypes.c_char.from_buffer(region))
    for page in (start, start + PAGE + inside):
        assert LIBC.mprotect(page, PAGE, 0) == 0
    offset = PAGE + (inside - size if at_end else 0)
    return np.frombuffer(region, np.uint8, size, offset).view(dtype).reshape(shape)


# --- kinds of kernels -----------------------------------------------------------------------

Graph = tuple[list[Node], dict[str, Array]]


def taken(
    name: str, shape: tuple[int, ...], values: dict[str, Array], dtype: str = "float32"
) -> Node:
    """An input with a value."""
    generator = np.random.default_rng(len(values))
    drawn = generator.uniform(-3, 3, shape)
    values[name] = (
        drawn > 0 if dtype == "bool" else np.abs(drawn) if dtype == "uint8" else drawn
    ).astype(dtype)
    return make(leaf.Input(name), (), TensorType(dtype, shape))


def pulled(results: list[Node], inputs: list[Node]) -> list[Node]:
    """Results and their gradients."""
    seeds = [ops.full_like(r, 1.5) for r in results]
    return [*results, *vjp(results, inputs, seeds)]


def pointwise() -> Graph:
    """Maps of every element type, with broadcasting."""
    values: dict[str, Array] = {}
    outputs: list[Node] = []
    for n in LENGTHS:
        x, y = taken(f"x{n}", (n,), values), taken(f"y{n}", (3, n), values)
        z = taken(f"z{n}", (3, 1), values)
        outputs += [ops.tanh(x) * 2, ops.where(y > z, x, y), ops.exp(x[::2]), y[:, 1::2] + 1]
        for dtype in ("float64", "int32", "uint8", "bool"):
            k = taken(f"{dtype}{n}", (n,), values, dtype)
            outputs.append(ops.logical_not(k) if dtype == "bool" else k + k)
    return outputs, values


def reductions() -> Graph:
    """Sums and extremes along either axis."""
    values: dict[str, Array] = {}
    outputs: list[Node] = []
    for n in LENGTHS:
        x, y = taken(f"x{n}", (3, n), values), taken(f"y{n}", (n, 3), values)
        outputs += [ops.sum(x, 1), ops.sum(y, 0), ops.argmax(x, 1), ops.max(y), ops.softmax(x)]
        if n in FEW:
            wide = ops.pad(taken(f"wide{n}", (3, n), values, "int64"), ((1, 1), (0, 3)))
            outputs.append(ops.sum(ops.cast(wide, "float32"), 0))
            outputs += pulled([ops.max(x, 1), ops.logsumexp(y, 0)], [x, y])
            outputs.append(ops.any(taken(f"b{n}", (n,), values, "bool")))
    return outputs, values


def products() -> Graph:
    """Matrices, each extent in turn, with gradients."""
    values: dict[str, Array] = {}
    outputs: list[Node] = []
    for n in LENGTHS:
        a, b = taken(f"a{n}", (3, n), values), taken(f"b{n}", (n, 5), values)
        outputs.append(ops.matmul(a, b))
        if n in FEW:
            c = taken(f"c{n}", (5, n), values)
            outputs += pulled([ops.matmul(b, c), ops.matmul(c, b)], [b, c])
    return outputs, values


def convolutions() -> Graph:
    """Windows with stride and padding, with gradients."""
    values: dict[str, Array] = {}
    outputs: list[Node] = []
    w = taken("w", (3, 2, 3), values)
    square, deep = taken("square", (2, 1, 3, 2), values), taken("deep", (2, 1, 4), values)
    for n in LENGTHS:
        x = taken(f"x{n}", (1, 2, n), values)
        outputs.append(ops.conv1d(x, w, padding=1))
        depthwise = ops.conv1d(x, deep, stride=2, padding=2, groups=2, floor=True)
        outputs += [depthwise, ops.conv_transpose1d(x, deep, stride=2, padding=1) + 1]
        if n in FEW and n > 2:
            image = taken(f"i{n}", (1, 1, 5, n), values)
            strided = ops.conv1d(x, w, stride=2, padding=2, floor=True)
            results = [strided, ops.conv2d(image, square, padding=(1, 0), stride=2, floor=True)]
            outputs += pulled(results, [x, image, w])
            outputs.append(ops.conv_transpose1d(x, ops.permute(w, 1, 0, 2), stride=2, padding=1))
    return outputs, values


def pools() -> Graph:
    """Windows reduced, with gradients."""
    values: dict[str, Array] = {}
    outputs: list[Node] = []
    for n in LENGTHS:
        x = taken(f"x{n}", (2, 1, n), values)
        outputs.append(ops.max_pool1d(x, 3, stride=2, padding=1, floor=True))
        if n in FEW and n > 2:
            results = [
                ops.max_pool1d(x, 2, floor=True),
                ops.avg_pool1d(x, 3, stride=2, padding=1, ceil_mode=True),
            ]
            outputs += pulled(results, [x])
    return outputs, values


def chains() -> Graph:
    """Convolutions and pools one after the other, which are computed image by image."""
    values: dict[str, Array] = {}
    outputs: list[Node] = []
    for n in FEW:
        x, w = taken(f"x{n}", (16, 2, 7, n + 5), values), taken(f"w{n}", (3, 2, 3, 3), values)
        y = ops.max_pool2d(ops.relu(ops.conv2d(x, w, padding=1)), 2, floor=True)
        v = taken(f"v{n}", (9, 3, 1, 2), values)
        outputs += pulled([ops.conv2d(y, v, padding=(0, 1))], [x, w])
        outputs.append(ops.conv2d(y, v))
    return outputs, values


def lookups() -> Graph:
    """Rows chosen, and added, where an index says."""
    values: dict[str, Array] = {}
    outputs: list[Node] = []
    for n in LENGTHS:
        x, i = taken(f"x{n}", (n, 3), values), taken(f"i{n}", (n,), values, "int64")
        values[f"i{n}"] = np.arange(n)[::-1].copy()
        outputs.append(ops.gather(x, i))
        if n in FEW:
            outputs += pulled([ops.take_along_axis(ops.transpose(x), ops.stack([i] * 3))], [x])
            outputs.append(ops.cross_entropy(ops.matmul(x, ops.transpose(x)), i))
    return outputs, values


KINDS: dict[str, Callable[[], Graph]] = {
    k.__name__: k for k in (pointwise, reductions, products, convolutions, pools, chains, lookups)
}


# --- inside the process ---------------------------------------------------------------------


def check(kind: str, target: str) -> None:
    """Run a kind's graphs with everything guarded, at the end and at the start of its memory."""
    outputs, values = KINDS[kind]()
    program = graphc.compile(outputs, target=target)
    wanted = evaluate(outputs, values)
    for at_end in (True, False):
        program.frame.maker = lambda shape, dtype, at_end=at_end: (
            lambda: guarded(shape, dtype, at_end)
        )
        program.forget()
        given = {}
        for node in program.inputs:
            value = values[node.op.name]
            given[node.op.name] = guarded(value.shape, value.dtype, at_end)
            given[node.op.name][...] = value
        for found, other in zip(program(**given), wanted, strict=True):
            np.testing.assert_allclose(found, other, rtol=2e-4, atol=2e-4)
    if kind == "lookups":
        refused(target)
        state(target)


def refused(target: str) -> None:
    """Indices far outside: an IndexError, and not a byte is touched."""
    for n in FEW:
        for wrong in (-1, n, 2**40, -(2**62), 2**63 - 1):
            x, i = graphc.input("x", (n, 3)), graphc.input("i", (n,), "int64")
            g = graphc.input("g", (n, 3))
            rows = ops.gather(x, i)
            program = graphc.compile([rows, *vjp([rows], [x], [g])], target=target)
            program.frame.maker = lambda *type: lambda: guarded(*type, True)
            index = guarded((n,), np.int64, True)
            index[...] = 0
            index[n - 1] = wrong
            operand = guarded((n, 3), np.float32, True)
            with pytest.raises(IndexError):
                program(x=operand, i=index, g=operand)


def state(target: str) -> None:
    """Variables at the edge of their memory, updated in place."""
    updates, cells = {}, []
    for n in LENGTHS:
        cell = leaf.Cell(f"w{n}", guarded((n,), np.float32, n % 2 == 0))
        w = leaf.variable(cell)
        updates[w] = w + 1
        cells.append(cell)
    program = graphc.compile([], updates, target=target)
    program()
    program()
    assert all((cell.value == 2).all() for cell in cells)


# --- outside --------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["avx512", "avx2", "sse2"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_access_outside(kind: str, target: str) -> None:
    root = Path(__file__).parents[2]
    probe = graphc.compile([ops.tanh(graphc.input("x", (3,)))], target=target)
    if not probe.stages.target.native:
        pytest.skip(f"this machine does not run {target}")
    done = subprocess.run(
        [sys.executable, "-P", __file__, kind, target],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr[-3000:]}"


def test_the_guard_is_one() -> None:
    """A read past the end dies, so that a passing test means something."""
    program = (
        "from {0} import guarded\nimport numpy as np, ctypes\na = guarded((3,), np.uint8, True)\n"
    )
    text = program.format(Path(__file__).stem) + "ctypes.string_at(a.ctypes.data, 4)"
    done = subprocess.run(
        [sys.executable, "-c", text],
        env={**os.environ, "PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parents[2]}"},
        capture_output=True,
        check=False,
    )
    assert done.returncode < 0


if __name__ == "__main__":
    check(*sys.argv[1:])
