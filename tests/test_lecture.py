"""The lecture's examples: the quick slice of each holds, and is recorded."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.lecture.faults import FAULTS

FOLDER = Path(__file__).parent.parent / "examples" / "lecture"
NAMES = sorted(path.stem for path in FOLDER.glob("[0-9][0-9]_*.py"))


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
    """It prints a row for each claim, returns what it measured, and draws where it is asked to.

    There is no claim that no planted fault makes fail.
    """
    drawn = importlib.util.find_spec("matplotlib") is not None
    module = example(name, request)
    assert capsys.readouterr().out == ""
    found = module.main(["--quick", *(["--out", str(tmp_path / "pictures")] if drawn else [])])
    printed = capsys.readouterr().out
    assert re.match(rf"{int(name[:2])}\. ", module.__doc__ or "")
    assert found and all(f"| {claim} | " in printed for claim in found)
    failing = [part for parts in FAULTS[name].values() for part in parts]
    assert [claim for claim in found if not any(part in claim for part in failing)] == []
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


def test_the_record_keeps_rows_and_text(request: pytest.FixtureRequest) -> None:
    """run_all writes its table between the marks, in order, and reads it back."""
    module = example("run_all", request)
    page = f"above\n{module.BEGIN}{module.END}\nbelow\n"
    rows = {name: [f"| {name} | claim | 1 | 2 | 0 | today |"] for name in ("12_b", "04_a")}
    full = module.written(page, "a machine.", rows)
    assert full.startswith("above\n") and full.endswith("\nbelow\n")
    assert full.index("04_a") < full.index("12_b")
    assert module.recorded(full) == ("a machine.", rows)
    assert module.written(full, "a machine.", rows) == full
