"""What an example needs and does not find is said before it runs, with the way to get it."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pytest

from graphc import data
from tests.test_lecture import FOLDER, NAMES, example

READERS = [name for name in NAMES if "loaded(" in (FOLDER / f"{name}.py").read_text("utf-8")]
PACKAGES = {  # of each example, the modules that it cannot do without
    "01_threshold_unit": ("scipy",),
    "02_perceptron": ("sklearn",),
    "03_xor": ("scipy",),
    "10_convolution_seen": ("scipy", "sklearn", "PIL"),
}
NEEDS = [(name, module) for name, modules in PACKAGES.items() for module in modules]
INSTALLED = {"scipy": "scipy", "sklearn": "scikit-learn", "PIL": "pillow"}


@pytest.mark.parametrize(("name", "module"), NEEDS)
def test_a_package_that_is_absent(
    name: str,
    module: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By the name that pip knows, and before anything is printed."""
    lesson = example(name, request)
    absent = [loaded for loaded in sys.modules if loaded.split(".")[0] == module]
    for loaded in [module, *absent]:
        monkeypatch.setitem(sys.modules, loaded, None)
    with pytest.raises(SystemExit) as ended:
        lesson.main(["--quick"])
    folder = FOLDER.parent.parent.resolve()
    said = f"this needs {INSTALLED[module]}: python -m pip install '{folder}[examples]'"
    assert ended.value.code == said
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", READERS)
def test_data_that_are_not_there(
    name: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every set that an example reads, where the files come from, and the command that finds them.

    Fashion-MNIST alone is missing where both are read: that too is said before the first net.
    """
    module = example(name, request)
    for missing in (data.mnist, data.fashion_mnist):
        if f"data.{missing.__name__}" not in (FOLDER / f"{name}.py").read_text("utf-8"):
            continue
        with monkeypatch.context() as patched:
            patched.setattr(data, missing.__name__, lambda missing=missing, **_: missing("/none"))
            with pytest.raises(SystemExit) as ended:
                module.main(["--quick"])
        said = str(ended.value.code)
        assert "cannot find" in said and "get it from: https://" in said and " root" not in said
        assert said.endswith(f"GRAPHC_DATA_DIR=folder python {sys.argv[0]}")
        assert capsys.readouterr().out == ""


def test_data_that_are_damaged(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One line, and no traceback."""
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (tmp_path / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x08\x03")[:-6])
    module = example("12_convnets", request)
    monkeypatch.setenv("GRAPHC_DATA_DIR", str(tmp_path))
    with pytest.raises(SystemExit, match="gzip stream is damaged or truncated") as ended:
        module.main(["--quick"])
    assert len(str(ended.value.code).splitlines()) == 1


def test_the_help_names_the_folder_of_the_data(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        example("03_xor", request).main(["--help"])
    assert ended.value.code == 0
    assert "GRAPHC_DATA_DIR" in capsys.readouterr().out
