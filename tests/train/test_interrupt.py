"""Ctrl-C while training: between two steps, whenever it comes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from graphc.train.interrupt import Interrupts


@pytest.fixture(autouse=True)
def pythons_handler() -> Iterator[None]:
    """Python's handler, also where the tests run in a background, the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_while_it_is_held() -> None:
    before = signal.getsignal(signal.SIGINT)
    reached = []
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
        with interrupts.held:
            signal.raise_signal(signal.SIGINT)
            reached.append("counted")
        reached.append("not reached")
    assert reached == ["counted"]
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_is_delivered_at_once_otherwise() -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt), Interrupts():
        signal.raise_signal(signal.SIGINT)
        reached.append("not reached")
    assert not reached


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts, interrupts.held:
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_leaves_the_handler_alone() -> None:
    found = []

    def work() -> None:
        with Interrupts():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    before = signal.getsignal(signal.SIGINT)
    thread.start()
    thread.join()
    assert found == [before]


LONG = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np
import graphc
from graphc import nn, optim

def made():
    graphc.seed(3)
    model = nn.Sequential(nn.Linear(2, 256), nn.Tanh(), nn.Linear(256, 1))
    return model, optim.Adam(1e-3)

model, optimizer = made()
random = np.random.default_rng(0)
x, y = random.standard_normal((40, 2), np.float32), random.standard_normal((40, 1), np.float32)
data = {"x": x, "y": y}
"""
BY_STEPS = """
def stepper(model, optimizer):
    return graphc.compile_train_step(
        model, "mse", optimizer, inputs={"x": (4, 2)}, targets={"y": (4, 1)}
    )

order = np.arange(4 * 1_000_000).reshape(-1, 4) % 40
step = stepper(model, optimizer)
print("ready", flush=True)
try:
    step.run(data, order)
except KeyboardInterrupt:
    print("stopped", flush=True)
done = optimizer.step
assert 0 < done < len(order), done
other, fresh = made()
stepper(other, fresh).run(data, order[:done])
"""
BY_TRAINER = """
class Ready(graphc.train.Callback):
    def on_train_begin(self, trainer):
        print("ready", flush=True)

def fit(model, optimizer, **options):
    trainer = graphc.train.Trainer(model, "mse", optimizer)
    trainer.fit(x, y, batch_size=4, epochs=10**7, verbose=0, **options)

try:
    fit(model, optimizer, callbacks=[Ready()])
except KeyboardInterrupt:
    print("stopped", flush=True)
done = optimizer.step
assert 0 < done < 10**8, done
other, fresh = made()
fit(other, fresh, steps=done)
"""
SAME = """
for one, same in zip(model.parameters(), other.parameters(), strict=True):
    assert np.array_equal(one.value, same.value)
for name, value in optimizer.state_dict().items():
    assert np.array_equal(value, fresh.state_dict()[name]), name
"""


@pytest.mark.parametrize("loop", [BY_STEPS, BY_TRAINER], ids=["steps", "trainer"])
def test_ctrl_c_ends_a_long_loop_within_a_second_and_leaves_the_state_whole(loop: str) -> None:
    """The state is that of the steps made, which the optimiser counts."""
    child = subprocess.Popen(
        [sys.executable, "-c", LONG + loop + SAME], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.5)
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "stopped\n"
        waited = time.monotonic() - began
        assert child.wait(60) == 0
    assert waited < 1, f"{waited:.2f} s"
