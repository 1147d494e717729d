"""Every verb as a process: on a terminal and in a pipe, on good and bad input."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from graphc.cli import main
from graphc.cli.group import VERBS
from graphc.inspect import host
from tests.cli.processes import COLOUR, ROOT, on_terminal, piped

FILE = '''
"""Small nets."""
import graphc
from graphc import nn, optim

inputs = {"x": ("batch", 4)}
model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
wider = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
trainer = graphc.Trainer(model, loss="cross_entropy", optimizer=optim.SGD(0.1))
number = 3
'''

GOOD = [
    ("summary NET:model", 0, "Linear", True),
    ("inspect NET:model", 0, "%1 = bias", True),
    ("inspect NET:trainer --train --stage cost", 0, "total", True),
    ("diff NET:model NET:wider", 1, "f32[5,4]", True),
    ("diff NET:model NET:model", 0, "equal", True),
    ("tune NET:model --dry-run --budget 0.05", 0, "kernel", False),
    ("explore NET:model --no-run --html PAGE", 0, "MB", False),
    ("explore NET:trainer --train --html PAGE", 0, "MB", False),
    ("bench NET:model --seconds 0.02", 0, "microseconds", True),
    ("cache list", 0, "object", True),
    ("cache size", 0, "all", False),
    ("doctor", 0, "trial", False),
]
"""Verbs, the exit code, a word of what they print, and whether they colour it on a terminal."""

BAD = [
    ("sumary NET:model", "no verb 'sumary'. Did you mean 'summary'"),
    ("summary NET:modle", "has no name 'modle'. Did you mean 'model'"),
    ("summary NET:number", "number has the type int; it may be a model or a Trainer"),
    ("inspect none.py:model", "no file 'none.py'"),
    ("inspect BROKEN:model", "failed when it was imported"),
    ("inspect NET:model --stage lops", "no stage 'lops'; there are .*kernels, cost. Did you mean"),
    ("inspect NET:model --kernel k99", "no kernel 'k99'"),
    ("inspect NET:model --explain relu --json", "--explain tells of one node"),
    ("diff NET:model", "give a second FILE.py:NAME"),
    ("diff NET:model --without fus", "no pass 'fus'; .*Did you mean 'fuse'"),
    ("diff NET:model NET:wider --stage graf", "no stage 'graf'; .*Did you mean 'graph'"),
    ("diff NET:model NET:model3", "has no name 'model3'"),
    ("explore NET:modle", "has no name 'modle'. Did you mean 'model'"),
    ("explore NET:number", "number has the type int"),
    ("explore BROKEN:model", "failed when it was imported"),
    ("explore NET:model --extent n=3", "no run-time extent 'n'; it has: batch"),
    ("explore NET:model --no-run --html none/page.html", "none/page.html"),
    ("explore NET:wider --train", "--train needs a Trainer"),
    ("bench NET:model --against pytorch", "no library 'pytorch'; .*Did you mean 'torch'"),
    ("bench NET:model --extent n=3", "no run-time extent 'n'; it has: batch"),
    ("bench NET:model --threads 4096", "--threads 4096: this process may use"),
    ("bench NET:wider --train", "--train needs a Trainer"),
    ("tune NET:model --reset --dry-run", "give one of them"),
    ("cache clear", "entries: say so with --yes"),
]
"""Verbs that are refused, and what is said."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A file with models, and one that fails to import."""
    folder = tmp_path_factory.mktemp("verbs")
    (folder / "net.py").write_text(FILE)
    (folder / "broken.py").write_text("model = 1 / 0\n")
    piped(["inspect", f"{folder / 'net.py'}:model"])  # the cache holds something
    page = str(folder / "page.html")
    return {"NET": str(folder / "net.py"), "BROKEN": str(folder / "broken.py"), "PAGE": page}


def words(line: str, files: dict[str, str]) -> list[str]:
    """The arguments of a line, the files in their places."""
    for name, path in files.items():
        line = line.replace(name, path)
    return shlex.split(line)


@pytest.mark.parametrize(("line", "code", "word", "coloured"), GOOD)
def test_good_input(files: dict[str, str], line: str, code: int, word: str, coloured: bool) -> None:
    """Plain in a pipe; on a terminal the same, in colour unless NO_COLOR is set."""
    pipe = piped(words(line, files))
    assert pipe.code == code, pipe.stderr
    assert word in pipe.stdout and "\x1b" not in pipe.stdout and pipe.stderr == ""
    terminal = on_terminal(words(line, files))
    assert terminal.code == code and word in COLOUR.sub("", terminal.stdout)
    assert bool(COLOUR.search(terminal.stdout)) is coloured


def test_no_color(files: dict[str, str]) -> None:
    """https://no-color.org is kept to."""
    shown = on_terminal(words("summary NET:model", files), NO_COLOR="1")
    assert shown.code == 0 and "Linear" in shown.stdout and not COLOUR.search(shown.stdout)


@pytest.mark.parametrize(("line", "said"), BAD)
def test_bad_input(files: dict[str, str], line: str, said: str) -> None:
    """Exit code 2, one message on stderr, no traceback of graphc's, nothing on stdout."""
    found = piped(words(line, files))
    assert found.code == 2 and found.stdout == ""
    message = found.stderr[found.stderr.index("Error: ") :]
    assert re.search(said, message, re.DOTALL), message
    assert "Traceback" not in message and "graphc/cli" not in message
    if "broken" not in message:
        assert len(message.splitlines()) == 1


def test_a_page_and_no_browser(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said that none could be started, and where the page is."""
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    line = words("explore NET:model --no-run --html PAGE --open", files)
    found = CliRunner().invoke(main, line)
    assert found.exit_code == 0
    assert f"no browser could be started; the page is at {Path(files['PAGE']).as_uri()}" in (
        found.stderr
    )


@pytest.mark.parametrize("verb", VERBS)
def test_help(verb: str) -> None:
    """Each verb says what it does, and shows examples of itself."""
    text = CliRunner().invoke(main, [verb, "--help"]).stdout
    assert re.search(rf"Examples?:\n +graphc {verb} ", text)


def examples() -> list[str]:
    """The examples in the verbs' help that name a file of the repository."""
    found = []
    for verb in VERBS:
        text = CliRunner().invoke(main, [verb, "--help"]).stdout
        found += re.findall(r"^ +graphc (.*examples/.*)$", text, re.MULTILINE)
    return found


@pytest.mark.parametrize("line", examples())
def test_examples_in_the_help_run(line: str, tmp_path: Path) -> None:
    """As they stand there; measuring for a moment only, writing elsewhere, and with no browser."""
    if "--serve" in line:
        pytest.skip("it serves until Ctrl-C: tests/explorer/test_live.py")
    if line.startswith("explore"):
        line = f"{line.replace('--open', '')} --html {tmp_path / 'page.html'}"
    line = line.replace("--trace ", f"--trace {tmp_path}/")
    if line.startswith("bench"):
        line += " --seconds 0.02"
    if line.startswith("tune"):
        line = re.sub(r"--budget \d+", "", line) + ("" if "--reset" in line else " --budget 0.05")
    found = piped(shlex.split(line))
    assert found.code == (1 if line.startswith("diff") else 0), found.stderr
    assert found.stdout.strip()


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ("summary NET:model", {"rows", "parameters", "trainable", "flops"}),
        ("inspect NET:model", {"stage", "nodes", "outputs", "updates"}),
        ("inspect NET:trainer --train --stage backward", {"stage", "nodes", "outputs", "updates"}),
        ("inspect NET:model --stage memory --extent batch=7", {"stage", "arena", "must"}),
        ("inspect NET:model --stage cost --extent batch=7", {"stage", "extents", "kernels"}),
        ("inspect NET:model --stage kernels", {"stage", "kernels"}),
        ("inspect NET:model --stage asm", {"stage", "text"}),
        ("inspect NET:model --kernel k00", {"kernel", "notes", "text", "sites", "stage"}),
        ("diff NET:model NET:model", {"a", "b", "equal", "stages", "differences"}),
        ("bench NET:model --seconds 0.02", {"what", "inputs", "threads", "times", "left_out"}),
        ("cache size", {"folder", "kinds", "total"}),
        ("doctor", {"extras", "tools", "trial", "training", "object_cache"}),
    ],
)
def test_json(files: dict[str, str], line: str, keys: set[str]) -> None:
    """One JSON document on stdout, with these keys."""
    result = CliRunner().invoke(main, [*words(line, files), "--json"])
    assert result.exit_code == 0, result.output
    assert keys <= json.loads(result.stdout).keys()


def test_summary_in_json_is_the_table(files: dict[str, str]) -> None:
    """The numbers of the text."""
    result = CliRunner().invoke(main, words("summary NET:model --json", files))
    found = json.loads(result.stdout)
    linear = next(row for row in found["rows"] if row["layer"] == "0")
    assert linear["outputs"] == [["batch", 3]] and linear["parameters"] == 15
    assert (found["parameters"], found["trainable"]) == (23, 23)


def test_a_node_in_json_has_its_place(files: dict[str, str]) -> None:
    """File, line and layer, and operands that are names of other nodes."""
    result = CliRunner().invoke(main, words("inspect NET:model --json", files))
    nodes = {node["name"]: node for node in json.loads(result.stdout)["nodes"]}
    linear = next(node for node in nodes.values() if node["op"] == "linear")
    assert linear["operands"] == ["x", "0.weight"] and set(linear["operands"]) < set(nodes)
    line = FILE.splitlines().index(next(s for s in FILE.splitlines() if s[:5] == "model")) + 1
    assert (linear["file"], linear["line"], linear["layer"]) == (files["NET"], line, "0")
    assert linear["shape"] == ["batch", 3] and "a[" not in linear["formula"]


def test_a_forward_that_fails_shows_the_users_frames(tmp_path: Path) -> None:
    """Its own traceback, none of graphc's frames, exit code 2."""
    path = tmp_path / "failing.py"
    path.write_text(
        "from graphc import nn\n\n\nclass Net(nn.Module):\n    def forward(self, x):\n"
        "        return x + [][1]\n\n\nmodel = Net()\ninputs = {'x': (3,)}\n"
    )
    for verb in ("inspect", "summary", "bench"):
        result = CliRunner().invoke(main, [verb, f"{path}:model"])
        assert result.exit_code == 2 and isinstance(result.exception, SystemExit)
        assert "line 6, in forward" in result.stderr and "IndexError" in result.stderr
        assert "graphc/nn" not in result.stderr and result.stderr.count('  File "') == 1


def test_doctor_knows_the_extras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is missing, and how it is installed; a cache that cannot be written to."""
    monkeypatch.setattr("graphc.inspect.host.version", lambda name: "not installed")
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "file" / "cache"))
    result = CliRunner().invoke(main, ["doctor"])
    assert "no pygraphviz; pip install 'graphc[draw]'" in result.stdout
    assert "NOT used: nothing can be written there" in result.stdout
    assert result.exit_code == 0 and re.search(r"^training +passed$", result.stdout, re.MULTILINE)
    monkeypatch.setattr("graphc.cli.doctor.training", lambda: "failed: no reason")
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1 and "failed: no reason" in result.stdout


def test_doctor_lists_every_extra_for_use() -> None:
    """As pyproject.toml has them, but for those that work on graphc itself needs."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    libraries = {
        name: {re.split("[=<>]", line)[0] for line in lines}
        for name, lines in declared["optional-dependencies"].items()
        if name not in ("test", "oracle", "dev")
    }
    assert {name: set(found) for name, (_, *found) in host.EXTRAS.items()} == libraries


def test_the_root_is_where_examples_are() -> None:
    """The help's examples are run from the root of the repository."""
    assert (ROOT / "examples/digits.py").is_file() and len(examples()) > 10
