"""The lecture's examples on images: a planted fault makes each quick slice fail, and say where."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, ops, optim
from graphc.autodiff import grad, vjp
from graphc.optim import adaptive

FOLDER = Path(__file__).parents[2] / "examples" / "lecture"
Load = Callable[[str], ModuleType]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Load:
    """A fresh import of an example by its name."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"lecture_{name}", FOLDER / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def uphill(monkeypatch: pytest.MonkeyPatch, data_root: Path) -> None:
    """Every training step goes up the gradient: the sign is wrong."""

    def wrong(loss: Any, variables: Any) -> tuple[Any, ...]:
        return tuple(-slope for slope in grad(loss, variables))

    monkeypatch.setattr("graphc.train.step.grad", wrong)


@pytest.mark.parametrize("name", ["04_mlp", "12_convnets", "13_levels"])
def test_a_gradient_of_the_wrong_sign_is_seen(
    name: str, example: Load, uphill: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        example(name).main(["--quick"])
    assert ended.value.code == 1
    assert "FAILED: " in capsys.readouterr().err


def test_averages_that_keep_the_wrong_part_are_seen(
    example: Load,
    data_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two optimisers of seven forget what they should keep; the others still follow their rule."""
    monkeypatch.setattr(adaptive, "mix", lambda old, new, keep: (1 - keep) * old + keep * new)
    with pytest.raises(SystemExit):
        example("07_sgd").main(["--quick"])
    said = capsys.readouterr().err
    assert [line.split(": ")[1] for line in said.splitlines() if "numpy" in line] == [
        "windowgrad",
        "adadelta",
    ]


def test_a_momentum_that_looks_ahead_is_not_taken_for_another(
    example: Load, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = example("07_sgd")
    monkeypatch.setitem(
        module.OPTIMIZERS, "momentum", lambda: optim.SGD(0.05, momentum=0.9, nesterov=True)
    )
    with pytest.raises(SystemExit):
        module.main(["--quick"])


def test_swapped_axes_of_a_filter_are_seen(
    example: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Square filters lie on their side."""
    straight = ops.conv2d

    def lying(image: Any, kernel: Any, *rest: Any, **options: Any) -> Any:
        if kernel.shape[-1] == kernel.shape[-2]:
            node = graphc.constant(kernel) if isinstance(kernel, np.ndarray) else kernel
            kernel = ops.swapaxes(node, 2, 3)
        return straight(image, kernel, *rest, **options)

    monkeypatch.setattr(ops, "conv2d", lying)
    monkeypatch.setattr(nn.Conv2d, "function", staticmethod(lying))
    with pytest.raises(SystemExit):
        example("10_convolution_seen").main(["--quick"])
    said = capsys.readouterr().err
    assert "one number" in said and "beside scipy" in said


def test_a_gradient_of_something_else_is_seen(
    example: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The gradient by the filters with its sign wrong is as fast as the right one."""

    def wrong(output: Any, variables: Any, cotangents: Any) -> tuple[Any, ...]:
        by_image, by_filters = vjp(output, variables, cotangents)
        return by_image, -by_filters

    module = example("11_convolution_fast")
    monkeypatch.setattr(module.graphc, "vjp", wrong)
    with pytest.raises(SystemExit):
        module.main(["--quick"])
    assert "gradient . filters" in capsys.readouterr().err


def test_a_slow_convolution_is_seen(
    example: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = example("11_convolution_fast")
    timed = module.timed

    def slow(*given: Any) -> Any:
        results, times = timed(*given)
        return results, {name: 5 * spent for name, spent in times.items()}

    monkeypatch.setattr(module, "timed", slow)
    with pytest.raises(SystemExit):
        module.main(["--quick"])
    assert "forward, ms" in capsys.readouterr().err


def test_the_record_keeps_rows_and_text(example: Load) -> None:
    """run_all writes its table between the marks, in order, and reads it back."""
    module = example("run_all")
    page = f"above\n{module.BEGIN}{module.END}\nbelow\n"
    rows = {
        "12_b": ["| 12_b | c | 1 | 2 | 0 | today |"],
        "04_a": ["| 04_a | c | 1 | 2 | 0 | today |"],
    }
    full = module.written(page, "a machine.", rows)
    assert full.startswith("above\n") and full.endswith("\nbelow\n")
    assert full.index("04_a") < full.index("12_b")
    assert module.recorded(full) == ("a machine.", rows)
    assert module.written(full, "a machine.", rows) == full
