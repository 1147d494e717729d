"""`graphc profile` and `graphc roofline` as processes, on a terminal and in a pipe."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import test_cli

FILE = """
import numpy as np

import graphc
from graphc import nn, optim

model = nn.Sequential(nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 10))
inputs = {"x": ("batch", 96)}
trainer = graphc.Trainer(model, loss="cross_entropy", optimizer=optim.SGD(0.1))
given = nn.Sequential(nn.Linear(5, 2))
given_inputs = {"x": np.ones((9, 5), np.float32)}
program = graphc.compile(graphc.log(graphc.input("a", ("n",))))
program_inputs = {"a": np.array([1, 2, 3], np.float32)}
number = 3
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of models, and a cache of its own."""
    root = tmp_path_factory.mktemp("profile")
    (root / "net.py").write_text(FILE)
    return root


def command(place: Path, arguments: tuple[str, ...]) -> dict[str, object]:
    """How a process of its own is started."""
    environment = {**os.environ, "GRAPHC_CACHE_DIR": str(place / "cache"), "PYTHONPATH": str(ROOT)}
    environment.pop("GRAPHC_THREADS", None)
    return {
        "args": [sys.executable, "-m", "graphc.cli", *arguments],
        "cwd": place,
        "env": environment,
    }


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A verb's outcome in a pipe."""
    return subprocess.run(
        **command(place, arguments), capture_output=True, text=True, timeout=300, check=False
    )


def printed(place: Path, *arguments: str) -> str:
    """What a verb that succeeds prints."""
    done = run(place, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(place: Path, *arguments: str) -> str:
    """What a verb that is refused says: exit code 2, no traceback, nothing on stdout."""
    done = run(place, *arguments)
    assert done.returncode == 2 and not done.stdout, done
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_table_by_time_in_a_pipe(place: Path) -> None:
    text = printed(place, "profile", "net.py:trainer", "--train", "--threads", "1")
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines[0].startswith("# the inputs are invented")
    assert lines[1].startswith("# means over the middle fifth of 50 steps, batch = 32, 1 thread;")
    assert lines[2].split()[:3] == ["kernel", "ops", "microseconds"]
    shares = [float(word[:-1]) for line in lines[3:-1] for word in line.split() if word[-1] == "%"]
    assert len(shares) == len(lines[3:-1]) and shares == sorted(shares, reverse=True)
    assert "net.py:" in text


def test_the_order_of_the_kernels(place: Path) -> None:
    text = printed(place, "profile", "net.py:model", "--sort", "order", "--repeats", "3")
    kernels = [line.split()[0] for line in text.splitlines() if line.startswith("k")][1:]
    assert kernels == sorted(kernels) and kernels


def test_json_and_a_trace(place: Path) -> None:
    words = ["net.py:model", "--extent", "batch=7", "--repeats", "4", "--trace", "t.json"]
    found = json.loads(printed(place, "profile", *words, "--json"))
    assert found["extents"] == {"batch": 7} and found["repeats"] == 4
    assert found["invented"] == ["x"] and found["step_seconds"] > 0
    kernels = [row["kernel"] for row in found["kernels"]]
    assert found["kernels"][0]["sites"][0]["line"] == 7
    events = json.loads((place / "t.json").read_text())["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    assert [span["name"].split()[0] for span in spans] == kernels * 4


def test_inputs_from_the_file(place: Path) -> None:
    for name, extents in (("given", {"batch": 9}), ("program", {"n": 3})):
        found = json.loads(printed(place, "profile", f"net.py:{name}", "--json", "--repeats", "2"))
        assert found["extents"] == extents and found["invented"] == []
    assert "invented" not in printed(place, "profile", "net.py:program")
    message = refused(place, "profile", "net.py:program", "--extent", "n=5")
    assert "--extent n=5: the arrays in program_inputs or program_targets have n = 3" in message


def test_a_roofline_on_a_terminal(place: Path) -> None:
    """The picture fits 80 columns; the table follows."""
    ours, theirs = pty.openpty()
    words = ("roofline", "net.py:trainer", "--train", "--threads", "1", "--repeats", "5")
    with subprocess.Popen(**command(place, words), stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
        assert process.wait(timeout=300) == 0, shown
    os.close(ours)
    picture, _, table = shown.decode().replace("\r\n", "\n").partition("\n\n")
    assert max(map(len, picture.splitlines())) <= 79
    assert "GFLOP/s" in picture and "float32" in picture and "  a k" in picture
    assert "must read and write" in table and "of roof" in table


def test_a_roofline_as_json(place: Path) -> None:
    found = json.loads(printed(place, "roofline", "net.py:model", "--json", "--repeats", "3"))
    assert found["limits"]["gflops"]["float32"] > 0
    assert [level["name"] for level in found["limits"]["levels"]][-1] == "memory"
    names = {level["name"] for level in found["limits"]["levels"]} | {"float32"}
    assert {row["bound"] for row in found["kernels"]} <= names
    again = json.loads(printed(place, "roofline", "net.py:model", "--json", "--repeats", "3"))
    assert again["limits"] == found["limits"]  # kept for a day
    words = ("net.py:model", "--json", "--repeats", "3", "--measure")
    anew = json.loads(printed(place, "roofline", *words))
    assert anew["limits"]["when"] > found["limits"]["when"]


@pytest.mark.parametrize("verb", ["profile", "roofline"])
def test_bad_input_is_one_message(place: Path, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    assert "no file 'nothere.py'" in refused(place, verb, "nothere.py:model")
    for words, said in (
        (("net.py:modle",), "no name 'modle'"),
        (("net.py:number",), "number has the type int"),
        (("net.py:model", "--extent", "bat=3"), "no run-time extent 'bat'"),
        (("net.py:model", "--extent", "batch=x"), "write NAME=N"),
        (("net.py:model", "--repeats", "0"), "--repeats"),
        (("net.py:model", "--threads", "0"), "--threads"),
    ):
        assert said in test_cli.refused(verb, *words)  # in this process


def test_a_trace_that_cannot_be_written(place: Path) -> None:
    words = ("net.py:model", "--trace", "missing/t.json", "--repeats", "1")
    assert "missing/t.json: cannot write there" in refused(place, "profile", *words)


@pytest.mark.parametrize("verb", ["profile", "roofline"])
def test_help_has_examples(place: Path, verb: str) -> None:
    text = printed(place, verb, "--help")
    assert f"graphc {verb} examples/digits.py:trainer --train" in text
