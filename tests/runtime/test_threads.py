"""Threads: no bit depends on their number, and forks, concurrent calls and signals are survived."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, ops, optim
from graphc.errors import InputError
from graphc.llvm import targets
from graphc.loops.ir import Barrier, For, walk
from graphc.runtime import quota, threads
from graphc.runtime.program import Program

Array = np.ndarray[Any, Any]


def dense() -> nn.Module:
    return nn.Sequential(nn.Linear(300, 200), nn.Tanh(), nn.Linear(200, 10))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 24, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(10),
    )


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.LSTM(24, 48)
        self.last = nn.Linear(48, 10)

    def forward(self, x: Any) -> Any:
        return self.last(self.steps(x)[0][11])


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(64)
        self.attention = nn.MultiheadAttention(64, 4, batch_first=True)
        self.last = nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        y = self.norm(x)
        return self.last(ops.mean(x + self.attention(y, y, y)[0], 1))


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "dense": (dense, (70, 300), 70),
    "convolutional": (convolutional, (24, 3, 20, 20), 24),
    "recurrent": (Recurrent, (12, 40, 24), 40),
    "attending": (Attending, (16, 40, 64), 16),
}


def trained(name: str, count: int) -> tuple[list[float], list[Array], Program]:
    """The losses and the state of three steps on so many threads."""
    make, shape, batch = NETS[name]
    graphc.seed(1)
    model = make()
    step = graphc.compile_train_step(
        model,
        "cross_entropy",
        optim.Adam(1e-3),
        inputs={"x": shape},
        targets={"y": (batch,)},
        threads=count,
    )
    data = np.random.default_rng(1)
    x = data.standard_normal(shape).astype(np.float32)
    y = data.integers(0, 10, batch)
    losses = [float(step(x=x, y=y)["loss"]) for _ in range(3)]
    return losses, [p.value.copy() for p in model.parameters()], step.program


@pytest.mark.parametrize("name", NETS)
def test_no_bit_depends_on_the_number_of_threads(name: str) -> None:
    losses, state, _ = trained(name, 1)
    for count in (2, 3):
        others, values, program = trained(name, count)
        assert program.frame.context[2] == count, "the step is long enough to be shared"
        assert any(kernel.parallel for kernel in program.stages.kernels)
        assert others == losses
        for one, other in zip(state, values, strict=True):
            np.testing.assert_array_equal(one, other)


def product(count: int | None = 2) -> tuple[Program, Array, Array]:
    """A program large enough to be shared, its operand and its result."""
    a = graphc.input("a", (128, 256))
    w = graphc.constant(np.random.default_rng(2).standard_normal((256, 192)).astype(np.float32))
    program = graphc.compile(ops.tanh(a @ w), threads=count)
    operand = np.random.default_rng(3).standard_normal((128, 256)).astype(np.float32)
    return program, operand, program(operand)[0]


def test_sums_that_go_on_in_parts_are_the_same_on_threads_of_any_speed() -> None:
    """Each part goes on from what the one before has stored, without a barrier between."""
    x, grad = graphc.input("x", (2048, 768)), graphc.input("grad", (24, 8, 24, 24))
    image = graphc.input("image", (24, 8, 26, 26))
    taps = graphc.parameter("taps", (8, 8, 3, 3))
    (slope,) = graphc.grad(ops.sum(ops.conv2d(image, taps) * grad), [taps])
    draw = np.random.default_rng(0)
    given = [draw.standard_normal(n.shape, np.float32) for n in (x, image, grad)]
    one, three = (
        graphc.compile({"rows": ops.sum(x, 0), "slope": slope}, threads=n) for n in (1, 3)
    )
    names = dict(zip(("x", "image", "grad"), given, strict=True))
    expected = one(**names)
    for _ in range(50):
        for name, found in three(**names).items():
            np.testing.assert_array_equal(found, expected[name])


def test_short_calls_stay_on_one_thread() -> None:
    program = graphc.compile(ops.tanh(graphc.input("x", (8, 8))), threads=2)
    program(np.zeros((8, 8), np.float32))
    assert program.frame.context[2] == 1


def test_calls_that_read_much_are_shared_sooner() -> None:
    """A row by matrices of two megabytes takes as long as twice the products from a near cache."""
    row = graphc.input("x", (1, 800))
    for columns, count in ((700, 2), (100, 1)):
        weight = graphc.parameter("w", value=np.zeros((columns, 800), np.float32))
        program = graphc.compile(ops.linear(row, weight), threads=2)
        program(np.ones((1, 800), np.float32))
        assert program.frame.context[2] == count


def test_ctrl_c_while_a_team_is_made_leaves_it_to_the_next_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A call that got no team must not stay on one thread ever after."""
    x = graphc.input("x", (256, 256))
    program = graphc.compile(x @ x, threads=2)
    ones = np.ones((256, 256), np.float32)

    def interrupted(size: int) -> threads.Team:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threads, "team_of", interrupted)
        with pytest.raises(KeyboardInterrupt):
            program(ones)
    np.testing.assert_array_equal(program(ones)[0], 256 * ones)
    assert program.frame.context[2] == 2


def test_parts_of_a_kernel_wait_for_each_other() -> None:
    program = trained("recurrent", 2)[2]
    kinds = [(k, {loop.kind for loop in loops(k)}) for k in program.stages.kernels]
    scans = [kernel for kernel, found in kinds if {"ordered", "parallel"} <= found]
    assert scans and all(any(isinstance(s, Barrier) for s in walk(k.body)) for k in scans)
    assert "barrier" in program.as_text("loops")


@pytest.mark.parametrize("columns", [784, 785, 790, 799])
@pytest.mark.parametrize("rows", [256, 257, 263])
@pytest.mark.parametrize("target", ["avx512", "avx2"])
def test_what_tiles_leave_over_keeps_no_loop_from_being_shared(
    monkeypatch: pytest.MonkeyPatch, target: str, rows: int, columns: int
) -> None:
    """The last columns are a panel of their own, their last rows written out after it."""
    here = replace(targets.level(target), unit=64, level1=32 << 10, level2=1 << 20)
    monkeypatch.setattr(targets, "target", lambda name=None: here)
    a, b = graphc.input("a", (128, rows)), graphc.input("b", (128, columns))
    product = ops.transpose(a) @ b
    program = graphc.compile(product, threads=3)
    (kernel,) = program.stages.kernels
    whole = max((s for s in kernel.body if isinstance(s, For)), key=lambda s: len(list(walk((s,)))))
    assert whole.kind == "parallel"
    if here.native:
        draw = np.random.default_rng(0)
        given = [draw.standard_normal(n.shape, np.float32) for n in (a, b)]
        expected = graphc.compile(product, threads=1)(*given)[0]
        for _ in range(5):
            np.testing.assert_array_equal(program(*given)[0], expected)


def loops(kernel: Any) -> list[For]:
    return [s for s in walk(kernel.body) if isinstance(s, For)]


def test_calls_from_many_threads_are_right() -> None:
    programs = [product() for _ in range(3)]
    wrong: list[int] = []

    def run(number: int) -> None:
        program, operand, expected = programs[number % 3]
        for _ in range(40):
            if not np.array_equal(program(operand)[0], expected):
                wrong.append(number)

    workers = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_other_threads_of_python_run_during_a_long_call() -> None:
    n = 1024
    a, b = graphc.input("a", (n, n)), graphc.input("b", (n, n))
    program = graphc.compile(a @ b, threads=1)
    x = np.eye(n, dtype=np.float32)
    program(x, x)
    assert program.quick is not None, "a long call is bound by native code, too"
    stamps: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.wait(0.0005):
            stamps.append(time.perf_counter())

    clock = threading.Thread(target=tick)
    clock.start()
    inside = 0
    try:
        for _ in range(10):
            begin = time.perf_counter()
            (product,) = program(x, x)
            third = (time.perf_counter() - begin) / 3
            inside += sum(begin + third < stamp < begin + 2 * third for stamp in list(stamps))
            assert product[7, 7] == 1
    finally:
        stop.set()
        clock.join()
    assert inside, "no other thread ran in the middle of a call"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_of_fork_makes_a_team_of_its_own() -> None:
    script = """
import os, sys
import numpy as np
import graphc
a = graphc.input("a", (128, 256))
w = graphc.constant(np.ones((256, 192), np.float32))
program = graphc.compile(graphc.tanh(a @ w), threads=2)
x = np.full((128, 256), 1e-3, np.float32)
(expected,) = program(x)
assert program.frame.context[2] == 2
child = os.fork()
(result,) = program(x)
assert np.array_equal(result, expected)
if child == 0:
    os._exit(0)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_an_interrupt_ends_a_loop_of_steps_at_once_and_leaves_the_state_whole() -> None:
    script = """
import os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np
import graphc
w = graphc.parameter("w", value=np.zeros((256, 256), np.float32))
x = graphc.input("x", (256, 256))
step = graphc.compile(graphc.sum(x @ w), updates={w: w + x}, threads=2)
one = np.ones((256, 256), np.float32)
step(one)
assert step.frame.context[2] == 2
threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    while True:
        step(one)
except KeyboardInterrupt:
    pass
value = w.op.cell.value
assert (value == value[0, 0]).all(), "half a step"
step(one)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_environment_and_argument_limit_the_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(threads.VARIABLE, "1")
    assert threads.resolve(None) == 1 and threads.resolve(2) == 2
    monkeypatch.setenv(threads.VARIABLE, "many")
    with pytest.raises(InputError, match="GRAPHC_THREADS must be a whole number"):
        threads.resolve(None)
    monkeypatch.delenv(threads.VARIABLE)
    assert threads.resolve(None) == threads.available()
    with pytest.raises(InputError, match="threads must be at least 1"):
        threads.resolve(0)


def test_a_quota_of_the_control_group_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = len(os.sched_getaffinity(0))
    for granted, expected in ((1, 1), (None, cores), (10_000, cores)):
        monkeypatch.setattr(quota, "granted", lambda granted=granted: granted)
        assert threads.available() == expected


@pytest.mark.parametrize("target", ["avx512", "avx2", "sse2", "neon"])
def test_shared_kernels_can_be_looked_at_for_every_target(target: str) -> None:
    a, b = graphc.input("a", (256, 256)), graphc.input("b", (256, 256))
    program = graphc.compile(ops.tanh(a @ b), target=target)
    assert any(kernel.parallel for kernel in program.stages.kernels)
    assert "# parallel" in program.as_text("loops")
    assert "team.launch" in program.as_text("asm")
