"""The compiler's spine: what is made once, however often a net has it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import graphc
from graphc import compiler, nn, optim
from graphc.llvm import targets

Built = tuple[list[nn.Module], tuple[int, ...]]


class Attending(nn.MultiheadAttention):
    """Self-attention."""

    def forward(self, x: Any) -> Any:  # type: ignore[override]  # in a sequence x is all there is
        return super().forward(x)[0]


def dense(blocks: int) -> Built:
    """Linear layers of one width."""
    layers = [layer for _ in range(blocks) for layer in (nn.Linear(32, 32), nn.ReLU())]
    return [nn.Linear(20, 32), nn.ReLU(), *layers, nn.Linear(32, 10)], (16, 20)


def residual(blocks: int) -> Built:
    """Two convolutions with batch norm beside a shortcut."""

    def pair() -> list[nn.Module]:
        return [nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)]

    layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()]
    for _ in range(blocks):
        layers += [nn.Residual(nn.Sequential(*pair(), nn.ReLU(), *pair())), nn.ReLU()]
    return [*layers, nn.GlobalAvgPool(), nn.Linear(8, 10)], (8, 3, 16, 16)


def attention(blocks: int) -> Built:
    """A transformer's layer."""
    layers: list[nn.Module] = [nn.Linear(10, 32)]
    for _ in range(blocks):
        attending = Attending(32, 2, batch_first=True)
        inner = [nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32)]
        layers += [nn.Residual(nn.Sequential(nn.LayerNorm(32), attending))]
        layers += [nn.Residual(nn.Sequential(nn.LayerNorm(32), *inner))]
    return [*layers, nn.Flatten(), nn.Linear(512, 10)], (4, 16, 10)


@pytest.mark.parametrize("net", [dense, residual, attention])
def test_what_blocks_have_in_common_is_scheduled_and_written_once(
    net: Callable[[int], Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training step of more blocks has more kernels, and not one more that is distinct."""
    foreign = next(name for name in targets.WIDTHS if not targets.target(name).native)
    monkeypatch.setenv("GRAPHC_TARGET", foreign)  # no code is made: only texts are looked at
    schedule = compiler.schedule
    scheduled: list[Any] = []

    def counted(kernel: Any, machine: Any) -> Any:
        scheduled.append(kernel)
        return schedule(kernel, machine)

    monkeypatch.setattr(compiler, "schedule", counted)
    calls, distinct, lines = [], [], []
    for blocks in (2, 4, 8):
        layers, shape = net(blocks)
        scheduled.clear()
        stages = graphc.compile_train_step(
            nn.Sequential(*layers),
            "cross_entropy",
            optim.SGD(0.1, momentum=0.9),
            inputs={"x": shape},
            targets={"y": shape[:1]},
        ).program.stages
        written = stages.module.functions
        assert len(scheduled) == len(written) == stages.module.text.count("\ndefine hidden void @k")
        calls.append(len(stages.calls))
        distinct.append(len(written))
        lines.append(sum(text.count("\n") for text in written.values()))
    assert calls[2] - calls[1] == 2 * (calls[1] - calls[0]) > 0
    assert len(set(distinct)) == 1 and len(set(lines)) == 1, (calls, distinct, lines)
    assert distinct[0] < calls[0]


LOOKS = """
import sys
import graphc
x = graphc.input("x", (4,))
program = graphc.compile(x + x)
program([1, 2, 3, 4])
names = [f"graphc.runtime.{n}" for n in ("measure", "profile", "roofline", "nans", "explain")]
before = [name for name in names if name in sys.modules]
program.profile(([1, 2, 3, 4],), repeats=1), program.explain("k00")
print(before, [name for name in names if name not in sys.modules])
"""


def test_what_looks_inside_is_imported_when_asked_for() -> None:
    """A program that is only compiled and called imports neither profiles nor rooflines."""
    command = [sys.executable, "-c", LOOKS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] ['graphc.runtime.nans']"
