"""What run_all.py writes into the page: no measured row is lost that no new one replaces."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.test_lecture import example

HOLDS = "print('| claim | measured | reference |\\n| --- | --- | --- |\\n| new | 1 | 1 |')\n"
EXAMPLES = {
    "01_one": HOLDS + "# default_rng(3), RandomState(1234), seed(0)\n",
    "02_two": "raise SystemExit('MNIST: cannot find | it\\n  looked in: nowhere')\n",
    "03_three": HOLDS + "import sys\nsys.exit('FAILED: new: 1, but 2')\n",
}


@pytest.fixture
def runner(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> ModuleType:
    """run_all with three examples of its own, and a page that has a row of each."""
    module = example("run_all", request)
    for name, text in EXAMPLES.items():
        (tmp_path / f"{name}.py").write_text(text, "utf-8")
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "NAMES", list(EXAMPLES))
    monkeypatch.setattr(module, "machine", lambda: "a machine.")
    rows = {name: [f"| {name} | old | 1 | 2 | 0 | that day |"] for name in EXAMPLES}
    page = f"above\n{module.BEGIN}{module.END}\nbelow\n"
    (tmp_path / "page.md").write_text(module.written(page, "a machine.", rows), "utf-8")
    return module


def record(module: ModuleType, *names: str) -> tuple[str, dict[str, list[str]]]:
    """The machine and the rows of the page after a run, whatever it ended with."""
    page = module.HERE / "page.md"
    with suppress(SystemExit, KeyboardInterrupt):
        module.main([*names, "--page", str(page)])
    text = page.read_text("utf-8")
    assert text.startswith("above\n") and text.endswith("\nbelow\n")
    found: tuple[str, dict[str, list[str]]] = module.recorded(text)
    return found


def cells(line: str) -> list[str]:
    """The example, claim, measured value, reference and seeds of a row."""
    return line.strip("| ").split(" | ")[:5]


def test_a_full_run(runner: ModuleType) -> None:
    """New rows replace old ones; one that ends without a table says why, above what it had."""
    _, rows = record(runner)
    (line,) = rows["01_one"]
    assert cells(line) == ["01_one", "new", "1", "1", "0, 1234, 3"]
    ended, old = rows["02_two"]
    said = "MNIST: cannot find / it (FAILED)"
    assert cells(ended) == ["02_two", "ended before its table", said, "a table", "none"]
    assert cells(old) == ["02_two", "old", "1", "2", "0"]
    assert [cells(line)[1:3] for line in rows["03_three"]] == [["new", "1 (FAILED)"]]
    _, again = record(runner, "02_two")
    assert [cells(line) for line in again["02_two"]] == [cells(ended), cells(old)]


@pytest.mark.parametrize(
    ("code", "errors", "reason"),
    [
        (1, "MNIST: cannot find it\n  looked in: nowhere\n", "MNIST: cannot find it"),
        (
            1,
            "Traceback (most recent call last):\n  File ...\nValueError: a | b\n",
            "ValueError: a / b",
        ),
        (-9, "epoch 1\n", "exit code -9"),
        (3, "", "exit code 3"),
    ],
)
def test_why_an_example_ended(
    code: int, errors: str, reason: str, request: pytest.FixtureRequest
) -> None:
    done = subprocess.CompletedProcess([], code, "", errors)
    assert example("run_all", request).reason(done) == reason


def test_a_package_that_is_not_there(request: pytest.FixtureRequest) -> None:
    """The head of the page says so; what does without it runs."""
    module = example("run_all", request)
    assert module.version("numpy") == f"numpy {np.__version__}"
    assert module.version("no-such-package") == "no no-such-package"


def test_what_failed_ends_with_an_error(runner: ModuleType) -> None:
    with pytest.raises(SystemExit, match="do not hold: 02_two, 03_three"):
        runner.main(["--page", str(runner.HERE / "page.md")])


def test_a_run_that_is_stopped(runner: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not reached stays."""
    measured = runner.measured

    def stopped(name: str, pictures: Path) -> Any:
        if name == "02_two":
            raise KeyboardInterrupt
        return measured(name, pictures)

    monkeypatch.setattr(runner, "measured", stopped)
    _, rows = record(runner)
    assert [cells(rows[name][0])[1] for name in EXAMPLES] == ["new", "old", "old"]


def test_rows_of_another_machine(runner: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stay, and say so, once."""
    monkeypatch.setattr(runner, "machine", lambda: "another machine.")
    for _ in range(2):
        host, rows = record(runner, "01_one")
        assert host == "another machine."
        assert rows["02_two"][0].endswith("| that day, with another machine or other versions |")
        assert "another machine" not in rows["01_one"][0]


def test_a_page_that_is_not_there(runner: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        runner.main(["--page", "no/such/page.md"])
    assert ended.value.code == 2
    assert "--page no/such/page.md: there is no such file" in capsys.readouterr().err
