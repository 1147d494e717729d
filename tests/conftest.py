"""Fixtures that all tests share: the oracle, the data folder, and an environment of their own."""

from __future__ import annotations

import importlib
import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

# Set before any test imports a library that reads them: sums of one thread are the same every run.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"


def pytest_configure(config: pytest.Config) -> None:
    """Give this run a cache of its own, before any test module is imported."""
    folder = tempfile.TemporaryDirectory(prefix="graphc-tests-")
    os.environ["GRAPHC_CACHE_DIR"] = folder.name
    config.add_cleanup(folder.cleanup)


@pytest.fixture(scope="session")
def torch() -> Any:
    """PyTorch on one thread, the oracle.

    Without it a test skips, or fails where GRAPHC_REQUIRE_ORACLE=1 asks for it.
    """
    reason = "PyTorch is not installed; pip install '.[oracle]' brings it to compare with"
    if importlib.util.find_spec("torch") is None:
        if os.environ.get("GRAPHC_REQUIRE_ORACLE") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    module = importlib.import_module("torch")
    module.set_num_threads(1)
    return module


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder GRAPHC_DATA_DIR names, which holds mnist/ and fashion-mnist/ as IDX files."""
    name = os.environ.get("GRAPHC_DATA_DIR")
    if not name:
        pytest.skip("GRAPHC_DATA_DIR names no folder with mnist/ and fashion-mnist/: it is not set")
    root = Path(name)
    if not root.is_dir():
        pytest.fail(f"GRAPHC_DATA_DIR is {name!r}, which is no folder", pytrace=False)
    return root
