"""The command line: what it prints, and what it says where it refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import graphc
from graphc.cli import main
from graphc.inspect.colour import write
from graphc.inspect.host import examine

ROOT = Path(__file__).parents[2]

FILE = '''
"""A small net."""
import graphc
from graphc import nn, optim

print("imported")
model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
inputs = {"x": ("batch", 4)}
trainer = graphc.Trainer(model, loss="cross_entropy", optimizer=optim.SGD(0.1))
plain = nn.Sequential(nn.Linear(5, 2))
plain.input_shape = (5,)
node = graphc.input("a", (3,)) + 1
program = graphc.compile(node)
number = 3


class Net(nn.Module):
    def __init__(self):
        self.first = nn.Linear(4, 3)

    def forward(self, x):
        return self.first(x) * 2


def make():
    return nn.Linear(4, 2)


def broken():
    return 1 / 0


if __name__ == "__main__":
    raise SystemExit("the main part ran")
'''


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a file with models in it."""
    path = tmp_path_factory.mktemp("cli") / "net.py"
    path.write_text(FILE)
    return str(path)


def run(*arguments: str) -> Result:
    """A command's outcome, stdout apart from stderr."""
    return CliRunner().invoke(main, list(arguments))


def printed(*arguments: str) -> str:
    """What a command that succeeds prints."""
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def refused(*arguments: str) -> str:
    """What a command that is refused says: exit code 2, no traceback, nothing on stdout."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    return result.stderr[result.stderr.index("Error: ") :]


def test_version() -> None:
    """The package's version."""
    assert printed("--version") == f"graphc, version {graphc.__version__}\n"


@pytest.mark.parametrize("verb", ["inspect", "summary", "tune", "doctor"])
def test_help_has_an_example(verb: str) -> None:
    """Each verb shows how it is called."""
    assert f"  graphc {verb} " in printed(verb, "--help")


@pytest.mark.parametrize("stage", ["graph", "fused", "memory", "loops", "llvm", "asm", "cost"])
def test_inspect_stages(net: str, stage: str) -> None:
    """Plain text in a pipe; what the file prints does not mix with it."""
    text = printed("inspect", f"{net}:model", "--stage", stage)
    assert text.strip() and "\x1b" not in text and "imported" not in text


def test_inspect_graph_points_at_the_file(net: str) -> None:
    """Nodes of layers without code of the user's carry the line where the model is made."""
    text = printed("inspect", f"{net}:model")
    line = FILE.splitlines().index(next(s for s in FILE.splitlines() if s.startswith("model"))) + 1
    assert f"# net.py:{line} (0)" in text and "f32[batch,4]" in text


def test_inspect_kernel(net: str) -> None:
    """One kernel's loops, or another stage of it."""
    assert printed("inspect", f"{net}:model", "--kernel", "k00").startswith("kernel k00(")
    text = printed("inspect", f"{net}:model", "--kernel", "k00", "--stage", "asm")
    assert re.match(r"_?k00:", text)
    assert printed("inspect", f"{net}:model", "--stage", "kernels").startswith("k00: ")


@pytest.mark.parametrize("name", ["trainer", "model"])
def test_inspect_training_step(net: str, name: str) -> None:
    """A trainer's step, also found through its model; targets follow from the loss."""
    text = printed("inspect", f"{net}:{name}", "--train")
    assert "input     y" in text and "i64[batch]" in text and "update 0.weight <- %" in text
    assert "product" not in printed("inspect", f"{net}:{name}", "--train", "--stage", "backward")


def test_inspect_explain(net: str) -> None:
    """A node's explanation."""
    assert "computes" in printed("inspect", f"{net}:model", "--explain", "0")


@pytest.mark.parametrize("name", ["node", "program", "make", "Net", "plain", "trainer"])
def test_inspect_other_objects(net: str, name: str) -> None:
    """Nodes, programs, functions, classes, models that know their shape, trainers."""
    assert "output out0 = %" in printed("inspect", f"{net}:{name}")


def test_shapes(net: str) -> None:
    """--shape goes before what the file says; --extent makes sizes."""
    text = printed("inspect", f"{net}:model", "--shape", "x=7,4")
    assert "x        : f32[7,4]" in text
    text = printed("inspect", f"{net}:model", "--stage", "memory", "--extent", "batch=64")
    assert text.startswith("# for batch = 64\n") and "1,024" in text
    text = printed("inspect", f"{net}:plain", "--shape", "x=n,5:float64", "--stage", "graph")
    assert "f64[n,5]" in text


def test_summary(net: str) -> None:
    """The model's table, of a trainer too."""
    text = printed("summary", f"{net}:model")
    assert "Linear" in text and "parameters" in text
    assert printed("summary", f"{net}:trainer") == text


def test_doctor() -> None:
    """Facts for people, and the same for programs."""
    text = printed("doctor")
    for word in ("versions", "target", "vector registers", "schedules", "object cache", "trial"):
        assert word in text
    facts = json.loads(printed("doctor", "--json"))
    assert facts["trial"] == "passed" and facts["versions"]["graphc"] == graphc.__version__
    assert facts["targets"][facts["target"]["name"]] is True
    assert facts["target"]["level1_bytes"] < facts["target"]["level2_bytes"]


def test_doctor_says_that_the_target_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, and why."""
    foreign = next(name for name, runs in examine()["targets"].items() if not runs)
    monkeypatch.setenv("GRAPHC_TARGET", foreign)
    result = run("doctor")
    assert result.exit_code == 1
    assert f"failed: this machine cannot run code for {foreign}" in result.stdout


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("missing.py:model", "no file 'missing.py'"),
        ("{net}", "needs a name: .*It has: model, trainer"),
        ("{net}:modle", "has no name 'modle'. Did you mean 'model'"),
        ("{net}:number", "number has the type int; it may be a model"),
        ("{net}:broken", r"broken\(\) of .*ZeroDivisionError"),
    ],
)
def test_refused_places(net: str, place: str, said: str) -> None:
    """A file, a name or an object that will not do."""
    assert re.search(said, refused("inspect", place.format(net=net)), re.DOTALL)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["model", "--stage", "lops"], "no stage 'lops'.*Did you mean 'loops'"),
        (["model", "--stage", "foo"], r"no stage 'foo'; there are [^?]*$"),
        (["model", "--kernel", "k77"], "no kernel 'k77'"),
        (["plain", "--train"], "--train needs a Trainer.*plain is a Sequential"),
        (["program", "--train"], "is no training step"),
        (["model", "--shape", "x"], "--shape 'x': write NAME=EXTENT"),
        (["model", "--stage", "memory", "--extent", "batch"], "--extent 'batch': write NAME=N"),
        (["model", "--shape", "x=3,5"], "takes 4 features.*net.py:7"),
        (["model", "--shape", "x=3,4", "--shape", "q=3,4"], "no input 'q'"),
    ],
)
def test_refused_options(net: str, arguments: list[str], said: str) -> None:
    """One message, from graphc or from the command line."""
    place, *rest = arguments
    assert re.search(said, refused("inspect", f"{net}:{place}", *rest), re.DOTALL)


def test_no_shape_is_one_line(tmp_path: Path) -> None:
    """A model whose input nobody describes."""
    path = tmp_path / "bare.py"
    path.write_text("from graphc import nn\nmodel = nn.Linear(2, 2)\n")
    said = refused("inspect", f"{path}:model").strip()
    assert "\n" not in said and "--shape x=batch" in said and "model_inputs" in said


def test_failing_import_shows_the_users_frames_only(tmp_path: Path) -> None:
    """The error and where it was raised, and nothing of click or importlib."""
    path = tmp_path / "failing.py"
    path.write_text("def f():\n    return [][1]\n\nmodel = f()\n")
    said = refused("inspect", f"{path}:model")
    assert "failing.py failed when it was imported" in said and "IndexError" in said
    assert said.count('  File "') == 2 and "importlib" not in said and "click" not in said


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("raise ValueError('mine')", "ValueError: mine"),
        ("raise SystemExit(7)", "SystemExit: 7"),
        ("return self.nothing(x)", "AttributeError: Net has no attribute 'nothing'"),
        ("return self.layer()", "TypeError: Linear.forward() missing 1 required"),
    ],
)
def test_failing_forward_shows_the_users_frames_only(
    tmp_path: Path, statement: str, error: str
) -> None:
    """The line in forward and the error: not graphc's frames, nor the line of the definition."""
    path = tmp_path / "failing.py"
    path.write_text(
        "from graphc import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.layer = nn.Linear(2, 2)\n"
        "    def forward(self, x):\n"
        f"        {statement}\n"
        "model = Net()\n"
    )
    said = refused("inspect", f"{path}:model", "--shape", "x=batch,2")
    assert "failing.py failed\n" in said and error in said
    assert said.count('  File "') == 1 and "line 7, in forward" in said


def test_colour_on_a_terminal_only() -> None:
    """Colours on a terminal, none in a pipe; the words are the same, no line is broken."""
    import io

    from rich.console import Console

    text = "%0 = sigmoid.dx(%1, %2)  : f32[2,3]  " + "x" * 200
    terminal, pipe = io.StringIO(), io.StringIO()
    write(text, "graph", console=Console(file=terminal, force_terminal=True, width=40))
    write(text, "graph", console=Console(file=pipe))
    assert pipe.getvalue() == text + "\n"
    assert "\x1b[" in terminal.getvalue()
    assert re.sub(r"\x1b\[[\d;]*m", "", terminal.getvalue()) == text + "\n"


def test_as_a_process(net: str) -> None:
    """The command as a user runs it: text on stdout, refusals on stderr with exit code 2."""
    command = [sys.executable, "-m", "graphc.cli", "inspect"]
    good = subprocess.run(
        [*command, f"{net}:model", "--stage", "loops"], cwd=ROOT, capture_output=True, text=True
    )
    assert good.returncode == 0 and good.stdout.startswith("kernel k00(")
    assert good.stderr == "imported\n"
    bad = subprocess.run([*command, f"{net}:modle"], cwd=ROOT, capture_output=True, text=True)
    assert bad.returncode == 2 and bad.stdout == ""
    assert bad.stderr.splitlines()[-1].startswith("Error: ") and "Traceback" not in bad.stderr
