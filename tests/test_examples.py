"""The examples: importing one trains nothing, and running it does what it promises."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from safetensors.numpy import load_file

import graphc
from graphc.data.dataset import Dataset

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))


def example(name: str) -> ModuleType:
    """A fresh import of an example, with the weights that it starts from."""
    path = EXAMPLES / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_importing_trains_nothing(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.perf_counter()
    module = example(name)
    assert capsys.readouterr().out == ""
    assert time.perf_counter() - began < 5
    assert module.__doc__ and callable(module.main)
    graphc.compile(module.model, inputs=module.inputs)


def test_digits_reach_their_accuracy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole example; the time it may take is checked by whoever runs it alone."""
    pytest.importorskip("sklearn")
    weights = tmp_path / "digits.safetensors"
    assert example("digits").main(["--out", str(weights)]) >= 0.985
    assert any(name.endswith("0.weight") for name in load_file(weights))
    printed = capsys.readouterr().out
    assert "epoch 20/20" in printed
    assert "[f, c, r, s] += grad*image" in printed
    assert "for s2 in 0..batch:" in printed
    assert len(printed.split("and its assembly")[1].splitlines()) > 10


def test_custom_op_separates_the_spirals(capsys: pytest.CaptureFixture[str]) -> None:
    assert example("custom_op").main() >= 0.95
    assert "snake.dx(x)" in capsys.readouterr().out


def test_mnist_learns_from_a_slice(
    data_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two epochs of the real images; all five, and 99 %, are for `python examples/mnist.py`."""
    module = example("mnist")
    everything = module.data.mnist(data_root)
    part = Dataset(
        everything.x_train[:12_000],
        everything.y_train[:12_000],
        everything.x_test[:2_000],
        everything.y_test[:2_000],
        everything.classes,
    )
    monkeypatch.setattr(module, "EPOCHS", 2)
    monkeypatch.setattr(module.data, "mnist", lambda root: part)
    accuracy = module.main(["--data", str(data_root), "--out", str(tmp_path / "m.safetensors")])
    assert accuracy >= 0.95
    assert "ms an example on one thread" in capsys.readouterr().out
    assert all(np.isfinite(value).all() for value in module.model.state_dict().values())


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_a_place_that_cannot_be_written_ends_it_before_training(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and exit code 2."""
    module = example(name)
    monkeypatch.setattr(module.trainer, "fit", lambda *_, **__: pytest.fail("it trained"))
    with pytest.raises(SystemExit) as ended:
        module.main(["--out", str(tmp_path / "nowhere" / "weights.safetensors")])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "cannot save" in said and "there is no folder" in said and said.count("\n") == 1


def test_mnist_without_its_files_ends_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"MNIST: cannot find(.|\n)*get it from"):
        example("mnist").main(["--data", str(tmp_path)])
