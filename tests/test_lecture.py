"""The lecture's examples: the quick slice of each holds, and a planted fault makes it fail."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sympy

import graphc
from graphc import ops
from graphc.train import step as train_step

FOLDER = Path(__file__).parent.parent / "examples" / "lecture"
NAMES = sorted(path.stem for path in FOLDER.glob("[0-9][0-9]_*.py"))
Fault = Callable[[pytest.MonkeyPatch, ModuleType], None]


def example(name: str, request: pytest.FixtureRequest) -> ModuleType:
    """A fresh import of an example; skipped where a package or the data that it needs is absent."""
    for package in ("scipy", "sklearn"):
        pytest.importorskip(package)
    path = FOLDER / f"{name}.py"
    if "loaded(" in path.read_text("utf-8"):
        request.getfixturevalue("data_root")
    request.getfixturevalue("monkeypatch").syspath_prepend(FOLDER)
    spec = importlib.util.spec_from_file_location(f"lecture_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_the_quick_slice_holds(
    name: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It prints a row for each claim, returns what it measured, and draws where it is asked to."""
    drawn = importlib.util.find_spec("matplotlib") is not None
    module = example(name, request)
    assert capsys.readouterr().out == ""
    found = module.main(["--quick", *(["--out", str(tmp_path / "pictures")] if drawn else [])])
    printed = capsys.readouterr().out
    assert re.match(rf"{int(name[:2])}\. ", module.__doc__ or "")
    assert found and all(f"| {claim} | " in printed for claim in found)
    pictures = [*tmp_path.rglob("*.png")]
    assert not drawn or pictures
    assert all(p.name.startswith(name[:2]) and p.stat().st_size < 120_000 for p in pictures)
    if not drawn:
        pytest.skip("the slice holds; without matplotlib its pictures are not drawn")


def test_what_is_missing_is_said_before_the_run(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that cannot be written to, and a package that is not there."""
    module = example("03_xor", request)
    (tmp_path / "file").write_text("")
    if importlib.util.find_spec("matplotlib") is not None:
        with pytest.raises(SystemExit) as ended:
            module.main(["--quick", "--out", str(tmp_path / "file" / "pictures")])
        printed = capsys.readouterr()
        assert ended.value.code == 2
        assert "cannot write there" in printed.err and printed.out == ""
    with pytest.raises(SystemExit, match=r"needs no_such: .*install '.*\[examples\]'"):
        sys.modules["common"].extra("no_such.package")


# --- planted faults -------------------------------------------------------------------------


def uphill(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Gradients with the wrong sign."""
    grad = graphc.grad
    wrong: Any = lambda *given: tuple(-flow for flow in grad(*given))  # noqa: E731
    monkeypatch.setattr(graphc, "grad", wrong)
    monkeypatch.setattr(train_step, "grad", wrong)


def firing_below(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Threshold units that fire below their threshold."""
    step = ops.step
    monkeypatch.setattr(ops, "step", lambda x: step(-x))


def other_side(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """A certificate with its sides exchanged."""
    right = module.certificate
    monkeypatch.setattr(module, "certificate", lambda points, truth: -right(points, truth))


def steep_tanh(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """A derivative with the wrong sign in it: 1 + tanh(x)^2."""

    @graphc.op
    def tanh(x: Any) -> Any:
        return sympy.tanh(x)

    @tanh.derivative
    def _(result: Any) -> Any:
        return 1 + result**2

    monkeypatch.setattr(ops, "tanh", tanh)


def swapped_bits(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """The table of inputs read along its other axis."""
    digits = module.digits
    monkeypatch.setattr(module, "digits", lambda n: ops.reshape(digits(n).T, (2**n, n)))


def crossed_inputs(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """The table of inputs read along its other axis."""
    corners = module.corners
    monkeypatch.setattr(module, "corners", lambda n: corners(n).T.reshape(2**n, n))


FAULTS: list[tuple[str, Fault, str]] = [
    ("01_threshold_unit", other_side, "the others"),
    ("01_threshold_unit", crossed_inputs, "n = 2: functions|n = 3: functions"),
    ("02_perceptron", uphill, "the derived step|weights are scikit-learn's|with no more mistakes"),
    ("03_xor", firing_below, "truth table"),
    ("03_xor", other_side, "certificate"),
    ("03_xor", uphill, "that learn it"),
    ("05_universal_approximation", firing_below, "nets of steps|nets of bumps"),
    ("05_universal_approximation", uphill, "trained"),
    ("06_backpropagation", steep_tanh, "local derivatives|central differences"),
    ("08_parity", firing_below, "tree of XORs|threshold units"),
    ("08_parity", swapped_bits, "and/or gates"),
    ("08_parity", uphill, "learned"),
    ("09_distributed_representations", uphill, "distinct codes|decode"),
]


@pytest.mark.parametrize(
    ("name", "fault", "claims"), FAULTS, ids=lambda v: getattr(v, "__name__", v)
)
def test_a_planted_fault_is_found(
    name: str,
    fault: Fault,
    claims: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = example(name, request)
    fault(monkeypatch, module)
    ends_with(module, claims, capsys)


def ends_with(module: ModuleType, claims: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The slice ends with 1, and says which of its claims do not hold."""
    with pytest.raises(SystemExit) as ended:
        module.main(["--quick"])
    assert ended.value.code == 1
    failed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("FAILED: ")]
    for claim in claims.split("|"):
        assert any(claim in line for line in failed), claim
