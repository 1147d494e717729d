"""`graphc bench`: other libraries get the same model, agree, or are left out with the reason."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import graphc
from graphc import nn, optim
from graphc.cli import bench, main
from graphc.cli.peers import PEERS, Inexpressible, Session, Work, prepare
from graphc.inspect import timing

FILE = """
import numpy as np
import graphc
from graphc import nn, optim

inputs = {"x": ("batch", 4)}
model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
trainer = graphc.Trainer(model, "mse", optim.Adam(0.01), metrics=["accuracy"])
words = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 2))
words_inputs = {"x": (("batch", 5), "int64")}
node = graphc.input("a", (3,)) * 2
"""


class Block(nn.Module):
    """A forward of the user's own, of layers, a parameter and operators."""

    def __init__(self) -> None:
        self.first, self.rest = nn.Linear(6, 6), nn.ModuleList([nn.Tanh(), nn.Linear(6, 6)])
        self.factor = nn.Parameter(np.full(6, 0.5, np.float32))

    def forward(self, x: Any) -> Any:
        """Once more in training, which this is not."""
        y = self.first(x)
        for layer in self.rest:
            y = layer(y)
        return self.twice(y) * self.factor + x if not self.training else y

    def twice(self, x: Any) -> Any:
        """A method of the user's own."""
        return x + x


class Own(nn.Module):
    """A forward that graphc's ops make."""

    def forward(self, x: Any) -> Any:
        """Not for any other library."""
        return graphc.relu(x)


def statistics(layer: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """A batch norm that has seen something."""
    random = np.random.default_rng(1)
    layer.running_mean = random.standard_normal(3).astype(np.float32)
    layer.running_var = random.uniform(0.5, 2, 3).astype(np.float32)
    return layer


IMAGE, ROWS = (2, 3, 8, 8), (5, 6)
EVERYWHERE: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2, bias=False)), ROWS),
    (lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, stride=1), nn.Flatten()), IMAGE),
    (lambda: nn.Conv2d(3, 6, 3, groups=3, dilation=2, bias=False), IMAGE),
    (lambda: nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(2), nn.GlobalAvgPool()), IMAGE),
    (lambda: nn.MaxPool2d(3, stride=2, padding=1, floor=True), IMAGE),
    (lambda: statistics(nn.BatchNorm2d(3)), IMAGE),
    (lambda: nn.Sequential(nn.LayerNorm(6), nn.GELU(), nn.Dropout(0.5), nn.Softmax()), ROWS),
    (lambda: nn.Residual(nn.Sequential(nn.Linear(6, 6), nn.SiLU()), nn.Linear(6, 6)), ROWS),
    (lambda: nn.Residual(nn.Tanh()), ROWS),
    (lambda: nn.Sequential(nn.LeakyReLU(0.2), nn.ELU(0.7), nn.Sigmoid(), nn.Identity()), ROWS),
]
SOMEWHERE: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (Block, ROWS),
    (lambda: nn.Sequential(nn.LazyLinear(4), nn.GroupNorm(2, 4), nn.Softplus(), nn.PReLU()), ROWS),
    (lambda: nn.ConvTranspose2d(3, 2, 3, stride=2), IMAGE),
]


def installed(peer: str) -> None:
    """Skips where a library is missing."""
    needed = ("onnx", "onnxruntime") if peer == "onnxruntime" else (peer,)
    for name in needed:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed; pip install '.[bench]' brings it")


def numbers(model: nn.Module, shape: tuple[int, ...]) -> tuple[Work, list[Any]]:
    """The work of a model's forward pass on random numbers, and graphc's results."""
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    program = graphc.compile(model, inputs={"x": shape})
    return Work(model, (x,), 1), list(program(x))


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("case", range(len(EVERYWHERE)))
def test_layers_mean_the_same_everywhere(peer: str, case: int) -> None:
    """With the same weights: the same numbers."""
    installed(peer)
    build, shape = EVERYWHERE[case]
    work, expected = numbers(build(), shape)
    session = prepare(peer, work)
    assert bench.apart(expected, bench.made(session, 1)) < bench.CLOSE
    assert session.label.startswith(peer)


@pytest.mark.parametrize("case", range(len(SOMEWHERE)))
def test_what_only_torch_has(torch: Any, case: int) -> None:
    """A user's own forward among it."""
    build, shape = SOMEWHERE[case]
    work, expected = numbers(build(), shape)
    assert bench.apart(expected, bench.made(prepare("torch", work), 1)) < bench.CLOSE


def test_a_users_forward_in_jax() -> None:
    """Of layers, parameters and operators."""
    installed("jax")
    work, expected = numbers(Block(), ROWS)
    assert bench.apart(expected, bench.made(prepare("jax", work), 1)) < bench.CLOSE


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: nn.MultiheadAttention(4, 2), "MultiheadAttention is not expressible"),
        (lambda: nn.Sequential(nn.Maxout(2)), "Maxout is not expressible"),
        (Own, "Own.forward is made of more than layers and operators"),
    ],
)
def test_what_cannot_be_expressed_is_named(
    torch: Any, build: Callable[[], nn.Module], said: str
) -> None:
    """By the layer, or the user's class."""
    with pytest.raises(Inexpressible, match=said):
        session = prepare("torch", Work(build(), (np.ones((2, 4), np.float32),), 1))
        session.run()


@pytest.mark.parametrize(
    ("optimizer", "loss"),
    [
        (optim.SGD(0.1, momentum=0.9, nesterov=True), "mse"),
        (optim.Adam(0.01, weight_decay=0.1), "l1"),
        (optim.AdamW(optim.ExponentialLR(0.1, 0.5)), "huber"),
    ],
)
def test_training_steps_of_torch(torch: Any, optimizer: optim.Optimizer, loss: str) -> None:
    """The losses of the first steps are graphc's."""
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
    trainer = graphc.Trainer(model, loss, optimizer)
    found = SimpleNamespace(name="t", value=trainer, beside=lambda *names: None)
    subject = bench.step(found, {"x": ("n", 6), "y": ("n", 3)}, {}, 1)  # type: ignore[arg-type]  # a stand-in
    assert subject.work is not None
    session = prepare("torch", subject.work)
    expected = bench.made(bench.own(subject), bench.STEPS)
    assert bench.apart(expected, bench.made(session, bench.STEPS)) < bench.CLOSE
    assert expected[0] != expected[-1]


@pytest.mark.parametrize(
    ("model", "optimizer", "loss", "said"),
    [
        (nn.Dropout(0.5), optim.SGD(0.1), "mse", "Dropout in training"),
        (nn.Identity(), optim.SGD(0.1, clip_norm=1.0), "mse", "SGD with groups, clipping"),
        (nn.Identity(), optim.RMSprop(0.1), "mse", "RMSprop is not expressible"),
        (nn.Identity(), optim.SGD(0.1), "hinge", "the loss HingeLoss"),
    ],
)
def test_training_that_torch_cannot_express(
    torch: Any, model: nn.Module, optimizer: optim.Optimizer, loss: str, said: str
) -> None:
    """Named."""
    whole = nn.Sequential(nn.Linear(6, 3), model)
    x, y = np.ones(ROWS, np.float32), np.ones((5, 3), np.float32)
    with pytest.raises(Inexpressible, match=said):
        prepare("torch", Work(whole, (x,), 1, (y,), nn.LOSSES[loss](), optimizer))


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with models."""
    path = tmp_path_factory.mktemp("bench") / "net.py"
    path.write_text(FILE)
    return str(path)


def told(*arguments: str, code: int = 0) -> dict[str, Any]:
    """What the command says in JSON."""
    line = ["bench", *arguments, "--seconds", "0.02", "--json"]
    result = CliRunner().invoke(main, line)
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_against_torch(torch: Any, net: str) -> None:
    """Both are timed; the times are compared with graphc's."""
    facts = told(f"{net}:trainer", "--train", "--against", "torch", "--extent", "batch=8")
    ours, theirs = facts["times"]
    assert (ours["library"], ours["relative"], theirs["library"]) == ("graphc", 1.0, "torch")
    assert theirs["relative"] == pytest.approx(theirs["seconds"] / ours["seconds"])
    assert facts["inputs"] == {"x": ["float32", 8, 4], "y": ["float32", 8, 2]}
    assert facts["left_out"] == [] and min(ours["seconds"], ours["spread"]) > 0


def test_left_out(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not installed, and for what is no model: said, and no failure."""
    monkeypatch.setattr(bench, "prepare", missing)
    facts = told(f"{net}:model", "--against", "jax")
    assert [time["library"] for time in facts["times"]] == ["graphc"]
    assert facts["left_out"][0]["why"].endswith("pip install 'graphc[bench]'")
    facts = told(f"{net}:node", "--against", "torch")
    assert "only what is made of a model's layers" in facts["left_out"][0]["why"]


def missing(name: str, work: Work) -> Session:
    """A library that cannot be imported."""
    raise ImportError(f"No module named {name!r}")


def test_numbers_that_disagree_are_a_finding(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, and no time of what computes something else."""

    def wrong(name: str, work: Work) -> Session:
        return Session("wrong", lambda: None, lambda result: [np.ones((32, 2), np.float32) * 9])

    monkeypatch.setattr(bench, "prepare", wrong)
    facts = told(f"{net}:model", "--against", "torch", code=1)
    assert [time["library"] for time in facts["times"]] == ["graphc"]
    assert "its numbers differ, by" in facts["left_out"][0]["why"]


def test_indices_are_within_bounds(net: str) -> None:
    """Of an embedding of seven rows, all of them are drawn."""
    program = graphc.compile(nn.Embedding(7, 2), inputs={"x": (("n", 50), "int64")})
    drawn = bench.invented(program, {"n": 4})["x"]
    assert drawn.shape == (4, 50) and set(np.unique(drawn)) == set(range(7))
    assert told(f"{net}:words")["inputs"] == {"x": ["int64", 32, 5]}


def test_timing() -> None:
    """In turns, with a call before each sample; medians and quartiles."""
    turns: list[str] = []
    runs = {"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}
    found = timing.timed(runs, 0.01)
    assert len(found["a"].samples) == len(found["b"].samples) >= timing.LEAST
    assert turns[-1] == "b" and turns.count("a") > timing.LEAST * found["a"].calls
    steady = timing.Timing((1.0, 2.0, 3.0, 4.0, 5.0), 1)
    assert steady.median == 3.0 and steady.spread == 1.0


def test_distance() -> None:
    """Relative to the largest number; what is not finite, or of another shape, is far."""
    ones = [np.ones(3, np.float32)]
    assert bench.apart(ones, [np.array([1, 1, 1.5], np.float32)]) == 0.5
    assert bench.apart(ones, [np.ones(4)]) == bench.apart(ones, [np.full(3, np.nan)]) == np.inf
