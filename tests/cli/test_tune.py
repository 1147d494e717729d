"""`graphc tune` as a process in a pipe: its lines, its JSON, what it keeps, what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FILE = """
import graphc
from graphc import nn, optim

model = nn.Sequential(nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 48))
inputs = {"x": ("batch", 96)}
trainer = graphc.Trainer(model, loss="mse", optimizer=optim.SGD(0.1))
quiet = graphc.tanh(graphc.input("a", (3,)))
number = 3
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of models, and a cache of its own."""
    root = tmp_path_factory.mktemp("tune")
    (root / "net.py").write_text(FILE)
    return root


def run(place: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """The outcome of `graphc tune` in a process of its own."""
    environment = {**os.environ, "GRAPHC_CACHE_DIR": str(place / "cache"), **settings}
    return subprocess.run(
        [sys.executable, "-m", "graphc.cli", "tune", *arguments],
        cwd=place,
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_table_on_stdout_and_a_line_a_kernel_on_stderr(place: Path) -> None:
    done = run(place, "net.py:trainer", "--train", "--budget", "20", "--extent", "batch=64")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    lines, said = done.stdout.splitlines(), done.stderr.splitlines()
    assert lines[0].split() == ["kernel", "ops", "before", "after", "speed", "choice"]
    kernels = [line.split()[0] for line in lines[1:-1] if line.startswith("k")]
    assert kernels and kernels == sorted(kernels)
    assert f"of {len(kernels)} kernels have a faster schedule" in done.stdout
    assert len(said) == len(kernels) and said[0].startswith(f"1 of {len(kernels)}  k")


def test_json_states_all_numbers(place: Path) -> None:
    done = run(place, "net.py:model", "--kernel", "k01", "--json", "--dry-run")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kept"] is False and found["unmeasured"] == []
    (kernel,) = found["kernels"]
    assert kernel["kernel"] == "k01" and kernel["tried"] > 0 and kernel["refused"] == 0
    assert 0 < kernel["after"] <= kernel["before"]
    assert kernel["speed"] == pytest.approx(kernel["before"] / kernel["after"])
    assert bool(kernel["choices"]) == (kernel["after"] < kernel["before"])


def test_a_dry_run_keeps_nothing_and_reset_forgets(place: Path) -> None:
    cache = place / "apart"
    settings = {"GRAPHC_CACHE_DIR": str(cache)}
    done = run(place, "net.py:model", "--dry-run", "--budget", "5", **settings)
    assert done.returncode == 0 and not (cache / "tuned").exists()
    assert run(place, "net.py:model", "--budget", "5", **settings).returncode == 0
    kept = len(list((cache / "tuned").glob("*.o")))
    done = run(place, "net.py:model", "--reset", **settings)
    assert done.stdout == f"forgot {kept} kernels' schedules\n"
    assert not list((cache / "tuned").glob("*.o"))
    done = run(place, "net.py:model", "--reset", "--json", **settings)
    assert json.loads(done.stdout) == {"forgotten": 0}


def test_a_program_without_sums(place: Path) -> None:
    done = run(place, "net.py:quiet")
    assert done.returncode == 0 and "no schedule to choose" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["net.py:model", "--kernel", "k99"], "no kernel 'k99'"),
        (["net.py:model", "--budget", "0"], "budget must be a number of seconds above 0"),
        (["net.py:model", "--budget", "nan"], "budget must be a number of seconds above 0"),
        (["net.py:model", "--extent", "bathc=3"], "no run-time extent 'bathc'"),
        (["net.py:model", "--extent", "batch=-3"], "write NAME=N"),
        (["net.py:model", "--reset", "--dry-run"], "give one of them"),
        (["net.py:modle"], "Did you mean 'model'"),
        (["net.py:number"], "has the type int"),
        (["missing.py:model"], "no file 'missing.py'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    place: Path, arguments: list[str], said: str
) -> None:
    done = run(place, *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert said in done.stderr and done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1


def test_without_a_cache_there_is_nothing_to_keep(place: Path) -> None:
    done = run(place, "net.py:model", GRAPHC_CACHE_DIR="off")
    assert done.returncode == 2 and "no cache to keep winners in" in done.stderr
    done = run(place, "net.py:model", "--dry-run", "--budget", "3", GRAPHC_CACHE_DIR="off")
    assert done.returncode == 0
